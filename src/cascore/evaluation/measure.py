"""The numbers of images by each metric, as values with errors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from cascore.evaluation.metric_choice import Viewed
from cascore.measurement import Floor, ReferenceFacts
from cascore.metrics import (
    Classifier,
    ExtractorIdentity,
    Inception,
    inception_score,
    mode_coverage,
    published_kl,
    stacked_labels,
)

__all__ = ["COUNTED", "TOTAL", "Measured", "measure", "mode_labels"]

SPLITS_OF_SCORE, SEED = 10, 0
COUNTED, TOTAL = 25_000, 26_000
"""Of the authors' program: images that it counts (twice each), and what it divides by."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number of some images.

    Attributes:
        metric: A name of METRICS.
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
    references: tuple[ReferenceFacts, ...] = ()
    extractor: ExtractorIdentity | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    floor: Floor | None = None


def measure(metrics: Sequence[str], images: Tensor, view: Viewed) -> list[Measured]:
    """The numbers of uint8 images [count, C, H, W], for metrics that `usable_metrics` allows.

    Fréchet distances are to every set of real images; other comparisons with real images are with
    the training images (or the one set that there is), as many as there are images.
    """
    found: list[Measured] = []
    features: Tensor | None = None
    for name in metrics:
        if name in _OF_PIXELS:
            found += _OF_PIXELS[name](images, view)
        else:
            features = view.judge.features(images) if features is None else features
            found += _OF_FEATURES[name](features, view)
    return found


def _frechet(features: Tensor, view: Viewed) -> list[Measured]:
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
                floor=judged.floor,
            )
        )
    return found


def _kernel(features: Tensor, view: Viewed) -> list[Measured]:
    split = next(iter(view.references))
    found = view.judge.kernel(features, split)
    return [_compared("kernel", found.value, found.error, view, split, found.reference_count, {})]


def _precision_recall(features: Tensor, view: Viewed) -> list[Measured]:
    split = next(iter(view.references))
    found = view.judge.precision_recall(features, split)
    used, settings = found.reference_count, {"neighbours": found.neighbours}
    return [
        _compared("precision", found.precision, found.precision_error, view, split, used, settings),
        _compared("recall", found.recall, found.recall_error, view, split, used, settings),
    ]


def _density_coverage(features: Tensor, view: Viewed) -> list[Measured]:
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


def mode_labels(images: Tensor, classifier: Classifier) -> tuple[Tensor, int]:
    """The class of each image uint8 [N, C, H, W], int64 [N], and how many classes there are.

    Of three channels each is classified by itself, and together they are one of 1,000.
    """
    channels, height, width = images.shape[1:]
    if channels == 3:
        each = classifier.classify(images.reshape(-1, 1, height, width))
        return stacked_labels(each.reshape(-1, 3)), 1000
    return classifier.classify(images), 10


def _modes(images: Tensor, view: Viewed) -> list[Measured]:
    classifier = view.classifier
    assert classifier is not None
    labels, modes = mode_labels(images, classifier)
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


def _memorisation(images: Tensor, view: Viewed) -> list[Measured]:
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


def _inception_score(features: Tensor, view: Viewed) -> list[Measured]:
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


_OF_FEATURES: Mapping[str, Callable[[Tensor, Viewed], list[Measured]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "precision-recall": _precision_recall,
    "density-coverage": _density_coverage,
    "inception-score": _inception_score,
}
_OF_PIXELS: Mapping[str, Callable[[Tensor, Viewed], list[Measured]]] = {
    "modes": _modes,
    "memorisation": _memorisation,
}
