"""Metrics by name, and which of them can be had of what there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascore.errors import InputError
from cascore.evaluation.judge import Judge
from cascore.measurement import METRIC_NAMES, METRICS, Metric, ReferenceFacts
from cascore.metrics import Classifier, Inception

__all__ = ["Viewed", "usable_metrics"]


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
    references: Mapping[str, ReferenceFacts]
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
    unknown = sorted(set(wanted or ()) - set(METRIC_NAMES))
    if unknown:
        raise InputError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRIC_NAMES)}")
    stacked = view.classifier is not None and _channels(view) == 3
    default = ["frechet", "kernel", "precision-recall", "memorisation"] + ["modes"] * stacked
    asked = [name for name in METRIC_NAMES if name in (default if wanted is None else wanted)]
    metrics = {metric.asked: metric for metric in METRICS.values()}
    lacks = {name: _lack(metrics[name], view) for name in asked}
    return (
        [name for name in asked if lacks[name] is None],
        [f"{name} left out: {lack}" for name, lack in lacks.items() if lack is not None],
    )


def _lack(metric: Metric, view: Viewed) -> str | None:
    """Why a metric cannot be had, None if it can."""
    judge = view.judge
    if metric.needs == "images":
        if not judge.sets:
            return "it needs real images, and statistics are not images"
        if min(judge.count, *(each.count for each in judge.sets.values())) <= metric.over:
            return f"it needs more than {metric.over} images on both sides"
    if metric.needs == "splits" and not {"train", "test"} <= judge.sets.keys():
        return "it needs the training images and held-out ones"
    if metric.needs == "classifier" and view.classifier is None:
        return "there is no classifier of these images"
    if metric.needs == "inception" and not isinstance(view.judge.extractor, Inception):
        return "it is of the extractor inception"
    return None


def _channels(view: Viewed) -> int:
    return next((each.shape[0] for each in view.judge.sets.values()), 0)
