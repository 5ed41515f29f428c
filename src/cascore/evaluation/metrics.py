"""The metrics of an evaluation: which can be had, and the numbers of some images by each."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from cascore.data.stacked import STACKED
from cascore.errors import InputError
from cascore.evaluation.classes import of_classes
from cascore.evaluation.reference import Reference, drawn
from cascore.measurement import METRIC_NAMES, METRICS, Measurement, Metric
from cascore.metrics import (
    Classifier,
    DensityCoverage,
    Inception,
    PrecisionRecall,
    density_coverage,
    inception_score,
    kernel_distance,
    memorisation_ratio,
    mode_coverage,
    precision_recall,
    published_kl,
    stacked_labels,
)
from cascore.pixels import to_float
from cascore.stats import Estimate

COUNTED, TOTAL = 25_000, 26_000
"""Of the authors' program: images that it counts (twice each), and what it divides by."""
_FEW = 1000
_PARTS_OF_SCORE, _SEED = 10, 0
_BY_NAME = {metric.group: metric for metric in METRICS.values()}


def usable_metrics(
    names: Sequence[str] | None, reference: Reference, *, as_published: bool, by_class: bool
) -> tuple[list[str], list[str]]:
    """The metrics to compute, and what to say of those that cannot be; None asks for the usual."""
    unknown = sorted(set(names or ()) - set(METRIC_NAMES))
    if unknown:
        raise InputError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRIC_NAMES)}")
    default = ["frechet", "kernel", "precision-recall", "memorisation"]
    if reference.classifier is not None and reference.data.name in STACKED:
        default.append("modes")
    if by_class:
        default.append("classes")
    names = default if names is None else names
    lacks = {name: _lack(_BY_NAME[name], reference) for name in METRIC_NAMES if name in names}
    if not by_class and "classes" in lacks:
        lacks["classes"] = "no class was asked for: --guidance 1 asks for each"
    usable = [name for name, lack in lacks.items() if lack is None]
    notices = [f"{name} left out: {lack}" for name, lack in lacks.items() if lack is not None]
    if as_published and "modes" not in usable:
        raise InputError(
            "as published is the divergence of modes, which is not measured here; it is of stacked"
            " digits, or of a data set with a classifier and --metrics modes"
        )
    if not usable:
        raise InputError(f"nothing can be measured: {'; '.join(notices)}")
    return usable, notices


def _lack(metric: Metric, reference: Reference) -> str | None:
    """Why a metric cannot be had, None if it can."""
    if metric.needs == "images":
        if not reference.sets:
            return "it needs real images, and statistics are not images"
        counts = (images.count for images in reference.sets.values())
        if min(reference.count, *counts) <= metric.over:
            return f"it needs more than {metric.over} images on both sides"
    if metric.needs == "splits" and not {"train", "test"} <= reference.sets.keys():
        return "it needs the training images and held-out ones"
    if metric.needs == "classifier" and reference.classifier is None:
        return "there is no classifier of these images"
    if metric.needs == "inception" and not isinstance(reference.extractor, Inception):
        return "it is of the extractor inception"
    return None


def needs_features(name: str) -> bool:
    """Whether a metric is of features, and not of pixels."""
    return _BY_NAME[name].needs not in ("splits", "classifier")


def needs_real_features(name: str) -> bool:
    """Whether a metric is of features of real images too."""
    return _BY_NAME[name].needs in ("moments", "images", "classes")


def few_images(usable: Sequence[str], reference: Reference) -> list[str]:
    """What to say of numbers that so few images do not hold."""
    dimension, words = reference.extractor.dimension, {"train": "training", "test": "held-out"}
    counts: dict[str, float] = {"judged": reference.count}
    for split, facts in reference.facts.items():
        counts[words.get(split, "real")] = facts.count or math.inf
    notices = []
    scarce = [f"{count} {which}" for which, count in counts.items() if count <= dimension]
    if scarce and "frechet" in usable:
        notices.append(
            f"Fréchet distance: {', '.join(scarce)} images are no more than the {dimension}"
            " dimensions of the features; it is too large, by what depends on the counts: compare"
            " it at the same counts only"
        )
    if "frechet" in usable and reference.sets and None in reference.floors.values():
        total = sum(images.count for images in reference.sets.values())
        notices.append(
            f"no column of real images: {total} are too few to set apart {reference.count} and"
            f" judge them in {dimension} dimensions"
        )
    least = min(reference.count, reference.facts[reference.split].count or 0)
    neighbours = [name for name in usable if _BY_NAME[name].over]
    if neighbours and reference.sets and least < _FEW:
        notices.append(
            f"{' and '.join(neighbours)}: among {least} images the nearest neighbours are far away,"
            " so that poor images too lie within their reach; below some"
            f" {_FEW:,} images the numbers do not say that images are good"
        )
    return notices


# --- the metrics: each fills numbers into a measurement of these images ---------------------------


