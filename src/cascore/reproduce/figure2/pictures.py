"""The pictures of Figure 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cascore.reproduce.figure2.work import DATA, Cell
from cascore.reproduce.pages import COLOURS, new_figure, plain_ticks, shade_real
from cascore.reproduce.spread import Spread, spread_of
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "KINDS",
    "LEVELS",
    "OUTCOMES",
    "SCORES",
    "TITLES",
    "Spreads",
    "distances",
    "level_count",
    "points",
    "real_spread",
]

SCORES = ("exact", "plain", "adversarial")
OUTCOMES = ("raw", "denoised")
TITLES = {"25-gaussians": "25 Gaussians", "swiss-roll": "swiss roll"}
LEVELS = (1, 10)
KINDS = [(levels, score) for levels in LEVELS for score in SCORES]
_COLOUR = dict(zip(SCORES, ("#000000", COLOURS[0], COLOURS[1]), strict=True))

Spreads = Mapping[tuple[str, int, str, str, str], Spread]
"""By data, levels, score, outcome and measure."""


def level_count(levels: int) -> str:
    """How many noise levels, in words."""
    return f"{levels} level{'s' * (levels > 1)}"


def real_spread(data: str, records: Records, measure: str) -> Spread:
    """What disjoint parts of the training points score."""
    return spread_of([part[measure] for part in records[f"{data}.real"]["result"]["parts"]])


def points(data: str, levels: int, records: Records) -> Figure:
    """Raw above, denoised below, of the first training's first draw; real points in grey."""
    figure, panels = new_figure(3, rows=2, height=3.1)
    real = np.array(records[f"{data}.real"]["result"]["shown"])
    reach = 1.15 * float(np.abs(real).max())
    grid = iter(panels)
    for outcome in OUTCOMES:
        for score in SCORES:
            panel = next(grid)
            name = f"{Cell(data, levels, score, 0).name}.draw-1"
            shown = np.array(records[name]["result"]["shown"][outcome])
            panel.plot(*real.T, "o", color="#bdbdbd", markersize=2.6, markeredgewidth=0)
            panel.plot(*shown.T, "x", color=_COLOUR[score], markersize=2.6, markeredgewidth=0.7)
            panel.set_xlim(-reach, reach)
            panel.set_ylim(-reach, reach)
            panel.set_aspect("equal")
            panel.set_xticks([-1, 0, 1])
            panel.set_yticks([-1, 0, 1])
            panel.set_title(f"{score} score, {outcome}", loc="left", fontsize=10)
    return figure


def distances(records: Records, spreads: Spreads) -> Figure:
    """Sliced Wasserstein distances: hollow raw, filled denoised; the band is of real points."""
    figure, panels = new_figure(2, height=3.9)
    for panel, data in zip(panels, DATA, strict=True):
        real = real_spread(data, records, "distance")
        shade_real(panel.axvspan, real, label="real points")
        for row, (levels, score) in enumerate(KINDS):
            _distance_row(panel, row, _COLOUR[score], spreads, (data, levels, score))
        panel.set_xscale("log")
        plain_ticks(panel.xaxis)
        panel.set_yticks(
            range(len(KINDS)),
            labels=[f"{score}, {level_count(levels)}" for levels, score in KINDS],
        )
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set_title(TITLES[data], loc="left", fontsize=10)
        panel.set_xlabel("sliced Wasserstein distance to held-out points")
    panels[1].tick_params(labelleft=False)
    handles, labels = panels[0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    figure.legend(
        named.values(), named, loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    return figure


def _distance_row(
    panel: Axes, row: int, colour: str, spreads: Spreads, kind: tuple[str, int, str]
) -> None:
    for outcome, shift, fill in (("raw", -0.13, "white"), ("denoised", 0.13, colour)):
        spread = spreads[(*kind, outcome, "distance")]
        panel.errorbar(
            spread.mean,
            row + shift,
            xerr=None if np.isnan(spread.deviation) else spread.deviation,
            fmt="o",
            color=colour,
            markerfacecolor=fill,
            markersize=6,
            label=f"{outcome}, ± one standard deviation" if colour == "#000000" else None,
        )
