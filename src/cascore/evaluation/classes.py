"""Pictures that were asked for by class: whether they are of it, and how much of it they show."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cascore.data import ImageSet
from cascore.errors import InputError
from cascore.evaluation.reference import Reference, drawn
from cascore.measurement import METRICS, Measurement
from cascore.metrics import density_coverage, precision_recall
from cascore.metrics.manifold import share
from cascore.stats import Estimate

_RECALL, _COVERAGE = METRICS["class-recall"].over, METRICS["class-coverage"].over


def proportional_labels(real: ImageSet | None, classes: Sequence[str], count: int) -> Tensor:
    """Labels int64 [count], class after class, in the proportions of real images.

    Each class gets its share rounded down, and what is left goes to the largest remainders.

    Raises:
        InputError: real images without these classes.
    """
    if real is None or real.labels is None or real.classes != tuple(classes):
        had = "none" if real is None or real.labels is None else ", ".join(real.classes)
        raise InputError(
            f"to ask for classes as often as real images have them, these must have the model's,"
            f" {', '.join(classes) or 'none'}, not {had}"
        )
    exact = count * torch.bincount(real.labels, minlength=len(classes)) / real.count
    shares = exact.floor().long()
    most = (exact - shares).argsort(descending=True, stable=True)
    shares[most[: count - int(shares.sum())]] += 1
    return torch.arange(len(classes)).repeat_interleave(shares)


def of_classes(
    blank: Measurement, images: Tensor, made: Tensor, labels: Tensor, reference: Reference
) -> Iterator[Measurement]:
    """The numbers of uint8 images [count, C, H, W] asked for by these labels, int64 [count].

    `made` is their features [count, D].

    Recall and coverage compare the images of a class with as many real ones of it, so that one
    picture of a class, drawn again and again, scores nothing. A class with too few for that is left
    out. Each number stands for a class, named in its settings, and then for all: the share of all
    pictures, or the mean over classes. Whether a picture is of its class, a classifier says.
    """
    real = reference.sets[reference.split]
    assert real.labels is not None
    part = replace(blank, extractor=reference.extractor.identity)
    theirs = reference.features[reference.split]
    recalls: dict[str, Estimate] = {}
    coverages: dict[str, Estimate] = {}
    counts: dict[str, int] = {}
    for index, name in enumerate(real.classes):
        ours = made[labels == index]
        others = drawn(theirs[real.labels == index], len(ours))
        if min(len(ours), len(others)) > _COVERAGE:
            recalls[name] = precision_recall(ours, others, neighbours=_RECALL).recall
            coverages[name] = density_coverage(ours, others, neighbours=_COVERAGE).coverage
            counts[name] = len(others)
    facts = reference.facts[reference.split]
    for metric, estimates, neighbours in (
        ("class-recall", recalls, _RECALL),
        ("class-coverage", coverages, _COVERAGE),
    ):
        settings: dict[str, Any] = {"neighbours": neighbours}
        over = replace(part, metric=metric)
        for name, number in estimates.items():
            against = replace(over, references=(replace(facts, count=counts[name]),))
            yield _number(against, number, settings | {"class": name})
        if estimates:
            against = replace(over, references=(replace(facts, count=sum(counts.values())),))
            yield _number(against, _mean(list(estimates.values())), settings)
    if reference.classifier is not None:
        right = reference.classifier.classify(images) == labels
        judged = replace(blank, metric="agreement", extractor=reference.classifier.identity)
        for index, name in enumerate(real.classes):
            if bool((labels == index).any()):
                yield _number(judged, share(right[labels == index]), {"class": name})
        yield _number(judged, share(right), {})


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates."""
    count = len(estimates)
    error = math.sqrt(sum(x.error**2 for x in estimates)) / count
    return Estimate(sum(x.mean for x in estimates) / count, error)


def _number(part: Measurement, number: Estimate, settings: dict[str, Any]) -> Measurement:
    return replace(part, value=number.mean, error=number.error, settings=settings)
