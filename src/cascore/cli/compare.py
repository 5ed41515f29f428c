"""`cascore compare`: numbers side by side, in a table, in the terminal and in a picture."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.cli import options
from cascore.cli.common import result_table, table_console
from cascore.locks import one_file
from cascore.measurement import METRICS, Measurement, in_words
from cascore.progress import Display

if TYPE_CHECKING:
    from rich.table import Table

    from cascore.evaluation.compare import Row

COLUMNS = 26  # of the drawing in the terminal


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Rank numbers of records, and draw them; refuse if their provenance differs.

    Example: cascore compare runs/a runs/b --metric frechet --out compare.png
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Files of records, or folders that hold them: runs, or their evaluations/."""
    metric: options.Number = "frechet"
    """Which number."""
    form: Literal["denoised", "raw", "both"] = "denoised"
    """Of samples; images of other programs are always taken."""
    split: Literal["train", "test", "all"] | None = None
    """Of the real images; default: train, where there are several."""
    accept: tuple[str, ...] = ()
    """Fields that may differ all the same, as a refusal names them."""
    out: Path | None = None
    """Also draw a picture: .png, .svg or .pdf."""

    def run(self, typed: str) -> int:
        """Rank the numbers of records, or refuse to and say why."""
        from cascore.evaluation.compare import comparison_chart, find_rows, rank, require_comparable

        with nullcontext() if self.out is None else one_file(self.out, "a chart"):
            rows = find_rows(self.paths, metric=self.metric, form=self.form, split=self.split)
            require_comparable(rows, accepted=self.accept)
            ranked, title = rank(rows), _title(rows[0].measurement)
            if self.out is not None:
                across = f"{METRICS[self.metric].label} (bars: one standard error)"
                comparison_chart(ranked, self.out, title=title, across=across)
                Display().say(f"chart: {self.out}")
        console = table_console()
        console.print(title, style="bold")
        console.print(_table(ranked))
        console.print(_explanation(ranked, self.accept))
        return 0


def _title(first: Measurement) -> str:
    against = " and ".join(f"{real.name} {real.split or ''}".strip() for real in first.references)
    title = f"{first.label} of {first.images.count} images"
    title += f" against {against}" if against else ""
    return title + (f", features of {first.extractor.name}" if first.extractor else "")


def _table(ranked: "Sequence[Row]") -> "Table":
    table = result_table()
    for name in ("rank", "", "value", "one standard error", ""):
        table.add_column(name, justify="right" if name in ("rank", "value") else "left")
    for row, bar in zip(ranked, _bars([row.measurement for row in ranked]), strict=True):
        number = row.measurement
        notes = ["tie with the first"] * row.tied + ["at the floor"] * number.at_floor
        rank = "" if row.rank is None else str(row.rank)
        table.add_row(rank, row.label, in_words(number.value, number.error), bar, ", ".join(notes))
    return table


def _bars(numbers: Sequence[Measurement]) -> list[str]:
    """Each value as a dot on a common scale, with a line of one standard error either way."""
    finite = [number for number in numbers if number.value is not None]
    ends = [
        number.estimate.mean + side * (number.error or 0.0) for number in finite for side in (-1, 1)
    ]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    if not math.isfinite(high - low):  # which no scale holds
        return [""] * len(numbers)
    scale = (COLUMNS - 1) / (high - low) if high > low else 0.0
    bars = []
    for number in numbers:
        value, error = number.value, number.error or 0.0
        cells = [" "] * COLUMNS
        if value is not None:
            left, right = (round((x - low) * scale) for x in (value - error, value + error))
            cells[left : right + 1] = "─" * (right + 1 - left)
            cells[round((value - low) * scale)] = "●"
        bars.append("".join(cells))
    return bars


def _explanation(ranked: "Sequence[Row]", accepted: Sequence[str]) -> str:
    text = "A tie: the 95 % interval of the difference holds zero. rank counts the better ones."
    if ranked[0].rank is None:
        text = "This number is best neither high nor low: it is listed, not ranked."
    if accepted:
        text += f" Differences accepted: {', '.join(accepted)}."
    return text
