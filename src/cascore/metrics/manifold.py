"""Whether samples lie where real images lie, and whether they reach all of it: by nearest balls.

Each set's manifold is seen as the union of balls about its features, each with the radius of its
k-th nearest neighbour in its own set. Precision and density ask how the generated images lie in
the real balls (fidelity); recall asks how the real images lie in the generated balls, coverage how
many real balls hold a generated image (diversity). A generator that collapses onto a few good
images has high precision and low recall.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.features import checked_pair
from cascore.metrics.neighbours import nearest_neighbours
from cascore.stats import Estimate


class PrecisionRecall(NamedTuple):
    """Shares of images in the other set's balls, from 0 to 1.

    Attributes:
        precision: Of generated images in a ball of a real image; its error is over the generated
            images, the real ones being fixed.
        recall: Of real images in a ball of a generated image; its error is over the real images.
    """

    precision: Estimate
    recall: Estimate


class DensityCoverage(NamedTuple):
    """How densely real balls are filled and how many of them are.

    Attributes:
        density: Real balls that a generated image lies in, over k, on average; about 1 for equal
            distributions, above it where samples crowd. Its error is over the generated images.
        coverage: Share of real balls that hold a generated image, from 0 to 1. For equal
            distributions and equally many images it is expected at 1 - C(N - 1, k) / C(2 N - 1, k),
            about 1 - 2⁻ᵏ, not at 1. Its error is over the real images.
    """

    density: Estimate
    coverage: Estimate


def precision_recall(
    generated: Tensor, reference: Tensor, *, neighbours: int = 3, chunk: int = 1024
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    Given the balls, each image is in or out independently: the errors are binomial, after Agresti &
    Coull (1998), so that a share of 0 or 1 has one too. They leave out what the balls' own images
    contribute. No bootstrap adds it: an image drawn twice is its own nearest neighbour, which
    shrinks the balls. Both shares depend on both counts; compare only equal ones.

    Features are [N, D] and [M, D], N and M above k = `neighbours`, at least 1; the paper's is 3.
    Any others raise InputError. `chunk` images compared at a time bound the memory.
    """
    generated, reference = _checked(generated, reference, neighbours, chunk)
    real_balls, _ = _members(generated, reference, _radii(reference, neighbours, chunk), chunk)
    made_balls, _ = _members(reference, generated, _radii(generated, neighbours, chunk), chunk)
    return PrecisionRecall(share(real_balls > 0), share(made_balls > 0))


def density_coverage(
    generated: Tensor, reference: Tensor, *, neighbours: int = 5, chunk: int = 1024
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020), which outliers among the images hardly move.

    Both use the balls of real images only. Given these, the generated images count balls
    independently: the error of the density is that of a mean. That of the coverage is binomial over
    the real images, as in `precision_recall`. Coverage depends on both counts.

    Arguments are those of `precision_recall`; the paper's k is 5.
    """
    generated, reference = _checked(generated, reference, neighbours, chunk)
    radii = _radii(reference, neighbours, chunk)
    per_point, per_ball = _members(generated, reference, radii, chunk)
    balls = per_point.to(torch.float64) / neighbours
    density = Estimate(float(balls.mean()), float(balls.std()) / len(balls) ** 0.5)
    return DensityCoverage(density, share(per_ball > 0))


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


def share(hits: Tensor) -> Estimate:
    """A share, with the standard error of a binomial one with two hits and two misses more."""
    count = len(hits) + 4
    careful = (float(hits.sum()) + 2) / count
    return Estimate(float(hits.sum()) / len(hits), math.sqrt(careful * (1 - careful) / count))
