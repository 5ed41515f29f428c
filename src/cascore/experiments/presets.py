"""Presets by name: data x network x objective x schedule."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from cascore.experiments.config import Adversarial, Data, Experiment, Network, Schedule, Train

__all__ = ["PRESETS", "describe_preset"]

_SMALL_UNET = Network(width=32, multipliers=(1, 2), blocks=1, attention=(False, True))
_GREY_28_UNET = Network(
    width=64, multipliers=(1, 2), blocks=1, attention=(False, True), unshuffle=2
)
_MLP = Network(kind="mlp", width=512, depth=3, multipliers=(1,), attention=(False,))

_DIGITS = Experiment(
    name="digits",
    data=Data(name="digits"),
    network=_SMALL_UNET,
    schedule=Schedule(first=5.0, last=0.01, levels=28),  # Techniques 1 (4.81) and 2
    train=Train(steps=2000, learning_rate=2e-3, ema_decay=0.999),
)

_GREY_28 = Experiment(
    name="fashion-mnist",
    data=Data(name="fashion-mnist"),
    network=_GREY_28_UNET,
    schedule=Schedule(first=25.0, last=0.01, levels=110),
    train=Train(steps=20_000, learning_rate=5e-4, ema_decay=0.999, save_every=1000),
)

_POINTS = Experiment(
    name="swiss-roll",
    data=Data(name="swiss-roll"),
    network=_MLP,
    schedule=Schedule(first=1.0, last=0.01, levels=10),  # Figure 2
    train=Train(steps=5000, batch_size=256, learning_rate=1e-3, save_every=1000),
    adversarial=Adversarial(width=512, clamp=False),
)


def _hybrid(plain: Experiment) -> Experiment:
    train = replace(plain.train, objective="hybrid", betas=(0.0, 0.9))
    return replace(plain, name=f"{plain.name}-adversarial", train=train)


_PLAIN = (
    _DIGITS,
    _GREY_28,
    replace(_GREY_28, name="mnist", data=Data(name="mnist")),
    _POINTS,
    replace(_POINTS, name="25-gaussians", data=Data(name="25-gaussians")),
)

PRESETS: Mapping[str, Experiment] = MappingProxyType(
    {each.name: each for plain in _PLAIN for each in (plain, _hybrid(plain))}
)
"""Every preset by name."""


def describe_preset(preset: Experiment) -> str:
    """A preset in one line."""
    objective = "score matching and a discriminator" if _is_hybrid(preset) else "score matching"
    return (
        f"{preset.data.name}, {preset.network.kind} of width {preset.network.width}, {objective},"
        f" {preset.train.steps} steps of {preset.train.batch_size}"
    )


def _is_hybrid(preset: Experiment) -> bool:
    return preset.train.objective == "hybrid"
