"""`cascore verify`: the numbers of a file of records, computed again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cascore.cli import options
from cascore.cli.common import result_table, table_console
from cascore.measurement import read_measurements
from cascore.progress import Display

if TYPE_CHECKING:
    from rich.table import Table

    from cascore.evaluation.verify import Verified


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Compute the numbers of a file of records again: equal, within uncertainty, or different."""

    file: tyro.conf.Positional[Path]
    """Records that `cascore evaluate` wrote."""
    root: str | None = None
    """Folder of the real images' files now (default: where they were)."""
    device: options.Device | None = None
    """Where to compute (default: where it was)."""

    def run(self, typed: str) -> int:
        """Compute records again; 0 if every number was found again, 1 if not."""
        from cascore.evaluation.verify import verify
        from cascore.experiment.build import select_device

        records = read_measurements(self.file)
        device = select_device(self.device or records[0].computation.device)
        rows = verify(records, root=self.root, device=device, display=Display())
        console = table_console()
        console.print(_table(rows))
        for change in dict.fromkeys(change for row in rows for change in row.changes):
            console.print(change)
        failed = sum(row.outcome in ("different", "not computed") for row in rows)
        console.print(
            f"{failed} of {len(rows)} numbers were not found again"
            if failed
            else f"all {len(rows)} numbers were found again"
        )
        return 1 if failed else 0


def _table(rows: "list[Verified]") -> "Table":
    table = result_table()
    for name in ("", "was", "is", ""):
        table.add_column(name, justify="right" if name else "left")

    def number(value: float | None) -> str:
        return "infinite" if value is None else f"{value:.8g}"

    for row in rows:
        record = row.measurement
        split = "" if not record.references else f", {record.references[0].split}"
        table.add_row(
            f"{record.label}{split}, {record.images.form}",
            number(record.value),
            "" if row.outcome == "not computed" else number(row.value),
            row.outcome,
        )
    return table
