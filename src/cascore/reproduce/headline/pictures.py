"""The picture of the headline: published results by network calls, and our own best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from cascore.reproduce.headline.values import Best, Published
from cascore.reproduce.pages import COLOURS, new_figure, plain_ticks
from cascore.reproduce.tables.values import OBJECTIVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calls_and_ratios"]

_GREY = "#777777"


def calls_and_ratios(published: Sequence[Published], own: Sequence[Best]) -> Figure:
    """Left FID against network calls on CIFAR-10, right our distances over those of real images."""
    figure, (left, right) = new_figure(2, height=4.2)
    _published(left, [each for each in published if each.nfe is not None])
    _own(right, own)
    return figure


def _published(panel: Axes, published: Sequence[Published]) -> None:
    ours, others = published[:2], published[2:]
    for shade, (name, group) in zip(
        (COLOURS[6], *COLOURS[2:6], _GREY, _GREY),
        groupby(others, key=lambda each: each.result.split(":")[0]),
        strict=False,
    ):
        points = list(group)
        panel.plot(
            [each.nfe or math.nan for each in points],
            [each.fid for each in points],
            "o-",
            color=shade,
            markersize=4,
            linewidth=1.2,
            label=name,
        )
    for each, colour, objective in zip(ours, COLOURS, OBJECTIVES, strict=False):
        panel.plot(
            each.nfe or math.nan,
            each.fid,
            "*",
            color=colour,
            markersize=13,
            label=f"this paper, {objective}",
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    plain_ticks(panel.yaxis)
    panel.set_xticks([5, 10, 100, 1000], labels=["5", "10", "100", "1000"])
    panel.minorticks_off()
    panel.set_xlabel("network calls for each sample")
    panel.set_ylabel("Fréchet Inception distance")
    panel.set_title("CIFAR-10, published", loc="left", fontsize=10)
    panel.legend(fontsize=8, frameon=False)


def _own(panel: Axes, own: Sequence[Best]) -> None:
    panel.axvline(1, color=_GREY, linewidth=1.2, linestyle="--")
    for place, best in enumerate(own):
        unit = best.floor.mean
        for shift, colour, objective, distance in zip(
            (-0.12, 0.12), COLOURS, OBJECTIVES, best.distances, strict=False
        ):
            panel.errorbar(
                distance.mean / unit,
                place + shift,
                xerr=distance.whisker / unit,
                fmt="o",
                color=colour,
                markersize=6,
                label=objective if place == 0 else None,
            )
    panel.set_xlim(left=0)
    panel.set_ylim(len(own) - 0.4, -0.6)
    panel.set_yticks(range(len(own)), labels=[f"{each.table}\n{each.data}" for each in own])
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("Fréchet distance, in units of that of real images")
    panel.set_title("ours: the best of each objective", loc="left", fontsize=10)
    panel.legend(fontsize=8, frameon=False)
