"""`cascore verify`: the numbers of a file of records, computed again."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascore.commands.judging import WIDTH
from cascore.evaluation.verification import Verified
from cascore.evaluation.verification import verify as verify_records
from cascore.experiment import build
from cascore.measurement import read_measurements
from cascore.progress import Display

__all__ = ["verify"]


def verify(file: Path, *, root: str | None, device: str | None) -> int:
    """Compute records again; 0 if every number was found again, 1 if not."""
    records = read_measurements(file)
    place = build.select_device(device or records[0].computation.device)
    found = verify_records(records, root=root, device=place, counting=Display().counting)
    console = Console(width=WIDTH, highlight=False, markup=False)
    console.print(_table(found))
    for change in dict.fromkeys(change for each in found for change in each.changes):
        console.print(change)
    failed = sum(not each.holds for each in found)
    console.print(
        f"{failed} of {len(found)} numbers were not found again"
        if failed
        else f"all {len(found)} numbers were found again"
    )
    return 1 if failed else 0


def _table(found: list[Verified]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("", "was", "is", ""):
        table.add_column(name, justify="right" if name else "left")
    for each in found:
        record = each.record
        split = "" if not record.references else f", {record.references[0].split}"
        table.add_row(
            f"{record.label}{split}, {record.images.form}",
            _number(record.value),
            "" if each.verdict == "not computed" else _number(each.value),
            each.verdict,
        )
    return table


def _number(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.8g}"
