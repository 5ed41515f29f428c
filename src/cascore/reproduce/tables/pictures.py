"""The pictures of Tables 1, 2 and 3: a chart of dots, and a sheet of samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

from cascore.reproduce.pages import (
    COLOURS,
    legend_below,
    new_figure,
    plain_ticks,
    shade_real,
)
from cascore.reproduce.sheets import picture_of, show_sheet
from cascore.reproduce.spread import Spread, spread_over
from cascore.reproduce.tables.scales import TableScale
from cascore.reproduce.tables.values import OBJECTIVES, OUTCOMES, Key, Values
from cascore.reproduce.tables.work import FLOOR, METHODS, Cell, Trial
from cascore.reproduce.tuning import Method
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dots", "sheet"]

_APART = 0.16  # of a row, between the two objectives
_COLOUR = dict(zip(OBJECTIVES, COLOURS, strict=False))
_FILL = {"raw": "white", "denoised": None}


def dots(scale: TableScale, values: Values, floors: Mapping[str, Spread]) -> Figure:
    """A panel for each extractor; a row for each sampler, raw above denoised."""
    figure, panels = new_figure(len(scale.extractors), height=4.4)
    rows = list(product(METHODS, scale.n_sigmas, OUTCOMES))
    for panel, extractor in zip(panels, scale.extractors, strict=True):
        shade_real(panel.axvspan, floors[extractor])
        for objective, outcome in product(OBJECTIVES, OUTCOMES):
            shift = -_APART if objective == "plain" else _APART
            marks = [
                (place + shift, spread_over(values[Key(extractor, objective, m, n, o)]))
                for place, (m, n, o) in enumerate(rows)
                if o == outcome
            ]
            colour = _COLOUR[objective]
            panel.errorbar(
                [each.mean for _, each in marks],
                [place for place, _ in marks],
                xerr=[each.whisker for _, each in marks],
                fmt="o",
                color=colour,
                markerfacecolor=_FILL[outcome] or colour,
                markersize=6,
                linewidth=1.4,
                label=f"{objective}, {outcome}",
            )
        panel.set_xscale("log")
        plain_ticks(panel.xaxis, digits=(1, 1.5, 2, 3, 4, 5, 7))
        panel.set_xlabel("Fréchet distance (lower is better)")
        panel.set_title(f"features of {extractor}", loc="left", fontsize=10)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.grid(axis="y", visible=False)
        for line in range(2, len(rows), 2):
            panel.axhline(line - 0.5, color="#d9d9d9", linewidth=0.8)
        panel.set_yticks(range(len(rows)), labels=[_name(*row) for row in rows])
    for panel in panels[1:]:
        panel.set_yticklabels([])
    legend_below(figure, panels[0], columns=5)
    return figure


def _name(method: Method, n_sigma: int, outcome: str) -> str:
    return f"{method.upper()}, $n_\\sigma$ = {n_sigma}, {outcome}"


def sheet(scale: TableScale, records: Records) -> Figure:
    """Denoised samples of every sampler, plain beside adversarial, and real images at the top."""
    samplers = list(product(METHODS, scale.n_sigmas))
    real = records[FLOOR]["result"]["sheet"]
    height, width = picture_of(real).shape[:2]
    figure, panels = new_figure(2, rows=len(samplers) + 1, height=4.6 * height / width)
    places = iter(panels)
    for title in scale.presets:
        show_sheet(next(places), real, title=title, label="real images")
    for method, n in samplers:
        for preset in scale.presets:
            record = records[Cell(Trial(preset, 0), method, n).unit(0)]
            label = f"{method.upper()}, $n_\\sigma$ = {n}"
            show_sheet(next(places), record["result"]["sheet"], title="", label=label)
    for panel in panels[1::2]:
        panel.set_ylabel("")
    return figure
