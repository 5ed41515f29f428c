"""The metrics of an evaluation: which can be had, and the numbers of some images by each."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from cascore.errors import InputError
from cascore.evaluation.reference import Reference, drawn
from cascore.measurement import METRIC_NAMES, METRICS, Measurement, Metric
from cascore.metrics import (
    Classifier,
    Inception,
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

__all__ = ["COUNTED", "TOTAL", "measured", "mode_labels", "usable_metrics"]

COUNTED, TOTAL = 25_000, 26_000
"""Of the authors' program: images that it counts (twice each), and what it divides by."""
_PARTS_OF_SCORE, _SEED = 10, 0
_BY_NAME = {metric.asked: metric for metric in METRICS.values()}


def usable_metrics(
    names: Sequence[str] | None, reference: Reference, *, as_published: bool
) -> tuple[list[str], list[str]]:
    """The metrics to compute, and what to say of those that cannot be.

    Args:
        names: Of METRIC_NAMES; None takes frechet, kernel, precision-recall, memorisation, and
            modes of stacked images.
        reference: What there is.
        as_published: Whether the divergence of modes is wanted as the authors' program prints it.

    Raises:
        InputError: No such metric, or nothing that can be measured.
    """
    unknown = sorted(set(names or ()) - set(METRIC_NAMES))
    if unknown:
        raise InputError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRIC_NAMES)}")
    default = ["frechet", "kernel", "precision-recall", "memorisation"]
    if reference.classifier is not None and any(s.shape[0] == 3 for s in reference.sets.values()):
        default.append("modes")
    wanted = default if names is None else names
    lacks = {name: _lack(_BY_NAME[name], reference) for name in METRIC_NAMES if name in wanted}
    asked = [name for name, lack in lacks.items() if lack is None]
    notices = [f"{name} left out: {lack}" for name, lack in lacks.items() if lack is not None]
    if as_published and "modes" not in asked:
        raise InputError(
            "as published is the divergence of modes, which is not measured here; it is of stacked"
            " digits, or of a data set with a classifier and --metrics modes"
        )
    if not asked:
        raise InputError(f"nothing can be measured: {'; '.join(notices)}")
    return asked, notices


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


# --- the metrics: each fills numbers into a measurement of these images ---------------------------


def measured(
    asked: Sequence[str], blank: Measurement, images: Tensor, reference: Reference
) -> Iterator[Measurement]:
    """The numbers of uint8 images [count, C, H, W], for metrics that `usable_metrics` allows.

    Args:
        asked: Names of METRIC_NAMES.
        blank: What all numbers of these images share.
        images: What is measured.
        reference: What they are compared with.
    """
    seen: Tensor | None = None
    for name in asked:
        if _BY_NAME[name].needs in ("splits", "classifier"):
            yield from _MEASURES[name](blank, images, reference)
        else:
            seen = reference.see(images) if seen is None else seen
            with_extractor = replace(blank, extractor=reference.extractor.identity)
            yield from _MEASURES[name](with_extractor, seen, reference)


def _frechet(blank: Measurement, features: Tensor, reference: Reference) -> Iterator[Measurement]:
    """The distance to all images of each split."""
    for split, facts in reference.facts.items():
        distance = reference.frechet(features, split)
        yield replace(
            blank,
            metric="frechet",
            value=distance.mean,
            error=distance.error,
            references=(facts,),
            floor=reference.floors[split],
        )


def _as_many(
    blank: Measurement, features: Tensor, reference: Reference
) -> tuple[Measurement, Tensor]:
    """As many real images as judged ones, at most, of the split that samples are to be like."""
    real = drawn(reference.features[reference.split], len(features))
    facts = replace(reference.facts[reference.split], count=len(real))
    return replace(blank, references=(facts,)), real


def _kernel(blank: Measurement, features: Tensor, reference: Reference) -> Iterator[Measurement]:
    part, real = _as_many(blank, features, reference)
    distance = kernel_distance(features, real)
    yield replace(part, metric="kernel", value=distance.value, error=distance.error)


