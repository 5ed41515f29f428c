"""The Fréchet distance of infinitely many generated images, by its law in 1/N."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.frechet import FeatureMoments, Projected


@dataclass(frozen=True)
class FrechetPoint:
    """The mean distance of `sets` disjoint sets of `count` images, and its standard error."""

    count: int
    value: float
    error: float
    sets: int


@dataclass(frozen=True)
class FrechetExtrapolation:
    """The fit value(N) = limit + slope / N to distances at several sample sizes.

    Attributes:
        limit: The fit's value at infinite N; slightly negative where the truth is 0.
        limit_error: Its standard error over the generated images; the reference is fixed, and that
            the law itself holds is taken for granted: compare `misfit`.
        slope: The bias times N; the reference's own share of the bias is not in it.
        misfit: Root mean square distance of the points from the fit. Beyond `limit_error`, the
            smallest counts are too small for the law.
        points: What was fitted, by growing count; the last has all images.
    """

    limit: float
    limit_error: float
    slope: float
    misfit: float
    points: tuple[FrechetPoint, ...]


def frechet_extrapolated(
    features: Tensor, reference: FeatureMoments, *, counts: Sequence[int], seed: int
) -> FrechetExtrapolation:
    """Fréchet distance at infinite N, after Chong & Forsyth (2020): a line in 1/N, read at 0.

    At every count the images are dealt into as many disjoint sets as there are, so that each point
    has the smallest noise possible. Points weigh as their counts do, for the variance that remains
    is proportional to 1/count. The points share their images, so the scatter about the line says
    nothing of the limit's error; that is the infinitesimal jackknife of the limit itself, a
    weighted sum of distances whose influences `frechet_estimate` defines.

    The law is the first term of a series in D/N, so counts must exceed the dimension D, and several
    times D is better: with unit Gaussians the next term is D/(8 N) of the first. A count costs, per
    set, what `frechet_estimate` costs for that many images, at D = 2048 about 10 s on one thread.

    Features are [N, D], counts at least two different sample sizes below N, each above D; others
    raise InputError. N itself is added. The seed decides who is in which set.
    """
    projected = Projected.of(features, reference)
    total, dimension, smaller = len(features), reference.dimension, sorted(set(counts))
    if len(smaller) < 2 or smaller[0] <= dimension or smaller[-1] >= total:
        raise InputError(
            f"counts are {list(counts)}; expected at least two different ones above {dimension}, "
            f"the features' dimension, and below {total}, the number of images. The bias falls as "
            "1/N only where there are more images than dimensions: generate more if there are not"
        )
    sizes = torch.tensor([*smaller, total], dtype=torch.float64)
    design = torch.stack([torch.ones_like(sizes), 1 / sizes], dim=1)
    root = sizes.sqrt()
    # From the values at the points to the limit and the slope, [2, points].
    solution = torch.linalg.pinv(design * root[:, None]) * root
    generator = torch.Generator().manual_seed(seed)
    points, derivative = [], torch.zeros(total, dtype=torch.float64)
    for size, weight in zip(sizes.tolist(), solution[0].tolist(), strict=True):
        point, share = _point(projected, int(size), generator)
        points.append(point)
        derivative += weight * share
    values = torch.tensor([point.value for point in points], dtype=torch.float64)
    line = solution @ values
    return FrechetExtrapolation(
        limit=float(line[0]),
        limit_error=float(derivative.square().sum().sqrt()),
        slope=float(line[1]),
        misfit=float((design @ line - values).square().mean().sqrt()),
        points=tuple(points),
    )


def _point(
    projected: Projected, size: int, generator: torch.Generator
) -> tuple[FrechetPoint, Tensor]:
    """The mean distance of disjoint sets of one size, and its derivative by each image's weight."""
    total, distances = len(projected.features), []
    sets, derivative = total // size, torch.zeros(total, dtype=torch.float64)
    order = torch.randperm(total, generator=generator)
    for rows in order[: sets * size].view(sets, size):
        distances.append(projected.distance(rows))
        derivative[rows] = projected.influence(rows) / (sets * size)
    error = float(derivative.square().sum().sqrt())
    return FrechetPoint(size, sum(distances) / sets, error, sets), derivative
