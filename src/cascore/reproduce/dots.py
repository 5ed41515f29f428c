"""A chart of distances: a panel for each extractor, a row for each kind of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cascore.reproduce.pages import legend_below, new_figure, plain_ticks, shade_real
from cascore.reproduce.spread import Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dots"]

_FILLS = {"raw": "white", "denoised": None}
_GREY = "#666666"  # of the legend, whose marks stand for all rows
_APART = 0.14  # of a row, between raw and denoised


def dots(
    colours: Mapping[str, str],
    bands: Mapping[str, Spread],
    found: Mapping[tuple[str, str, str], Spread],
) -> Figure:
    """Hollow raw above filled denoised, ± two deviations; a band where real images are.

    Args:
        colours: of each row, by its label, from top to bottom.
        bands: what real images score, by extractor.
        found: what samples score, by row, extractor and outcome (raw, denoised).
    """
    figure, panels = new_figure(len(bands), height=1.5 + 0.32 * len(colours))
    for panel, (extractor, band) in zip(panels, bands.items(), strict=True):
        shade_real(panel.axvspan, band)
        for place, (row, colour) in enumerate(colours.items()):
            for (outcome, fill), shift in zip(_FILLS.items(), (-_APART, _APART), strict=True):
                spread = found[row, extractor, outcome]
                panel.errorbar(
                    spread.mean,
                    place + shift,
                    xerr=spread.whisker,
                    fmt="o",
                    color=colour,
                    markerfacecolor=fill or colour,
                    markersize=6,
                )
        for outcome, fill in _FILLS.items():
            panel.plot(
                [],
                [],
                "o",
                color=_GREY,
                markerfacecolor=fill or _GREY,
                label=f"{outcome}, ± two deviations",
            )
        panel.set_xscale("log")
        plain_ticks(panel.xaxis)
        panel.set_title(f"features of {extractor}", loc="left", fontsize=10)
        panel.set_xlabel("Fréchet distance (lower is better)")
        panel.set_yticks(range(len(colours)), labels=list(colours))
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
    for panel in panels[1:]:
        panel.tick_params(labelleft=False)
    legend_below(figure, panels[0], columns=3)
    return figure
