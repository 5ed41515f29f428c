"""Figure 3 on models of our own: Fréchet distance against step size, for both samplers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cascore.experiments.config import Sampler
from cascore.experiments.presets import PRESETS
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded

__all__ = ["SCALES", "Point", "Scale", "points", "units"]


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
    judge = Judge(experiments[scale.presets[0]].data.name, (scale.extractor,), workshop)
    trained = lru_cache(maxsize=1)(workshop.trained)
    common = {"count": scale.count, "extractor": scale.extractor, "data": judge.data}

    def floor(done: Records) -> Mapping[str, Any]:
        del done
        found = judge.floor(scale.extractor, count=scale.count)
        return {**found, "reference": judge.train.digest}

    def of(point: Point, seed: int) -> Unit:
        experiment = experiments[point.preset]
        settings = {
            **common,
            "experiment": asdict(experiment),
            "sampler": asdict(point.sampler),
            "first_seed": first_seed(seed),
        }

        def measure(done: Records) -> Mapping[str, Any]:
            del done
            model = trained(experiment)
            samples = judge.sample(model, point.sampler, seed=seed, count=scale.count)
            known = judge.provenance()
            return {
                "raw": judge.distances(samples.raw)[scale.extractor],
                "denoised": judge.distances(samples.denoised)[scale.extractor],
                "nfe": samples.nfe,
                "checkpoint": model.digest,
                "extractor": known["extractors"][scale.extractor],
                "reference": known["reference"],
            }

        return Unit(point.unit(seed), settings, measure)

    measured = [of(point, seed) for point in points(scale) for seed in range(scale.seeds)]
    return [Unit("floor", common, floor), *measured]
