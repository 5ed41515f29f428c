"""The kinds of picture that the studies draw: dots, curves and sheets of samples."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cascore.errors import MissingExtraError
from paper.engine.compare import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "COLOURS",
    "GREY",
    "Curve",
    "Dot",
    "Panel",
    "curves",
    "dots",
    "legend_below",
    "new_figure",
    "plain_ticks",
    "require_matplotlib",
    "sheets",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind readers tell apart."""
BLACK, GREY = "#000000", "#777777"
_WIDTH = 9.0  # inches
_INK, _RULE, _BAND = "#333333", "#d9d9d9", "#e3e3e3"


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


def legend_below(figure: Figure, panel: Axes, *, columns: int) -> None:
    """One legend for all panels, outside of the data."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def plain_ticks(axis: Axis, digits: Sequence[float] | None = None) -> None:
    """Multiples of each power of ten, written out, on a logarithmic axis that has its data."""
    from matplotlib.ticker import LogLocator, NullLocator

    if digits is None:
        low, high = axis.get_view_interval()
        digits = (1, 2, 5)
        if high < 10 * low:
            digits = (1, 1.5, 2, 3, 5, 7)
        if high < 3 * low:
            digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=digits, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


# --- dots ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dot:
    """A number in a row of a chart: hollow for raw samples, full for denoised ones."""

    row: str
    number: Number
    colour: str
    hollow: bool = False
    shift: float = 0.0  # down, in rows
    label: str = ""


def dots(
    panels: Mapping[str, Sequence[Dot]],
    *,
    bands: Mapping[str, Number],
    axis: str = "Fréchet distance (lower is better)",
    logarithmic: bool = True,
    columns: int = 3,
    rules: int = 0,
) -> Figure:
    """A panel for each title, a row for each label, whiskers of two ±; a band for real images.

    Args:
        panels: dots by title; all panels have the same rows.
        bands: by title, what real images have.
        axis: what the numbers are.
        logarithmic: the axis.
        columns: of the legend, which names each label once.
        rules: a line after so many rows; 0 draws none.
    """
    rows = list(dict.fromkeys(dot.row for marks in panels.values() for dot in marks))
    figure, axes = new_figure(len(panels), height=1.5 + 0.32 * len(rows))
    for panel, (title, marks) in zip(axes, panels.items(), strict=True):
        if title in bands:
            panel.axvspan(*bands[title].band, color=_BAND, linewidth=0, label="real images")
        seen: set[str] = set()
        for dot in marks:
            panel.errorbar(
                dot.number.mean,
                rows.index(dot.row) + dot.shift,
                xerr=dot.number.whisker,
                fmt="o",
                color=dot.colour,
                markerfacecolor="white" if dot.hollow else dot.colour,
                markersize=6,
                linewidth=1.4,
                label=dot.label if dot.label and dot.label not in seen else None,
            )
            seen.add(dot.label)
        if logarithmic:
            panel.set_xscale("log")
            plain_ticks(panel.xaxis)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel(axis)
        panel.set_yticks(range(len(rows)), labels=rows)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.grid(visible=False, axis="y")
        for line in range(rules, len(rows), rules) if rules else ():
            panel.axhline(line - 0.5, color=_RULE, linewidth=0.8)
    for panel in axes[1:]:
        panel.tick_params(labelleft=False)
    legend_below(figure, axes[0], columns=columns)
    return figure


# --- curves --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A line of a chart: dashed and hollow for raw samples, through and full for denoised ones.

    Attributes:
        x, y: of its points.
        label: in the legend.
        colour: of line and points.
        raw: dashed and hollow.
        bars: of each point, to either side; none if empty.
        marker: of the points, as matplotlib names it.
        line: whether the points are joined.
        size: of the points.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str | None
    colour: str
    raw: bool = False
    bars: Sequence[float] = ()
    marker: str = "o"
    line: bool = True
    size: float = 4.0

    @classmethod
    def of(
        cls, x: Sequence[float], numbers: Sequence[Number], label: str, colour: str, *, raw: bool
    ) -> Curve:
        """Numbers with bars of two ±."""
        means = [number.mean for number in numbers]
        return cls(x, means, label, colour, raw=raw, bars=[n.whisker for n in numbers])


@dataclass(frozen=True)
class Panel:
    """One panel of curves.

    Attributes:
        title: above it, at the left.
        curves: in the order in which they are drawn.
        x, y: what the axes are.
        band: where real images are, on the axis of y.
        xlog, ylog: logarithmic axes.
        xticks, yticks: named on the axes; by default what fits.
        xlim, ylim: ends of the axes.
        line: a dashed vertical line.
    """

    title: str
    curves: Sequence[Curve]
    x: str
    y: str
    band: Number | None = None
    xlog: bool = False
    ylog: bool = False
    xticks: Sequence[float] = ()
    yticks: Sequence[float] = ()
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    line: float | None = None


def curves(
    panels: Sequence[Panel], *, columns: int = 2, legend: int = 5, height: float = 3.2
) -> Figure:
    """Panels in a grid, with the legend of the first below all of them."""
    rows = math.ceil(len(panels) / columns)
    figure, axes = new_figure(columns, rows=rows, height=height)
    for axis, panel in zip(axes, panels, strict=False):
        _curves(axis, panel)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    legend_below(figure, axes[0], columns=legend)
    return figure


def _curves(axis: Axes, panel: Panel) -> None:
    if panel.band is not None:
        axis.axhspan(*panel.band.band, color=_BAND, linewidth=0, label="real images")
    if panel.line is not None:
        axis.axvline(panel.line, color=_INK, linewidth=1, linestyle="--")
    for curve in panel.curves:
        axis.errorbar(
            curve.x,
            curve.y,
            yerr=list(curve.bars) or None,
            fmt=curve.marker + ("" if not curve.line else "--" if curve.raw else "-"),
            color=curve.colour,
            markerfacecolor="white" if curve.raw else curve.colour,
            linewidth=1.4,
            markersize=curve.size,
            label=curve.label,
        )
    for letter, logarithmic, ticks, limits in (
        ("x", panel.xlog, panel.xticks, panel.xlim),
        ("y", panel.ylog, panel.yticks, panel.ylim),
    ):
        one = getattr(axis, f"{letter}axis")
        if limits is not None:
            getattr(axis, f"set_{letter}lim")(limits)
        if logarithmic:
            getattr(axis, f"set_{letter}scale")("log")
        if ticks:
            getattr(axis, f"set_{letter}ticks")(ticks, labels=[f"{t:g}" for t in ticks])
            one.minorticks_off()
        elif logarithmic:
            plain_ticks(one)
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
