"""Real images seen through an extractor, and what generated images score against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from cascore.data import ImageSet
from cascore.errors import InputError
from cascore.measurement import at_floor
from cascore.metrics import (
    DensityCoverage,
    FeatureExtractor,
    FeatureMoments,
    Floor,
    FrechetEstimate,
    KernelDistance,
    Memorisation,
    PrecisionRecall,
    density_coverage,
    extract_features,
    frechet_estimate,
    kernel_distance,
    memorisation_ratio,
    precision_recall,
    real_floor,
)
from cascore.pixels import to_float

__all__ = ["Judge", "Judged", "Real", "drawn", "new_judge"]

FLOOR_REPEATS = 20
FEW_REPEATS, LARGE = 4, 512  # a distance in thousands of dimensions takes many seconds
DRAW = 0  # seed of the subsets of real images


@dataclass(frozen=True)
class Judged:
    """A Fréchet distance and what real images score at the same counts.

    Attributes:
        value: the distance.
        error: its standard error over the judged images.
        floor: of real images; `floor.extrapolated` where there are too few to measure it, None
            where there are too few for that.
    """

    value: float
    error: float
    floor: Floor | None

    @property
    def at_floor(self) -> bool:
        """Whether the distance lies within the floor's spread, and is not to be ranked."""
        return at_floor(self.value, self.floor)


@dataclass(frozen=True, eq=False)
class Real:
    """The features of a set of real images, or what is known of them.

    Attributes:
        features: [M, D] of all images; None where moments are all that there is.
        moments: of the features.
        floor: of as many other real images as are to be judged; None if there are too few.
    """

    features: Tensor | None
    moments: FeatureMoments
    floor: Floor | None


@dataclass(frozen=True, eq=False)
class Judge:
    """Real images, and an extractor to see them and others through.

    Attributes:
        extractor: what makes features.
        sets: real images by their split, train and test, or all; splits share no image.
        moments: by split, of references of which there are no images.
        count: images that are to be judged.
    """

    extractor: FeatureExtractor
    sets: Mapping[str, ImageSet]
    moments: Mapping[str, FeatureMoments]
    count: int

    @cached_property
    def reals(self) -> Mapping[str, Real]:
        """Features, moments and floor of each split, computed when first asked for."""
        seen = {
            split: extract_features(self.extractor, images.images)
            for split, images in self.sets.items()
        }
        everything = torch.cat([*seen.values(), torch.empty(0, self.extractor.dimension)])
        reals = {
            split: Real(
                features=features,
                moments=FeatureMoments.of(features, extractor=self.extractor.identity),
                floor=_floor(everything, len(features), self.count, self.extractor),
            )
            for split, features in seen.items()
        }
        known = {split: Real(None, moments, None) for split, moments in self.moments.items()}
        return {**reals, **known}

    def features(self, images: Tensor) -> Tensor:
        """Features [count, D] of uint8 images [count, C, H, W].

        Raises:
            InputError: another number of images than the floors are for.
        """
        if len(images) != self.count:
            raise InputError(
                f"{len(images)} images, but the floors are for {self.count}: judge as many"
            )
        return extract_features(self.extractor, images)

    def frechet(self, features: Tensor, split: str) -> Judged:
        """The Fréchet distance to a set of real images."""
        real = self.reals[split]
        found: FrechetEstimate = frechet_estimate(features, real.moments)
        return Judged(value=found.value, error=found.error, floor=real.floor)

    def kernel(self, features: Tensor, split: str) -> KernelDistance:
        """The kernel distance to as many real images as there are judged ones, at most."""
        return kernel_distance(features, self._as_many(features, split))

    def precision_recall(self, features: Tensor, split: str) -> PrecisionRecall:
        """Precision and recall against as many real images as there are judged ones, at most."""
        return precision_recall(features, self._as_many(features, split))

    def density_coverage(self, features: Tensor, split: str) -> DensityCoverage:
        """Density and coverage against as many real images as there are judged ones, at most."""
        return density_coverage(features, self._as_many(features, split))

    def memorisation(self, images: Tensor) -> Memorisation:
        """Median pixel distance to the nearest training image over that to held-out images."""
        if not {"train", "test"} <= self.sets.keys():
            raise InputError("there are no training and held-out images to look for copies in")
        train, test = (self.sets[split].images for split in ("train", "test"))
        size = min(len(train), len(test))
        sets = (images, drawn(train, size), drawn(test, size))
        return memorisation_ratio(*map(to_float, sets), seed=DRAW)

    def _as_many(self, features: Tensor, split: str) -> Tensor:
        real = self.reals[split].features
        if real is None:
            raise InputError(f"the features of {split} are not known, only their statistics")
        return drawn(real, len(features))


def drawn(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, a random draw that is the same each time, in their order."""
    if len(rows) <= count:
        return rows
    generator = torch.Generator().manual_seed(DRAW)
    return rows[torch.randperm(len(rows), generator=generator)[:count].sort().values]


def new_judge(
    *,
    extractor: FeatureExtractor,
    sets: Sequence[ImageSet],
    moments: Mapping[str, FeatureMoments] = MappingProxyType({}),
    count: int,
) -> Judge:
    """A judge of `count` images.

    Args:
        extractor: what makes features.
        sets: real images of different splits, which share none.
        moments: by split, of references of which there are no images.
        count: images that are to be judged.

    Raises:
        InputError: count below 2.
    """
    if count < 2:
        raise InputError(f"a Fréchet distance needs at least 2 images, not {count}")
    return Judge(extractor, {each.split: each for each in sets}, moments, count)


def _floor(
    everything: Tensor, reference: int, count: int, extractor: FeatureExtractor
) -> Floor | None:
    total, dimension = everything.shape
    if count + reference > total and total < 2 * (dimension + 1):
        return None  # too few even to extrapolate
    return real_floor(
        everything,
        count=count,
        reference_count=reference,
        repeats=FLOOR_REPEATS if dimension <= LARGE else FEW_REPEATS,
        seed=0,
        extractor=extractor.identity,
    )
