"""Images/s from a prepared file on the disk to float batches, beside what a network can eat.

The requirement: with flips on, ten times what the fastest network of the presets trains on here,
at each shape of image. The sets are noise: what pixels are makes no difference to their speed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cascore.data import load_images
from cascore.data.images import DataRecord
from cascore.data.originals import Originals, from_array
from cascore.data.prepared import prepare
from cascore.experiment import build
from cascore.experiment.presets import PRESETS
from cascore.training import KeyedBatches, Workers

BATCH = 128
COUNT = 50_000  # as many as CIFAR-10 has
STEPS = 390  # an epoch
LIMIT = 10.0
SHAPES = {"32x32 colour": (3, 32, 32), "28x28 grey": (1, 28, 28), "8x8 grey": (1, 8, 8)}
NETWORKS = ("digits", "mnist")  # the smallest and the next: 28 x 28 has its own, folded 2 x 2


def prepared(root: Path, name: str, shape: tuple[int, int, int]) -> Path:
    """A set of noise in prepared form."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (COUNT, *shape), dtype=np.uint8)
    originals = Originals(
        name=name,
        splits={"train": from_array(pixels, None), "test": from_array(pixels[:1], None)},
        record=DataRecord(source="noise", split="none"),
        files=(),
    )
    return prepare(originals, root=root)


def forget(path: Path) -> None:
    """Ask the system to drop the file from memory, so that the next read comes from the disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def feeding(root: Path, name: str) -> Iterator[float]:
    """Images/s of an epoch right after `forget`, and of the next."""
    forget(root / name / "train.npy")
    batches = KeyedBatches(load_images(name, "train", root=root).images, BATCH, seed=0, flip=True)
    for epoch in range(2):
        start = time.perf_counter()
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            batches.batch(step)
        yield STEPS * BATCH / (time.perf_counter() - start)


def eating(preset: str, root: Path, name: str) -> float:
    """Images/s of the fastest of several training steps of a preset, on these images."""
    experiment = PRESETS[preset]
    data = load_images(name, "train", root=root)
    experiment = replace(experiment, train=replace(experiment.train, batch_size=BATCH))
    state = build.build_state(experiment, build.Subject.of(data), device=torch.device("cpu"))
    steps = build.training_loop(
        experiment, state, data, device=torch.device("cpu"), workers=Workers()
    )
    next(steps)
    times = []
    start = time.perf_counter()
    for _ in islice(steps, 5):
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return BATCH / min(times)


def main() -> int:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread, batch {BATCH}, flips on")
    worst = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (label, shape) in enumerate(SHAPES.items()):
            name = f"set-{number}"
            prepared(root, name, shape)
            cold, warm = feeding(root, name)
            speeds = {preset: eating(preset, root, name) for preset in NETWORKS}
            fastest = max(speeds, key=lambda preset: speeds[preset])
            network = speeds[fastest]
            worst = min(worst, cold / network, warm / network)
            print(
                f"{label:>12}: fed {cold:,.0f} images/s from the disk, {warm:,.0f} from memory; the"
                f" network of {fastest} trains on {network:,.0f}: {cold / network:.0f} and"
                f" {warm / network:.0f} times"
            )
    print(f"smallest ratio {worst:.0f}, limit {LIMIT:.0f}")
    return int(worst < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
