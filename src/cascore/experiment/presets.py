"""Everything the paper trained and sampled, and small runs beside it, by name.

A training preset is data × schedule × network × objective; the tables below are those of the
paper's Appendix B and of its published configurations. A sampling preset is one column of its
Tables 1 to 4. `docs/fidelity.md` says where the paper and the configurations differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from cascore.errors import InputError
from cascore.experiment.settings import (
    Adversarial,
    Data,
    Experiment,
    Network,
    Sampler,
    Schedule,
    Train,
)

# --- networks ------------------------------------------------------------------------------------

_NCSNV2 = Network(kind="ncsnv2", width=128, multipliers=(1, 2, 2, 2))
_NCSNV2_DEEPER = replace(_NCSNV2, multipliers=(1, 2, 2, 4, 4))
_NCSNV2_DEEPEST = replace(_NCSNV2, multipliers=(1, 2, 2, 2, 4, 4))
_UNET = Network(
    width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(False, True, False, False)
)
_UNET_DEEPER = replace(
    _UNET, multipliers=(1, 2, 2, 2, 4, 4), attention=(False, True, False, False, False, False)
)
_UNET_8 = Network(width=32, multipliers=(1, 2), blocks=1, attention=(False, True))
_UNET_28 = replace(_UNET_8, width=48, unshuffle=2)
_UNET_32 = Network(
    width=64, multipliers=(1, 2, 2), blocks=1, attention=(False, True, False), unshuffle=2
)
_NCSNV2_8 = Network(kind="ncsnv2", width=16, multipliers=(1, 2, 2, 2))

# --- data, schedules, lengths --------------------------------------------------------------------

# data set                              sigma_1  sigma_L    L   iterations  EMA
_PAPER = (
    ("cifar-10", 50, 0.01, 232, 300_000, 0.9999),
    ("lsun-church", 140, 0.01, 788, 200_000, 0.999),
    ("stacked-mnist", 50, 0.01, 200, 200_000, 0.9999),
)
_CIFAR_10, _CHURCH, _STACKED_MNIST = (
    Experiment(
        data=Data(name=name, flip=name != "stacked-mnist"),
        schedule=Schedule(first=first, last=last, levels=levels),
        train=Train(
            steps=steps,
            batch_size=128,
            learning_rate=1e-4,
            ema_decay=decay,
            ema_warmup=False,
            save_every=5000,
        ),
        adversarial=Adversarial(width=64),
    )
    for name, first, last, levels, steps, decay in _PAPER
)
_GAUSSIANS = Experiment(
    data=Data(name="25-gaussians"),
    network=Network(kind="mlp", width=512, depth=3),
    schedule=Schedule(first=1.0, last=0.01, levels=10),
    train=Train(steps=5000, batch_size=256, learning_rate=1e-3, save_every=1000),
    adversarial=Adversarial(width=512, clamp=False),
)
_SWISS_ROLL = replace(_GAUSSIANS, data=Data(name="swiss-roll"))
_ONE_LEVEL = Schedule(first=0.1, last=0.1, levels=1)

# sigma_1 and L of the small sets by Techniques 1 and 2.
_DIGITS = Experiment(
    data=Data(name="digits"),
    network=_UNET_8,
    schedule=Schedule(first=5.0, last=0.01, levels=28),
    train=Train(steps=2000, learning_rate=2e-3),
    adversarial=Adversarial(width=16),
)
_STACKED_DIGITS = replace(
    _DIGITS,
    data=Data(name="stacked-digits"),
    schedule=Schedule(first=8.0, last=0.01, levels=48),
    train=Train(steps=6000, learning_rate=2e-3),
)
_FASHION_MNIST = Experiment(
    data=Data(name="fashion-mnist"),
    network=_UNET_28,
    schedule=Schedule(first=25.0, last=0.01, levels=110),
    train=Train(steps=8000, batch_size=64, learning_rate=1e-3, save_every=500),
    adversarial=Adversarial(width=8),
)

# The photographs at the paper's levels, by a U-Net that two cores can train and, blind, sample at
# all levels.
_CIFAR_10_SMALL = Experiment(
    data=Data(name="cifar-10-jpeg", flip=True),
    network=replace(_UNET_32, width=32),
    schedule=_CIFAR_10.schedule,
    train=Train(steps=60_000, batch_size=64, learning_rate=5e-4, ema_decay=0.9995),
    adversarial=Adversarial(width=8),
)

SHAPES: Mapping[str, tuple[int, ...]] = {
    "cifar-10": (3, 32, 32),
    "cifar-10-jpeg": (3, 32, 32),
    "lsun-church": (3, 64, 64),
    "celeba": (3, 64, 64),
    "stacked-mnist": (3, 28, 28),
    "stacked-fashion-mnist": (3, 28, 28),
    "stacked-digits": (3, 8, 8),
    "digits": (1, 8, 8),
    "fashion-mnist": (1, 28, 28),
    "mnist": (1, 28, 28),
    "25-gaussians": (2,),
    "swiss-roll": (2,),
}
"""The shape of one datum of each data set with a fixed one."""

_PLAIN: Mapping[str, Experiment] = {
    # Tables 1 and 3, Figure 3
    "cifar10-ncsnv2": replace(_CIFAR_10, network=_NCSNV2),
    "cifar10-unet": replace(_CIFAR_10, network=_UNET),
    # Table 2; the deeper U-Net is in the authors' code, but not in the paper's tables
    "church-ncsnv2": replace(_CHURCH, network=_NCSNV2_DEEPER),
    "church-unet": replace(_CHURCH, network=_UNET_DEEPER),
    # Table 4
    "stacked-mnist-ncsnv2": replace(_STACKED_MNIST, network=_NCSNV2),
    # Figure 2
    "25-gaussians": _GAUSSIANS,
    "swiss-roll": _SWISS_ROLL,
    "25-gaussians-one-level": replace(_GAUSSIANS, schedule=_ONE_LEVEL),
    "swiss-roll-one-level": replace(_SWISS_ROLL, schedule=_ONE_LEVEL),
    # small enough for a laptop
    "digits": _DIGITS,
    "digits-ncsnv2": replace(_DIGITS, network=_NCSNV2_8),
    "stacked-digits": _STACKED_DIGITS,
    "fashion-mnist": _FASHION_MNIST,
    "mnist": replace(_FASHION_MNIST, data=Data(name="mnist")),
    "stacked-mnist": replace(
        _FASHION_MNIST,
        data=Data(name="stacked-mnist"),
        schedule=Schedule(first=50.0, last=0.01, levels=200),
    ),
    # small enough for a weekend of two cores, in the paper's form
    "cifar-10-small": _CIFAR_10_SMALL,
}

_OURS: Mapping[str, Experiment] = {
    # the same photographs and levels by a network that sees noise and class, around the best linear
    # denoiser
    "cifar-10-classes": replace(
        _CIFAR_10_SMALL,
        network=replace(
            _UNET_32, conditional=True, preconditioned=True, spectral=True, labels=True
        ),
        train=replace(
            _CIFAR_10_SMALL.train,
            sigmas="log-normal",
            learning_rate=1e-3,
            warmup=200,
            decay_from=10_000,
        ),
    )
}
"""What has no adversarial twin."""

FOLDER = Experiment(
    name="folder",
    network=replace(_UNET_8, unshuffle=2, conditional=True, preconditioned=True, spectral=True),
    train=Train(
        batch_size=32,
        sigmas="log-normal",
        learning_rate=1e-3,
        warmup=100,
        betas=(0.9, 0.99),
        ema_decay=0.9995,
    ),
    minutes=30.0,
)
"""What a folder of images starts from; `experiment.choose` decides the rest."""

# --- objectives ----------------------------------------------------------------------------------


def _both() -> Iterator[Experiment]:
    """Each plain preset, and with it that of the paper's hybrid objective."""
    for name, plain in _PLAIN.items():
        yield replace(plain, name=name)
        train = replace(plain.train, objective="hybrid", betas=(0.0, 0.9))
        twice = replace(plain.adversarial, steps=2 if name == "cifar10-unet" else 1)
        yield replace(plain, name=f"{name}-adversarial", train=train, adversarial=twice)
    for name, plain in _OURS.items():
        yield replace(plain, name=name)


