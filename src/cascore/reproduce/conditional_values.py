"""What the records of conditional networks say: numbers, and sentences computed from them."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import product

from cascore.reproduce.conditional import (
    KINDS,
    OPTIMUM,
    OUTCOMES,
    SAMPLERS,
    SPLITS,
    Scale,
    draw_unit,
    loss_unit,
)
from cascore.reproduce.pages import Spread, spread_of, tally, verdict
from cascore.reproduce.units import Records

__all__ = [
    "NAMES",
    "Losses",
    "Measured",
    "distance_line",
    "images_of",
    "level_line",
    "loss_line",
    "losses_of",
    "measured_of",
    "optima_of",
    "theory_line",
]

Measured = Mapping[tuple[str, str, str, str], Spread]
"""By kind, sampler, extractor and outcome: over trainings and draws."""
Losses = Mapping[tuple[str, str], Sequence[Sequence[float]]]
"""By kind and split: for each training, the loss of each level."""

NAMES = {"12-calls": "12 calls", "all-levels": "all levels"}


def measured_of(scale: Scale, records: Records) -> Measured:
    """Distances of each kind and sampler over trainings and draws."""
    return {
        (kind, sampler, extractor, outcome): spread_of(
            [
                records[draw_unit(kind, training, sampler, seed)]["result"][outcome][extractor][
                    "value"
                ]
                for training in range(scale.trainings)
                for seed in range(scale.draws)
            ]
        )
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


# --- sentences -----------------------------------------------------------------------------------


def loss_line(split: str, losses: Losses) -> str:
    """The mean over the levels, which is the training objective."""
    seen, blind = (
        spread_of([statistics.fmean(each) for each in losses[kind, split]])
        for kind in ("conditional", "unconditional")
    )
    word = {"lower": "is lower", "higher": "is higher", "a tie": "ties"}[verdict(seen, blind)]
    return (
        f"Eq. 1 on the {images_of(split)}: {seen.text(2)} with sight of σ and {blind.text(2)}"
        f" without; the conditional network {word}."
    )


def level_line(split: str, losses: Losses, sigmas: Sequence[float]) -> str:
    """Level by level, and where the two are the furthest apart."""
    pairs = [
        (
            spread_of([each[level] for each in losses["conditional", split]]),
            spread_of([each[level] for each in losses["unconditional", split]]),
        )
        for level in range(len(sigmas))
    ]
    ratios = [seen.mean / blind.mean for seen, blind in pairs]
    widest = max(range(len(sigmas)), key=lambda level: abs(ratios[level] - 1))
    return (
        f"Level by level on the {images_of(split)}, the loss with sight of σ is {tally(pairs)};"
        f" they are the furthest apart at σ = {sigmas[widest]:.3g} ({ratios[widest] - 1:+.0%})."
    )


def theory_line(optima: Mapping[str, Sequence[float]]) -> str:
    """What not seeing sigma costs the best conceivable network."""
    seen, blind = (statistics.fmean(optima[kind]) for kind in ("conditional", "unconditional"))
    return (
        "In theory, on the training images: the best conceivable function of (x, σ) loses"
        f" {seen:.2f}, the best of x alone {blind:.2f} (Appendix E): not seeing σ costs"
        f" {blind - seen:.2f}."
    )


def distance_line(sampler: str, measured: Measured) -> str:
    """Samples of the conditional network against those of the other."""
    pairs = [
        (spread, measured["unconditional", name, extractor, outcome])
        for (kind, name, extractor, outcome), spread in measured.items()
        if (kind, name) == ("conditional", sampler)
    ]
    return f"Samples, {NAMES[sampler]}: the distance with sight of σ is {tally(pairs)}."


def images_of(split: str) -> str:
    """A split in words."""
    return {"train": "training images", "test": "held-out images"}[split]
