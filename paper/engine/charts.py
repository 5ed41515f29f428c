"""The kinds of picture that the studies draw: dots, curves and sheets of samples."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from paper.engine.claims import Number, mean_of, spread
from paper.engine.rows import Row, Rows, fields

BLACK, GREY = "#000000", "#777777"
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *(BLACK, GREY, "#b9b9b9"),
    *("#882255", "#999933", "#332288"),
)
"""Okabe and Ito's, which colour-blind readers tell apart, greys, and three of Paul Tol's muted."""
_MARKS = dict(zip(COLOURS, "os^DvPh<>pXd", strict=True))
"""Of each colour, for readers in black and white."""
_INK, _RULE, _WIDTH = "#333333", "#d9d9d9", 9.0  # inches

Colour = str | Callable[[Row], str]
"""The column whose levels have colours of their own, or the colour of a row."""


_P = ParamSpec("_P")
Picture = Callable[[], Figure]
"""Draws when it is called."""


def _later(draw: Callable[_P, Figure]) -> Callable[_P, Picture]:
    """The same, that draws only when what it returns is called."""
    return wraps(draw)(lambda *args, **kwargs: partial(draw, *args, **kwargs))


def new_figure(columns: int, *, rows: int = 1, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page, and its panels from left to right and top to bottom."""
    figure = Figure(figsize=(_WIDTH, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_INK)
        panel.tick_params(which="both", labelsize=9, colors=_INK)
        panel.grid(color=_RULE, linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, panels


@_later
def dots(
    rows: Rows,
    number: Callable[[Rows], Number] = spread,
    *,
    row: str,
    label: str = "{outcome}",
    colour: Colour,
    shift: str = "outcome",
    bands: Mapping[str, Number],
    panel: str = "features of {extractor}",
    axis: str = "Fréchet distance (lower is better)",
    scale: str = "log",
    line: tuple[float, str] | None = None,
    rules: int = 0,
) -> Figure:
    """A dot with whiskers of two ± for each group of rows, hollow for raw samples.

    Args:
        row, label, panel: what stands at its left, in the legend and above its panel.
        shift: the column whose levels are drawn beside each other.
        bands: what real images have, by what the title of a panel names.
        axis: what the numbers are, on a `scale`.
        line: where a dashed line is, and what it is.
        rules: a line after so many rows; 0 draws none.
    """
    names, panels, shifts = list(rows.named(row)), rows.named(panel), rows.levels(shift)
    figure, axes = new_figure(len(panels), height=1.5 + 0.32 * len(names))
    for at, (title, group) in zip(axes, panels.items(), strict=True):
        for key in (group[0][name] for name in fields(panel)):
            _band(at.axvspan, bands.get(key), GREY, "real data")
        if line is not None:
            at.axvline(line[0], color=_INK, linestyle="--", linewidth=1, label=line[1])
        for legend, of_label in group.named(label).items():
            for i, (name, of) in enumerate(of_label.named(row).items()):
                value, place = number(of), shifts.index(of[0][shift]) - (len(shifts) - 1) / 2
                at.errorbar(
                    value.mean,
                    names.index(name) + 0.28 * place,
                    xerr=value.whisker,
                    **_look(of[0], colour, rows),
                    markersize=6,
                    label="_" if i else legend,
                )
        at.set_xscale(scale)
        plain_ticks(at.xaxis)
        at.set_title(title, loc="left", fontsize=10)
        at.set_yticks(range(len(names)), labels=[n.replace("n_σ", "$n_\\sigma$") for n in names])
        at.set(xlabel=axis, ylim=(len(names) - 0.4, -0.6))
        at.grid(visible=False, axis="y")
        for place in range(rules, len(names), rules) if rules else ():
            at.axhline(place - 0.5, color=_RULE, linewidth=0.8)
        at.tick_params(labelleft=at is axes[0])
    _legend(figure, axes)
    return figure


@_later
def curves(
    rows: Rows,
    number: Callable[[Rows], Number] = mean_of,
    *,
    x: str,
    label: str,
    colour: Colour = lambda row: BLACK,
    panel: str,
    bands: Callable[[Row], Mapping[str, Number | None]] = lambda row: {},
    line: float | None = None,
    columns: int = 2,
    height: float = 4.0,
    ylabel: str = "Fréchet distance",
    xscale: str = "linear",
    yscale: str | Callable[[Row], str] = "log",
    **axes: Any,
) -> Figure:
    """A curve for each label in panels, with bars of two ±, dashed and hollow for raw samples.

    The column `style`, where rows have it, says how else, as `Axes.errorbar` names it.

    Args:
        x: the column with a point for each value.
        label, panel: what stands in the legend and above the panel, of which a line has `columns`.
        bands: of a panel by what they are; of real images first.
        line: where a dashed vertical line is.
        ylabel, xscale, yscale, axes: as `Axes.set` names it; yscale also by the first row.
    """
    panels = rows.named(panel)
    figure, all_axes = new_figure(columns, rows=-(-len(panels) // columns), height=height)
    for at, (title, group) in zip(all_axes, panels.items(), strict=False):
        for ink, (name, band) in zip((GREY, COLOURS[1]), bands(group[0]).items(), strict=False):
            _band(at.axhspan, band, ink, name)
        if line is not None:
            at.axvline(line, color=_INK, linewidth=1, linestyle="--")
        for name, of in group.named(label).items():
            points = {value: number(point) for value, point in of.by(x).items()}
            look = {**_look(of[0], colour, rows), "markersize": 4, "label": name}
            look["fmt"] += "--" if of[0].get("outcome") == "raw" else "-"
            means, bars = zip(*((n.mean, n.whisker) for n in points.values()), strict=True)
            look |= of[0].get("style", {})
            at.errorbar(list(points), means, yerr=bars, elinewidth=1, **look)
        at.set_title(title, loc="left", fontsize=10)
        at.set_xscale(xscale)
        at.set_yscale(yscale(group[0]) if callable(yscale) else yscale)
        at.set(ylabel=ylabel, **axes)
        plain_ticks(at.xaxis, fixed="xticks" in axes)
        plain_ticks(at.yaxis, fixed="yticks" in axes)
    for at in all_axes[len(panels) :]:
        at.set_visible(False)
    _legend(figure, all_axes)
    return figure


@_later
def sheets(rows: Rows, *, columns: int = 2) -> Figure:
    """Sheets of samples, `png` in base64, in a grid by `label`, at the left, and `title`, above.

    Titles without labels are wrapped in so many columns.
    """
    cells = [of[0] for of in rows.by("label", "title").values()]
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(c["png"])))) for c in cells]
    tall, wide = pictures[0].shape[:2]
    titles = 0.1 if cells[0]["label"] else 0.3  # above the first line, or above each
    lines, height = math.ceil(len(cells) / columns), titles + 4.2 * tall / wide
    figure, axes = new_figure(columns, rows=lines, height=height)
    for place, (at, cell, picture) in enumerate(zip(axes, cells, pictures, strict=False)):
        at.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        if cell["label"] == cells[0]["label"]:
            at.set_title(cell["title"], loc="left", fontsize=10)
        if place % columns == 0:
            at.set_ylabel(cell["label"], rotation=0, ha="right", va="center", fontsize=9)
    for at in axes:
        at.set(xticks=[], yticks=[])
        at.grid(visible=False)
        at.spines[:].set_visible(False)
    return figure


