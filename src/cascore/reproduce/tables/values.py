"""The distances of Tables 1, 2 and 3, read from records, and the paper's claims about them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Literal, NamedTuple

from cascore.errors import InputError
from cascore.reproduce.claims import (
    Claim,
    Comparison,
    adversarial_lowers,
    consistent_is_better,
    denoising_lowers,
    paired,
)
from cascore.reproduce.floors import band_of
from cascore.reproduce.pages import Spread, spread_of
from cascore.reproduce.tables.scales import TABLES, TableScale
from cascore.reproduce.tables.work import FLOOR, METHODS, cells, sampler_of, trials
from cascore.reproduce.tuning import Method
from cascore.reproduce.units import Records

__all__ = [
    "OBJECTIVES",
    "OUTCOMES",
    "Key",
    "Objective",
    "Outcome",
    "Values",
    "best_key",
    "claims",
    "claims_of",
    "floors_of",
    "values_of",
]

Objective = Literal["plain", "adversarial"]
Outcome = Literal["raw", "denoised"]
OBJECTIVES: tuple[Objective, Objective] = ("plain", "adversarial")
OUTCOMES: tuple[Outcome, Outcome] = ("raw", "denoised")


class Key(NamedTuple):
    """One number of a table."""

    extractor: str
    objective: Objective
    method: Method
    n_sigma: int
    outcome: Outcome


Values = Mapping[Key, Sequence[float]]
"""The distances behind each number, those of a training together; raw and denoised in one order."""


def values_of(scale: TableScale, records: Records) -> Values:
    """Every measurement of every cell.

    Raises:
        InputError: a measurement with another step size than the one that was chosen.
    """
    values: dict[Key, list[float]] = {}
    for trial in trials(scale):
        objective = OBJECTIVES[scale.presets.index(trial.preset)]
        for cell, seed in product(cells(scale, trial), range(scale.seeds)):
            result = records[cell.unit(seed)]["result"]
            if result["sampler"] != asdict(sampler_of(cell, scale, records)):
                raise InputError(
                    f"{cell.unit(seed)}.json was not measured with the step size that"
                    f" {trial.tuning(cell.method, cell.n_sigma)}.json chose: delete it to measure"
                    " anew"
                )
            for extractor, outcome in product(scale.extractors, OUTCOMES):
                key = Key(extractor, objective, cell.method, cell.n_sigma, outcome)
                values.setdefault(key, []).append(result[outcome][extractor]["value"])
    return values


def floors_of(records: Records) -> dict[str, Spread]:
    """What as many real images score, by extractor."""
    return {name: band_of(each) for name, each in records[FLOOR]["result"]["floors"].items()}


def best_key(values: Values, *, extractor: str, objective: Objective | None = None) -> Key:
    """The lowest mean distance of an extractor, of one objective or of both."""
    found = [
        key for key in values if key.extractor == extractor and objective in (None, key.objective)
    ]
    return min(found, key=lambda key: spread_of(values[key]).mean)


def claims(table: str, scale_name: str, records: Records) -> list[Claim]:
    """What the paper says of a table, put to our own."""
    scale = TABLES[table][scale_name]
    return claims_of(scale, values_of(scale, records))


def claims_of(scale: TableScale, values: Values) -> list[Claim]:
    """Each claim for each extractor, the first extractor's before the second's."""
    return [
        Claim(statement, f"`{extractor}`", comparisons)
        for extractor in scale.extractors
        for statement, comparisons in _statements(scale, values, extractor)
    ]


def _statements(
    scale: TableScale, values: Values, extractor: str
) -> Iterator[tuple[str, list[Comparison]]]:
    few, many = scale.n_sigmas

    def each(objective: Objective, method: Method, n: int, outcome: Outcome) -> Sequence[float]:
        return values[Key(extractor, objective, method, n, outcome)]

    def at(objective: Objective, method: Method, n: int, outcome: Outcome) -> Spread:
        return spread_of(each(objective, method, n, outcome))

    for method in METHODS:
        yield (
            denoising_lowers(method),
            [
                paired(f"n_σ = {n}, {o}", each(o, method, n, "denoised"), each(o, method, n, "raw"))
                for n, o in product(scale.n_sigmas, OBJECTIVES)
            ],
        )
    yield (
        "denoising changes CAS less than ALS",
        [
            Comparison(f"n_σ = {n}, {o}", cas, als)
            for n, o in product(scale.n_sigmas, OBJECTIVES)
            for cas, als in [(_gain(values, extractor, o, m, n) for m in ("cas", "als"))]
        ],
    )
    for n, outcome in product(scale.n_sigmas, OUTCOMES):
        yield (
            consistent_is_better(n, outcome),
            [Comparison(o, at(o, "cas", n, outcome), at(o, "als", n, outcome)) for o in OBJECTIVES],
        )
    yield (
        f"more steps for each level lower the distance (n_σ = {many} against {few})",
        [
            Comparison(f"{m.upper()}, {o}, {kind}", at(o, m, many, kind), at(o, m, few, kind))
            for m, o, kind in product(METHODS, OBJECTIVES, OUTCOMES)
        ],
    )
    for outcome in OUTCOMES:
        yield (
            adversarial_lowers(outcome),
            [
                Comparison(
                    f"{m.upper()}, n_σ = {n}",
                    at("adversarial", m, n, outcome),
                    at("plain", m, n, outcome),
                )
                for m, n in product(METHODS, scale.n_sigmas)
            ],
        )


def _gain(
    values: Values, extractor: str, objective: Objective, method: Method, n_sigma: int
) -> Spread:
    """By how much denoising changes the distance of a chain, in either direction."""
    raw, denoised = (
        values[Key(extractor, objective, method, n_sigma, outcome)] for outcome in OUTCOMES
    )
    return spread_of([abs(a - b) for a, b in zip(raw, denoised, strict=True)])
