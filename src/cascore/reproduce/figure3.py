"""Figure 3 on models of our own: Fréchet distance against step size, for both samplers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cascore.datasets import load_images
from cascore.experiments.config import Experiment, Sampler
from cascore.experiments.generate import generate, seeds_from
from cascore.experiments.presets import PRESETS
from cascore.metrics import (
    FeatureExtractor,
    FeatureMoments,
    frechet_estimate,
    load_extractor,
    real_floor,
)
from cascore.pixels import to_uint8
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded

__all__ = ["SCALES", "Point", "Scale", "points", "units"]

_SEED_APART = 10**6  # between the first pictures of two sampling seeds
_BATCH = 250
_FLOOR_REPEATS = 20


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is trained, and which step sizes are tried on it.

    Attributes:
        presets: one plain and one adversarial.
        steps: of training, of each preset.
        extractor: of the features, by name.
        count: pictures of each measurement.
        seeds: measurements of each step size, with other noise.
        kappas: by preset and n_sigma, of consistent sampling at all training levels, stretched.
        etas: by n_sigma, of annealed Langevin sampling.
    """

    presets: tuple[str, str]
    steps: tuple[int, int]
    extractor: str
    count: int
    seeds: int
    kappas: Mapping[str, Mapping[int, tuple[float, ...]]]
    etas: Mapping[int, tuple[float, ...]]


_DIGITS = ("digits", "digits-adversarial")
_CIFAR_10 = ("cifar10-ncsnv2", "cifar10-ncsnv2-adversarial")
_COARSE = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0)
_FINE = (1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 4.0)

SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(
            presets=_DIGITS,
            steps=(2, 2),
            extractor="digits",
            count=12,
            seeds=2,
            kappas={"digits": {1: (1.5, 2.0), 2: (1.5,)}, "digits-adversarial": {1: (1.5,)}},
            etas={1: (0.5,)},
        ),
        "laptop": Scale(
            presets=_DIGITS,
            steps=(1000, 500),
            extractor="digits",
            count=500,
            seeds=2,
            kappas={name: {1: _COARSE, 5: (1.5, 4.0, 12.0)} for name in _DIGITS},
            etas={1: (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)},
        ),
        "paper": Scale(
            presets=_CIFAR_10,
            steps=(300_000, 300_000),
            extractor="inception",
            count=5000,
            seeds=2,
            kappas={name: {1: _FINE, 5: _FINE} for name in _CIFAR_10},
            etas={1: (0.05, 0.1, 0.15, 0.18, 0.2, 0.25, 0.3), 5: (0.02, 0.03, 0.036, 0.045, 0.06)},
        ),
    }
)


@dataclass(frozen=True)
class Point:
    """One step size of one sampler on one model."""

    preset: str
    sampler: Sampler

    @property
    def knob(self) -> float:
        """Kappa of consistent sampling, eta of annealed Langevin sampling."""
        value = self.sampler.kappa if self.sampler.method == "cas" else self.sampler.eta
        assert value is not None
        return value

    def unit(self, seed: int) -> str:
        """The name of one of its measurements."""
        return (
            f"{self.preset}.{self.sampler.method}-{self.sampler.n_sigma}.{self.knob:g}.seed-{seed}"
        )


def points(scale: Scale) -> list[Point]:
    """Every step size that is tried; the cheap chains of all models first."""
    found = [
        Point(preset, Sampler(method="cas", order=1, steps=None, n_sigma=n, kappa=kappa))
        for preset in scale.presets
        for n, kappas in scale.kappas[preset].items()
        for kappa in kappas
    ] + [
        Point(preset, Sampler(method="als", order=1, steps=None, n_sigma=n, eta=eta))
        for preset in scale.presets
        for n, etas in scale.etas.items()
        for eta in etas
    ]
    return sorted(found, key=lambda each: each.sampler.n_sigma)


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What real images score, then each step size with each seed."""
    scale = SCALES[scale_name]
    experiments = {
        name: seeded(PRESETS[name], steps=steps, seed=0)
        for name, steps in zip(scale.presets, scale.steps, strict=True)
    }
    judge = _Judge(scale, experiments[scale.presets[0]].data.name, workshop)
    common = {"count": scale.count, "extractor": scale.extractor, "data": judge.data}

    def floor(done: Records) -> Mapping[str, Any]:
        del done
        return judge.floor()

    def of(point: Point, seed: int) -> Unit:
        experiment = experiments[point.preset]
        settings = {
            **common,
            "experiment": asdict(experiment),
            "sampler": asdict(point.sampler),
            "first_seed": seed * _SEED_APART,
        }

        def measure(done: Records) -> Mapping[str, Any]:
            del done
            return judge.measure(experiment, point.sampler, first_seed=seed * _SEED_APART)

        return Unit(point.unit(seed), settings, measure)

    measured = [of(point, seed) for point in points(scale) for seed in range(scale.seeds)]
    return [Unit("floor", common, floor), *measured]


class _Judge:
    """Real images and their features, loaded when the first measurement needs them."""

    def __init__(self, scale: Scale, data: str, workshop: Workshop) -> None:
        self.scale, self.data, self.workshop = scale, data, workshop
        self.trained = lru_cache(maxsize=1)(workshop.trained)
        self._loaded: tuple[FeatureExtractor, FeatureMoments, str] | None = None

    def measure(
        self, experiment: Experiment, sampler: Sampler, *, first_seed: int
    ) -> dict[str, Any]:
        extractor, reference, digest = self._reference()
        trained = self.trained(experiment)
        samples = generate(
            trained.model.denoiser,
            shape=trained.model.shape,
            seeds=seeds_from(first_seed, self.scale.count),
            sampler=sampler,
            schedule=experiment.schedule,
            device=self.workshop.device,
            batch_size=_BATCH,
        )
        return {
            "raw": _distance(samples.raw, extractor, reference),
            "denoised": _distance(samples.denoised, extractor, reference),
            "nfe": samples.nfe,
            "checkpoint": trained.digest,
            "extractor": asdict(extractor.identity),
            "reference": digest,
        }

    def floor(self) -> dict[str, Any]:
        """What as many real images score against as many as the training set has."""
        extractor, reference, digest = self._reference()
        features = [extractor(load_images(self.data, s).images) for s in ("train", "test")]
        floor = real_floor(
            torch.cat(features),
            count=self.scale.count,
            reference_count=reference.count,
            repeats=_FLOOR_REPEATS,
            seed=0,
            extractor=extractor.identity,
        )
        return {**asdict(floor), "reference": digest}

    def _reference(self) -> tuple[FeatureExtractor, FeatureMoments, str]:
        if self._loaded is None:
            train = load_images(self.data, "train")
            extractor = load_extractor(
                self.scale.extractor, image_shape=train.shape, device=self.workshop.device
            )
            moments = FeatureMoments.of(extractor(train.images), extractor=extractor.identity)
            self._loaded = extractor, moments, train.digest
        return self._loaded


def _distance(
    images: Tensor, extractor: FeatureExtractor, reference: FeatureMoments
) -> dict[str, float]:
    found = frechet_estimate(extractor(to_uint8(images)), reference)
    return {"value": found.value, "error": found.error}
