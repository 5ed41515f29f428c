"""What is timed: each group of rows by name. Peers are whole libraries, where one does the same.

k-diffusion cannot be installed beside this torch (it imports torchvision): `_k_diffusion` is its
ancestral sampler, written after its paper's Algorithm 2 with `torch.randn`, and named so.
"""

import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.speed.paired import Pair, paired
from cascore.data import load_images
from cascore.data.images import DataRecord, ImageSet
from cascore.experiment import build
from cascore.experiment.presets import PRESETS, SHAPES
from cascore.experiment.settings import Experiment
from cascore.losses import Corrupted, corrupt, dsm_loss
from cascore.metrics import ExtractorIdentity, FeatureMoments, frechet_distance
from cascore.metrics.extractors import inception
from cascore.metrics.extractors.inception_network import FEATURES, SIDE, InceptionNetwork
from cascore.noise import KeyedNoise, Purpose
from cascore.sampling import consistent_annealed
from cascore.schedule import geometric_sigmas
from cascore.training import Workers, adam
from cascore.training.batches import KeyedBatches, batch_rows
from cascore.training.ema import update_ema

CPU = torch.device("cpu")
COLOUR = (3, 32, 32)
NETWORKS = ("digits", "fashion-mnist", "cifar-10-small", "cifar-10-classes")
"""Presets whose steps and chains are timed; their batches are those of their trainings."""
CALLS = 12


@torch.inference_mode()
def noise() -> Iterator[Pair]:
    """Keyed normal numbers beside torch's own stream."""
    for batch, before in ((1, ""), (16, "5"), (64, "5"), (256, "")):
        keyed, shape = KeyedNoise(range(batch)), (batch, *COLOUR)
        yield paired(
            f"normal numbers, {batch} × 3 × 32 × 32",
            partial(keyed.normal, shape, purpose=Purpose.CHAIN),
            "torch.randn",
            partial(torch.randn, shape),
            aim=2.0 if batch >= 16 else None,
            before=before,
        )


@torch.inference_mode()
def sampler() -> Iterator[Pair]:
    """A chain around a denoiser that costs nothing."""
    sigmas = geometric_sigmas(50.0, 0.01, CALLS)
    for batch, before in ((1, "4.2"), (16, "4.4"), (64, "4.8")):
        x = 50 * torch.randn(batch, *COLOUR)
        keyed = KeyedNoise(range(batch))
        yield paired(
            f"ancestral sampling without a network, {batch} × 3 × 32 × 32, {CALLS} calls",
            partial(consistent_annealed, _free, x, sigmas, kappa=2, order=1, noise=keyed),
            "k-diffusion's, transcribed",
            partial(_k_diffusion, _free, x, sigmas),
            aim=2.0 if batch >= 16 else None,
            before=before,
        )


@torch.inference_mode()
def chains() -> Iterator[Pair]:
    """A chain beside the network calls in it."""
    for name in NETWORKS:
        experiment = PRESETS[name]
        shape = SHAPES[experiment.data.name]
        denoiser = _state(experiment).denoiser.eval()
        x, sigmas = 10 * torch.randn(64, *shape), geometric_sigmas(10.0, 0.01, CALLS)

        def calls(denoiser: nn.Module = denoiser, x: Tensor = x, sigmas: Tensor = sigmas) -> None:
            for sigma in sigmas:
                denoiser(x, sigma)

        yield paired(
            f"a chain of {name}, batch 64, {CALLS} calls",
            partial(consistent_annealed, denoiser, x, sigmas, noise=KeyedNoise(range(64))),
            "its network calls alone",
            calls,
            aim=1 / 0.97,
        )


def steps() -> Iterator[Pair]:
    """A training step beside the network in it, and beside a loop as diffusers' example has it."""
    for name in NETWORKS:
        experiment = PRESETS[name]
        data, state = _images(SHAPES[experiment.data.name]), _state(experiment)
        loop = build.training_loop(_endless(experiment), state, data, device=CPU, workers=Workers())
        batch = experiment.train.batch_size
        drawn = _drawn(experiment, data)
        yield paired(
            f"a training step of {name}, batch {batch}",
            partial(next, loop),
            "forward and backward of the network and its loss alone",
            partial(_forward_and_backward, _state(experiment).denoiser, drawn),
            aim=1 / 0.97,
        )
        if not experiment.network.labels:
            yield paired(
                f"a training step of {name}, batch {batch}",
                partial(next, loop),
                "diffusers' DDPMScheduler, EMAModel and torch's AdamW on the same network",
                _as_in_diffusers(_state(experiment).denoiser.network, data, batch),
                aim=1.05,
            )


