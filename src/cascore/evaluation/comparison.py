"""Numbers side by side, ranked only where their provenance agrees and their errors allow."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascore.errors import InputError
from cascore.evaluation.entries import Entry
from cascore.measurement import METRICS, Measurement
from cascore.stats import independent_difference, verdict

__all__ = [
    "FIELDS",
    "Mismatch",
    "Ranked",
    "mismatches",
    "rank",
    "require_comparable",
]


@dataclass(frozen=True)
class Mismatch:
    """A field in which numbers differ that must agree.

    Attributes:
        field: Its name, one of FIELDS.
        values: Each value in words, and the file that it is first found in.
    """

    field: str
    values: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class Ranked:
    """An entry and its place.

    Attributes:
        entry: The number.
        rank: 1 + how many others are better (`stats.verdict`); None for a metric without better.
        tied: Whether it cannot be told from the best.
        at_floor: Whether it cannot be told from real images.
    """

    entry: Entry
    rank: int | None
    tied: bool
    at_floor: bool


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


FIELDS: Mapping[str, Callable[[Measurement], str]] = {
    "form": lambda r: r.images.form,
    "count": lambda r: str(r.images.count),
    "preprocessing": lambda r: json.dumps(r.images.preprocessing, sort_keys=True),
    "settings": lambda r: json.dumps(_own_settings(r), sort_keys=True),
    "extractor": lambda r: _or_none(r.extractor),
    "reference": lambda r: "; ".join(f"{x.name} (digest {x.digest[:12]})" for x in r.references),
    "split": lambda r: ", ".join(_or_none(x.split) for x in r.references),
    "reference-count": lambda r: ", ".join(_or_none(x.count) for x in r.references),
    "provenance": lambda r: ", ".join(x.provenance for x in r.references),
    "selection": lambda r: _selection_words(r),
}
"""What must agree for numbers to be ranked: a name to accept it by, and its value in words."""


def _own_settings(record: Measurement) -> dict[str, Any]:
    """Without what follows from the count."""
    return {name: value for name, value in record.settings.items() if name != "perfect"}


def _selection_words(record: Measurement) -> str:
    if record.selection is None:
        return "not selected"
    return f"best of {record.selection.candidates} by {record.selection.metric}"


def mismatches(entries: Sequence[Entry], *, accepted: Sequence[str] = ()) -> list[Mismatch]:
    """The fields in which numbers differ that must agree, but for those that are accepted.

    Raises:
        InputError: A field to accept that is none.
    """
    unknown = [name for name in accepted if name not in FIELDS]
    if unknown:
        raise InputError(f"there is no field {unknown[0]!r} to accept; known: {', '.join(FIELDS)}")
    found = []
    for name, words in FIELDS.items():
        first: dict[str, Path] = {}
        for entry in entries:
            first.setdefault(words(entry.record), entry.source)
        if len(first) > 1 and name not in accepted:
            found.append(Mismatch(name, tuple(first.items())))
    return found


def require_comparable(entries: Sequence[Entry], *, accepted: Sequence[str] = ()) -> None:
    """Raise InputError, naming fields and values, unless numbers may be ranked."""
    found = mismatches(entries, accepted=accepted)
    if found:
        lines = [
            f"  {each.field}: " + "; ".join(f"{value} in {file}" for value, file in each.values)
            for each in found
        ]
        names = " ".join([*accepted, *(each.field for each in found)])
        raise InputError(
            "these numbers cannot be ranked, because their provenance differs:\n"
            + "\n".join(lines)
            + "\nmeasure them alike; or, if you know that it does no harm here, accept it:"
            f" --accept {names}"
        )


def rank(entries: Sequence[Entry]) -> list[Ranked]:
    """Entries from best to worst; a tie where the 95 % interval of a difference holds zero.

    Of a metric that has no better, in the order of the values. Infinite values come last.
    """
    better = METRICS[entries[0].record.metric].better

    def badness(entry: Entry) -> float:
        value = entry.record.value
        return math.inf if value is None else -value if better == "higher" else value

    ordered = sorted(entries, key=badness)
    best = ordered[0]
    return [
        Ranked(
            entry=entry,
            rank=None
            if better is None
            else 1
            + sum(badness(other) < badness(entry) and not _tied(other, entry) for other in ordered),
            tied=entry is not best and _tied(best, entry),
            at_floor=entry.record.at_floor,
        )
        for entry in ordered
    ]


def _tied(a: Entry, b: Entry) -> bool:
    if a.record.value is None or b.record.value is None:
        return a.record.value is b.record.value
    return verdict(independent_difference(a.record.estimate, b.record.estimate)) == "tie"
