"""Whether samples lie where real images lie, and whether they reach all of it: by nearest balls.

Each set's manifold is seen as the union of balls about its features, each with the radius of its
k-th nearest neighbour in its own set. Precision and density ask how the generated images lie in
the real balls (fidelity); recall asks how the real images lie in the generated balls, coverage how
many real balls hold a generated image (diversity). A generator that collapses onto a few good
images has high precision and low recall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.features import checked_pair
from cascore.metrics.neighbours import nearest_neighbours


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares of images in the other set's balls, each with its standard error.

    Attributes:
        precision: Share of generated images in a ball of a real image, from 0 to 1.
        precision_error: Standard error over the generated images, the real ones being fixed.
        recall: Share of real images in a ball of a generated image, from 0 to 1.
        recall_error: Standard error over the real images, the generated ones being fixed.
        neighbours: The k of the k-th nearest neighbour.
        count: Number of generated images.
        reference_count: Number of real images.
    """

    precision: float
    precision_error: float
    recall: float
    recall_error: float
    neighbours: int
    count: int
    reference_count: int


@dataclass(frozen=True)
class DensityCoverage:
    """How densely real balls are filled and how many of them are, each with its standard error.

    Attributes:
        density: Real balls that a generated image lies in, over k, on average; about 1 for equal
            distributions, above it where samples crowd.
        density_error: Standard error over the generated images, the real ones being fixed.
        coverage: Share of real balls that hold a generated image, from 0 to 1. For equal
            distributions and equally many images it is expected at 1 - C(N - 1, k) / C(2 N - 1, k),
            about 1 - 2⁻ᵏ, not at 1.
        coverage_error: Standard error over the real images, the generated ones being fixed.
        neighbours, count, reference_count: As in `PrecisionRecall`.
    """

    density: float
    density_error: float
    coverage: float
    coverage_error: float
    neighbours: int
    count: int
    reference_count: int


def precision_recall(
    generated: Tensor, reference: Tensor, *, neighbours: int = 3, chunk: int = 1024
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    Given the balls, each image is in or out independently: the errors are binomial, after Agresti &
    Coull (1998), so that a share of 0 or 1 has one too. They leave out what the balls' own images
    contribute. No bootstrap adds it: an image drawn twice is its own nearest neighbour, which
    shrinks the balls. Both shares depend on both counts; compare only equal ones.

    Args:
        generated: Features [N, D] of generated images, N > neighbours.
        reference: Features [M, D] of real images, M > neighbours.
        neighbours: k, at least 1; the paper's is 3.
        chunk: Images compared at a time; bounds the memory beyond the features in float64.

    Raises:
        InputError: Features that are not finite [N, D], too few of them for k, two dimensions, or
            neighbours or chunk below 1.
    """
    generated, reference = _checked(generated, reference, neighbours, chunk)
    real_balls, _ = _members(generated, reference, _radii(reference, neighbours, chunk), chunk)
    made_balls, _ = _members(reference, generated, _radii(generated, neighbours, chunk), chunk)
    precision, recall = real_balls > 0, made_balls > 0
    return PrecisionRecall(
        precision=_share(precision),
        precision_error=_binomial_error(precision),
        recall=_share(recall),
        recall_error=_binomial_error(recall),
        neighbours=neighbours,
        count=len(generated),
        reference_count=len(reference),
    )


def density_coverage(
    generated: Tensor, reference: Tensor, *, neighbours: int = 5, chunk: int = 1024
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020), which outliers among the images hardly move.

    Both use the balls of real images only. Given these, the generated images count balls
    independently: the error of the density is that of a mean. That of the coverage is binomial over
    the real images, as in `precision_recall`. Coverage depends on both counts.

    Args and errors are those of `precision_recall`; the paper's k is 5.
    """
    generated, reference = _checked(generated, reference, neighbours, chunk)
    per_point, per_ball = _members(
        generated, reference, _radii(reference, neighbours, chunk), chunk
    )
    balls = per_point.to(torch.float64) / neighbours
    covered = per_ball > 0
    return DensityCoverage(
        density=float(balls.mean()),
        density_error=float(balls.std()) / len(balls) ** 0.5,
        coverage=_share(covered),
        coverage_error=_binomial_error(covered),
        neighbours=neighbours,
        count=len(generated),
        reference_count=len(reference),
    )


def _checked(
    generated: Tensor, reference: Tensor, neighbours: int, chunk: int
) -> tuple[Tensor, Tensor]:
    """Both sets, moved so that the reference's mean is 0, which keeps the distances' digits."""
    if neighbours < 1:
        raise InputError(f"neighbours is {neighbours}; expected at least 1")
    generated, reference = checked_pair(generated, reference, chunk=chunk)
    for features, kind in ((generated, "generated"), (reference, "reference")):
        if len(features) <= neighbours:
            raise InputError(
                f"{len(features)} {kind} images have no {neighbours} neighbours among themselves; "
                f"give at least {neighbours + 1}"
            )
    centre = reference.mean(dim=0)
    return generated - centre, reference - centre


def _radii(centres: Tensor, neighbours: int, chunk: int) -> Tensor:
    """Distance [M] of each centre to its k-th nearest other one; the nearest of all is itself."""
    return nearest_neighbours(centres, centres, k=neighbours + 1, chunk=chunk).distance[:, -1]


def _members(points: Tensor, centres: Tensor, radii: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """How many closed balls each point lies in, [Q], and how many points lie in each ball, [R].

    A squared distance comes from |p|² + |c|² - 2 p·c, and what lies outside by no more than the
    rounding of that sum counts as inside: equal features stay equal.
    """
    per_point = torch.zeros(len(points), dtype=torch.int64)
    per_ball = torch.zeros(len(centres), dtype=torch.int64)
    slack = points.shape[1] * torch.finfo(points.dtype).eps
    for i in range(0, len(points), chunk):
        some = points[i : i + chunk]
        for j in range(0, len(centres), chunk):
            others, radius = centres[j : j + chunk], radii[j : j + chunk]
            norms = some.square().sum(dim=1, keepdim=True) + others.square().sum(dim=1)
            squared = norms - 2 * some @ others.T
            inside = squared <= radius.square() + slack * norms
            per_point[i : i + chunk] += inside.sum(dim=1)
            per_ball[j : j + chunk] += inside.sum(dim=0)
    return per_point, per_ball


def _share(hits: Tensor) -> float:
    return float(hits.sum()) / len(hits)


def _binomial_error(hits: Tensor) -> float:
    """Standard error of a share: that of a binomial with two hits and two misses more."""
    count = len(hits) + 4
    share = (float(hits.sum()) + 2) / count
    return math.sqrt(share * (1 - share) / count)
