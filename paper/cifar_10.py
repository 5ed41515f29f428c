"""CIFAR-10: Figure 3, the cells of Table 3 and few calls on photographs, beside the authors'."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from cascore.experiment.presets import PRESETS, SHAPES
from cascore.experiment.settings import Schedule
from paper import few_calls, figure3
from paper.authors import published_curves
from paper.engine.charts import Picture, curves, sheets
from paper.engine.claims import ADVERSARIAL, Claim, Number, by_errors, claims_of, mean_of
from paper.engine.lab import OBJECTIVES, OUTCOMES, Lab, Measured
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows, pivot
from paper.engine.settings import Chain, als, cas
from paper.few_calls import Headline
from paper.figure3 import Scans

PLAN = Plan("cifar-10")
SHOWN = 8
AUTHORS, THEIR_SCHEDULE = "the authors' U-Net", PRESETS["cifar10-unet"].schedule
KINDS = {"blind": "blind", "seen": "sees $\\sigma$"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The step sizes that are tried on both networks, and few calls of the plain one."""

    scans: tuple[Scans, ...]
    few: Headline


class Results(NamedTuple):
    """What the parts of the study measured."""

    scans: Measured
    few: Measured


def measure(lab: Lab, scale: Scale) -> Results:
    """The rows of Figure 3 for both networks with a sheet of each, and those of few calls."""
    scans = figure3.measure(lab, scale.scans)
    real = lab.real_sheet(scale.few.data, shown=SHOWN, columns=SHOWN)
    sheets = Rows({"label": "real images", "title": of, "png": real} for of in OBJECTIVES)
    for subject in scale.scans:
        for label, chain in _shown(scans.rows.where(model=subject.preset), scale.few):
            png = lab.sheet(subject.experiment(), chain, shown=SHOWN, columns=SHOWN)
            sheets.append({"label": label, "title": _objective(subject.preset), "png": png})
    return Results(Measured(scans.rows, scans.floors, sheets), few_calls.measure(lab, [scale.few]))


def _shown(rows: Rows, few: Headline) -> Iterator[tuple[str, Chain]]:
    """Each sampler at its best step size, and the default at few calls."""
    best = figure3.scans_of(rows.where(outcome="denoised", n_sigma=1))
    for sampler, make in (("ALS", als), ("CAS", cas)):
        yield f"{sampler}, $n_\\sigma$ = 1", make(best.where(sampler=sampler)[0]["knob"])
    calls = max(few.plan[few_calls.DEFAULT].calls)
    default = few_calls.METHODS[few_calls.DEFAULT].chain
    assert default is not None
    yield f"the default, {calls} calls", replace(default, levels=calls)


def _objective(preset: str) -> str:
    return "adversarial" if preset.endswith("-adversarial") else "plain"


def _best(results: Results) -> Rows:
    """Each cell of the table: a sampler at its best step size."""
    scans = figure3.scans_of(results.scans.rows)
    return Rows({**row, "objective": _objective(row["model"])} for row in scans)


def claims(results: Results, scale: Scale) -> list[Claim]:
    """The paper's claims of the samplers and the objective, and ours of few calls."""
    best = _best(results)
    many = max(best.levels("n_sigma"))
    more = f"more steps for each level lower the distance (n_σ = {many} against 1)"
    of_cells = [
        (more, best, "{sampler}, {objective}, {outcome}", f"n_sigma: {many} < 1"),
        (ADVERSARIAL, best, "{sampler}, n_σ = {n_sigma}", "objective: adversarial < plain"),
    ]
    return [
        *figure3.claims(results.scans, scale.scans),
        *claims_of("`{extractor}`", of_cells, by_errors),
        *few_calls.claims(results.few, [scale.few]),
    ]


def page(results: Results, scale: Scale) -> Page:
    """Both networks beside the authors' curves, cells, kappa and noise, and few calls."""
    few = few_calls.page(results.few, [scale.few])
    best, authors = _best(results), published_curves().where(data="cifar10", network="unet")
    subject = scale.scans[0]
    schedule, first = subject.experiment().schedule, subject.extractors[0]
    gamma = (schedule.last / schedule.first) ** (1 / (schedule.levels - 1))
    dimensions = math.prod(SHAPES[subject.data])
    theory = Rows(_theory(results, subject, authors, excess=1 / math.sqrt(2 * dimensions)))
    index = {"sampler": "{sampler}", "n_σ": "{n_sigma}", "outcome": "{outcome}"}
    words = {
        **few.words,
        "cells": pivot(best, index, "`{extractor}`, {objective}", _cell),
        "authors": {of[0]["curve"]: _authors(of) for of in authors.by("curve").values()},
        "kappas": best.where(sampler="CAS", extractor=first),
        "theory": theory.where(network="ours"),
        "cost": _cost_of_the_default(best.where(extractor=first, model=subject.preset)),
        "least": 2 * (1 - gamma**2) / gamma**2,
        "seen": 1 - gamma,
        "dimensions": dimensions,
        "excess": 100 / math.sqrt(2 * dimensions),
    }
    ours = results.scans.rows.where(extractor=first)
    pictures = {
        "eta": _eta(ours.where(n_sigma=1), authors.where(n_sigma=1), results),
        "cliff": _cliff(theory),
        "kappa": _kappa(ours.where(sampler="CAS"), authors.where(sampler="CAS")),
        "samples": sheets(results.scans.sheets),
        "few-calls": few_calls.picture(results.few, floors=False, **PLAN.look("few-calls")),
    }
    rows = {"scans": results.scans.rows, "calls": results.few.rows, "theory": theory}
    return Page(words, pictures, PLAN.tables(**rows))


