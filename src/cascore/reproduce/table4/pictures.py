"""The pictures of Table 4: divergences as dots, and sheets of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cascore.metrics import ModeCoverage
from cascore.reproduce.pages import COLOURS, legend_below, new_figure, plain_ticks
from cascore.reproduce.sheets import picture_of, show_sheet
from cascore.reproduce.table4.work import OBJECTIVES, OUTCOMES, Group
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SAMPLERS", "Coverages", "divergences", "samples"]

Coverages = Mapping[tuple[str, str, str], ModeCoverage]
"""By objective, sampler and outcome."""
SAMPLERS = {"all-levels": "CAS, all levels", "20-calls": "20 calls, order 2"}
_COLOUR = dict(zip(OBJECTIVES, COLOURS, strict=False))
_APART = 0.13  # of a row, between raw and denoised


def divergences(group: Group, found: Coverages, real: ModeCoverage) -> Figure:
    """KL of each network and sampler, hollow raw and filled denoised; what real images have."""
    rows = [(sampler, objective) for sampler in group.samplers for objective in OBJECTIVES]
    figure, (panel,) = new_figure(1, height=1.5 + 0.5 * len(rows))
    panel.axvspan(
        max(real.kl - 2 * real.kl_error, real.kl / 3),
        real.kl + 2 * real.kl_error,
        color="#e3e3e3",
        linewidth=0,
        label="real test images, ± two standard errors",
    )
    panel.axvline(
        real.kl_floor, color="#333333", linestyle="--", linewidth=1, label="even draws, on average"
    )
    for place, (sampler, objective) in enumerate(rows):
        colour = _COLOUR[objective]
        for outcome, shift, fill in zip(
            OUTCOMES, (-_APART, _APART), ("white", colour), strict=True
        ):
            each = found[objective, sampler, outcome]
            panel.errorbar(
                each.kl,
                place + shift,
                xerr=min(2 * each.kl_error, 0.9 * each.kl),
                fmt="o",
                color=colour,
                markerfacecolor=fill,
                markersize=6,
                label=f"{objective}, {outcome}" if place < len(OBJECTIVES) else None,
            )
    panel.set_xscale("log")
    plain_ticks(panel.xaxis)
    panel.set_xlabel("KL divergence from even modes, nats (lower is better)")
    panel.set_yticks(
        range(len(rows)),
        labels=[f"{SAMPLERS[sampler]}, {objective}" for sampler, objective in rows],
    )
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(visible=False, axis="y")
    legend_below(figure, panel, columns=3)
    return figure


def samples(group: Group, records: Records) -> Figure:
    """Denoised samples of each sampler, plain beside adversarial, real images above."""
    real = records[group.real]["result"]["sheet"]
    height, width = picture_of(real).shape[:2]
    figure, panels = new_figure(2, rows=1 + len(group.samplers), height=0.3 + 3.9 * height / width)
    places = iter(panels)
    for objective in OBJECTIVES:
        show_sheet(next(places), real, title=objective, label="real")
    for sampler in group.samplers:
        for objective in OBJECTIVES:
            result = records[group.unit(objective, sampler, 0)]["result"]
            sheet = result["sheet"]["denoised"]
            show_sheet(next(places), sheet, title="", label=f"{result['nfe']} calls")
    for panel in panels[1::2]:
        panel.set_ylabel("")
    return figure