PRESETS: Mapping[str, Experiment] = MappingProxyType({preset.name: preset for preset in _both()})
"""What `cascore train` can start, by name."""

# --- checkpoints that Song and Ermon (2020) published --------------------------------------------

# name       data set       size  sigma_1   L   iterations batch network    ALS n_sigma, epsilon
_SONG_ERMON = (
    ("cifar10", "cifar-10", 32, 50.0, 232, 300_000, 128, _NCSNV2, 5, 6.2e-6),
    ("celeba", "celeba", 64, 90.0, 500, 210_000, 128, _NCSNV2, 5, 3.3e-6),
    ("church", "lsun-church", 64, 140.0, 788, 200_000, 128, _NCSNV2_DEEPER, 4, 4.9e-6),
    ("bedroom", "lsun-bedroom", 128, 190.0, 1086, 150_000, 128, _NCSNV2_DEEPER, 3, 1.8e-6),
    ("tower", "lsun-tower", 128, 190.0, 1086, 150_000, 128, _NCSNV2_DEEPER, 3, 1.8e-6),
    ("ffhq", "ffhq", 256, 348.0, 2311, 80_000, 32, _NCSNV2_DEEPEST, 3, 9e-7),
)
PUBLISHED: Mapping[str, tuple[Experiment, tuple[int, int, int]]] = MappingProxyType(
    {
        name: (PRESETS[name], (3, size, size))
        for prefix, size in (("cifar10", 32), ("church", 64), ("stacked-mnist-ncsnv2", 28))
        for name in PRESETS
        if name.startswith(prefix)
    }
    | {
        f"song-ermon-{name}": (
            Experiment(
                name=f"song-ermon-{name}",
                data=Data(name=data, flip=True),
                network=network,
                schedule=Schedule(first=first, last=0.01, levels=levels),
                train=replace(_CIFAR_10.train, steps=steps, batch_size=batch, ema_decay=0.999),
            ),
            (3, size, size),
        )
        for name, data, size, first, levels, steps, batch, network, _, _ in _SONG_ERMON
    }
)
"""Whose checkpoints `cascore convert` reads: the experiment, and the shape of its images."""

