"""What the records of Figure 2 say: numbers, and claims put to them."""

from collections.abc import Mapping
from itertools import product

from cascore.reproduce.claims import Claim, Statement, adversarial_lowers, denoising_lowers
from cascore.reproduce.comparisons import (
    Comparison,
    between_trainings,
    within_trainings,
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
from cascore.reproduce.spread import Runs, spread_of
from cascore.reproduce.units import Record, Records

__all__ = [
    "MEASURES",
    "Costs",
    "claims",
    "claims_of",
    "costs_of",
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
    return [draw for draws in _by_training(data, levels, score, scale, records) for draw in draws]


def _by_training(
    data: str, levels: int, score: str, scale: Scale, records: Records
) -> list[list[Record]]:
    return [
        [records[f"{cell.name}.draw-{seed}"] for seed in range(1, scale.draws + 1)]
        for cell in cells(scale)
        if (cell.data, cell.levels, cell.score) == (data, levels, score)
    ]


# --- claims --------------------------------------------------------------------------------------

MEASURES = {"distance": "sliced Wasserstein", "good": "share of points that are not good"}

_STATEMENTS = {
    "distance": (denoising_lowers("als"), adversarial_lowers("denoised", "mlp")),
    "good": (
        Statement("denoising lowers the share of points that are not good", "yes"),
        Statement("the adversarial objective lowers the share of points that are not good"),
    ),
}

Costs = Mapping[tuple[str, int, str, str, str], Runs]
"""By data, levels, score, outcome and measure: what is better when it is lower."""


def costs_of(scale: Scale, records: Records) -> Costs:
    """Distances, and shares of points that are not good, of every draw of every training."""
    return {
        (data, levels, score, outcome, measure): [
            [_cost(draw["result"][outcome][measure], measure) for draw in draws]
            for draws in _by_training(data, levels, score, scale, records)
        ]
        for data, (levels, score), outcome, measure in product(DATA, KINDS, OUTCOMES, MEASURES)
    }


def _cost(found: float, measure: str) -> float:
    return found if measure == "distance" else 1 - found


def claims(scale_name: str, records: Records) -> list[Claim]:
    """What denoising and the discriminator do to both sets of points."""
    return claims_of(costs_of(SCALES[scale_name], records))


def claims_of(costs: Costs) -> list[Claim]:
    """For one level and for ten, by both measures."""
    found = []
    for measure, name in MEASURES.items():
        denoising, adversarial = _STATEMENTS[measure]
        for levels in LEVELS:
            pairs = [
                pair
                for data, score in product(DATA, SCORES)
                for pair in denoised_pairs(data, levels, score, measure, costs)
            ]
            found.append(Claim(denoising, f"{name}, {level_count(levels)}", pairs))
        pairs = [
            objectives_pair(data, levels, measure, costs) for data, levels in product(DATA, LEVELS)
        ]
        found.append(Claim(adversarial, name, pairs))
    return found


def denoised_pairs(
    data: str, levels: int, score: str, measure: str, costs: Costs
) -> list[Comparison]:
    """Denoised against raw on each network."""
    denoised, raw = (
        costs[data, levels, score, outcome, measure] for outcome in ("denoised", "raw")
    )
    return within_trainings(f"{TITLES[data]}, {score}", denoised, raw)


def objectives_pair(data: str, levels: int, measure: str, costs: Costs) -> Comparison:
    """The adversarial networks against the plain ones, denoised."""
    adversarial, plain = (
        costs[data, levels, score, "denoised", measure] for score in ("adversarial", "plain")
    )
    return between_trainings(f"{TITLES[data]}, {level_count(levels)}", adversarial, plain)
