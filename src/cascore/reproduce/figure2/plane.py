"""How good points in the plane are: sliced Wasserstein distance, modes, nearness to the roll."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose

__all__ = ["GaussianModes", "directions", "gaussian_modes", "share_near_roll", "sliced_wasserstein"]

CENTRES = (2.0 * torch.cartesian_prod(*2 * [torch.arange(-2, 3.0)])) / 2.828
MODE_STD = 0.05 / 2.828
ROLL_STD = 0.25 / 7.5
GOOD = 4.0  # standard deviations
_CURVE = 4000  # points of the roll's middle line: 0.002 apart, a sixteenth of its deviation


class GaussianModes(NamedTuple):
    """Of samples of the 25 Gaussians.

    Attributes:
        good: share of the samples within 4 standard deviations of a centre; of the mixture itself
            1 - exp(-8) = 0.9997.
        covered: centres with at least one such sample.
    """

    good: float
    covered: int


def gaussian_modes(points: Tensor) -> GaussianModes:
    """Quality and coverage of points [N, 2] with respect to the 25 Gaussians."""
    nearest = torch.cdist(points.double(), CENTRES.double()).min(dim=1)
    good = nearest.values <= GOOD * MODE_STD
    return GaussianModes(float(good.double().mean()), len(set(nearest.indices[good].tolist())))


def share_near_roll(points: Tensor) -> float:
    """Share of points [N, 2] within 4 standard deviations of the swiss roll's middle line."""
    t = torch.linspace(1.5 * math.pi, 4.5 * math.pi, _CURVE, dtype=torch.float64)
    line = torch.stack([t * t.cos(), t * t.sin()], dim=1) / 7.5
    distance = torch.cdist(points.double(), line).min(dim=1).values
    return float((distance <= GOOD * ROLL_STD).double().mean())


def directions(count: int) -> Tensor:
    """Unit vectors [count, 2], keyed: the same on every call."""
    noise = KeyedNoise(0, indices=range(count))
    z = noise.normal((count, 2), purpose=Purpose.DATA, dtype=torch.float64)
    unit: Tensor = z / z.norm(dim=1, keepdim=True)
    return unit


def sliced_wasserstein(a: Tensor, b: Tensor, along: Tensor) -> float:
    """The sliced 2-Wasserstein distance: root of the mean over directions of W2² in one dimension.

    In one dimension the best transport keeps the order, so W2² is the mean squared difference of
    sorted values, exact for equally many points.

    Args:
        a: [N, D].
        b: [N, D], as many.
        along: unit vectors [K, D].

    Raises:
        InputError: different numbers of points.
    """
    if len(a) != len(b):
        raise InputError(f"sliced Wasserstein needs as many points: {len(a)} and {len(b)}")
    first, second = ((x.double() @ along.T).sort(dim=0).values for x in (a, b))
    return float((first - second).square().mean().sqrt())
