"""The tables of Figure 3: its measurements, the authors' curves, and the best step sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3.values import METHODS, OUTCOMES, Measured, best_of, scan_of
from cascore.reproduce.figure3.work import SCALES, Point, Subject, points
from cascore.reproduce.pages import Table
from cascore.reproduce.units import Records

__all__ = [
    "DEFAULT",
    "KappaScan",
    "authors_rows",
    "authors_table",
    "eta_rows",
    "kappa_rows",
    "kappa_scans",
    "measurements_table",
]

DEFAULT = 1.5


def measurements_table(scale_name: str, records: Records) -> Table:
    """Every measurement, for a CSV file."""
    rows = [
        (
            *(point.preset, point.sampler.method, point.sampler.n_sigma),
            *(point.sampler.kappa or "", point.sampler.eta or "", result["nfe"]),
            *(seed, extractor, outcome, found["value"], found["error"]),
        )
        for subject in SCALES[scale_name]
        for point in points(subject)
        for seed in range(subject.seeds)
        for result in [records[point.unit(seed)]["result"]]
        for extractor in subject.extractors
        for outcome in OUTCOMES
        for found in [result[outcome][extractor]]
    ]
    columns = "model method n_sigma kappa eta nfe seed extractor outcome distance standard_error"
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


class KappaScan(NamedTuple):
    """A scan of consistent sampling.

    Attributes:
        best: kappa, with a star where the scan ends at it.
        ties: all kappas that cannot be told from the best, itself included, from the lowest on.
        cost: by which part the distance at DEFAULT is higher than the lowest.
    """

    best: str
    ties: list[float]
    cost: float


def kappa_rows(subjects: Sequence[Subject], measured: Measured) -> list[tuple[str, ...]]:
    """For each network, n_sigma and extractor: the best kappa, and what 1.5 costs."""
    names = [
        (f"`{subject.preset}`", str(n), f"`{extractor}`")
        for subject in subjects
        for n in subject.kappas
        for extractor in subject.extractors
    ]
    cells = [
        map(_kappa_cells, kappa_scans(subjects, measured, outcome))
        for outcome in reversed(OUTCOMES)
    ]
    return [(*name, *denoised, *raw) for name, denoised, raw in zip(names, *cells, strict=True)]


def kappa_scans(subjects: Sequence[Subject], measured: Measured, outcome: str) -> list[KappaScan]:
    """The scans of `kappa_rows`, row by row."""
    found = []
    for subject in subjects:
        for n in subject.kappas:
            scan = scan_of(subject, "cas", n)
            for extractor in subject.extractors:
                best, top = best_of(scan, measured, extractor=extractor, outcome=outcome)
                by_knob = {each.knob: measured[each, extractor, outcome] for each in scan}
                ties = [knob for knob, each in by_knob.items() if each.ties(top)]
                cost = by_knob[DEFAULT].mean / top.mean - 1
                found.append(KappaScan(_named(best, scan), ties, cost))
    return found


def eta_rows(subjects: Sequence[Subject], measured: Measured) -> list[tuple[str, ...]]:
    """For each network, n_sigma and extractor: both samplers, each at its best step size."""
    return [
        (
            f"`{subject.preset}`",
            str(n),
            f"`{extractor}`",
            *(
                f"{top.text(2)} ({knob} = {_named(best, scan)})"
                for outcome in reversed(OUTCOMES)
                for method, knob in zip(METHODS, "ηκ", strict=True)
                for scan in [scan_of(subject, method, n)]
                for best, top in [best_of(scan, measured, extractor=extractor, outcome=outcome)]
            ),
        )
        for subject in subjects
        for n in subject.both
        for extractor in subject.extractors
    ]


def _kappa_cells(scan: KappaScan) -> tuple[str, str]:
    """The best kappa with the range of those that tie, and what 1.5 costs."""
    others = f"; {scan.ties[0]:g} to {scan.ties[-1]:g}" if len(scan.ties) > 1 else ""
    return f"{scan.best}{others}", "tie" if DEFAULT in scan.ties else f"+{scan.cost:.0%}"


def _named(best: Point, scan: list[Point]) -> str:
    """A step size; where the scan ends at it, it is a bound and not a minimum."""
    edge = "" if len(scan) < 2 or best not in (scan[0], scan[-1]) else "*"
    return f"{best.knob:g}{edge}"
