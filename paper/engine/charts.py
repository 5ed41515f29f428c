"""The kinds of picture that the studies draw: dots, curves and sheets of samples."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cascore.errors import MissingExtraError
from paper.engine.compare import Number, mean_of, spread
from paper.engine.rows import Row, Rows, fields

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind readers tell apart."""
BLACK, GREY = "#000000", "#777777"
_WIDTH = 9.0  # inches
_INK, _RULE, _BANDS = "#333333", "#d9d9d9", (GREY, COLOURS[1])


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


def _legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """One legend for all panels, outside of the data, each label once."""
    pairs = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels]
    marks = {label: handle for panel in pairs for handle, label in panel}
    figure.legend(
        list(marks.values()),
        list(marks),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )


def _plain_ticks(axis: Axis) -> None:
    """Multiples of each power of ten, written out, on a logarithmic axis that has its data."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    digits: Sequence[float] = (1, 2, 5)
    if high < 10 * low:
        digits = (1, 1.5, 2, 3, 5, 7)
    if high < 3 * low:
        digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=digits, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


# --- dots ----------------------------------------------------------------------------------------


def dots(
    rows: Rows,
    number: Callable[[Rows], Number] = spread,
    *,
    row: str,
    label: str = "{outcome}",
    colour: str | Callable[[Row], str],
    shift: str = "outcome",
    bands: Mapping[str, Number],
    panel: str = "features of {extractor}",
    axis: str = "Fréchet distance (lower is better)",
    logarithmic: bool = True,
    line: tuple[float, str] | None = None,
    columns: int = 3,
    rules: int = 0,
) -> Figure:
    """A dot with whiskers of two ± for each group of rows, hollow for raw samples.

    Args:
        rows: behind all dots.
        number: that a group of rows shows.
        row: what stands at the left of it; all panels have the same.
        label: what it is in the legend.
        colour: the column whose levels have colours of their own, or a colour by the first row.
        shift: the column whose levels are drawn beside each other.
        bands: what real images have, by what the title of a panel names.
        panel: title of its panel.
        axis: what the numbers are.
        logarithmic: the axis.
        line: where a dashed line is, and what it is.
        columns: of the legend.
        rules: a line after so many rows; 0 draws none.
    """
    names, panels, shifts = list(rows.named(row)), rows.named(panel), rows.levels(shift)
    ink_of = colour if callable(colour) else partial(_ink, rows.levels(colour), colour)
    figure, axes = new_figure(len(panels), height=1.5 + 0.32 * len(names))
    for at, (title, group) in zip(axes, panels.items(), strict=True):
        for band in (bands[k] for k in (group[0][f] for f in fields(panel)) if k in bands):
            at.axvspan(*band.band, color=GREY, alpha=0.2, linewidth=0, label="real data")
        if line is not None:
            at.axvline(line[0], color=_INK, linestyle="--", linewidth=1, label=line[1])
        for legend, of_label in group.named(label).items():
            for i, (name, of) in enumerate(of_label.named(row).items()):
                value, ink = number(of), ink_of(of[0])
                at.errorbar(
                    value.mean,
                    names.index(name) + 0.28 * (shifts.index(of[0][shift]) - (len(shifts) - 1) / 2),
                    xerr=value.whisker,
                    fmt="o",
                    color=ink,
                    markerfacecolor="white" if of[0].get("outcome") == "raw" else ink,
                    markersize=6,
                    linewidth=1.4,
                    label="_" if i else legend,
                )
        if logarithmic:
            at.set_xscale("log")
            _plain_ticks(at.xaxis)
        at.set_title(title, loc="left", fontsize=10)
        at.set_xlabel(axis)
        at.set_yticks(range(len(names)), labels=[n.replace("n_σ", "$n_\\sigma$") for n in names])
        at.set_ylim(len(names) - 0.4, -0.6)
        at.grid(visible=False, axis="y")
        for place in range(rules, len(names), rules) if rules else ():
            at.axhline(place - 0.5, color=_RULE, linewidth=0.8)
        at.tick_params(labelleft=at is axes[0])
    _legend(figure, axes, columns)
    return figure


def _ink(levels: Sequence[object], column: str, row: Row) -> str:
    return COLOURS[levels.index(row[column])]


# --- curves --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        x, y: of its points.
        label: in the legend; None for none.
        colour: of line and points.
        form: of points and line, as matplotlib writes it: `o-`, `v--`, or `x` without a line.
        hollow: whether the points are.
        bars: of each point, to either side; none if empty.
        size: of the points.
        width: of the line.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str | None
    colour: str
    form: str = "o-"
    hollow: bool = False
    bars: Sequence[float] = ()
    size: float = 4.0
    width: float = 1.4


def lines(
    rows: Rows,
    x: str,
    label: str,
    style: Callable[[Row], Mapping[str, Any]],
    number: Callable[[Rows], Number] = mean_of,
) -> list[Curve]:
    """A curve for each label, dashed and hollow for raw samples.

    Args:
        rows: behind all curves.
        x: the column with a point for each value.
        label: what a curve is, as `{method}, {outcome}`.
        style: further settings of a curve from the first of its rows, its `colour` among them.
        number: that the rows of a point show, with bars of two ±.
    """
    drawn = []
    for name, group in rows.named(label).items():
        numbers = {value: number(of) for value, of in group.by(x).items()}
        drawn.append(
            Curve(
                list(numbers),
                [n.mean for n in numbers.values()],
                **{
                    **(_RAW if group[0].get("outcome") == "raw" else {}),
                    "label": name,
                    "bars": [n.whisker for n in numbers.values()],
                    **style(group[0]),
                },
            )
        )
    return drawn


_RAW: Mapping[str, Any] = {"form": "o--", "hollow": True}


@dataclass(frozen=True)
class Panel:
    """One panel of curves.

    Attributes:
        title: above it, at the left.
        curves: in the order in which they are drawn.
        x, y: what the axes are.
        bands: by what they are, on the axis of y; real images first.
        log: the letters of the logarithmic axes.
        xticks, yticks: named on the axes; by default what fits.
        xlim, ylim: ends of the axes.
        line: a dashed vertical line.
    """

    title: str
    curves: Sequence[Curve]
    x: str
    y: str
    bands: Mapping[str, Number] = field(default_factory=dict)
    log: str = ""
    xticks: Sequence[float] = ()
    yticks: Sequence[float] = ()
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    line: float | None = None


def curves(
    panels: Sequence[Panel], *, columns: int = 2, legend: int = 5, height: float = 3.2
) -> Figure:
    """Panels in a grid, with one legend below all of them."""
    rows = math.ceil(len(panels) / columns)
    figure, axes = new_figure(columns, rows=rows, height=height)
    for axis, panel in zip(axes, panels, strict=False):
        _curves(axis, panel)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    _legend(figure, axes, legend)
    return figure


def _curves(axis: Axes, panel: Panel) -> None:
    for colour, (label, number) in zip(_BANDS, panel.bands.items(), strict=False):
        axis.axhspan(*number.band, color=colour, alpha=0.2, linewidth=0, label=label)
    if panel.line is not None:
        axis.axvline(panel.line, color=_INK, linewidth=1, linestyle="--")
    for curve in panel.curves:
        axis.errorbar(
            curve.x,
            curve.y,
            yerr=list(curve.bars) or None,
            fmt=curve.form,
            color=curve.colour,
            markerfacecolor="white" if curve.hollow else curve.colour,
            linewidth=curve.width,
            elinewidth=1.0,
            markersize=curve.size,
            label=curve.label,
        )
    for letter, ticks, limits in (
        ("x", panel.xticks, panel.xlim),
        ("y", panel.yticks, panel.ylim),
    ):
        if limits is not None:
            getattr(axis, f"set_{letter}lim")(limits)
        if letter in panel.log:
            getattr(axis, f"set_{letter}scale")("log")
            _plain_ticks(getattr(axis, f"{letter}axis"))
        if ticks:
            getattr(axis, f"set_{letter}ticks")(ticks, labels=[f"{t:g}" for t in ticks])
    axis.set_title(panel.title, loc="left", fontsize=10)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)


# --- sheets --------------------------------------------------------------------------------------


def sheets(rows: Rows, *, columns: int = 2) -> Figure:
    """Sheets of samples in a grid, by the columns `label`, at the left, and `title`, above.

    Args:
        rows: each with a `png` in base64.
        columns: of the grid, in which titles without labels are wrapped.
    """
    cells = [of[0] for of in rows.by("label", "title").values()]
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(c["png"])))) for c in cells]
    height, width = pictures[0].shape[:2]
    titles = 0.1 if cells[0]["label"] else 0.3  # above the first line, or above each
    lines, height = math.ceil(len(cells) / columns), titles + 4.2 * height / width
    figure, axes = new_figure(columns, rows=lines, height=height)
    for place, (axis, cell, picture) in enumerate(zip(axes, cells, pictures, strict=False)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        if cell["label"] == cells[0]["label"]:
            axis.set_title(cell["title"], loc="left", fontsize=10)
        if place % columns == 0:
            axis.set_ylabel(cell["label"], rotation=0, ha="right", va="center", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
    return figure