def updates() -> Iterator[Pair]:
    """What follows the gradient."""
    from diffusers.training_utils import EMAModel

    experiment = PRESETS["cifar-10-classes"]
    network, average = _state(experiment).denoiser, _state(experiment).denoiser
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    count = sum(p.numel() for p in network.parameters())
    fused = adam(network.parameters(), learning_rate=1e-9)
    usual = torch.optim.Adam(network.parameters(), lr=1e-9)
    yield paired(f"Adam, {count:,} weights", fused.step, "torch's default", usual.step, before="1")
    theirs = EMAModel(network.parameters(), decay=0.999)
    yield paired(
        "the average of the weights",
        partial(update_ema, average, network, decay=0.999),
        "diffusers' EMAModel",
        partial(theirs.step, list(network.parameters())),
    )


def layouts() -> Iterator[Pair]:
    """Settings that a training may take: channels last, bfloat16, compiled."""
    experiment = PRESETS["cifar-10-classes"]
    changes = {
        "channels last": {"channels_last": True},
        "bfloat16": {"precision": "bfloat16"},
        "compiled": {"compiled": True},
        "all three": {"channels_last": True, "precision": "bfloat16", "compiled": True},
    }
    data = _images(COLOUR)
    plain = build.training_loop(
        _endless(experiment), _state(experiment), data, device=CPU, workers=Workers()
    )
    for words, change in changes.items():
        other = replace(experiment, train=replace(experiment.train, **change))
        loop = build.training_loop(
            _endless(other), _state(other), data, device=CPU, workers=Workers()
        )
        name = f"a training step of cifar-10-classes, {words}"
        yield paired(name, partial(next, loop), "as it is", partial(next, plain), seconds=8)


def frechet() -> Iterator[Pair]:
    """The distance at Inception's 2,048 dimensions."""
    import scipy.linalg
    from torchmetrics.image.fid import _compute_fid

    a, b = (
        FeatureMoments.of(_features(5000 + 1000 * seed, seed), extractor=_ARBITRARY)
        for seed in range(2)
    )

    def by_scipy() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns that a deficient product has no root
            root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
        traces = float(a.covariance.trace() + b.covariance.trace())
        return float((a.mean - b.mean).square().sum()) + traces - 2 * float(np.trace(root).real)

    peers: dict[str, Callable[[], object]] = {
        "scipy.linalg.sqrtm": by_scipy,
        "torchmetrics": partial(_compute_fid, a.mean, a.covariance, b.mean, b.covariance),
    }
    for name, peer in peers.items():
        what = "the Fréchet distance at 2,048 dimensions"
        yield paired(what, partial(frechet_distance, a, b), name, peer, aim=1.0, seconds=1)


@torch.inference_mode()
def extraction() -> Iterator[Pair]:
    """Inception features beside the network in them; its weights are arbitrary."""
    network = InceptionNetwork().eval().to(memory_format=torch.channels_last)
    pixels = torch.rand(16, 3, SIDE, SIDE)
    for side in (32, 256):
        images = torch.randint(256, (16, 3, side, side)).to(torch.uint8)

        def whole(images: Tensor = images) -> Tensor:
            return network(inception.prepared(images))

        what = f"features of 16 pictures of {side} × {side}"
        yield paired(what, whole, "the network alone", partial(network, pixels), aim=1.05)


def feeding() -> Iterator[Pair]:
    """Batches of mapped pictures, mirrored by chance, beside the fastest network that eats them."""
    experiment = PRESETS["digits"]
    batch, data = experiment.train.batch_size, _images(SHAPES["digits"], count=50_000)
    batches, counter = KeyedBatches(data.images, batch, seed=0, flip=True), iter(range(10**9))
    loop = build.training_loop(
        _endless(experiment), _state(experiment), data, device=CPU, workers=Workers()
    )
    yield paired(
        f"a batch of {batch} × 1 × 8 × 8 out of 50,000, mirrored by chance",
        lambda: batches.batch(next(counter)),
        "a training step of digits on it",
        partial(next, loop),
        aim=0.1,
    )


def order() -> Iterator[Pair]:
    """The order of an epoch, a batch of it, where the epoch is a new one each time."""
    for count, before in ((10**6, "0.9 s"), (10**7, "16 s")):
        epochs = iter(range(10**6))

        def first_batch(count: int = count, epochs: Iterator[int] = epochs) -> object:
            return batch_rows(count, 128, next(epochs) * math.ceil(count / 128), 0)

        what = f"the first batch of an epoch of {count:,} pictures"
        yield paired(
            what, first_batch, "torch.randperm", partial(torch.randperm, count), before=before
        )


