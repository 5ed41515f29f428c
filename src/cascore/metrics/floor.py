"""The floor of a Fréchet distance: what real images score, at the counts that were compared.

A Fréchet distance between finite sets is biased upwards, so a perfect generator does not score 0.
What N generated images of a perfect generator score against a reference of R images is what N real
images score against R *other* real images. So the floor is measured on disjoint sets: a subset of
the reference would share its images, and score what only a model that repeats its data can reach.

Which real images to give: everything real that is exchangeable, such as the features of train and
test split together. With `count` the number of generated images and `reference_count` that of the
reference they were compared with, the splits then have the same sizes as the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.frechet import frechet_distance
from cascore.metrics.moments import ExtractorIdentity, FeatureMoments

__all__ = ["Floor", "at_floor", "real_floor"]

_SHARES = (2, 3, 4, 6)  # extrapolation: sets of 1/2 to 1/6 of the real images


@dataclass(frozen=True)
class Floor:
    """The Fréchet distance between real images and other real images.

    Attributes:
        mean: Mean over random splits.
        spread: Standard deviation of a single split's distance.
        count: Images on the side of the samples.
        reference_count: Images on the side of the reference.
        repeats: Random splits (at each size, if extrapolated).
        extrapolated: True if there were too few real images to measure these counts.
        extractor: What made the features.
    """

    mean: float
    spread: float
    count: int
    reference_count: int
    repeats: int
    extrapolated: bool
    extractor: ExtractorIdentity


def real_floor(
    features: Tensor,
    *,
    count: int,
    reference_count: int,
    repeats: int,
    seed: int,
    extractor: ExtractorIdentity,
) -> Floor:
    """Floor of the distance between `count` samples and `reference_count` reference images.

    If count + reference_count real images exist, it is measured: random disjoint sets of these
    sizes, `repeats` times. Otherwise it is measured on equal disjoint sets of 1/2, 1/3, 1/4 and
    1/6 of the real images and extrapolated. With h = 1/count + 1/reference_count, the distance
    between two samples of one distribution is quadratic in the difference of their moments, whose
    covariance is proportional to h. Hence mean = b h + c h² without a constant term (b for the
    limit of many images, c for the next order) and spread proportional to h.

    The splits ignore labels, as a generator does. A held-out set that was drawn to have the
    classes of the reference in equal shares scores less.

    Args:
        features: Features [M, D] of all real images that there are, see the module's docstring.
        count: Generated images that are to be judged, at least 2.
        reference_count: Images of the reference they are judged against, at least 2.
        repeats: Random splits, at least 2. The mean is known to about spread / √repeats if it is
            measured, to 1.5 times that if it is extrapolated.
        seed: Decides the splits.
        extractor: What made the features.

    Raises:
        InputError: A number out of range, features that are not finite [M, D], or an extrapolation
            from fewer than 6 (D + 1) images, whose covariances would be singular.
    """
    if min(count, reference_count, repeats) < 2:
        raise InputError(
            f"count is {count}, reference_count {reference_count}, repeats {repeats}; "
            "each must be at least 2"
        )
    everything = FeatureMoments.of(features, extractor=extractor)  # checks type, shape and values
    draw = _SplitDraw(
        features=features.detach().to(device="cpu", dtype=torch.float64),
        repeats=repeats,
        generator=torch.Generator().manual_seed(seed),
        extractor=extractor,
    )
    extrapolated = count + reference_count > everything.count
    if extrapolated:
        _check_enough(everything, count, reference_count)
        sizes = [everything.count // share for share in _SHARES]
        measured = {2 / size: draw.distances(size, size) for size in sizes}
        mean, spread = _extrapolate(measured, 1 / count + 1 / reference_count)
    else:
        distances = draw.distances(count, reference_count)
        mean, spread = float(distances.mean()), float(distances.std())
    return Floor(
        mean=mean,
        spread=spread,
        count=count,
        reference_count=reference_count,
        repeats=repeats,
        extrapolated=extrapolated,
        extractor=extractor,
    )


def at_floor(distance: float, floor: Floor) -> bool:
    """Whether a distance cannot be told from that of real images: at most mean + 2 spread.

    A distance far *below* the floor passes too, but is no success: the samples are closer to the
    reference than new real images are. Look at `memorisation_ratio` then.
    """
    return distance <= floor.mean + 2 * floor.spread


@dataclass(frozen=True, eq=False)
class _SplitDraw:
    """Random disjoint sets out of features [M, D], and the distances between them."""

    features: Tensor
    repeats: int
    generator: torch.Generator
    extractor: ExtractorIdentity

    def distances(self, first: int, second: int) -> Tensor:
        """Distances [repeats] between sets of these sizes, first + second <= M."""
        return torch.tensor(
            [self._distance(first, second) for _ in range(self.repeats)], dtype=torch.float64
        )

    def _distance(self, first: int, second: int) -> float:
        order = torch.randperm(len(self.features), generator=self.generator)
        a, b = (
            FeatureMoments.of(self.features[rows], extractor=self.extractor)
            for rows in order[: first + second].tensor_split([first])
        )
        return frechet_distance(a, b)


def _check_enough(everything: FeatureMoments, count: int, reference_count: int) -> None:
    needed = max(_SHARES) * (everything.dimension + 1)
    if everything.count < needed:
        raise InputError(
            f"{everything.count} real images cannot be split into {count} and {reference_count}, "
            f"and to extrapolate from smaller sets takes at least {needed} images for "
            f"{everything.dimension} feature dimensions; give more real images or smaller counts"
        )


def _extrapolate(measured: dict[float, Tensor], h: float) -> tuple[float, float]:
    """Mean and spread at h of distances measured at other h: mean = b h + c h², spread ∝ h."""
    known = torch.tensor(list(measured), dtype=torch.float64)
    # Divided by h the distances have one spread at every h, as least squares want it.
    ratios = torch.stack(list(measured.values())) / known[:, None]
    line = torch.stack([torch.ones_like(known), known], dim=1)
    b, c = torch.linalg.lstsq(line, ratios.mean(dim=1, keepdim=True)).solution[:, 0].tolist()
    mean = b * h + c * h**2
    return max(0.0, mean), float(ratios.std(dim=1).square().mean().sqrt()) * h
