"""The tables and sentences of `beyond`."""

from collections.abc import Sequence

from cascore.reproduce.beyond.methods import DEFAULT, METHODS, Subject
from cascore.reproduce.beyond.values import (
    Measured,
    against,
    at_budget,
    by_calls,
    fewest_calls,
    paper_best,
    relative,
)
from cascore.reproduce.spread import Estimate

__all__ = [
    "budget_rows",
    "default_sentences",
    "fewest_rows",
    "fewest_sentences",
]


_NAMED = 3
"""How many methods a sentence names; it counts more of them."""


def fewest_rows(subjects: Sequence[Subject], measured: Measured) -> list[tuple[str, ...]]:
    """For each method with nothing to tune, the fewest calls on each model by each extractor.

    In brackets its distance there against the paper's best.
    """
    rows = []
    for name, method in METHODS.items():
        if method.tuned or not any(name in each.plan for each in subjects):
            continue
        row = [
            _fewest_text(each, name, measured, extractor)
            for each in subjects
            for extractor in each.extractors
        ]
        rows.append((method.label, *row))
    return rows


def _fewest_text(subject: Subject, method: str, measured: Measured, extractor: str) -> str:
    if method not in subject.plan:
        return ""
    fewest, most = fewest_calls(subject, method, measured, extractor)
    if fewest is None:
        return f"> {most}"
    return f"{fewest} ({_against_paper(subject, method, measured, extractor, fewest)})"


def _against_paper(
    subject: Subject, method: str, measured: Measured, extractor: str, calls: int
) -> str:
    """The distance at a number of calls in parts of the paper's best."""
    _, best = paper_best(subject, measured, extractor)
    own = by_calls(subject, method, measured, extractor)[calls]
    return relative(own, best)


def fewest_sentences(subjects: Sequence[Subject], measured: Measured) -> list[str]:
    """Which untuned methods need the fewest calls on each model, and where the default stands."""
    lines = []
    for subject in subjects:
        extractor = subject.extractors[0]
        most, _ = paper_best(subject, measured, extractor)
        needed = {
            name: calls
            for name in subject.plan
            if not METHODS[name].tuned
            and (calls := fewest_calls(subject, name, measured, extractor)[0]) is not None
        }
        if not needed:
            lines.append(f"- {subject.preset}: no untuned method ties with the paper's best.")
            continue
        least = min(needed.values())
        first = [METHODS[name].label for name in needed if needed[name] == least]
        by = "; ".join(first) if len(first) <= _NAMED else f"{len(first)} methods"
        if DEFAULT not in needed:
            own = "; the default always can"
        elif needed[DEFAULT] == least:
            own = ""
        else:
            own = f"; nor can the default from {needed[DEFAULT]} on"
        lines.append(
            f"- {subject.preset}: from {least} calls on, {most / least:.0f} times fewer than the"
            f" paper's {most}, {by} cannot be told from it{own}."
        )
    return lines


def budget_rows(
    subject: Subject, measured: Measured, budgets: Sequence[int]
) -> list[tuple[str, ...]]:
    """The distance of each method at each number of calls; bold are the lowest and its ties.

    A column of one method has nothing to compare and no bold.
    """
    extractor = subject.extractors[0]
    columns = [at_budget(subject, measured, extractor, calls) for calls in budgets]
    lowest = [
        min(column.values(), key=lambda each: each.mean) if len(column) > 1 else None
        for column in columns
    ]
    return [
        (
            METHODS[name].label,
            *(
                _cell_text(column.get(name), best)
                for column, best in zip(columns, lowest, strict=True)
            ),
        )
        for name in subject.plan
        if any(name in column for column in columns)
    ]


def _cell_text(found: Estimate | None, best: Estimate | None) -> str:
    if found is None:
        return ""
    text = found.text(2)
    return f"**{text}**" if best is not None and found.ties(best) else text


def default_sentences(subjects: Sequence[Subject], measured: Measured) -> list[str]:
    """The default against the lowest of all methods, tuned ones too, at each number of calls."""
    lines = []
    for subject in subjects:
        parts = []
        for calls in sorted({each for each in subject.plan[DEFAULT] if each is not None}):
            column = at_budget(subject, measured, subject.extractors[0], calls)
            best = min(column, key=lambda name: column[name].mean)
            if len(column) < 2:
                continue
            if best == DEFAULT:
                parts.append(f"{calls} calls: the lowest")
            elif (verdict := against(column[DEFAULT], column[best])) == "a tie":
                parts.append(f"{calls} calls: a tie")
            else:
                parts.append(f"{calls} calls: {verdict} ({METHODS[best].label})")
        if parts:
            lines.append(
                f"- {subject.preset}, the default against the lowest of its number of calls:"
                f" {'; '.join(parts)}."
            )
    return lines
