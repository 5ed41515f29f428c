"""`cascore compare`: numbers side by side, in a table, in the terminal and in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.cli.common import result_table, table_console
from cascore.measurement import METRICS
from cascore.progress import Display

if TYPE_CHECKING:
    from rich.table import Table

    from cascore.evaluation.comparison import Ranked
    from cascore.evaluation.entries import Entry

__all__ = ["Compare"]

COLUMNS = 26  # of the drawing in the terminal


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Rank numbers of records, and draw them; refuse if their provenance differs.

    Example: cascore compare runs/a runs/b --metric frechet --out compare.png
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Files of records, or folders that hold them: runs, or their evaluations/."""
    metric: str = "frechet"
    """frechet, kernel, precision, recall, density, coverage, modes, modes-kl, memorisation or
    inception-score."""
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
        from cascore.evaluation.comparison import rank, require_comparable
        from cascore.evaluation.comparison_chart import comparison_chart
        from cascore.evaluation.entries import find_entries

        entries = find_entries(self.paths, metric=self.metric, form=self.form, split=self.split)
        require_comparable(entries, accepted=self.accept)
        ranked = rank(entries)
        console = table_console()
        console.print(_title(entries), style="bold")
        console.print(_table(ranked))
        console.print(_explanation(ranked, self.accept))
        if self.out is not None:
            across = f"{METRICS[self.metric].label} (bars: one standard error)"
            comparison_chart(ranked, self.out, title=_title(entries), across=across)
            Display().say(f"chart: {self.out}")
        return 0


def _title(entries: "Sequence[Entry]") -> str:
    record = entries[0].record
    against = " and ".join(f"{each.name} {each.split or ''}".strip() for each in record.references)
    title = f"{record.label} of {record.images.count} images"
    title += f" against {against}" if against else ""
    return title + (f", features of {record.extractor.name}" if record.extractor else "")


def _table(ranked: "Sequence[Ranked]") -> "Table":
    table = result_table()
    for name in ("rank", "", "value", "one standard error", ""):
        table.add_column(name, justify="right" if name in ("rank", "value") else "left")
    bars = _bars([each.entry for each in ranked])
    for each, bar in zip(ranked, bars, strict=True):
        record = each.entry.record
        value = "infinite" if record.value is None else f"{record.value:.4g}"
        error = "" if record.error is None else f" ± {record.error:.2g}"
        said = ["tie with the first"] * each.tied + ["at the floor"] * each.at_floor
        place = "" if each.rank is None else str(each.rank)
        table.add_row(place, each.entry.label, value + error, bar, ", ".join(said))
    return table


def _bars(entries: "Sequence[Entry]") -> list[str]:
    """Each value as a dot on a common scale, with a line of one standard error either way."""
    spans = [
        (record.value - (record.error or 0.0), record.value + (record.error or 0.0))
        for record in (entry.record for entry in entries)
        if record.value is not None
    ]
    if not spans:
        return [""] * len(entries)
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    scale = (COLUMNS - 1) / (high - low) if high > low else 0.0
    bars = []
    for entry in entries:
        value, error = entry.record.value, entry.record.error or 0.0
        if value is None:
            bars.append("")
            continue
        cells = [" "] * COLUMNS
        left, right = (round((x - low) * scale) for x in (value - error, value + error))
        cells[left : right + 1] = "─" * (right + 1 - left)
        cells[round((value - low) * scale)] = "●"
        bars.append("".join(cells))
    return bars


def _explanation(ranked: "Sequence[Ranked]", accepted: Sequence[str]) -> str:
    said = "A tie: the 95 % interval of the difference holds zero. rank counts the better ones."
    if ranked[0].rank is None:
        said = "This number is best neither high nor low: it is listed, not ranked."
    if accepted:
        said += f" Differences accepted: {', '.join(accepted)}."
    return said
