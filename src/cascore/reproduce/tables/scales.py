"""What stands in for Tables 1, 2 and 3 at each scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cascore.reproduce.tuning import Grid

__all__ = ["TABLES", "TableScale"]


@dataclass(frozen=True, kw_only=True)
class TableScale:
    """Models, samplers and measurements of one table.

    Attributes:
        presets: one plain and one adversarial, alike in everything else.
        steps: of training.
        precision: of training.
        trainings: of each preset, with seeds 0, 1, ...
        extractors: of the features, by name; step sizes are chosen by the first.
        count: pictures of each measurement.
        seeds: measurements of each cell on each model, with other noise.
        n_sigmas: 1, and one more.
        grid: of step sizes; None where the paper's epsilons hold.
    """

    presets: tuple[str, str]
    steps: int
    precision: Literal["float32", "bfloat16"]
    trainings: int
    extractors: tuple[str, ...]
    count: int
    seeds: int
    n_sigmas: tuple[int, int]
    grid: Grid | None


_FINE = Grid(
    kappas=(1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 27.0),
    etas=(0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6),
    etas_many=(0.1, 0.2, 0.4, 0.7, 1.0),
    count=200,
)
_COARSE = Grid(
    kappas=(1.5, 3.0, 6.0, 12.0),
    etas=(0.2, 0.5, 0.8, 1.1, 1.4),
    etas_many=(0.1, 0.3, 0.7),
    count=100,
)
_NOISE = "random-convolution"
"""Features that move more than a classifier's by noise of deviation 0.01 in 8x8 pictures."""


def _tiny(preset: str) -> TableScale:
    """A trial of the program: nothing is learned in two steps."""
    return TableScale(
        presets=(preset, f"{preset}-adversarial"),
        steps=2,
        precision="float32",
        trainings=1,
        extractors=("digits", "pixels"),
        count=12,
        seeds=2,
        n_sigmas=(1, 2),
        grid=Grid(kappas=(1.5, 4.0), etas=(0.4, 1.2), etas_many=(0.3,), count=6),
    )


def _laptop(
    preset: str,
    *,
    steps: int,
    trainings: int,
    features: str,
    count: int,
    seeds: int,
    grid: Grid,
) -> TableScale:
    return TableScale(
        presets=(preset, f"{preset}-adversarial"),
        steps=steps,
        precision="bfloat16",
        trainings=trainings,
        extractors=(features, _NOISE),
        count=count,
        seeds=seeds,
        n_sigmas=(1, 5),
        grid=grid,
    )


def _paper(preset: str, *, steps: int) -> TableScale:
    return TableScale(
        presets=(preset, f"{preset}-adversarial"),
        steps=steps,
        precision="float32",
        trainings=1,
        extractors=("inception",),
        count=10_000,
        seeds=2,
        n_sigmas=(1, 5),
        grid=None,
    )


TABLES: Mapping[str, Mapping[str, TableScale]] = MappingProxyType(
    {
        "table1": {
            "tiny": _tiny("digits"),
            "laptop": _laptop(
                "fashion-mnist",
                steps=16_000,
                trainings=1,
                features="fashion-mnist",
                count=100,
                seeds=5,
                grid=_COARSE,
            ),
            "paper": _paper("cifar10-ncsnv2", steps=300_000),
        },
        "table2": {
            "tiny": _tiny("digits"),
            "laptop": _laptop(
                "digits",
                steps=4000,
                trainings=2,
                features="digits",
                count=500,
                seeds=3,
                grid=_FINE,
            ),
            "paper": _paper("church-ncsnv2", steps=200_000),
        },
        "table3": {
            "tiny": _tiny("digits-ncsnv2"),
            "laptop": _laptop(
                "digits-ncsnv2",
                steps=2000,
                trainings=2,
                features="digits",
                count=500,
                seeds=3,
                grid=_FINE,
            ),
            "paper": _paper("cifar10-unet", steps=300_000),
        },
    }
)
"""By the name of the table and of the scale."""