def _cost_of_the_default(best: Rows) -> float:
    """By which part of the distance at kappa 1.5 the best of n_sigma 1 is lower, denoised."""
    (row,) = best.where(sampler="CAS", n_sigma=1, outcome="denoised")
    return 1 - 1 / (1 + (row["cost"] or 0.0))


def _cell(rows: Rows) -> str:
    letter = "κ" if rows[0]["sampler"] == "CAS" else "η"
    return f"{mean_of(rows).text()} ({letter} = {rows[0]['name']})"


def _authors(curve: Rows) -> dict[str, object]:
    """The lowest points of a curve, with kappa where it has one."""
    of = dict(curve[0])
    for outcome in OUTCOMES:
        allowed = curve.where(allowed=True)
        low = allowed[allowed.values(outcome).index(min(allowed.values(outcome)))]
        of[outcome] = low[outcome], low["epsilon"]
    return of


def _theory(results: Results, subject: Scans, authors: Rows, *, excess: float) -> Iterator[Row]:
    """Of each chain, our own and the authors', its distances and what the propositions say of it.

    The noise in x over sigma at the last call, from a start that is by `excess` too noisy: of a
    network that does not see sigma (Proposition 4), and of one that does (1 and 2).
    """
    first, schedule = subject.extractors[0], subject.experiment().schedule
    of = results.scans.rows.where(model=subject.preset, extractor=first)
    for (sampler, n, knob), rows in of.by("sampler", "n_sigma", "knob").items():
        chain = (cas if sampler == "CAS" else als)(knob, n_sigma=n)
        raw, denoised = (mean_of(rows.where(outcome=outcome)).mean for outcome in OUTCOMES)
        said = {"network": "ours", "sampler": sampler, "n_sigma": n, "knob": knob}
        yield {**said, **_noise(chain, schedule, excess), "raw": raw, "denoised": denoised}
    schedule = THEIR_SCHEDULE
    for row in authors.where(allowed=True):
        n, eta = row["n_sigma"], row["epsilon"] / schedule.last**2
        consistent = row["sampler"] == "CAS"
        chain = cas(row["kappa"], n_sigma=n) if consistent else als(eta, n_sigma=n)
        said = {"network": AUTHORS, "sampler": row["sampler"], "n_sigma": n, "knob": chain.knob}
        noise = _noise(chain, schedule, excess)
        yield {**said, **noise, "raw": row["raw"], "denoised": row["denoised"]}


def _noise(chain: Chain, schedule: Schedule, excess: float) -> dict[str, float]:
    noises = chain.blind_noise(schedule, excess=excess), chain.ideal_noise(schedule)
    blind, seen = (float(noise.before[-1]) / schedule.last for noise in noises)
    return {"blind": blind, "seen": seen}


def _cliff(theory: Rows) -> Picture:
    """Annealed Langevin sampling: distances, and the noise that blind and other networks leave."""
    rows = Rows()
    for (network, n), scan in theory.where(sampler="ALS").by("network", "n_sigma").items():
        lowest = min(scan.values("denoised"))
        label = f"{network}, $n_\\sigma$ = {n}"
        for row in scan if len(scan) > 1 else ():
            of = {**row, "label": label, "standard_error": math.nan}
            panel = "distance over the scan's lowest, denoised"
            rows.append({**of, "panel": panel, "distance": row["denoised"] / lowest})
    authors = theory.where(sampler="ALS", network=AUTHORS)
    for row, (kind, name) in product(authors, KINDS.items()):
        of = {"label": f"{name}, $n_\\sigma$ = {row['n_sigma']}", "standard_error": math.nan}
        panel = "noise / $\\sigma$ at the last call, by the propositions"
        rows.append({**row, **of, "panel": panel, "distance": row[kind]})
    return curves(rows, **PLAN.look("cliff"))


def _eta(ours: Rows, authors: Rows, results: Results) -> Picture:
    """Figure 3 of the authors' network and of ours, each with its own distance."""
    rows = Rows()
    for row, outcome in product(authors, OUTCOMES):
        axis, of = (
            row["epsilon"] / THEIR_SCHEDULE.last**2,
            {"outcome": outcome, "standard_error": math.nan},
        )
        title = f"{AUTHORS}, adversarial (FID)"
        rows.append({**row, **of, "axis": axis, "distance": row[outcome], "title": title})
    for row in ours:
        rows.append({**row, "title": f"ours, {_objective(row['model'])}"})

    def bands(row: Row) -> dict[str, Number]:
        floors = results.scans.floors.get(row.get("model", ""), {})
        return {"real images": floors[row["extractor"]]} if floors else {}

    return curves(rows, bands=bands, **PLAN.look("eta"))


def _kappa(ours: Rows, authors: Rows) -> Picture:
    """Each scan of CAS over its lowest distance, the authors' and ours."""
    rows = Rows()
    for curve, outcome in product(authors.by("curve").values(), OUTCOMES):
        allowed = curve.where(allowed=True)
        lowest, n = min(allowed.values(outcome)), curve[0]["n_sigma"]
        title = f"{AUTHORS}, adversarial, $n_\\sigma$ = {n}"
        for row in allowed:
            of = {"title": title, "outcome": outcome, "distance": row[outcome] / lowest}
            rows.append({**row, **of, "standard_error": math.nan})
    for (model, n, outcome), scan in ours.by("model", "n_sigma", "outcome").items():
        points = scan.by("knob").values()
        lowest = min(mean_of(point).mean for point in points)
        title = f"ours, {_objective(model)}, $n_\\sigma$ = {n}"
        for row in scan if len(points) > 1 else ():
            of = {"title": title, "outcome": outcome, "distance": row["distance"] / lowest}
            rows.append({**row, **of, "standard_error": row["standard_error"] / lowest})
    return curves(rows, **PLAN.look("kappa"))


STUDY = PLAN.study(Scale, measure, page, claims)
