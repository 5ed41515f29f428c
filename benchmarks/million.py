"""What a million pictures cost before the first is seen: the order of an epoch, and a folder.

    python benchmarks/million.py [FILES]

The files are names of a few pictures of 8 x 8 pixels, 1,000 in each subfolder, on the disk of the
temporary folder. Each part runs in a process of its own, which tells its processor time and its
largest memory; that of a process that has imported the same and done nothing is taken off.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cascore.data.contents import read_folder
from cascore.data.folder import load_contents
from cascore.data.listing import find_images
from cascore.files import remove_folder
from cascore.pixels import encode_png
from cascore.preprocessing import FolderOptions
from cascore.training.batches import batch_rows

FILES = 1_000_000
A_FOLDER, A_FILE = 1_000, 50_000  # names in a folder, and of a file: ext4 allows 65,000
BATCH = 128


def make(folder: Path, files: int) -> None:
    """Names of pictures of noise, by hard links: as many entries in less time and room."""
    generator = np.random.default_rng(0)
    for number in range(files):
        if number % A_FOLDER == 0:
            below = folder / f"{number // A_FOLDER:05d}"
            below.mkdir()
        name = below / f"{number:08d}.png"
        if number % A_FILE == 0:
            pixels = generator.integers(0, 256, (3, 8, 8), dtype=np.uint8)
            name.write_bytes(encode_png(torch.from_numpy(pixels)))
            first = name
        else:
            os.link(first, name)


def measured(part: Callable[[], str]) -> tuple[str, float, float]:
    """What a part says, its seconds of processor time, and MB of memory at the peak."""

    def run(into: multiprocessing.connection.Connection) -> None:
        torch.set_num_threads(1)
        start = time.process_time()
        said = part()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        into.send((said, time.process_time() - start, peak))

    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=run, args=(there,))
    process.start()
    there.close()  # or a part that is killed would be waited for
    answer: tuple[str, float, float] = here.recv()
    process.join()
    return answer


def ordered(count: int, batches: int) -> str:
    """Some batches out of the middle of an epoch."""
    for step in range(batches):
        batch_rows(count, BATCH, count // BATCH // 2 + step, seed=0)
    return f"{batches} batches of {BATCH} of {count:,}"


def listed(folder: Path) -> str:
    """The names alone."""
    return f"{len(find_images(folder).images):,} names listed"


def read(folder: Path, root: Path) -> str:
    """Names, headers, and the split."""
    contents = read_folder(folder, root=root)
    train, test = (len(contents.of_split(split)) for split in ("train", "test"))
    return f"read and split: {train:,} + {test:,} headers"


def loaded(folder: Path, root: Path) -> str:
    """Both splits, as a training has them, and the digest of the first."""
    contents = read_folder(folder, root=root)
    sets = load_contents(contents, options=FolderOptions(), root=root)
    return f"loaded, with the digest {sets['train'].digest[:8]}"


def main() -> int:
    files = int(sys.argv[1]) if sys.argv[1:] else FILES
    empty = measured(lambda: "nothing")[2]

    def tell(part: Callable[[], str], *, note: str = "") -> None:
        said, seconds, peak = measured(part)
        print(f"{seconds:8.2f} s {peak - empty:8.0f} MB  {said}{note}", flush=True)

    for count in (10**6, 2**20 + 1, 10**7, 10**9):
        tell(lambda count=count: ordered(count, 1000))
    with tempfile.TemporaryDirectory() as place:
        folder, root = Path(place, "pictures"), Path(place, "root")
        folder.mkdir()
        root.mkdir()
        try:
            make(folder, files)
            tell(lambda: listed(folder))
            tell(lambda: read(folder, root), note=", for the first time")
            tell(lambda: read(folder, root), note=", again")
            tell(lambda: loaded(folder, root), note=", for the first time")
            tell(lambda: loaded(folder, root), note=", again")
        finally:
            remove_folder(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
