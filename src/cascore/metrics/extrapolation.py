"""The Fréchet distance of infinitely many generated images: by its law in 1/N, by the jackknife."""

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


def frechet_jackknife(features: Tensor, reference: FeatureMoments, *, blocks: int) -> Tensor:
    """Pseudo-values of the Fréchet distance, one for each block left out (Quenouille 1956).

    With D of all N images and D_j of all but block j, G blocks in all, the pseudo-value of block j
    is G D - (G - 1) D_j. Their mean is the distance without its bias in 1/N, which is the line of
    `frechet_extrapolated` through N and N (1 - 1/G); what is left is of order 1/N². Their scatter
    is that of independent values (Tukey 1958): `cascore.stats.estimate` of them has the error, and
    those of two samplers at the same seeds can be subtracted in pairs, so that common noise drops
    out. Near 0, where the distance is quadratic in what was drawn, the error is too large, never
    too small on average (Efron and Stein 1981). The reference is taken as given.

    Features [N, D] are in the order in which they were drawn; block j is the j-th of `blocks` equal
    runs. Returns [blocks] in float64. At least 2 blocks that divide N and leave more images than
    dimensions, or InputError.
    """
    projected, count = Projected.of(features, reference), len(features)
    left = count - count // max(1, blocks)
    if blocks < 2 or count % blocks or left <= reference.dimension:
        raise InputError(
            f"{count} images in {blocks} blocks; expected at least 2 blocks of equally many images,"
            f" and without one of them more images than the {reference.dimension} dimensions"
        )
    rows = torch.arange(count)
    whole = projected.distance(rows)
    values = []
    for block in rows.view(blocks, -1):
        kept = torch.cat([rows[: int(block[0])], rows[int(block[-1]) + 1 :]])
        values.append(blocks * whole - (blocks - 1) * projected.distance(kept))
    return torch.tensor(values, dtype=torch.float64)