# --- sampling ------------------------------------------------------------------------------------

# tuned epsilon                CAS n_sigma=1  CAS n_sigma=5  ALS n_sigma=1  ALS n_sigma=5
_EPSILON = {
    "cifar10-ncsnv2": (5.6e-6, 1.1e-6, 1.8e-5, 3.6e-6),  # Table 1
    "church-ncsnv2": (2.8e-6, 4.5e-7, 4.85e-6, 9.7e-7),  # Table 2
    "cifar10-unet": (5.45e-6, 1.05e-6, 1.6e-5, 4e-6),  # Table 3
}
_COLUMNS: tuple[tuple[Literal["cas", "als"], int], ...]
_COLUMNS = (("cas", 1), ("cas", 5), ("als", 1), ("als", 5))


def _samplers() -> Iterator[tuple[str, Sampler]]:
    for model, epsilons in _EPSILON.items():
        for (method, n_sigma), epsilon in zip(_COLUMNS, epsilons, strict=True):
            sampler = Sampler(method=method, levels="all", n_sigma=n_sigma, epsilon=epsilon)
            first = sampler if method == "als" else replace(sampler, order=1)
            yield f"{model}-{method}-{n_sigma}", first
    for name, *_, n_sigma, epsilon in _SONG_ERMON:
        sampler = Sampler(method="als", levels="all", n_sigma=n_sigma, epsilon=epsilon)
        yield f"song-ermon-{name}-als-{n_sigma}", sampler
    # Table 4, not tuned: epsilon 5e-6, as eta, which also fits the authors' own models of pixels
    # in [-1, 1]. Figure 2: the authors tried eta from 0.01 to 0.2.
    yield "stacked-mnist-ncsnv2-cas-1", Sampler(levels="all", order=1, eta=0.05)
    yield "figure-2", Sampler(method="als", levels="all", n_sigma=10, eta=0.2)


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(dict(_samplers()))
"""The settings of the paper's samples, by name; raw and denoised come from one chain."""


def require_fitting(name: str, schedule: Schedule) -> None:
    """Refuse a sampling preset whose epsilon was tuned for other noise levels than a model's.

    Epsilon is in units of sigma_L, and depends on the ratio of the levels.
    """
    tuned = next(
        (model.schedule for key, (model, _) in PUBLISHED.items() if name.startswith(key)), None
    )
    if SAMPLERS[name].epsilon is not None and tuned is not None and tuned != schedule:
        raise InputError(
            f"--like {name} is for {tuned.levels} levels from {tuned.first:g} to {tuned.last:g},"
            f" and this model has {schedule.levels} from {schedule.first:g} to {schedule.last:g}:"
            " its step size does not carry over, kappa does: --order 1 --kappa 1.5 --levels all"
        )


def describe_preset(preset: Experiment) -> str:
    """A preset in one line."""
    hybrid, network = preset.train.objective == "hybrid", preset.network
    inputs = [
        *(["the noise level"] if network.conditional else []),
        *(["the class"] if network.labels else []),
    ]
    form = f", in {network.form}" if network.form else ""
    objective = "score matching and a discriminator" if hybrid else "score matching"
    levels = preset.schedule.levels
    return (
        f"{preset.data.name}, {network.kind} of width {network.width}"
        f"{' told ' * bool(inputs)}{' and '.join(inputs)}{form}, {objective},"
        f" {levels} level{'s' if levels > 1 else ''}, {preset.train.steps} steps of"
        f" {preset.train.batch_size}"
    )
