"""What a study measures samples against: real images seen by one or several extractors."""

from dataclasses import asdict
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cascore.data import ImageSet, load_images
from cascore.experiment.generate import generate, seeds_from
from cascore.metrics import (
    FeatureExtractor,
    FeatureMoments,
    frechet_estimate,
    load_extractor,
    real_floor,
)
from cascore.pixels import to_uint8
from cascore.reproduce.sampler import Sampler
from cascore.reproduce.workshop import Trained, Workshop
from cascore.sampling import Samples

__all__ = ["BATCH", "SEED_APART", "Judge", "first_seed"]

SEED_APART = 10**6
"""Between the first pictures of two sampling seeds."""
BATCH = 250
"""Pictures at a time."""
_FLOOR_REPEATS = 20


class _Reference(NamedTuple):
    extractor: FeatureExtractor
    features: Tensor
    moments: FeatureMoments


class Judge:
    """Real images and their features, loaded when the first measurement needs them.

    Args:
        data: an image set by name; its training split is the reference.
        extractors: by name.
        workshop: where to compute.
    """

    def __init__(self, data: str, extractors: tuple[str, ...], workshop: Workshop) -> None:
        self.data, self.extractors, self._workshop = data, extractors, workshop
        self._references: dict[str, _Reference] = {}

    @cached_property
    def train(self) -> ImageSet:
        """The training split."""
        return load_images(self.data, "train")

    def sample(self, trained: Trained, sampler: Sampler, *, seed: int, count: int) -> Samples:
        """`count` pictures of one chain each; `seed` counts sampling seeds from 0."""
        return generate(
            trained.model.denoiser,
            shape=trained.model.shape,
            seeds=seeds_from(first_seed(seed), count),
            sampler=sampler.now,
            schedule=trained.model.experiment.schedule,
            device=self._workshop.device,
            batch_size=BATCH,
        )

    def distances(self, images: Tensor) -> dict[str, dict[str, float]]:
        """Fréchet distance and its standard error by extractor, of pixels in [0, 1]."""
        return {name: _distance(images, self._reference(name)) for name in self.extractors}

    def measured(self, trained: Trained, samples: Samples) -> dict[str, Any]:
        """What every record of a model's samples holds: distances, and what they follow from."""
        return {
            "raw": self.distances(samples.raw),
            "denoised": self.distances(samples.denoised),
            "nfe": samples.nfe,
            "checkpoint": trained.digest,
            **self.provenance(),
        }

    def floors(self, *, count: int) -> dict[str, dict[str, Any]]:
        """`floor` by extractor."""
        return {name: self.floor(name, count=count) for name in self.extractors}

    def floor(self, extractor: str, *, count: int) -> dict[str, Any]:
        """What as many real images score against as many as the training set has."""
        reference = self._reference(extractor)
        test = reference.extractor(load_images(self.data, "test").images)
        return asdict(
            real_floor(
                torch.cat([reference.features, test]),
                count=count,
                reference_count=reference.moments.count,
                repeats=_FLOOR_REPEATS,
                seed=0,
                extractor=reference.extractor.identity,
            )
        )

    def provenance(self) -> dict[str, Any]:
        """Digest of the reference set and the identities of the extractors."""
        return {
            "reference": self.train.digest,
            "extractors": {
                name: asdict(self._reference(name).extractor.identity) for name in self.extractors
            },
        }

    def _reference(self, name: str) -> _Reference:
        if name not in self._references:
            extractor = load_extractor(
                name, image_shape=self.train.shape, device=self._workshop.device
            )
            features = extractor(self.train.images)
            moments = FeatureMoments.of(features, extractor=extractor.identity)
            self._references[name] = _Reference(extractor, features, moments)
        return self._references[name]


def first_seed(seed: int) -> int:
    """The seed of the first picture of a sampling seed."""
    return seed * SEED_APART


def _distance(images: Tensor, reference: _Reference) -> dict[str, float]:
    found = frechet_estimate(reference.extractor(to_uint8(images)), reference.moments)
    return {"value": found.mean, "error": found.error}
