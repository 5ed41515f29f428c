"""The kinds of picture that the studies draw: dots, curves and sheets of samples."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cascore.errors import MissingExtraError
from paper.engine.compare import Number, mean_of
from paper.engine.rows import Row, Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "COLOURS",
    "GREY",
    "SHIFTS",
    "Curve",
    "Panel",
    "curves",
    "dots",
    "lines",
    "new_figure",
    "require_matplotlib",
    "sheets",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind readers tell apart."""
BLACK, GREY = "#000000", "#777777"
SHIFTS = (-0.14, 0.14)
"""Of two dots in one row of a chart, in rows."""
_WIDTH = 9.0  # inches
_INK, _RULE, _BANDS = "#333333", "#d9d9d9", (GREY, COLOURS[1])

Style = Callable[[Row], Mapping[str, Any]]
"""How the rows of a dot or a curve are drawn, from the first of them."""


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
    marks = {label: handle for panel in reversed(pairs) for handle, label in panel}
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
    number: Callable[[Rows], Number],
    *,
    panel: str,
    row: str,
    label: str,
    style: Style,
    bands: Mapping[str, Number],
    axis: str = "Fréchet distance (lower is better)",
    logarithmic: bool = True,
    line: tuple[float, str] | None = None,
    columns: int = 3,
    rules: int = 0,
) -> Figure:
    """A dot with whiskers of two ± for each group of rows, in panels that share their rows.

    Args:
        rows: behind all dots.
        number: that a group of rows shows.
        panel: title of the panel of a row, as `features of {extractor}`.
        row: what stands at the left of it.
        label: what it is in the legend.
        style: `colour`, and where they apply `hollow` and `shift`, down in rows.
        bands: by title, what real images have.
        axis: what the numbers are.
        logarithmic: the axis.
        line: where a dashed line is, and what it is.
        columns: of the legend.
        rules: a line after so many rows; 0 draws none.
    """
    names, panels = list(rows.named(row)), rows.named(panel)
    figure, axes = new_figure(len(panels), height=1.5 + 0.32 * len(names))
    for axes_of, (title, group) in zip(axes, panels.items(), strict=True):
        if title in bands:
            band = bands[title].band
            axes_of.axvspan(*band, color=GREY, alpha=0.2, linewidth=0, label="real images")
        if line is not None:
            axes_of.axvline(line[0], color=_INK, linestyle="--", linewidth=1, label=line[1])
        for legend, of_label in group.named(label).items():
            for place, (name, marks) in enumerate(of_label.named(row).items()):
                look, value = style(marks[0]), number(marks)
                axes_of.errorbar(
                    value.mean,
                    names.index(name) + look.get("shift", 0.0),
                    xerr=value.whisker,
                    fmt="o",
                    color=look["colour"],
                    markerfacecolor="white" if look.get("hollow") else look["colour"],
                    markersize=6,
                    linewidth=1.4,
                    label="_" if place else legend,
                )
        if logarithmic:
            axes_of.set_xscale("log")
            _plain_ticks(axes_of.xaxis)
        axes_of.set_title(title, loc="left", fontsize=10)
        axes_of.set_xlabel(axis)
        axes_of.set_yticks(range(len(names)), labels=names)
        axes_of.set_ylim(len(names) - 0.4, -0.6)
        axes_of.grid(visible=False, axis="y")
        for place in range(rules, len(names), rules) if rules else ():
            axes_of.axhline(place - 0.5, color=_RULE, linewidth=0.8)
    for axes_of in axes[1:]:
        axes_of.tick_params(labelleft=False)
    _legend(figure, axes, columns)
    return figure


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
    style: Style,
    number: Callable[[Rows], Number] = mean_of,
) -> list[Curve]:
    """A curve for each label: a point for each value of a column, with bars of two ±.

    Args:
        rows: behind all curves.
        x: the column.
        label: what a curve is, as `{method}, {outcome}`.
        style: further settings of the curve, its `colour` among them.
        number: that the rows of a point show.
    """
    drawn = []
    for name, group in rows.named(label).items():
        points = {value: number(of) for value, of in group.by(x).items()}
        means, bars = [n.mean for n in points.values()], [n.whisker for n in points.values()]
        drawn.append(Curve(list(points), means, name, bars=bars, **style(group[0])))
    return drawn


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


def sheets(cells: Sequence[tuple[str, str, str]], *, columns: int = 2) -> Figure:
    """Sheets of samples in a grid.

    Args:
        cells: title, label at the left and the PNG in base64, row by row.
        columns: of the grid.
    """
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for _, _, png in cells]
    height, width = pictures[0].shape[:2]
    rows = math.ceil(len(cells) / columns)
    titled = any(title for title, _, _ in cells)
    figure, axes = new_figure(columns, rows=rows, height=0.3 * titled + 4.5 * height / width)
    for axis, (title, label, _), picture in zip(axes, cells, pictures, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
    return figure
