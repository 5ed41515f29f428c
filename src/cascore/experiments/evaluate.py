"""How good images are: Fréchet distances to training and held-out images, beside their floors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.datasets import ImageSet
from cascore.errors import InputError
from cascore.metrics import (
    FeatureExtractor,
    FeatureMoments,
    Floor,
    at_floor,
    frechet_distance,
    memorisation_ratio,
    real_floor,
)
from cascore.pixels import to_float

__all__ = ["Judge", "Judged", "new_judge"]

FLOOR_REPEATS = 20


@dataclass(frozen=True)
class Judged:
    """A Fréchet distance and what real images score at the same counts.

    Attributes:
        value: the distance.
        floor: of real images; `floor.extrapolated` where there are too few to measure it.
        at_floor: whether the distance lies within the floor's spread, and is not to be ranked.
    """

    value: float
    floor: Floor
    at_floor: bool


@dataclass(frozen=True, eq=False)
class Judge:
    """Real images, seen through one extractor.

    Attributes:
        extractor: what makes features.
        train: the images that the model saw.
        test: images that it did not see.
        train_moments: of the features of train.
        test_moments: of the features of test.
        real_features: [M, D] of all real images, for the floor.
        count: generated images that are to be judged.
        train_floor: of `count` images against as many as train has.
        test_floor: of `count` images against as many as test has.
    """

    extractor: FeatureExtractor
    train: ImageSet
    test: ImageSet
    train_moments: FeatureMoments
    test_moments: FeatureMoments
    count: int
    train_floor: Floor
    test_floor: Floor

    def to_train(self, images: Tensor) -> Judged:
        """The distance of uint8 images [count, C, H, W] to the training images."""
        return _judged(self._moments(images), self.train_moments, self.train_floor)

    def to_test(self, images: Tensor) -> Judged:
        """The distance of uint8 images [count, C, H, W] to the held-out images."""
        return _judged(self._moments(images), self.test_moments, self.test_floor)

    def memorisation(self, images: Tensor) -> float:
        """Median pixel distance to the nearest training image over that to held-out images."""
        sets = (images, self.train.images, self.test.images)
        return memorisation_ratio(*map(to_float, sets), seed=0).ratio

    def _moments(self, images: Tensor) -> FeatureMoments:
        if len(images) != self.count:
            raise InputError(
                f"{len(images)} images, but the floors are for {self.count}: judge as many"
            )
        return FeatureMoments.of(self.extractor(images), extractor=self.extractor.identity)


def new_judge(*, extractor: FeatureExtractor, train: ImageSet, test: ImageSet, count: int) -> Judge:
    """A judge of `count` images; measures the floors once.

    Raises:
        InputError: count below 2, or images that the extractor does not take.
    """
    if count < 2:
        raise InputError(f"a Fréchet distance needs at least 2 images, not {count}")
    seen, held_out = extractor(train.images), extractor(test.images)
    everything = torch.cat([seen, held_out])
    train_floor, test_floor = (
        real_floor(
            everything,
            count=count,
            reference_count=reference,
            repeats=FLOOR_REPEATS,
            seed=0,
            extractor=extractor.identity,
        )
        for reference in (len(seen), len(held_out))
    )
    return Judge(
        extractor=extractor,
        train=train,
        test=test,
        train_moments=FeatureMoments.of(seen, extractor=extractor.identity),
        test_moments=FeatureMoments.of(held_out, extractor=extractor.identity),
        count=count,
        train_floor=train_floor,
        test_floor=test_floor,
    )


def _judged(images: FeatureMoments, reference: FeatureMoments, floor: Floor) -> Judged:
    value = frechet_distance(images, reference)
    return Judged(value=value, floor=floor, at_floor=at_floor(value, floor))
