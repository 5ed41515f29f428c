"""The pictures of Figure 3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cascore.experiment.presets import PRESETS
from cascore.reproduce.figure3.authors import Curve, Outcome
from cascore.reproduce.figure3.values import METHODS, Measured, floors_of, scan_of
from cascore.reproduce.figure3.work import Point, Subject
from cascore.reproduce.pages import COLOURS, legend_below, new_figure, plain_ticks, shade_real
from cascore.reproduce.sampler import sampling_sigmas
from cascore.reproduce.units import Records
from cascore.schedule import eta_from_kappa

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "authors_against_epsilon",
    "authors_against_kappa",
    "own_against_eta",
    "own_against_kappa",
]

_OUTCOMES: tuple[Outcome, Outcome] = ("raw", "denoised")
_KAPPAS = (1, 1.5, 2, 3, 4, 6, 12, 27)  # that an axis names
_METHODS = {"als": ("ALS", COLOURS[1]), "cas": ("CAS", COLOURS[0])}


def authors_against_epsilon(curves: Mapping[str, Curve]) -> Figure:
    """The paper's Figure 3, raw and denoised side by side."""
    figure, panels = new_figure(2, height=3.9)
    for panel, outcome in zip(panels, _OUTCOMES, strict=True):
        for name, label, colour in (
            ("cifar10_ncsnv2__nc_adv_n1_5k", *_METHODS["als"]),
            ("cifar10_ncsnv2__c_adv_n1_5k", *_METHODS["cas"]),
        ):
            curve = curves[name]
            panel.plot(
                curve.epsilon, curve.values(outcome), ".-", color=colour, linewidth=1.5, label=label
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_ylim(12, 120)
        panel.set_yticks([15, 20, 30, 50, 100], labels=["15", "20", "30", "50", "100"])
        ticks = (4e-6, 1e-5, 2e-5, 4e-5)
        panel.set_xticks(ticks, labels=[f"{each:.0e}".replace("e-0", "e-") for each in ticks])
        panel.minorticks_off()
        panel.set_title(outcome, loc="left", fontsize=10)
        panel.set_xlabel("step size $\\epsilon$ (squared pixel units)")
        panel.set_ylabel("Fréchet Inception distance")
    legend_below(figure, panels[0], columns=2)
    return figure


def authors_against_kappa(curves: Mapping[str, Curve]) -> Figure:
    """Each CIFAR-10 scan of consistent sampling relative to its lowest distance."""
    figure, panels = new_figure(2, height=4.2)
    scans = [c for c in curves.values() if c.kappa is not None and c.data == "cifar10"]
    for panel, outcome in zip(panels, _OUTCOMES, strict=True):
        panel.axvline(1.5, color="#333333", linewidth=1, linestyle="--")
        for curve, colour in zip(scans, COLOURS, strict=False):
            _scan(panel, curve, outcome, colour)
        panel.set_xlim(0.9, 3)
        panel.set_ylim(-1.5, 30)
        panel.set_title(outcome, loc="left", fontsize=10)
        panel.set_xlabel("$\\kappa$")
        panel.set_ylabel("distance above the scan's lowest (%)")
    legend_below(figure, panels[0], columns=3)
    return figure


def _scan(panel: Axes, curve: Curve, outcome: Outcome, colour: str) -> None:
    kappa, allowed = np.array(curve.kappa), np.array(curve.allowed)
    values = np.array(curve.values(outcome))
    above = 100 * (values / values[allowed].min() - 1)
    network = {"ncsnv2": "NCSNv2", "unet": "U-Net"}[curve.network]
    label = f"{network}, $n_\\sigma$ = {curve.n_sigma}, {curve.thousands}k samples"
    panel.plot(
        kappa[allowed], above[allowed], ".-", color=colour, linewidth=1.3, markersize=4, label=label
    )
    outside = ~allowed
    panel.plot(kappa[outside], above[outside], "x", color=colour, markersize=7)
    best = int(np.argmin(np.where(allowed, values, np.inf)))
    panel.plot(kappa[best], -0.7, "^", color=colour, markersize=6)


def own_against_kappa(
    subjects: Sequence[Subject], records: Records, measured: Measured, *, extractor: int
) -> Figure:
    """A panel for each network, two lines for each n_sigma: the extractor is counted from 0."""
    figure, panels = new_figure(2, rows=math.ceil(len(subjects) / 2), height=3.2)
    for panel, subject in zip(panels, subjects, strict=False):
        name = subject.extractors[extractor]
        shade_real(panel.axhspan, floors_of(subject, records)[name])
        panel.axvline(1.5, color="#333333", linewidth=1, linestyle="--")
        for n, colour in zip(subject.kappas, COLOURS, strict=False):
            scan = scan_of(subject, "cas", n)
            knobs = [point.knob for point in scan]
            _both(panel, knobs, scan, measured, name, colour, f"$n_\\sigma$ = {n}")
        _distances(panel, f"{subject.preset}, features of {name}")
        panel.set_xscale("log")
        panel.set_xticks(_KAPPAS, labels=[f"{each:g}" for each in _KAPPAS])
        panel.minorticks_off()
        panel.set_xlabel("$\\kappa$")
    legend_below(figure, panels[0], columns=5)
    return figure


def own_against_eta(
    subjects: Sequence[Subject], records: Records, measured: Measured, *, extractor: int
) -> Figure:
    """Both samplers at n_sigma 1 against the paper's step size in units of sigma_L squared."""
    figure, panels = new_figure(2, rows=math.ceil(len(subjects) / 2), height=3.2)
    for panel, subject in zip(panels, subjects, strict=False):
        name = subject.extractors[extractor]
        shade_real(panel.axhspan, floors_of(subject, records)[name])
        for method in METHODS:
            scan = scan_of(subject, method, 1)
            label, colour = _METHODS[method]
            _both(panel, [_eta(each) for each in scan], scan, measured, name, colour, label)
        _distances(panel, f"{subject.preset}, features of {name}")
        panel.set_xlabel("step size $\\eta = \\epsilon / \\sigma_L^2$")
    legend_below(figure, panels[0], columns=5)
    return figure


def _eta(point: Point) -> float:
    if point.sampler.method == "als":
        return point.knob
    sigmas = sampling_sigmas(point.sampler, PRESETS[point.preset].schedule)
    return eta_from_kappa(point.knob, float(sigmas[1] / sigmas[0]))


def _both(
    panel: Axes,
    x: list[float],
    scan: list[Point],
    measured: Measured,
    extractor: str,
    colour: str,
    label: str,
) -> None:
    """A scan raw, dashed with hollow points, and denoised, drawn through with full ones."""
    for outcome, style, fill in (("raw", "o--", "white"), ("denoised", "o-", colour)):
        found = [measured[point, extractor, outcome] for point in scan]
        panel.errorbar(
            x,
            [each.mean for each in found],
            [2 * each.error for each in found],
            fmt=style,
            color=colour,
            markerfacecolor=fill,
            linewidth=1.4,
            markersize=4,
            label=f"{label}, {outcome}",
        )


def _distances(panel: Axes, title: str) -> None:
    panel.set_yscale("log")
    plain_ticks(panel.yaxis)
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_ylabel("Fréchet distance")
