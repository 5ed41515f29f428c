"""What the records of `beyond` say: distances by method and calls, and who ties."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from cascore import stats
from cascore.reproduce.beyond.methods import (
    BEST,
    METHODS,
    SCALES,
    Subject,
    levels_of,
    name_of,
)
from cascore.reproduce.beyond.work import Cell, cells, floor_unit
from cascore.reproduce.floors import band_of
from cascore.reproduce.pages import Table
from cascore.reproduce.sampler import resolved
from cascore.reproduce.spread import Estimate, Spread, mean_of
from cascore.reproduce.units import Records

__all__ = [
    "OUTCOMES",
    "Key",
    "Measured",
    "Outcome",
    "Scan",
    "against",
    "at_budget",
    "by_calls",
    "distances_of",
    "fewest_calls",
    "floors_of",
    "measured_of",
    "measurements_table",
    "no_worse",
    "paper_best",
    "relative",
    "scans",
]

Outcome = Literal["raw", "denoised"]
OUTCOMES: tuple[Outcome, Outcome] = ("raw", "denoised")


class Key(NamedTuple):
    """One number: a method on a model at a number of calls, as an extractor sees it."""

    cell: Cell
    extractor: str
    outcome: Outcome


Measured = Mapping[Key, Estimate]
"""The mean over sampling seeds and its standard error."""


class Scan(NamedTuple):
    """What the validation seed says of the choices of a method at a number of calls."""

    calls: int
    names: tuple[str, ...]
    knobs: tuple[float, ...]
    distances: tuple[Estimate, ...]


def measured_of(scale_name: str, records: Records) -> Measured:
    """Every cell of every model."""
    return {
        Key(cell, extractor, outcome): mean_of(
            [
                records[cell.unit(seed)]["result"]["distances"][extractor][outcome]
                for seed in range(subject.seeds)
            ]
        )
        for subject in SCALES[scale_name]
        for cell in cells(subject)
        for extractor in subject.extractors
        for outcome in OUTCOMES
    }


def distances_of(subject: Subject, records: Records, key: Key) -> list[float]:
    """The distances of each sampling seed, in order."""
    return [
        float(
            records[key.cell.unit(seed)]["result"]["distances"][key.extractor][key.outcome]["value"]
        )
        for seed in range(subject.seeds)
    ]


def floors_of(subject: Subject, records: Records) -> dict[str, Spread]:
    """What as many real images score, by extractor."""
    floors = records[floor_unit(subject.preset)]["result"]["floors"]
    return {name: band_of(floors[name]) for name in subject.extractors}


def paper_best(subject: Subject, measured: Measured, extractor: str) -> tuple[int, Estimate]:
    """Calls and denoised distance of annealed Langevin sampling with n_sigma 5 at all levels."""
    cell = Cell(subject.preset, BEST, None)
    return cell.calls, measured[Key(cell, extractor, "denoised")]


def at_budget(
    subject: Subject, measured: Measured, extractor: str, calls: int
) -> dict[str, Estimate]:
    """The denoised distance of each method that was measured at that many calls."""
    return {
        cell.method: measured[Key(cell, extractor, "denoised")]
        for cell in cells(subject)
        if cell.planned == calls
    }


def no_worse(a: Estimate, b: Estimate) -> bool:
    """Whether a is lower than b or ties with it."""
    return a.mean <= b.mean or a.ties(b)


def relative(own: Estimate, other: Estimate) -> str:
    """How much higher a distance is than another, in parts of that, ± half the 95 % interval."""
    ratio = own.mean / other.mean
    error = math.hypot(own.error / own.mean, other.error / other.mean)
    found = stats.Estimate(ratio - 1, ratio * error)
    return f"{100 * found.mean:+.0f} ± {100 * found.margin:.0f} %"


def against(own: Estimate, other: Estimate) -> str:
    """A distance against another one, in words."""
    return "a tie" if own.ties(other) else f"{own.mean / other.mean - 1:+.0%}"


def by_calls(
    subject: Subject, method: str, measured: Measured, extractor: str
) -> dict[int, Estimate]:
    """The denoised distance of a method at each number of calls at which it was measured."""
    return {
        cell.calls: measured[Key(cell, extractor, "denoised")]
        for cell in cells(subject)
        if cell.method == method
    }


def fewest_calls(
    subject: Subject, method: str, measured: Measured, extractor: str
) -> tuple[int | None, int]:
    """The fewest calls at which a method is lower than the paper's best or ties; the most measured.

    None for the first if there are no such calls; a KeyError if the method was not measured.
    """
    _, best = paper_best(subject, measured, extractor)
    own = by_calls(subject, method, measured, extractor)
    if not own:
        raise KeyError(method)
    enough = [calls for calls, distance in own.items() if no_worse(distance, best)]
    return min(enough, default=None), max(own)


def scans(subject: Subject, method: str, records: Records) -> list[Scan]:
    """The validation of a method's choices, at each number of calls."""
    found = []
    for cell in (each for each in cells(subject) if each.method == method):
        names, knobs, distances = [], [], []
        for choice in METHODS[method].choices:
            sampler = levels_of(choice, cell.planned)
            knob = sampler.eta if sampler.eta is not None else resolved(sampler).kappa
            assert knob is not None
            result = records[cell.validation(choice)]["result"]
            names.append(name_of(choice))
            knobs.append(knob)
            distances.append(mean_of([result["distances"][subject.extractors[0]]["denoised"]]))
        found.append(Scan(cell.calls, tuple(names), tuple(knobs), tuple(distances)))
    return found


def measurements_table(scale_name: str, records: Records) -> Table:
    """Every measurement of the seeds that are reported, for a CSV file."""
    columns = "model method choice calls nfe seed extractor outcome distance standard_error"
    return Table(columns.split(), list(_rows(scale_name, records)))


def _rows(scale_name: str, records: Records) -> Iterator[tuple[object, ...]]:
    for subject in SCALES[scale_name]:
        for cell in cells(subject):
            for seed in range(subject.seeds):
                result = records[cell.unit(seed)]["result"]
                for extractor in subject.extractors:
                    for outcome in OUTCOMES:
                        found = result["distances"][extractor][outcome]
                        yield (
                            *(cell.preset, cell.method, result["choice"], cell.calls),
                            *(result["nfe"], seed, extractor, outcome),
                            *(found["value"], found["error"]),
                        )
