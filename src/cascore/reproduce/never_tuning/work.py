"""What never tuning costs: the search of `cascore tune` on the studies' networks."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from cascore.evaluation.search import Candidate, SearchResult, search
from cascore.evaluation.tune import default_candidate, largest_kappa, sampler_of
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler, settings_of, then
from cascore.reproduce.tuning import VALIDATION_SEED
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Trained, Workshop, seeded

__all__ = ["SCALES", "Subject", "units"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model and how it is searched.

    Attributes:
        preset: by name.
        steps: of training.
        precision: of training.
        extractor: of the features, by name.
        calls: numbers of network calls, each searched by itself.
        count: pictures of a block.
        blocks: of seeds for each candidate, and as many others for the last comparison.
        points: of the first grid of kappas.
        rounds: of halving around the best.
    """

    preset: str
    steps: int
    precision: Literal["float32", "bfloat16"]
    extractor: str
    calls: tuple[int, ...]
    count: int
    blocks: int
    points: int = 7
    rounds: int = 3

    @property
    def experiment(self) -> Experiment:
        """What trains the model."""
        return seeded(PRESETS[self.preset], steps=self.steps, seed=0, precision=self.precision)

    def unit(self, calls: int) -> str:
        """The name of the search at a number of calls."""
        return f"{self.preset}.calls-{calls}"


_DIGITS = Subject(
    preset="digits",
    steps=4000,
    precision="bfloat16",
    extractor="digits",
    calls=(5, 8, 12, 20, 50),
    count=256,
    blocks=4,
)
_CIFAR_10 = Subject(
    preset="cifar10-unet",
    steps=300_000,
    precision="float32",
    extractor="inception",
    calls=(8, 12, 20),
    count=2500,
    blocks=4,
)

SCALES: Mapping[str, tuple[Subject, ...]] = MappingProxyType(
    {
        "tiny": (
            replace(
                _DIGITS,
                steps=2,
                precision="float32",
                calls=(2, 4),
                count=6,
                blocks=2,
                points=3,
                rounds=0,
            ),
        ),
        "laptop": (
            _DIGITS,
            replace(_DIGITS, preset="digits-adversarial", calls=(8, 12, 20)),
            replace(
                _DIGITS,
                preset="fashion-mnist",
                steps=16_000,
                extractor="fashion-mnist",
                calls=(8, 12, 20),
                count=100,
            ),
        ),
        "paper": (_CIFAR_10, replace(_CIFAR_10, preset="cifar10-unet-adversarial")),
    }
)


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """A search for each model and number of network calls."""
    trained = lru_cache(maxsize=1)(workshop.trained)
    return [
        _search_unit(subject, judge, calls, trained, workshop)
        for subject in SCALES[scale_name]
        for judge in [Judge(subject.experiment.data.name, (subject.extractor,), workshop)]
        for calls in subject.calls
    ]


def _search_unit(
    subject: Subject,
    judge: Judge,
    calls: int,
    trained: Callable[[Experiment], Trained],
    workshop: Workshop,
) -> Unit:
    orders = (1, 2)

    def measure(done: Records) -> Mapping[str, Any]:
        del done
        model = trained(subject.experiment)

        def distance(candidate: Candidate, block: int) -> float:
            samples = judge.sample(
                model,
                then(sampler_of(candidate, calls=calls)),
                seed=VALIDATION_SEED + block,
                count=subject.count,
            )
            return judge.distances(samples.denoised)[subject.extractor]["value"]

        found = search(
            distance,
            default=default_candidate(subject.experiment.schedule, calls=calls),
            orders=orders,
            largest=largest_kappa(subject.experiment.schedule, calls=calls),
            points=subject.points,
            rounds=subject.rounds,
            blocks=subject.blocks,
            watch=lambda candidate, values: workshop.notify(
                f"{calls} calls, {candidate}: {statistics.fmean(values):.4g}"
            ),
        )
        return {**_told(found), "checkpoint": model.digest, **judge.provenance()}

    settings = {
        "experiment": asdict(subject.experiment),
        "data": judge.data,
        "extractor": subject.extractor,
        "calls": calls,
        "orders": list(orders),
        "default": settings_of(Sampler(steps=calls)),
        "count": subject.count,
        "blocks": subject.blocks,
        "points": subject.points,
        "rounds": subject.rounds,
        "first_seed": first_seed(VALIDATION_SEED),
    }
    return Unit(subject.unit(calls), settings, measure)


def _told(found: SearchResult) -> dict[str, Any]:
    """A search in JSON's own types."""
    return {
        "curve": [
            {**asdict(each), "values": values} for each, values in sorted(found.curve.items())
        ],
        "default": asdict(found.default),
        "best": asdict(found.best),
        "fresh": {
            "default": found.fresh[found.default],
            "best": found.fresh[found.best],
        },
    }
