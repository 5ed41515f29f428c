"""What the records of conditional networks say: numbers, claims put to them, and sentences."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import itemgetter

from cascore.reproduce.claims import Claim, Statement
from cascore.reproduce.comparisons import Comparison, between_trainings, independent
from cascore.reproduce.conditional.work import (
    KINDS,
    OPTIMUM,
    OUTCOMES,
    SAMPLERS,
    SCALES,
    SPLITS,
    Scale,
    draw_unit,
    loss_unit,
)
from cascore.reproduce.spread import Runs
from cascore.reproduce.units import Records

__all__ = [
    "NAMES",
    "Losses",
    "Measured",
    "claims",
    "distance_claims",
    "images_of",
    "levels_line",
    "loss_claims",
    "loss_line",
    "losses_of",
    "measured_of",
    "optima_of",
    "theory_line",
]

Measured = Mapping[tuple[str, str, str, str], Runs]
"""By kind, sampler, extractor and outcome: the distance of each draw of each training."""
Losses = Mapping[tuple[str, str], Sequence[Sequence[float]]]
"""By kind and split: for each training, the loss of each level."""

NAMES = {"12-calls": "12 calls", "all-levels": "all levels"}


def measured_of(scale: Scale, records: Records) -> Measured:
    """Distances of each kind and sampler."""
    return {
        (kind, sampler, extractor, outcome): [
            [
                records[draw_unit(kind, training, sampler, seed)]["result"][outcome][extractor][
                    "value"
                ]
                for seed in range(scale.draws)
            ]
            for training in range(scale.trainings)
        ]
        for kind, sampler, extractor, outcome in product(
            KINDS, SAMPLERS, scale.extractors, OUTCOMES
        )
    }


def losses_of(scale: Scale, records: Records) -> Losses:
    """Eq. 1 by level of every training."""
    return {
        (kind, split): [
            records[loss_unit(kind, training)]["result"][split]
            for training in range(scale.trainings)
        ]
        for kind, split in product(KINDS, SPLITS)
    }


def optima_of(records: Records) -> Mapping[str, Sequence[float]]:
    """The least loss of each level on the training images, by kind."""
    found: Mapping[str, Sequence[float]] = records[OPTIMUM]["result"]
    return found


# --- claims --------------------------------------------------------------------------------------


def claims(scale_name: str, records: Records) -> list[Claim]:
    """Whether sight of sigma lowers the loss and the distance of samples."""
    scale = SCALES[scale_name]
    return [
        *loss_claims(losses_of(scale, records)),
        *distance_claims(scale, measured_of(scale, records)),
    ]


def loss_claims(losses: Losses) -> list[Claim]:
    """The training objective, which is the mean over the levels."""
    return [
        Claim(
            Statement(f"sight of σ lowers the loss on the {images_of(split)}", _OPEN),
            "Eq. 1",
            [_compared("all levels", split, losses, statistics.fmean)],
        )
        for split in SPLITS
    ]


def levels_line(split: str, losses: Losses) -> str:
    """In how many levels, each by itself, the two kinds can be told apart."""
    levels = range(len(losses["conditional", split][0]))
    found = [_compared(f"level {i + 1}", split, losses, itemgetter(i)).verdict for i in levels]
    return (
        f"Level by level on the {images_of(split)}, sight of σ is lower in {found.count('held')} of"
        f" {len(found)}, higher in {found.count('did not hold')}, and cannot be told apart in"
        f" {found.count('tie')}: the levels are of the same networks and share their noise."
    )


_OPEN = "an open question"


def _compared(
    where: str, split: str, losses: Losses, loss: Callable[[Sequence[float]], float]
) -> Comparison:
    seen, blind = (
        [loss(each) for each in losses[kind, split]] for kind in ("conditional", "unconditional")
    )
    return independent(where, seen, blind)


def distance_claims(scale: Scale, measured: Measured) -> list[Claim]:
    """Samples of the conditional network against those of the other."""
    return [
        Claim(
            Statement(f"sight of σ lowers the distance of samples, {NAMES[sampler]}", _OPEN),
            f"`{extractor}`",
            [
                between_trainings(
                    outcome,
                    measured["conditional", sampler, extractor, outcome],
                    measured["unconditional", sampler, extractor, outcome],
                )
                for outcome in OUTCOMES
            ],
        )
        for sampler, extractor in product(SAMPLERS, scale.extractors)
    ]


# --- sentences -----------------------------------------------------------------------------------


def loss_line(split: str, losses: Losses, sigmas: Sequence[float]) -> str:
    """Both losses, and the level at which they are the furthest apart."""
    seen, blind = (
        [statistics.fmean(level) for level in zip(*losses[kind, split], strict=True)]
        for kind in ("conditional", "unconditional")
    )
    ratios = [a / b for a, b in zip(seen, blind, strict=True)]
    widest = max(range(len(sigmas)), key=lambda level: abs(ratios[level] - 1))
    total = _compared("", split, losses, statistics.fmean)
    return (
        f"Eq. 1 on the {images_of(split)}: {total.lower.text(2)} with sight of σ and"
        f" {total.higher.text(2)} without; they are the furthest apart at σ ="
        f" {sigmas[widest]:.3g} ({ratios[widest] - 1:+.0%})."
    )


def theory_line(optima: Mapping[str, Sequence[float]]) -> str:
    """What not seeing sigma costs the best conceivable network."""
    seen, blind = (statistics.fmean(optima[kind]) for kind in ("conditional", "unconditional"))
    return (
        "In theory, on the training images: the best conceivable function of (x, σ) loses"
        f" {seen:.2f}, the best of x alone {blind:.2f} (Appendix E). Both know these images by"
        " heart, which no network does, so only their difference compares: not seeing σ costs"
        f" {blind - seen:.2f}."
    )


def images_of(split: str) -> str:
    """A split in words."""
    return {"train": "training images", "test": "held-out images"}[split]
