"""Metrics by name: which of them can be had, and their numbers as values with errors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from cascore.errors import InputError
from cascore.experiments.judge import Judge, Judged
from cascore.experiments.records import FloorFacts, Reference
from cascore.metrics import (
    Classifier,
    ExtractorIdentity,
    Inception,
    inception_score,
    mode_coverage,
    published_kl,
    stacked_labels,
)

__all__ = ["GROUPS", "METRICS", "Measured", "Viewed", "measure", "usable_metrics"]

METRICS = (
    "frechet",
    "kernel",
    "precision-recall",
    "density-coverage",
    "modes",
    "memorisation",
    "inception-score",
)
"""What can be asked for; one question may have several numbers for an answer."""

GROUPS: Mapping[str, str] = {
    "frechet": "frechet",
    "kernel": "kernel",
    "precision": "precision-recall",
    "recall": "precision-recall",
    "density": "density-coverage",
    "coverage": "density-coverage",
    "modes": "modes",
    "modes-kl": "modes",
    "modes-kl-as-published": "modes",
    "memorisation": "memorisation",
    "inception-score": "inception-score",
}
"""Which of METRICS a number answers."""

SPLITS_OF_SCORE, SEED = 10, 0
COUNTED, TOTAL = 25_000, 26_000
"""Of the authors' program: images that it counts (twice each), and what it divides by."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number of some images.

    Attributes:
        metric: A name of GROUPS.
        value: None where it is infinite.
        error: Its standard error, None where there is none.
        references: What the images were compared with.
        extractor: What made features, None for pixels.
        settings: Of the metric.
        floor: Of a Fréchet distance.
    """

    metric: str
    value: float | None
    error: float | None
    references: tuple[Reference, ...] = ()
    extractor: ExtractorIdentity | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    floor: FloorFacts | None = None


@dataclass(frozen=True, eq=False)
class Viewed:
    """What the metrics of an evaluation share.

    Attributes:
        judge: Real images seen through the extractor.
        references: What a record says of its sets, by split.
        classifier: Of the images, or of each of three channels; None if there is none.
        as_published: Whether to give the divergence of modes as the authors' program prints it too.
    """

    judge: Judge
    references: Mapping[str, Reference]
    classifier: Classifier | None
    as_published: bool


def usable_metrics(wanted: Sequence[str] | None, view: Viewed) -> tuple[list[str], list[str]]:
    """The metrics to compute, and what to say of those that cannot be.

    Args:
        wanted: Names of METRICS; by default frechet, kernel, precision-recall, memorisation, and
            modes of stacked images.
        view: What there is.

    Raises:
        InputError: No such metric.
    """
    unknown = sorted(set(wanted or ()) - set(METRICS))
    if unknown:
        raise InputError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRICS)}")
    stacked = view.classifier is not None and _channels(view) == 3
    default = ["frechet", "kernel", "precision-recall", "memorisation"] + ["modes"] * stacked
    asked = [name for name in METRICS if name in (default if wanted is None else wanted)]
    lacks = {name: _lack(name, view) for name in asked}
    return (
        [name for name in asked if lacks[name] is None],
        [f"{name} left out: {lack}" for name, lack in lacks.items() if lack is not None],
    )


def _lack(name: str, view: Viewed) -> str | None:
    """Why a metric cannot be had, None if it can."""
    reals = view.judge.reals
    if name in ("kernel", "precision-recall", "density-coverage"):
        if any(real.features is None for real in reals.values()):
            return "it needs real images, and statistics are not images"
        if name != "kernel" and min(view.judge.count, *_sizes(view)) <= _most_neighbours(name):
            return f"it needs more than {_most_neighbours(name)} images on both sides"
    if name == "memorisation" and not {"train", "test"} <= {
        split for split, real in reals.items() if real.images is not None
    }:
        return "it needs the training images and held-out ones"
    if name == "modes" and view.classifier is None:
        return "there is no classifier of these images"
    if name == "inception-score" and not isinstance(view.judge.extractor, Inception):
        return "it is of the extractor inception"
    return None


def _most_neighbours(name: str) -> int:
    return 3 if name == "precision-recall" else 5


def _sizes(view: Viewed) -> list[int]:
    return [len(real.features) for real in view.judge.reals.values() if real.features is not None]


def _channels(view: Viewed) -> int:
    images = next(iter(view.judge.reals.values())).images
    return 0 if images is None else images.shape[0]


def measure(metrics: Sequence[str], images: Tensor, view: Viewed) -> list[Measured]:
    """The numbers of uint8 images [count, C, H, W], for metrics that `usable_metrics` allows.

    Fréchet distances are to every set of real images; other comparisons with real images are with
    the training images (or the one set that there is), as many as there are images.
    """
    found: list[Measured] = []
    features = view.judge.features(images)
    for name in metrics:
        found += _MEASURES[name](images, features, view)
    return found


def _frechet(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del images
    found = []
    for split, reference in view.references.items():
        judged = view.judge.frechet(features, split)
        found.append(
            Measured(
                metric="frechet",
                value=judged.value,
                error=judged.error,
                references=(reference,),
                extractor=view.judge.extractor.identity,
                floor=_floor_facts(judged),
            )
        )
    return found


def _floor_facts(judged: Judged) -> FloorFacts | None:
    floor = judged.floor
    if floor is None:
        return None
    return FloorFacts(
        mean=floor.mean,
        spread=floor.spread,
        repeats=floor.repeats,
        extrapolated=floor.extrapolated,
    )


def _kernel(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del images
    split = next(iter(view.references))
    found = view.judge.kernel(features, split)
    return [_compared("kernel", found.value, found.error, view, split, found.reference_count, {})]


def _precision_recall(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del images
    split = next(iter(view.references))
    found = view.judge.precision_recall(features, split)
    used, settings = found.reference_count, {"neighbours": found.neighbours}
    return [
        _compared("precision", found.precision, found.precision_error, view, split, used, settings),
        _compared("recall", found.recall, found.recall_error, view, split, used, settings),
    ]


def _density_coverage(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del images
    split = next(iter(view.references))
    found = view.judge.density_coverage(features, split)
    used, settings = found.reference_count, {"neighbours": found.neighbours}
    return [
        _compared("density", found.density, found.density_error, view, split, used, settings),
        _compared("coverage", found.coverage, found.coverage_error, view, split, used, settings),
    ]


def _compared(
    metric: str,
    value: float,
    error: float,
    view: Viewed,
    split: str,
    used: int,
    settings: Mapping[str, Any],
) -> Measured:
    return Measured(
        metric=metric,
        value=value,
        error=error,
        references=(replace(view.references[split], count=used),),
        extractor=view.judge.extractor.identity,
        settings=settings,
    )


def _modes(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del features
    classifier = view.classifier
    assert classifier is not None
    channels, height, width = images.shape[1:]
    if channels == 3:
        each = classifier.classify(images.reshape(-1, 1, height, width))
        labels, modes = stacked_labels(each.reshape(-1, 3)), 1000
    else:
        labels, modes = classifier.classify(images), 10
    found = mode_coverage(labels, modes)
    identity, settings = classifier.identity, {"modes": modes}
    numbers = [
        Measured(
            metric="modes",
            value=found.covered,
            error=found.covered_error,
            extractor=identity,
            settings=settings,
        ),
        Measured(
            metric="modes-kl",
            value=found.kl,
            error=found.kl_error,
            extractor=identity,
            settings={**settings, "perfect": found.kl_floor},
        ),
    ]
    if view.as_published:
        factor = 2 * COUNTED / TOTAL
        numbers.append(
            Measured(
                metric="modes-kl-as-published",
                value=published_kl(found.kl, counted=COUNTED, total=TOTAL),
                error=factor * found.kl_error,
                extractor=identity,
                settings={**settings, "counted": COUNTED, "total": TOTAL},
            )
        )
    return numbers


def _memorisation(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del features
    found = view.judge.memorisation(images)
    return [
        Measured(
            metric="memorisation",
            value=found.ratio if math.isfinite(found.ratio) else None,
            error=found.error if math.isfinite(found.error) else None,
            references=tuple(
                replace(view.references[split], count=found.references)
                for split in ("train", "test")
            ),
        )
    ]


def _inception_score(images: Tensor, features: Tensor, view: Viewed) -> list[Measured]:
    del images
    extractor = view.judge.extractor
    assert isinstance(extractor, Inception)
    splits = min(SPLITS_OF_SCORE, len(features))
    found = inception_score(extractor.unbiased_logits(features), splits=splits, seed=SEED)
    return [
        Measured(
            metric="inception-score",
            value=found.value,
            error=found.error if math.isfinite(found.error) else None,
            extractor=extractor.identity,
            settings={"splits": splits, "seed": SEED},
        )
    ]


_MEASURES: Mapping[str, Callable[[Tensor, Tensor, Viewed], list[Measured]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "precision-recall": _precision_recall,
    "density-coverage": _density_coverage,
    "modes": _modes,
    "memorisation": _memorisation,
    "inception-score": _inception_score,
}
