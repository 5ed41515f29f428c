"""Figure 3 on models of our own: Fréchet distance against step size, for both samplers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler
from cascore.reproduce.tuning import at_training_levels
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded

__all__ = ["SCALES", "Point", "Subject", "points", "units"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, and the step sizes that are tried on it.

    Attributes:
        preset: what is trained, with seed 0.
        steps: of training.
        precision: of training.
        extractors: of the features, by name.
        count: pictures of each measurement.
        seeds: measurements of each step size, with other noise.
        kappas: by n_sigma, of consistent sampling at all training levels, stretched.
        etas: by n_sigma, of annealed Langevin sampling.
    """

    preset: str
    steps: int
    precision: Literal["float32", "bfloat16"]
    extractors: tuple[str, ...]
    count: int
    seeds: int
    kappas: Mapping[int, tuple[float, ...]]
    etas: Mapping[int, tuple[float, ...]]

    @property
    def experiment(self) -> Experiment:
        """What is trained."""
        return seeded(PRESETS[self.preset], steps=self.steps, seed=0, precision=self.precision)

    @property
    def both(self) -> tuple[int, ...]:
        """At which n_sigma both samplers are scanned."""
        return tuple(n for n in self.kappas if n in self.etas)

    def floor(self, extractor: str) -> str:
        """The unit of what real images score, shared by all networks of the same data."""
        return f"{self.experiment.data.name}.real-{self.count}.{extractor}"


def _tiny(preset: str) -> Subject:
    return Subject(
        preset=preset,
        steps=2,
        precision="float32",
        extractors=("digits", "pixels"),
        count=12,
        seeds=2,
        kappas={1: (1.5, 2.0), 2: (1.5,)},
        etas={1: (0.5,)},
    )


def _digits(preset: str, *, steps: int, etas_of_five: tuple[float, ...] = ()) -> Subject:
    of_one = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
    return Subject(
        preset=preset,
        steps=steps,
        precision="bfloat16",
        # A classifier's features hardly move by noise of deviation 0.01, the others do.
        extractors=("digits", "random-convolution"),
        count=500,
        seeds=2,
        kappas={
            1: (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 27.0),
            5: (1.5, 3.0, 6.0, 12.0, 27.0),
        },
        etas={1: of_one, 5: etas_of_five} if etas_of_five else {1: of_one},
    )


def _fashion(preset: str, *, steps: int) -> Subject:
    """Thirty times the cost of the digits: few step sizes, few pictures, and n_sigma 1 alone."""
    return Subject(
        preset=preset,
        steps=steps,
        precision="bfloat16",
        extractors=("fashion-mnist", "random-convolution"),
        count=100,
        seeds=2,
        kappas={1: (1.5, 2.0, 3.0, 4.0, 6.0, 12.0)},
        etas={1: (0.2, 0.5, 0.8, 1.1, 1.4)},
    )


def _paper(preset: str) -> Subject:
    kappas = (1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 4.0)
    return Subject(
        preset=preset,
        steps=300_000,
        precision="float32",
        extractors=("inception",),
        count=5000,
        seeds=2,
        kappas={1: kappas, 5: kappas},
        etas={1: (0.05, 0.1, 0.15, 0.18, 0.2, 0.25, 0.3), 5: (0.02, 0.03, 0.036, 0.045, 0.06)},
    )


SCALES: Mapping[str, tuple[Subject, ...]] = MappingProxyType(
    {
        "tiny": (_tiny("digits"), _tiny("digits-adversarial")),
        "laptop": (
            _digits("digits", steps=4000, etas_of_five=(0.1, 0.2, 0.4, 0.7)),
            _digits("digits-adversarial", steps=4000, etas_of_five=(0.1, 0.2, 0.4, 0.7)),
            _digits("digits-ncsnv2", steps=2000),
            _fashion("fashion-mnist", steps=16_000),
        ),
        "paper": (
            _paper("cifar10-ncsnv2"),
            _paper("cifar10-ncsnv2-adversarial"),
            _paper("cifar10-unet"),
            _paper("cifar10-unet-adversarial"),
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


def points(subject: Subject) -> list[Point]:
    """Every step size that is tried on a network; the cheap chains first."""
    samplers = [
        at_training_levels("cas", n_sigma=n, knob=kappa)
        for n, kappas in subject.kappas.items()
        for kappa in kappas
    ] + [
        at_training_levels("als", n_sigma=n, knob=eta)
        for n, etas in subject.etas.items()
        for eta in etas
    ]
    samplers.sort(key=lambda each: each.n_sigma)
    return [Point(subject.preset, each) for each in samplers]


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What real images score, then each step size with each seed, one network after the other."""
    trained = lru_cache(maxsize=1)(workshop.trained)

    @lru_cache
    def judge_of(data: str, extractors: tuple[str, ...]) -> Judge:
        return Judge(data, extractors, workshop)

    def floor(subject: Subject, extractor: str) -> Unit:
        judge = judge_of(subject.experiment.data.name, subject.extractors)

        def measure(done: Records) -> Mapping[str, Any]:
            del done
            return judge.floor(extractor, count=subject.count)

        settings = {"data": judge.data, "count": subject.count, "extractor": extractor}
        return Unit(subject.floor(extractor), settings, measure)

    def of(subject: Subject, point: Point, seed: int) -> Unit:
        experiment = subject.experiment
        judge = judge_of(experiment.data.name, subject.extractors)
        settings = {
            "count": subject.count,
            "extractors": list(subject.extractors),
            "data": judge.data,
            "experiment": asdict(experiment),
            "sampler": asdict(point.sampler),
            "first_seed": first_seed(seed),
        }

        def measure(done: Records) -> Mapping[str, Any]:
            del done
            model = trained(experiment)
            samples = judge.sample(model, point.sampler, seed=seed, count=subject.count)
            return judge.measured(model, samples)

        return Unit(point.unit(seed), settings, measure)

    subjects = SCALES[scale_name]
    floors = {
        subject.floor(extractor): floor(subject, extractor)
        for subject in subjects
        for extractor in subject.extractors
    }
    measured = [
        of(subject, point, seed)
        for subject in subjects
        for point in points(subject)
        for seed in range(subject.seeds)
    ]
    return [*floors.values(), *measured]
