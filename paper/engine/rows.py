"""The tidy table: a row for each number that was measured, with tags that say of what."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

Row = Mapping[str, Any]


class Rows(list[Row]):
    """Rows in the order in which they were measured."""

    def where(self, **tags: Any) -> Rows:
        """Those that have all of these tags."""
        return Rows(row for row in self if all(row.get(name) == tag for name, tag in tags.items()))

    def values(self, column: str = "distance") -> list[Any]:
        """One column."""
        return [row[column] for row in self]

    def levels(self, column: str) -> list[Any]:
        """The different values of a column: words as they come first, numbers from the smallest."""
        levels = list(dict.fromkeys(row[column] for row in self))
        return sorted(levels) if all(isinstance(level, int | float) for level in levels) else levels

    def by(self, *columns: str) -> dict[Any, Rows]:
        """Groups by one column, or by a tuple of several, in the order of their levels."""
        groups: dict[Any, Rows] = {}
        for row in self:
            key = tuple(row[column] for column in columns)
            groups.setdefault(key, Rows()).append(row)
        orders = [{level: i for i, level in enumerate(self.levels(column))} for column in columns]
        ordered = sorted(groups, key=lambda key: [o[k] for o, k in zip(orders, key, strict=True)])
        return {key[0] if len(key) == 1 else key: groups[key] for key in ordered}

    def named(self, text: str) -> dict[str, Rows]:
        """Groups by the columns that a text names in braces, as `n_σ = {n_sigma}`, under it."""
        groups: dict[str, Rows] = {}
        for rows in self.by(*fields(text)).values():
            groups.setdefault(text.format_map(rows[0]), Rows()).extend(rows)
        return groups


def fields(text: str) -> list[str]:
    """The columns that a text names in braces."""
    return [name for _, name, _, _ in Formatter().parse(text) if name]


Table = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Columns and rows of a CSV file."""


def table(rows: Iterable[Row], columns: str) -> Table:
    """Rows for a CSV file; `columns` are names, or `header=name`."""
    pairs = [(header, name or header) for header, _, name in (c.partition("=")
             for c in columns.split())]  # fmt: skip
    return [h for h, _ in pairs], [[row.get(name) for _, name in pairs] for row in rows]


def pivot(
    rows: Rows, index: Mapping[str, str], columns: str, cell: Callable[[Rows], str]
) -> list[tuple[str, ...]]:
    """A table of groups of rows, its header first; a cell without rows is empty.

    `index` has the headers of the columns at the left with what they say, as `{sampler}`; the
    others say `columns`, as `{extractor}, {objective}`.
    """
    names, body = list(rows.named(columns)), []
    for key, line in rows.named("\n".join(index.values())).items():
        groups = line.named(columns)
        cells = (cell(groups[name]) if name in groups else "" for name in names)
        body.append((*key.split("\n"), *cells))
    return [(*index, *names), *body]


def csv_text(content: Table) -> str:
    """The text of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([content[0], *content[1]])
    return stream.getvalue()


def markdown_table(rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table of a header and rows; the first column is left-aligned, the others right."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (rows[0], rule, *rows[1:]))
