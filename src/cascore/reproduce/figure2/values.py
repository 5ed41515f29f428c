"""What the records of Figure 2 say: numbers, and claims put to them."""

from dataclasses import replace
from itertools import product

from cascore.reproduce.claims import (
    Claim,
    Comparison,
    adversarial_lowers,
    denoising_lowers,
)
from cascore.reproduce.figure2.pictures import (
    KINDS,
    LEVELS,
    OUTCOMES,
    SCORES,
    TITLES,
    Spreads,
    level_count,
)
from cascore.reproduce.figure2.work import DATA, SCALES, Scale, cells
from cascore.reproduce.pages import Spread, spread_of
from cascore.reproduce.units import Record, Records

__all__ = [
    "MEASURES",
    "claims",
    "claims_of",
    "denoised_pairs",
    "draws_of",
    "measures_of",
    "objectives_pair",
    "spreads_of",
]


def spreads_of(scale: Scale, records: Records) -> Spreads:
    """Every kind of points by every measure, over trainings and draws."""
    return {
        (data, levels, score, outcome, measure): spread_of(
            [
                draw["result"][outcome][measure]
                for draw in draws_of(data, levels, score, scale, records)
            ]
        )
        for data in DATA
        for levels, score in KINDS
        for outcome in OUTCOMES
        for measure in measures_of(data)
    }


def measures_of(data: str) -> tuple[str, ...]:
    """Names of what is measured of a kind of points: the swiss roll has no modes to cover."""
    return ("distance", "good", "covered") if data == "25-gaussians" else ("distance", "good")


def draws_of(data: str, levels: int, score: str, scale: Scale, records: Records) -> list[Record]:
    """The records of all draws of all trainings of one kind."""
    return [
        records[f"{cell.name}.draw-{seed}"]
        for cell in cells(scale)
        if (cell.data, cell.levels, cell.score) == (data, levels, score)
        for seed in range(1, scale.draws + 1)
    ]


# --- claims --------------------------------------------------------------------------------------

MEASURES = {"distance": "sliced Wasserstein", "good": "share of points that are not good"}


def claims(scale_name: str, records: Records) -> list[Claim]:
    """What denoising and the discriminator do to both sets of points."""
    return claims_of(spreads_of(SCALES[scale_name], records))


def claims_of(spreads: Spreads) -> list[Claim]:
    """For one level and for ten, by both measures."""
    found = []
    for measure, name in MEASURES.items():
        for levels in LEVELS:
            pairs = [
                pair for data in DATA for pair in denoised_pairs(data, levels, measure, spreads)
            ]
            found.append(Claim(denoising_lowers("als"), f"{name}, {level_count(levels)}", pairs))
        pairs = [
            objectives_pair(data, levels, measure, spreads)
            for data, levels in product(DATA, LEVELS)
        ]
        found.append(Claim(adversarial_lowers("denoised"), name, pairs))
    return found


def denoised_pairs(data: str, levels: int, measure: str, spreads: Spreads) -> list[Comparison]:
    """Denoised against raw, by each score."""
    return [
        Comparison(
            f"{TITLES[data]}, {score}",
            *(
                _cost(spreads[data, levels, score, outcome, measure], measure)
                for outcome in ("denoised", "raw")
            ),
        )
        for score in SCORES
    ]


def objectives_pair(data: str, levels: int, measure: str, spreads: Spreads) -> Comparison:
    """The adversarial network against the plain one, denoised."""
    return Comparison(
        f"{TITLES[data]}, {level_count(levels)}",
        *(
            _cost(spreads[data, levels, score, "denoised", measure], measure)
            for score in ("adversarial", "plain")
        ),
    )


def _cost(found: Spread, measure: str) -> Spread:
    """What is better when it is lower: of a share of good points, the share of the others."""
    return found if measure == "distance" else replace(found, mean=1 - found.mean)