def folders() -> Iterator[Pair]:
    """The second start on a folder of 50,000 small photographs."""
    with tempfile.TemporaryDirectory() as place:
        folder, root, generator = (
            Path(place, "pictures"),
            Path(place, "kept"),
            np.random.default_rng(0),
        )
        folder.mkdir()
        for number in range(50_000):
            pixels = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((32, 32)).save(folder / f"{number:05}.jpg")

        def decoded() -> object:
            return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]

        start = partial(load_images, f"folder:{folder}", "train", root=root)
        yield paired(
            "the second start on a folder of 50,000 JPEGs of 32 × 32",
            start,
            "each opened and decoded by Pillow",
            decoded,
            seconds=1,
            before="25 s",
        )


def processes() -> Iterator[Pair]:
    """A command from its start to its end."""
    with tempfile.TemporaryDirectory() as place:
        folders = (str(Path(place, str(number))) for number in range(10**6))
        command = [sys.executable, "-m", "cascore", "sample", "digits", "--count", "1", "--out"]
        run = partial(subprocess.run, check=True, capture_output=True)
        yield paired(
            "`cascore sample digits --count 1`",
            lambda: run([*command, next(folders)]),
            "`import torch`",
            partial(run, [sys.executable, "-c", "import torch"]),
            before="1.5",
        )


GROUPS = {
    of.__name__: of
    for of in (
        noise,
        sampler,
        chains,
        steps,
        updates,
        layouts,
        frechet,
        extraction,
        feeding,
        order,
        folders,
        processes,
    )
}
"""By name, in the order of the page."""

# --- what they are made of -----------------------------------------------------------------------

_ARBITRARY = ExtractorIdentity(name="arbitrary", digest="")


def _free(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.zeros((), dtype=x.dtype).expand_as(x)


def _k_diffusion(denoiser: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor) -> Tensor:
    """Ancestral sampling with eta 1: sigma_up² = t² (s² - t²) / s² between levels s and t."""
    for s, t in zip(sigmas, [*sigmas[1:], torch.zeros(())], strict=True):
        up = min(t, (t**2 * (s**2 - t**2) / s**2) ** 0.5)
        down = (t**2 - up**2) ** 0.5
        x = x + (x - denoiser(x, s)) / s * (down - s)
        if t > 0:
            x = x + torch.randn_like(x) * up
    return x


def _images(shape: tuple[int, ...], count: int = 2048) -> ImageSet:
    """Noise: what pixels are makes no difference to their speed."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *shape), generator=generator).to(torch.uint8)
    classes = tuple("abcdefghij")
    labels, record = torch.arange(count) % 10, DataRecord(source="noise", split="none")
    return ImageSet("noise", "train", images, labels, record, classes)


def _state(experiment: Experiment) -> "build.TrainState":
    classes = tuple("abcdefghij")
    shape = SHAPES[experiment.data.name]
    subject = build.Subject.of_none(shape, experiment.network, classes=classes)
    return build.build_state(experiment, subject, device=CPU)


def _endless(experiment: Experiment) -> Experiment:
    return replace(experiment, train=replace(experiment.train, steps=10**9))


def _drawn(experiment: Experiment, data: ImageSet) -> Corrupted:
    clean = data.images[: experiment.train.batch_size].float() / 255
    keyed = KeyedNoise(range(len(clean)))
    drawn = corrupt(clean, build.training_law(experiment), noise=keyed)
    labelled = experiment.network.labels
    return drawn._replace(label=data.labels[: len(clean)] if labelled else None)


def _forward_and_backward(denoiser: nn.Module, drawn: Corrupted) -> None:
    denoiser.zero_grad(set_to_none=True)
    told = () if drawn.label is None else (drawn.label,)
    dsm_loss(denoiser(drawn.noisy, drawn.sigma, *told), drawn).mean().backward()


def _as_in_diffusers(network: nn.Module, data: ImageSet, batch: int) -> Callable[[], object]:
    """The loop of diffusers' unconditional training example, around a network not told t."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    scheduler, average = DDPMScheduler(), EMAModel(network.parameters(), decay=0.9999)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    rows = torch.utils.data.DataLoader(data.images, batch_size=batch, shuffle=True, drop_last=True)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from rows

    given = batches()

    def step() -> None:
        clean = next(given).float() / 127.5 - 1
        target = torch.randn_like(clean)
        noisy = scheduler.add_noise(clean, target, torch.randint(0, 1000, (batch,)))
        loss = nn.functional.mse_loss(network(noisy), target)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())

    return step


def _features(count: int, seed: int) -> Tensor:
    """Correlated features whose variances fall as those of a network's do, over five decades."""
    generator, fixed = (torch.Generator().manual_seed(s) for s in (seed + 1, 0))
    mixing = torch.randn(FEATURES, FEATURES, generator=fixed, dtype=torch.float64)
    scales = torch.logspace(0, -2.5, FEATURES, dtype=torch.float64)
    return torch.randn(count, FEATURES, generator=generator, dtype=torch.float64) * scales @ mixing
