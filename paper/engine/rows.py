"""The tidy table: a row for each number that was measured, with tags that say of what."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Row", "Rows", "csv_text", "markdown_table", "table"]

Row = Mapping[str, Any]


class Rows(list[Row]):
    """Rows in the order in which they were measured."""

    def where(self, **tags: Any) -> Rows:
        """Those that have all of these tags."""
        return Rows(row for row in self if all(row[name] == tag for name, tag in tags.items()))

    def values(self, column: str = "distance") -> list[Any]:
        """One column."""
        return [row[column] for row in self]

    def levels(self, column: str) -> list[Any]:
        """The different values of a column, in the order of their first row."""
        return list(dict.fromkeys(row[column] for row in self))

    def by(self, *columns: str) -> dict[Any, Rows]:
        """Groups by one column, or by a tuple of several."""
        groups: dict[Any, Rows] = {}
        for row in self:
            key = tuple(row[column] for column in columns)
            groups.setdefault(key[0] if len(key) == 1 else key, Rows()).append(row)
        return groups


Table = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Columns and rows of a CSV file."""


def table(rows: Iterable[Row], columns: str) -> Table:
    """Rows for a CSV file; `columns` are names, or `header=name`."""
    pairs = [(header, name or header) for header, _, name in (c.partition("=")
             for c in columns.split())]  # fmt: skip
    return [h for h, _ in pairs], [[row.get(name) for _, name in pairs] for row in rows]


def csv_text(content: Table) -> str:
    """The text of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([content[0], *content[1]])
    return stream.getvalue()


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned, the others are right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
