"""The pictures of `beyond`: distance against network calls, raw and denoised, and against kappa."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cascore.reproduce.beyond.methods import BEST, DEFAULT, GEOMETRIC, METHODS, Subject
from cascore.reproduce.beyond.values import Key, Measured, Scan, paper_best
from cascore.reproduce.beyond.work import Cell, cells
from cascore.reproduce.pages import COLOURS, legend_below, new_figure, plain_ticks
from cascore.reproduce.spread import Estimate, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["against_calls", "against_kappa", "all_models", "raw_against_denoised"]

Floors = Mapping[str, Mapping[str, Spread]]
"""By preset and extractor."""

_GREY = "#888888"
_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY, _BLACK = COLOURS
_STYLES: Mapping[str, tuple[str, str]] = {  # colour, marker and line
    BEST: (_RED, "*"),
    "als-1": (_ORANGE, "*"),
    "order-1-kappa-1": (_SKY, "v--"),
    "order-1-default": (_SKY, "o-"),
    "order-1-kappa-2": (_BLUE, "o-"),
    "order-1-tuned": (_BLUE, "x:"),
    "order-1-eta-1": (_ORANGE, "s-"),
    "order-2-kappa-1": (_PINK, "v--"),
    "order-2-kappa-2": (_RED, "o-"),
    DEFAULT: (_BLACK, "D-"),
    GEOMETRIC: (_GREEN, "D-"),
    "order-2-karras": (_GREY, "d-"),
    "order-2-kappa-1-centred": (_SKY, "^--"),
    "order-2-tuned": (_GREEN, "x:"),
    "heun": (_ORANGE, "v--"),
    "dpm-3m": (_GREEN, "v--"),
    "unipc": (_BLUE, "v--"),
    "unipc-3": (_GREY, "^--"),
    "deis": (_RED, "v--"),
}
_FAMILY = (
    *("order-1-kappa-1", "order-1-default", "order-1-kappa-2", "order-1-tuned", "order-1-eta-1"),
    *("order-2-kappa-1", "order-2-kappa-2", DEFAULT, GEOMETRIC, "order-2-tuned"),
)
_OTHERS = ("heun", "deis", "dpm-3m", "unipc", "unipc-3", "order-2-kappa-1", DEFAULT,
           "order-2-karras", "order-2-kappa-1-centred")  # fmt: skip
_LAST_STEP = (BEST, "als-1", "order-1-kappa-1", "order-1-default", "order-1-kappa-2",
              "order-2-kappa-1", "order-2-kappa-2", DEFAULT)  # fmt: skip
_CALLS = (5, 8, 12, 20, 50, 100, 200, 500)


def against_calls(subject: Subject, measured: Measured, floors: Floors) -> Figure:
    """The first model: our family, and beside it what else diffusers offers."""
    figure, panels = new_figure(2, height=6.0)
    titles = ("one family: order and κ", "other solvers, and the default again")
    for panel, methods, title in zip(panels, (_FAMILY, _OTHERS), titles, strict=True):
        _bands(panel, subject, measured, floors)
        for method in methods:
            _line(panel, subject, measured, method)
        _axes(panel, f"{subject.preset}: {title}")
    low, high = (
        limit(each.get_ylim()[end] for each in panels) for end, limit in ((0, min), (1, max))
    )
    for panel in panels:
        panel.set_ylim(low, high)
    _legend_of_both(figure, panels)
    return figure


def all_models(subjects: Sequence[Subject], measured: Measured, floors: Floors) -> Figure:
    """A panel for each model, with the methods that all of them have."""
    figure, panels = new_figure(2, rows=(len(subjects) + 1) // 2, height=3.6)
    shared = [
        name for name in METHODS
        if name != BEST and all(name in each.plan for each in subjects)
    ]  # fmt: skip
    for panel, subject in zip(panels, subjects, strict=False):
        _bands(panel, subject, measured, floors)
        for method in shared:
            _line(panel, subject, measured, method)
        _axes(panel, f"{subject.preset}, features of {subject.extractors[0]}")
    for panel in panels[len(subjects) :]:
        panel.set_visible(False)
    legend_below(figure, panels[0], columns=2)
    return figure


def raw_against_denoised(subject: Subject, measured: Measured) -> Figure:
    """What the last step is worth: raw over denoised distance, a panel for each extractor."""
    figure, panels = new_figure(len(subject.extractors), height=4.4)
    for panel, extractor in zip(panels, subject.extractors, strict=True):
        panel.axhline(1, color="#333333", linewidth=1)
        for method in (each for each in _LAST_STEP if each in subject.plan):
            own = _cells_of(subject, method)
            colour, form = _STYLES[method]
            panel.plot(
                [cell.calls for cell in own],
                [
                    measured[Key(cell, extractor, "raw")].mean
                    / measured[Key(cell, extractor, "denoised")].mean
                    for cell in own
                ],
                form,
                color=colour,
                linewidth=2.2 if method == DEFAULT else 1.4,
                markersize=10 if form == "*" else 5,
                label=_label(method),
            )
        _axes(panel, f"{subject.preset}, features of {extractor}")
        panel.set_yscale("linear")
        panel.set_ylabel("raw / denoised distance")
    legend_below(figure, panels[0], columns=2)
    return figure


def against_kappa(subject: Subject, found: Mapping[int, Sequence[Scan]]) -> Figure:
    """The validation of kappa, a panel for each order and a line for each number of calls."""
    figure, panels = new_figure(len(found), height=4.2)
    budgets = sorted({scan.calls for scans in found.values() for scan in scans})
    for panel, (order, scans) in zip(panels, found.items(), strict=True):
        for scan in scans:
            panel.errorbar(
                [knob * 1.012 ** budgets.index(scan.calls) for knob in scan.knobs],
                [each.mean for each in scan.distances],
                [2 * each.error for each in scan.distances],
                elinewidth=0.8,
                fmt="o-",
                color=COLOURS[budgets.index(scan.calls) % len(COLOURS)],
                linewidth=1.5,
                markersize=4,
                label=f"{scan.calls} calls",
            )
        panel.set_xscale("log")
        knobs = scans[0].knobs
        panel.set_xticks(knobs, labels=[f"{each:g}" for each in knobs])
        panel.minorticks_off()
        panel.set_yscale("log")
        plain_ticks(panel.yaxis)
        panel.set_xlabel("$\\kappa$")
        panel.set_ylabel("Fréchet distance")
        panel.set_title(f"{subject.preset}, order {order}, {subject.validation} pictures",
                        loc="left", fontsize=10)  # fmt: skip
    legend_below(figure, panels[-1], columns=len(budgets))
    return figure


def _line(panel: Axes, subject: Subject, measured: Measured, method: str) -> None:
    own = _cells_of(subject, method)
    if not own:
        return
    spreads = [measured[Key(cell, subject.extractors[0], "denoised")] for cell in own]
    colour, form = _STYLES[method]
    panel.errorbar(
        [cell.calls for cell in own],
        [each.mean for each in spreads],
        [2 * each.error for each in spreads],
        fmt=form,
        color=colour,
        linewidth=2.2 if method == DEFAULT else 1.4,
        elinewidth=0.8,
        markersize=10 if form == "*" else 5,
        zorder=3 if method == DEFAULT else 2,
        label=_label(method),
    )


def _cells_of(subject: Subject, method: str) -> list[Cell]:
    found = (each for each in cells(subject) if each.method == method)
    return sorted(found, key=lambda each: each.calls)


def _label(method: str) -> str:
    return METHODS[method].label.replace("`", "").replace("n_σ", "$n_\\sigma$")


def _bands(panel: Axes, subject: Subject, measured: Measured, floors: Floors) -> None:
    extractor = subject.extractors[0]
    calls, best = paper_best(subject, measured, extractor)
    _band(panel, floors[subject.preset][extractor], _GREY, "real images")
    _band(panel, best, _RED, "the paper's best: ALS, $n_\\sigma$ = 5, all levels")
    panel.plot([calls], [best.mean], "*", color=_RED, markersize=11)


def _band(panel: Axes, spread: Spread | Estimate, colour: str, label: str) -> None:
    panel.axhspan(*spread.band, color=colour, alpha=0.18, linewidth=0, label=label)
    panel.axhline(spread.mean, color=colour, linewidth=0.8)


def _axes(panel: Axes, title: str) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(_CALLS, labels=[str(each) for each in _CALLS])
    panel.minorticks_off()
    plain_ticks(panel.yaxis)
    panel.set_xlabel("network calls for one picture")
    panel.set_ylabel("Fréchet distance (lower is better)")
    panel.set_title(title, loc="left", fontsize=10)


def _legend_of_both(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below for what either panel shows, each label once."""
    found = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