def _precision_recall(
    blank: Measurement, features: Tensor, reference: Reference
) -> Iterator[Measurement]:
    part, real = _as_many(blank, features, reference)
    shares = precision_recall(features, real)
    part = replace(part, settings={"neighbours": shares.neighbours})
    yield replace(part, metric="precision", value=shares.precision, error=shares.precision_error)
    yield replace(part, metric="recall", value=shares.recall, error=shares.recall_error)


def _density_coverage(
    blank: Measurement, features: Tensor, reference: Reference
) -> Iterator[Measurement]:
    part, real = _as_many(blank, features, reference)
    shares = density_coverage(features, real)
    part = replace(part, settings={"neighbours": shares.neighbours})
    yield replace(part, metric="density", value=shares.density, error=shares.density_error)
    yield replace(part, metric="coverage", value=shares.coverage, error=shares.coverage_error)


def _inception_score(
    blank: Measurement, features: Tensor, reference: Reference
) -> Iterator[Measurement]:
    extractor = reference.extractor
    assert isinstance(extractor, Inception)
    parts = min(_PARTS_OF_SCORE, len(features))
    score = inception_score(extractor.unbiased_logits(features), splits=parts, seed=_SEED)
    yield replace(
        blank,
        metric="inception-score",
        value=score.value,
        error=_finite(score.error),
        settings={"splits": parts, "seed": _SEED},
    )


def mode_labels(images: Tensor, classifier: Classifier) -> tuple[Tensor, int]:
    """The class of each image uint8 [N, C, H, W], int64 [N], and how many classes there are.

    Of three channels each is classified by itself, and together they are one of 1,000.
    """
    channels, height, width = images.shape[1:]
    if channels == 3:
        digits = classifier.classify(images.reshape(-1, 1, height, width))
        return stacked_labels(digits.reshape(-1, 3)), 1000
    return classifier.classify(images), 10


def _modes(blank: Measurement, images: Tensor, reference: Reference) -> Iterator[Measurement]:
    classifier = reference.classifier
    assert classifier is not None
    labels, modes = mode_labels(images, classifier)
    reached = mode_coverage(labels, modes)
    part = replace(blank, extractor=classifier.identity, settings={"modes": modes})
    yield replace(part, metric="modes", value=reached.covered, error=reached.covered_error)
    yield replace(
        part,
        metric="modes-kl",
        value=reached.kl,
        error=reached.kl_error,
        settings={"modes": modes, "perfect": reached.kl_floor},
    )
    yield replace(
        part,
        metric="modes-kl-as-published",
        value=published_kl(reached.kl, counted=COUNTED, total=TOTAL),
        error=2 * COUNTED / TOTAL * reached.kl_error,
        settings={"modes": modes, "counted": COUNTED, "total": TOTAL},
    )


def _memorisation(
    blank: Measurement, images: Tensor, reference: Reference
) -> Iterator[Measurement]:
    """Median pixel distance to the nearest training image over that to held-out images."""
    train, test = (reference.sets[split].images for split in ("train", "test"))
    size = min(len(train), len(test))
    sets = (images, drawn(train, size), drawn(test, size))
    ratio = memorisation_ratio(*map(to_float, sets), seed=_SEED)
    facts = (replace(reference.facts[split], count=ratio.references) for split in ("train", "test"))
    yield replace(
        blank,
        metric="memorisation",
        value=_finite(ratio.ratio),
        error=_finite(ratio.error),
        references=tuple(facts),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_Measure = Callable[[Measurement, Tensor, Reference], Iterator[Measurement]]
_MEASURES: Mapping[str, _Measure] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "precision-recall": _precision_recall,
    "density-coverage": _density_coverage,
    "modes": _modes,
    "memorisation": _memorisation,
    "inception-score": _inception_score,
}
"""By what is asked; given pixels where METRICS says that splits or a classifier are needed."""
