"""`cascore compare`: numbers side by side, in a table, in the terminal and in a picture."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascore.commands.judging import WIDTH
from cascore.evaluation.comparison import Ranked, rank, require_comparable
from cascore.evaluation.comparison_chart import comparison_chart
from cascore.evaluation.entries import Entry, find_entries
from cascore.measurement import METRICS
from cascore.progress import Display

__all__ = ["compare"]

COLUMNS = 26  # of the drawing in the terminal


def compare(
    paths: Sequence[Path],
    *,
    metric: str,
    form: str,
    split: str | None,
    accept: Sequence[str],
    out: Path | None,
) -> int:
    """Rank the numbers of records, or refuse to and say why."""
    entries = find_entries(paths, metric=metric, form=form, split=split)
    require_comparable(entries, accepted=accept)
    ranked = rank(entries)
    console = Console(width=WIDTH, highlight=False, markup=False)
    console.print(_title(entries), style="bold")
    console.print(_table(ranked))
    console.print(_explanation(ranked, accept))
    if out is not None:
        across = f"{METRICS[metric].label} (bars: one standard error)"
        comparison_chart(ranked, out, title=_title(entries), across=across)
        Display().say(f"chart: {out}")
    return 0


def _title(entries: Sequence[Entry]) -> str:
    record = entries[0].record
    against = " and ".join(f"{each.name} {each.split or ''}".strip() for each in record.references)
    title = f"{record.label} of {record.images.count} images"
    title += f" against {against}" if against else ""
    return title + (f", features of {record.extractor.name}" if record.extractor else "")


def _table(ranked: Sequence[Ranked]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
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


def _bars(entries: Sequence[Entry]) -> list[str]:
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


def _explanation(ranked: Sequence[Ranked], accepted: Sequence[str]) -> str:
    said = "A tie: the 95 % interval of the difference holds zero. rank counts the better ones."
    if ranked[0].rank is None:
        said = "This number is best neither high nor low: it is listed, not ranked."
    if accepted:
        said += f" Differences accepted: {', '.join(accepted)}."
    return said
