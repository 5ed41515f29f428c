"""The two sets of points in the plane of the paper's Figure 2, drawn once and for all."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cascore.data.images import DataRecord, array_digest, require_split
from cascore.errors import InputError

_COUNTS = {"train": 10_000, "test": 2_000}

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointSet:
    """One split of a set of points in the plane, float32 [N, 2]; others raise InputError."""

    name: str
    split: str
    points: Tensor
    record: DataRecord

    def __post_init__(self) -> None:
        points = self.points
        if points.dtype != torch.float32 or points.ndim != 2 or points.shape[1] != 2:
            raise InputError(
                f"points of {self.name!r} are {points.dtype} of shape {tuple(points.shape)};"
                " expected float32 [N, 2]"
            )

    @property
    def count(self) -> int:
        """How many points there are."""
        return len(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point, (2,)."""
        return tuple(self.points.shape[1:])

    @cached_property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Of all coordinates."""
        points = self.points.double()
        return float(points.mean()), float(points.std(correction=0))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and coordinates: equal digests, equal sets."""
        return array_digest(self.points.numpy())


def draw_25_gaussians(count: int, generator: np.random.Generator) -> Points:
    """The 25 Gaussians [count, 2]: centres 2 {-2, ..., 2}², deviation 0.05, all over 2.828.

    Each centre gets the same number of points, to within one; their order is random.
    """
    axis = 2.0 * np.arange(-2, 3)
    centres = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(25, 2)
    which = generator.permutation(np.arange(count) % 25)
    points: Points = (centres[which] + 0.05 * generator.standard_normal((count, 2))) / 2.828
    return points


def draw_swiss_roll(count: int, generator: np.random.Generator) -> Points:
    """The swiss roll [count, 2] seen from its side: (t cos t, t sin t) + 0.25 z, all over 7.5.

    t is uniform over [3 pi / 2, 9 pi / 2], which is the roll of Marsland's book and of
    scikit-learn, without the axis along which it is flat.
    """
    t = 1.5 * np.pi * (1 + 2 * generator.random(count))
    spiral = np.stack([t * np.cos(t), t * np.sin(t)], axis=-1)
    return (spiral + 0.25 * generator.standard_normal((count, 2))) / 7.5


_DRAWN = {"25-gaussians": (draw_25_gaussians, 25), "swiss-roll": (draw_swiss_roll, 26)}
"""How they are drawn, and the first half of the key of their random numbers."""
_IN_WORDS = {
    "25-gaussians": "centres 2 {-2..2}^2, equally many each; deviation 0.05; over 2.828",
    "swiss-roll": "(t cos t, t sin t), t in [1.5 pi, 4.5 pi]; noise 0.25; over 7.5",
}
POINT_SETS = tuple(_DRAWN)


def load_point_set(name: str, split: str) -> PointSet:
    """One of POINT_SETS: 10,000 points to train on, 2,000 to test with, the same on every call."""
    require_split(split)
    draw, number = _DRAWN[name]
    key = (number, int(split == "test"))
    generator = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64)))
    record = DataRecord(
        source=f"drawn with numpy's Philox, key {key}",
        split="train and test are independent draws, 10,000 and 2,000 points",
        preparation=(_IN_WORDS[name],),
    )
    points = torch.from_numpy(draw(_COUNTS[split], generator).astype(np.float32))
    return PointSet(name=name, split=split, points=points, record=record)
