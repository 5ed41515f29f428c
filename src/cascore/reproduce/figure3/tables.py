"""The tables of Figure 3: its measurements, the authors' curves, and the best step sizes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3.work import SCALES, Point, points
from cascore.reproduce.pages import Table
from cascore.reproduce.spread import Estimate, mean_of
from cascore.reproduce.units import Records

__all__ = [
    "DEFAULT",
    "OUTCOMES",
    "Measured",
    "authors_rows",
    "authors_table",
    "best_rows",
    "measured_of",
    "measurements_table",
]

OUTCOMES = ("raw", "denoised")
DEFAULT = 1.5

Measured = Mapping[tuple[Point, str], Estimate]
"""By step size and outcome: the mean of its measurements and the standard error of that mean."""


def measured_of(scale_name: str, records: Records) -> Measured:
    """Every step size with its distances."""
    scale = SCALES[scale_name]
    return {
        (point, outcome): mean_of(
            [records[point.unit(seed)]["result"][outcome] for seed in range(scale.seeds)]
        )
        for point in points(scale)
        for outcome in OUTCOMES
    }


def measurements_table(scale_name: str, records: Records) -> Table:
    """Every measurement, for a CSV file."""
    scale = SCALES[scale_name]
    rows = []
    for point in points(scale):
        for seed in range(scale.seeds):
            result = records[point.unit(seed)]["result"]
            for outcome in OUTCOMES:
                found = result[outcome]
                rows.append(
                    (
                        *(point.preset, point.sampler.method, point.sampler.n_sigma),
                        *(point.sampler.kappa or "", point.sampler.eta or "", result["nfe"]),
                        *(seed, outcome, found["value"], found["error"]),
                    )
                )
    columns = "model method n_sigma kappa eta nfe seed outcome distance standard_error"
    return Table(columns.split(), rows)


def authors_table() -> Table:
    """The authors' rows with kappa beside epsilon, for a CSV file."""
    rows = [
        (
            *(curve.name, epsilon, "" if curve.kappa is None else curve.kappa[i]),
            *(curve.raw[i], curve.denoised[i], curve.allowed[i]),
        )
        for curve in load_curves().values()
        for i, epsilon in enumerate(curve.epsilon)
    ]
    return Table(("curve", "epsilon", "kappa", "raw", "denoised", "allowed"), rows)


def authors_rows() -> list[tuple[str, ...]]:
    """Best kappa, and what 1.5 costs, of each of the authors' scans."""
    rows = []
    for curve in load_curves().values():
        if curve.kappa is None:
            continue
        outside = [f"{e:g}" for e, inside in zip(curve.epsilon, curve.allowed, strict=True)
                   if not inside]  # fmt: skip
        name = f"{curve.data}, {curve.network}, n_σ = {curve.n_sigma}, {curve.thousands}k"
        mark = f" (ε = {', '.join(outside)} outside)" if outside else ""
        cells = [
            text
            for outcome in ("denoised", "raw")
            for text in (
                f"{best_kappa(curve, outcome):.2f}",
                f"{100 * excess_at(curve, outcome, DEFAULT):.1f} %",
            )
        ]
        rows.append((name + mark, *cells))
    return rows


def best_rows(measured: Measured) -> list[tuple[str, ...]]:
    """For each model, sampler and outcome: the best step size, and all that tie with it."""
    rows: list[tuple[str, ...]] = []

    def key(point: Point) -> tuple[str, str, int]:
        return (point.preset, point.sampler.method, point.sampler.n_sigma)

    scanned = sorted({point for point, _ in measured}, key=lambda each: (key(each), each.knob))
    for (preset, method, n_sigma), group in groupby(scanned, key=key):
        tried = list(group)
        for outcome in OUTCOMES:
            best = min(tried, key=lambda each: measured[each, outcome].mean)
            top = measured[best, outcome]
            ties = [each.knob for each in tried if measured[each, outcome].ties(top)]
            knob = "κ" if method == "cas" else "η"
            rows.append(
                (
                    f"{preset}, {method.upper()}, n_σ = {n_sigma}, {outcome}",
                    f"{knob} = {best.knob:g}{_edge(best, tried)}",
                    ", ".join(f"{each:g}" for each in ties),
                    top.text(2),
                    *_default_cells(tried, outcome, measured, top),
                )
            )
    return rows


def _edge(best: Point, tried: list[Point]) -> str:
    """Whether the scan ends at its best point, which is then a bound and not a minimum."""
    if best == tried[-1]:
        return " (largest tried)"
    return " (smallest tried)" if best == tried[0] else ""


def _default_cells(
    tried: list[Point], outcome: str, measured: Measured, top: Estimate
) -> tuple[str, str]:
    default = next((p for p in tried if p.sampler.kappa == DEFAULT), None)
    if default is None:
        return "", ""
    found = measured[default, outcome]
    return found.text(2), "tie" if found.ties(top) else f"{found.mean / top.mean - 1:+.0%}"
