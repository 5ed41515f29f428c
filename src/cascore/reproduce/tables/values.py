"""The distances of Tables 1, 2 and 3, read from records, and the paper's claims about them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any, Literal, NamedTuple

from cascore.errors import InputError
from cascore.experiment.presets import PRESETS
from cascore.reproduce.claims import (
    Claim,
    Statement,
    adversarial_lowers,
    consistent_is_better,
    denoising_lowers,
)
from cascore.reproduce.comparisons import (
    Comparison,
    between_trainings,
    within_trainings,
)
from cascore.reproduce.floors import band_of
from cascore.reproduce.spread import Runs, Spread, spread_over
from cascore.reproduce.tables.scales import TABLES, TableScale
from cascore.reproduce.tables.work import FLOOR, METHODS, Cell, cells, sampler_of, trials
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
    "compared",
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


Values = Mapping[Key, Runs]
"""The distances behind each number, in one order for all."""


def values_of(scale: TableScale, records: Records) -> Values:
    """Every measurement of every cell.

    Raises:
        InputError: a measurement with another step size than the one that was chosen.
    """
    values: dict[Key, list[list[float]]] = {}
    for trial in trials(scale):
        objective = OBJECTIVES[scale.presets.index(trial.preset)]
        for cell in cells(scale, trial):
            results = [_measured(cell, seed, scale, records) for seed in range(scale.seeds)]
            for extractor, outcome in product(scale.extractors, OUTCOMES):
                key = Key(extractor, objective, cell.method, cell.n_sigma, outcome)
                distances = [result[outcome][extractor]["value"] for result in results]
                values.setdefault(key, []).append(distances)
    return values


def _measured(cell: Cell, seed: int, scale: TableScale, records: Records) -> Mapping[str, Any]:
    result: Mapping[str, Any] = records[cell.unit(seed)]["result"]
    if result["sampler"] != asdict(sampler_of(cell, scale, records)):
        raise InputError(
            f"{cell.unit(seed)}.json was not measured with the step size that"
            f" {cell.trial.tuning(cell.method, cell.n_sigma)}.json chose: delete it to measure anew"
        )
    return result


def floors_of(records: Records) -> dict[str, Spread]:
    """What as many real images score, by extractor."""
    return {name: band_of(each) for name, each in records[FLOOR]["result"]["floors"].items()}


def best_key(values: Values, *, extractor: str, objective: Objective | None = None) -> Key:
    """The lowest mean distance of an extractor, of one objective or of both."""
    found = [
        key for key in values if key.extractor == extractor and objective in (None, key.objective)
    ]
    return min(found, key=lambda key: spread_over(values[key]).mean)


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


def compared(where: str, values: Values, *, lower: Key, higher: Key) -> list[Comparison]:
    """Two numbers of a table: of the same networks, or of networks of two objectives."""
    runs = values[lower], values[higher]
    if lower.objective == higher.objective:
        return within_trainings(where, *runs)
    return [between_trainings(where, *runs)]


def _statements(
    scale: TableScale, values: Values, extractor: str
) -> Iterator[tuple[Statement, list[Comparison]]]:
    few, many = scale.n_sigmas

    def all_of(
        pairs: Iterable[tuple[str, tuple[_Row, _Row]]],
    ) -> list[Comparison]:
        return [
            each
            for where, (lower, higher) in pairs
            for each in compared(
                where, values, lower=Key(extractor, *lower), higher=Key(extractor, *higher)
            )
        ]

    for method in METHODS:
        yield (
            denoising_lowers(method),
            all_of(
                (f"n_σ = {n}, {o}", ((o, method, n, "denoised"), (o, method, n, "raw")))
                for n, o in product(scale.n_sigmas, OBJECTIVES)
            ),
        )
    yield (
        Statement("denoising changes CAS less than ALS", "yes"),
        [
            each
            for n, o in product(scale.n_sigmas, OBJECTIVES)
            for each in within_trainings(
                f"n_σ = {n}, {o}",
                *(_changes(values, extractor, o, method, n) for method in ("cas", "als")),
            )
        ],
    )
    for n, kind in product(scale.n_sigmas, OUTCOMES):
        yield (
            consistent_is_better(n, kind),
            all_of((o, ((o, "cas", n, kind), (o, "als", n, kind))) for o in OBJECTIVES),
        )
    yield (
        Statement(
            f"more steps for each level lower the distance (n_σ = {many} against {few})",
            "yes, always",
        ),
        all_of(
            (f"{m.upper()}, {o}, {kind}", ((o, m, many, kind), (o, m, few, kind)))
            for m, o, kind in product(METHODS, OBJECTIVES, OUTCOMES)
        ),
    )
    for kind in OUTCOMES:
        yield (
            adversarial_lowers(kind, PRESETS[scale.presets[0]].network.kind),
            all_of(
                (f"{m.upper()}, n_σ = {n}", (("adversarial", m, n, kind), ("plain", m, n, kind)))
                for m, n in product(METHODS, scale.n_sigmas)
            ),
        )


_Row = tuple[Objective, Method, int, Outcome]


def _changes(
    values: Values, extractor: str, objective: Objective, method: Method, n_sigma: int
) -> Runs:
    """By how much denoising changes the distance of each chain, in either direction."""
    raw, denoised = (
        values[Key(extractor, objective, method, n_sigma, outcome)] for outcome in OUTCOMES
    )
    return [
        [abs(a - b) for a, b in zip(*runs, strict=True)] for runs in zip(raw, denoised, strict=True)
    ]