def measured(
    usable: Sequence[str],
    blank: Measurement,
    images: Tensor,
    reference: Reference,
    *,
    labels: Tensor | None = None,
    seen: Tensor | None = None,
) -> Iterator[Measurement]:
    """The numbers of uint8 images [count, C, H, W]; `blank` is what they all share.

    Those of classes need the `labels` that the images were asked for by. `seen` is features
    [count, D] of the images, where they are there already.
    """
    for name in usable:
        if not needs_features(name):
            yield from _MEASURES[name](blank, images, reference)
            continue
        seen = reference.see(images) if seen is None else seen
        if name == "classes":
            assert labels is not None
            yield from of_classes(blank, images, seen, labels, reference)
        else:
            part = replace(blank, extractor=reference.extractor.identity)
            yield from _MEASURES[name](part, seen, reference)


def _number(part: Measurement, metric: str, measured: Estimate, **more: Any) -> Measurement:
    numbers = (measured.mean, measured.error)
    value, error = (number if math.isfinite(number) else None for number in numbers)
    return replace(part, metric=metric, value=value, error=error, **more)


def _frechet(part: Measurement, features: Tensor, reference: Reference) -> Iterator[Measurement]:
    """The distance to all images of each split."""
    for split, facts in reference.facts.items():
        part = replace(part, references=(facts,), floor=reference.floors[split])
        yield _number(part, "frechet", reference.frechet(features, split))


def _against_as_many(
    part: Measurement,
    features: Tensor,
    reference: Reference,
    *,
    group: str,
    measure: Callable[..., Estimate | PrecisionRecall | DensityCoverage],
) -> Iterator[Measurement]:
    """Against as many real images, at most, of the split that samples are to be like."""
    real = drawn(reference.features[reference.split], len(features))
    facts = replace(reference.facts[reference.split], count=len(real))
    settings = {"neighbours": _BY_NAME[group].over} if _BY_NAME[group].over else {}
    part = replace(part, references=(facts,), settings=settings)
    numbers = measure(features, real, **settings)
    by_name = {group: numbers} if isinstance(numbers, Estimate) else numbers._asdict()
    for name, number in by_name.items():
        yield _number(part, name, number)


def _inception_score(
    part: Measurement, features: Tensor, reference: Reference
) -> Iterator[Measurement]:
    extractor, parts = reference.extractor, min(_PARTS_OF_SCORE, len(features))
    assert isinstance(extractor, Inception)
    settings = {"splits": parts, "seed": _SEED}
    score = inception_score(extractor.unbiased_logits(features), **settings)
    yield _number(part, "inception-score", score, settings=settings)


def mode_labels(images: Tensor, classifier: Classifier) -> tuple[Tensor, int]:
    """The class of each image uint8 [N, C, H, W], int64 [N], and how many classes there are.

    Of three channels each is classified by itself, if the classifier is of one, and together they
    are one of 1,000.
    """
    channels, height, width = images.shape[1:]
    if channels == 3 and classifier.channels == (1,):
        digits = classifier.classify(images.reshape(-1, 1, height, width))
        return stacked_labels(digits.reshape(-1, 3)), 1000
    return classifier.classify(images), classifier.network.head.out_features


def _modes(part: Measurement, images: Tensor, reference: Reference) -> Iterator[Measurement]:
    classifier = reference.classifier
    assert classifier is not None
    labels, modes = mode_labels(images, classifier)
    reached = mode_coverage(labels, modes)
    part = replace(part, extractor=classifier.identity, settings={"modes": modes})
    yield _number(part, "modes", Estimate(reached.covered, reached.covered_error))
    settings = {"modes": modes, "perfect": reached.kl_floor}
    yield _number(part, "modes-kl", Estimate(reached.kl, reached.kl_error), settings=settings)
    published = published_kl(reached.kl, counted=COUNTED, total=TOTAL)
    error = 2 * COUNTED / TOTAL * reached.kl_error
    settings = {"modes": modes, "counted": COUNTED, "total": TOTAL}
    yield _number(part, "modes-kl-as-published", Estimate(published, error), settings=settings)


def _memorisation(part: Measurement, images: Tensor, reference: Reference) -> Iterator[Measurement]:
    """Median pixel distance to the nearest training image over that to held-out images."""
    train, test = (reference.sets[split].images for split in ("train", "test"))
    size = min(len(train), len(test))
    sets = (images, drawn(train, size), drawn(test, size))
    ratio = memorisation_ratio(*map(to_float, sets), seed=_SEED)
    facts = (replace(reference.facts[split], count=size) for split in ("train", "test"))
    yield _number(part, "memorisation", ratio, references=tuple(facts))


_Measure = Callable[[Measurement, Tensor, Reference], Iterator[Measurement]]
_MEASURES: Mapping[str, _Measure] = {
    "frechet": _frechet,
    "kernel": partial(_against_as_many, group="kernel", measure=kernel_distance),
    "precision-recall": partial(
        _against_as_many, group="precision-recall", measure=precision_recall
    ),
    "density-coverage": partial(
        _against_as_many, group="density-coverage", measure=density_coverage
    ),
    "modes": _modes,
    "memorisation": _memorisation,
    "inception-score": _inception_score,
}
"""By group of METRICS; given pixels where METRICS says that splits or a classifier are needed."""