def _look(row: Row, colour: Colour, rows: Rows) -> dict[str, Any]:
    ink = colour(row) if callable(colour) else COLOURS[rows.levels(colour).index(row[colour])]
    fill = "white" if row.get("outcome") == "raw" else ink
    return {"fmt": _MARKS[ink], "color": ink, "markerfacecolor": fill, "linewidth": 1.4}


def _band(span: Callable[..., object], band: Number | None, colour: str, label: str) -> None:
    if band is not None:
        span(*band.band, color=colour, alpha=0.2, linewidth=0, label=label)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, outside of the data, each label once."""
    pairs = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels]
    marks = {label: handle for panel in pairs for handle, label in panel}
    columns = min(6, 160 // (8 + max(map(len, marks), default=0)))  # as many as fit
    look: dict[str, Any] = {"ncols": max(1, columns), "frameon": False, "fontsize": 9}
    figure.legend(list(marks.values()), list(marks), loc="outside lower center", **look)


def plain_ticks(axis: Axis, *, fixed: bool = False) -> None:
    """On a logarithmic axis that has its data: multiples of powers of ten, written out."""
    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    digits: Sequence[float] = (1, 2, 5)
    if high < 10 * low:
        digits = (1, 1.5, 2, 3, 5, 7)
    if high < 3 * low:
        digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    if not fixed:
        axis.set_major_locator(LogLocator(subs=digits, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
