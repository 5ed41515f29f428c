"""Mean and covariance of features in float64, streamed and merged, and what made the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.checks import checked_features

__all__ = ["ExtractorIdentity", "FeatureExtractor", "FeatureMoments"]


@dataclass(frozen=True)
class ExtractorIdentity:
    """What made the features: features of different identities are never compared."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name!r} (digest {self.digest[:12]})"


class FeatureExtractor(Protocol):
    """Turns uint8 images [N, C, H, W] into float32 features [N, dimension]."""

    @property
    def identity(self) -> ExtractorIdentity:
        """Name and digest of whatever decides the features."""

    @property
    def dimension(self) -> int:
        """Length of one feature vector."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, dimension] of images uint8 [N, C, H, W]."""


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Count, mean and scatter of features seen so far, all that a Fréchet distance needs.

    Immutable: `update` and `merge` return new moments, so a stream is
    `moments = moments.update(batch)` and shards are `a.merge(b)`, in any grouping.
    The scatter, the sum of outer products of the deviations from the mean, is what is kept
    because it exists for any count and adds up; `covariance` divides it.

    Attributes:
        count: How many feature vectors were counted.
        mean: [D] float64, zeros while nothing was counted.
        scatter: [D, D] float64.
        extractor: What made the features.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    extractor: ExtractorIdentity

    @classmethod
    def empty(cls, dimension: int, *, extractor: ExtractorIdentity) -> FeatureMoments:
        """Moments of no feature vector, the neutral element of `merge`."""
        if dimension < 1:
            raise InputError(f"dimension is {dimension}; a feature vector has at least 1 number")
        mean = torch.zeros(dimension, dtype=torch.float64)
        scatter = torch.zeros(dimension, dimension, dtype=torch.float64)
        return cls(count=0, mean=mean, scatter=scatter, extractor=extractor)

    @classmethod
    def of(cls, features: Tensor, *, extractor: ExtractorIdentity) -> FeatureMoments:
        """Moments of features [N, D], two passes in float64; N may be 0.

        Raises:
            InputError: Not a tensor, not floating point, not [N, D], or not finite.
        """
        features = checked_features(features, "features")
        count, dimension = features.shape
        if count == 0:
            return cls.empty(dimension, extractor=extractor)
        mean = features.mean(dim=0)
        deviations = features - mean
        return cls(count=count, mean=mean, scatter=deviations.T @ deviations, extractor=extractor)

    @property
    def dimension(self) -> int:
        """Length of one feature vector."""
        return len(self.mean)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance [D, D] in float64: the scatter over count - 1.

        Raises:
            InputError: Fewer than 2 vectors were counted.
        """
        if self.count < 2:
            raise InputError(
                f"a covariance needs at least 2 feature vectors, these moments count {self.count}"
            )
        return self.scatter / (self.count - 1)

    def update(self, features: Tensor) -> FeatureMoments:
        """Moments of everything counted so far and of features [N, D] on top."""
        return self.merge(FeatureMoments.of(features, extractor=self.extractor))

    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """Moments of both sets together: the pairwise update of Chan, Golub & LeVeque (1983).

        Raises:
            InputError: The two come from different extractors or dimensions.
        """
        require_comparable(self, other)
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        shift = other.mean - self.mean
        return FeatureMoments(
            count=count,
            mean=self.mean + shift * (other.count / count),
            scatter=self.scatter
            + other.scatter
            + torch.outer(shift, shift) * (self.count * other.count / count),
            extractor=self.extractor,
        )


def require_comparable(a: FeatureMoments, b: FeatureMoments) -> None:
    """Raise InputError unless both moments come from one extractor and have one dimension."""
    if a.extractor != b.extractor:
        raise InputError(
            f"moments of different extractors cannot meet: {a.extractor} and {b.extractor}; "
            "compute both with the same extractor"
        )
    if a.dimension != b.dimension:
        raise InputError(
            f"features of {a.dimension} and of {b.dimension} dimensions cannot meet, "
            f"although both claim to come from {a.extractor}"
        )
