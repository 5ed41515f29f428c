"""What a study hands over to be written: Markdown, pictures and tables, made from records alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascore.errors import MissingExtraError
from cascore.files import replaced_file, write_text
from cascore.reproduce.spread import Spread
from cascore.reproduce.units import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "Page",
    "Table",
    "legend_below",
    "machine_of",
    "markdown_table",
    "new_figure",
    "plain_ticks",
    "require_matplotlib",
    "shade_real",
    "write_page",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind readers tell apart."""
_WIDTH = 9.0  # inches; 150 pixels each
_INK, _RULE = "#333333", "#d9d9d9"


@dataclass(frozen=True)
class Table:
    """Rows for a CSV file."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def csv(self) -> str:
        """The text of the file."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([self.columns, *self.rows])
        return stream.getvalue()


@dataclass(frozen=True)
class Page:
    """A study's result.

    Attributes:
        text: Markdown; a picture NAME is at STUDY/NAME.png beside the page.
        pictures: by name, what draws them.
        tables: by name.
    """

    text: str
    pictures: Mapping[str, Callable[[], Figure]]
    tables: Mapping[str, Table]


def require_matplotlib() -> None:
    """Raise MissingExtraError before any work is done, if nothing could be drawn after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(what="A picture", package="matplotlib", extra="report") from error


def new_figure(columns: int, *, rows: int = 1, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page, and its panels from left to right and top to bottom."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_INK)
        panel.tick_params(which="both", labelsize=9, colors=_INK)
        panel.grid(color=_RULE, linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, panels


def shade_real(span: Callable[..., object], band: Spread, *, label: str = "real images") -> None:
    """Grey where real data are: `span` is a panel's axvspan or axhspan."""
    span(*band.band, color="#e3e3e3", linewidth=0, label=label)


def legend_below(figure: Figure, panel: Axes, *, columns: int) -> None:
    """One legend for all panels, outside of the data."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def plain_ticks(axis: Axis, *, digits: Sequence[float] | None = None) -> None:
    """Multiples of each power of ten, written out, on a logarithmic axis that has its data."""
    from matplotlib.ticker import LogLocator, NullLocator

    if digits is None:
        low, high = axis.get_view_interval()
        digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high < 3 * low else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=digits, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned, the others are right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_of(records: Iterable[Record]) -> str:
    """The machines and versions behind records, and how long they took together."""
    found = list(records)
    machines = sorted(
        {
            f"{each['machine']['cores']} cores, {each['machine']['threads']} thread(s)"
            f" {each['software']['machine']}"
            + (f", {name}" if (name := each["machine"]["accelerator"]) else "")
            + f", torch {each['software']['torch']}, Python {each['software']['python']},"
            f" cascore {each['software']['cascore']}"
            for each in found
        }
    )
    seconds = sum(each["seconds"] for each in found)
    return f"{'; '.join(machines)}. {len(found)} records, {seconds:,.0f} s."


def write_page(page: Page, out: Path, *, study: str) -> Path:
    """Write OUT/STUDY.md, and pictures (SVG, PNG) and tables (CSV) into OUT/STUDY; the page's path.

    The same records give the same bytes: no date, no random ids.
    """
    import matplotlib as mpl

    folder = out / study
    (folder if page.pictures or page.tables else out).mkdir(parents=True, exist_ok=True)
    for name, draw in page.pictures.items():
        figure = draw()
        with mpl.rc_context({"svg.hashsalt": name, "font.family": "DejaVu Sans"}):
            with replaced_file(folder / f"{name}.svg") as path:
                figure.savefig(path, format="svg", metadata={"Date": None})
            with replaced_file(folder / f"{name}.png") as path:
                figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
    for name, table in page.tables.items():
        write_text(folder / f"{name}.csv", table.csv)
    write_text(out / f"{study}.md", page.text.rstrip() + "\n")
    return out / f"{study}.md"
