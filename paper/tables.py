"""Tables 1 to 3: sampling, n_sigma, denoising and the objective, each against each."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from cascore.experiment.presets import SAMPLERS
from cascore.experiment.settings import Experiment
from paper.engine.charts import dots, sheets
from paper.engine.claims import (
    ADVERSARIAL,
    CONSISTENT,
    DENOISING,
    Claim,
    by_networks,
    claims_of,
    spread,
)
from paper.engine.lab import OBJECTIVES, OUTCOMES, Lab, Measured, Subject
from paper.engine.page import Page, Plan, Study
from paper.engine.rows import Row, Rows, pivot
from paper.engine.settings import VALIDATION_SEED, Chain, als, cas, knob_text

PLAN = Plan("tables")


@dataclass(frozen=True, kw_only=True)
class Scale(Subject):
    """Both networks of one table, their trainings, and the step sizes that are tried.

    Attributes:
        paper: what the paper's table is of.
        trainings: of each network.
        many: n_sigma beside 1.
        kappas: for CAS, the best of which both n_sigma take; if none, the paper's epsilons hold.
        etas, etas_many: for ALS at n_sigma 1, and at `many` where the best of `etas` is >= 1.
        tried: pictures of each step size that is tried.
    """

    paper: str
    trainings: int = 2
    many: int = 5
    kappas: tuple[float, ...] = ()
    etas: tuple[float, ...] = ()
    etas_many: tuple[float, ...] = ()
    tried: int = 0


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each network, sampler, seed, extractor and outcome."""
    rows, tried = Rows(), Rows()
    real = lab.real_sheet(scale.data, shown=8, columns=8)
    pictures = Rows({"label": "real images", "title": o, "png": real} for o in OBJECTIVES)
    for objective, training in product(OBJECTIVES, range(scale.trainings)):
        experiment = scale.experiment(objective, training)
        for chain, how in _chains(lab, scale, experiment, tried):
            step = knob_text(chain)
            rows += scale.distances(lab, chain, objective, training, step=step, how=how)
            if training == 0:
                label = f"{chain.method.upper()}, $n_\\sigma$ = {chain.n_sigma}"
                png = lab.sheet(experiment, chain, shown=8, columns=8)
                pictures.append({"label": label, "title": objective, "png": png})
    return Measured(rows, scale.floors(lab), pictures, tried)


def _chains(
    lab: Lab, scale: Scale, experiment: Experiment, tried: Rows
) -> Iterator[tuple[Chain, str]]:
    """Both samplers at both n_sigma, and how their step size was chosen; `tried` grows."""
    if not scale.kappas:
        for n, make in product((1, scale.many), (als, cas)):
            epsilon = SAMPLERS[f"{scale.preset}-{make.__name__}-{n}"].epsilon
            yield make(epsilon=epsilon, n_sigma=n), "the paper's"
        return

    def best(chains: Sequence[Chain]) -> tuple[Chain, str]:
        first = scale.extractors[0]
        chain, rows = lab.best_of(experiment, chains, count=scale.tried, extractor=first)
        tried.extend({**row, "chosen": row["knob"] == chain.knob} for row in rows)
        edges = {chains[0]: ", smallest tried", chains[-1]: ", largest tried"}
        return chain, f"best of {len(chains)}" + edges.get(chain, "") * (len(chains) > 1)

    kappa, eta = best([cas(k) for k in scale.kappas]), best([als(e) for e in scale.etas])
    yield from (eta, kappa)
    if eta[0].knob < 1:
        # 1 - (1 - eta)^(1 / n_sigma)
        even = -math.expm1(math.log1p(-eta[0].knob) / scale.many)
        yield als(even, n_sigma=scale.many), "the noise of η at n_σ = 1"
    else:
        yield best([als(e, n_sigma=scale.many) for e in scale.etas_many])
    yield replace(kappa[0], n_sigma=scale.many), "κ of n_σ = 1"


def claims(results: Measured, scale: Scale) -> list[Claim]:
    """What the paper says of a table, put to our own."""
    rows, cell = results.rows, "n_σ = {n_sigma}, {objective}"
    more = f"more steps for each level lower the distance (n_σ = {scale.many} against 1)"
    every, sides = "{sampler}, {objective}, {outcome}", f"n_sigma: {scale.many} < 1"
    statements = [
        (DENOISING, rows, cell, "outcome: denoised < raw"),
        ("denoising changes CAS less than ALS", _changes(rows), cell, "sampler: CAS < ALS"),
        (CONSISTENT, rows, "{objective}", "sampler: CAS < ALS"),
        (more, rows, every, sides),
        (ADVERSARIAL, rows, "{sampler}, n_σ = {n_sigma}", "objective: adversarial < plain"),
    ]
    return claims_of("`{extractor}`", statements)


def _changes(rows: Rows) -> Rows:
    """By how much denoising changes the distance of each chain, in either direction."""
    pairs = zip(*(rows.where(outcome=outcome) for outcome in OUTCOMES), strict=True)
    return Rows({**a, "distance": abs(a["distance"] - b["distance"])} for a, b in pairs)


def lowest(rows: Rows) -> Rows:
    """The rows of the cell of the lowest mean."""
    cells = rows.by("objective", "sampler", "n_sigma", "outcome").values()
    return min(cells, key=lambda cell: statistics.fmean(cell.values()))


def page(results: Measured, scale: Scale) -> Page:
    """The table as the paper lays it out, its claims one by one, a chart and a sheet of samples."""
    best = {extractor: lowest(rows) for extractor, rows in results.rows.by("extractor").items()}

    def cell(rows: Rows) -> str:
        text, low = spread(rows).text(), best[rows[0]["extractor"]]
        if rows == low:
            return f"**{text}**"
        apart = all(pair.verdict == "held" for pair in by_networks("", low, rows))
        return text if apart else f"{text} †"

    index = {"sampling": "{sampler}", "n_σ": "{n_sigma}", "outcome": "{outcome}"}
    step = "`{model}`, training {training} | {sampler}, n_σ = {n_sigma} | {step} | {how} | {nfe}"
    order = ("model", "training", "n_sigma", "sampler", "seed", "outcome", "extractor")
    in_order = [row for (row,) in results.rows.by(*order).values()]
    words = {
        "distances": pivot(results.rows, index, "`{extractor}`, {objective}", cell),
        "steps": list(results.rows.named(step)),
        "validation": VALIDATION_SEED,
    }
    pictures = {
        "distances": dots(results.rows, bands=results.floors, **PLAN.look("distances")),
        "samples": sheets(results.sheets),
    }
    tables = PLAN.tables(measurements=in_order, tunings=_tunings(results.tried))
    return Page(words, pictures, tables)


def _tunings(tried: Rows) -> Iterator[Row]:
    """A row for each step size that was tried, with both of its distances."""
    for rows in tried.by("model", "training", "sampler", "n_sigma", "knob").values():
        distances = dict(zip(OUTCOMES, rows.values(), strict=True))
        yield {**rows[0], **distances, "letter": "kappa" if "kappa" in rows[0] else "eta"}


SCALES = {f"table{i}": PLAN.scales(Scale, PLAN.values[f"table{i}"]) for i in (1, 2, 3)}
STUDIES = {
    name: Study(PLAN.values[name]["title"], "tables.md", scales, measure, page, claims)
    for name, scales in SCALES.items()
}
