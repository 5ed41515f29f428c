"""Tables 1 to 3: sampling, n_sigma, denoising and the objective, each against each."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from cascore.experiment.presets import PRESETS, SAMPLERS
from cascore.experiment.settings import Experiment
from cascore.schedule import eta_at_n_sigma
from paper.engine.chain import VALIDATION_SEED, Chain, als, cas, knob_text
from paper.engine.charts import COLOURS, SHIFTS, dots, sheets
from paper.engine.claims import (
    Claim,
    Statement,
    adversarial_lowers,
    claims_of,
    consistent_is_better,
    denoising_lowers,
)
from paper.engine.compare import (
    Comparison,
    Number,
    between_trainings,
    contrasts,
    spread_of,
    within_trainings,
)
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.models import Precision, training_of
from paper.engine.page import Page, Study
from paper.engine.rows import Row, Rows, pivot, table

OBJECTIVES = {"plain": "", "adversarial": "-adversarial"}
"""With what the name of a preset ends in."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Models, samplers and measurements of one table.

    Attributes:
        paper: what the paper's table is of.
        preset: of the plain network; the adversarial one is alike in everything else.
        steps, precision: of training.
        trainings: of each preset, with seeds 0, 1, ...
        extractors: of the features; step sizes are chosen by the first.
        count: pictures of each measurement.
        seeds: measurements of each cell on each model, with other noise.
        many: n_sigma beside 1.
        kappas: tried for consistent sampling at n_sigma 1, which both take; none: the paper's
            epsilons hold.
        etas: tried for annealed Langevin sampling at n_sigma 1.
        etas_many: tried at n_sigma `many`, where the best of `etas` is 1 or above.
        tried: pictures of each step size that is tried.
    """

    paper: str
    preset: str
    steps: int
    precision: Precision = "bfloat16"
    trainings: int = 2
    extractors: tuple[str, ...] = ("digits", "random-convolution")
    count: int = 500
    seeds: int = 3
    many: int = 5
    kappas: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 27.0)
    etas: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
    etas_many: tuple[float, ...] = (0.1, 0.2, 0.4, 0.7, 1.0)
    tried: int = 200

    def experiment(self, objective: str, training: int) -> Experiment:
        """What is trained."""
        preset = f"{self.preset}{OBJECTIVES[objective]}"
        return training_of(preset, steps=self.steps, seed=training, precision=self.precision)

    @property
    def plain(self) -> Experiment:
        """The first plain network."""
        return self.experiment("plain", 0)


def _scales(laptop: Scale, tiny: str, preset: str, steps: int) -> Mapping[str, Scale]:
    small = {"steps": 2, "precision": "float32", "trainings": 1, "extractors": ("digits", "pixels")}
    grid = {"kappas": (1.5, 4.0), "etas": (0.4, 1.2), "etas_many": (0.3,), "tried": 6}
    large = {"steps": steps, "precision": "float32", "trainings": 1, "extractors": ("inception",)}
    return {
        "tiny": replace(laptop, preset=tiny, **small, count=12, seeds=2, many=2, **grid),
        "laptop": laptop,
        "paper": replace(laptop, preset=preset, **large, count=10_000, seeds=2, kappas=()),
    }


_TABLE1 = Scale(
    paper="CIFAR-10 with NCSNv2",
    preset="fashion-mnist",
    steps=16_000,
    trainings=1,
    extractors=("fashion-mnist", "random-convolution"),
    count=100,
    seeds=5,
    kappas=(1.5, 3.0, 6.0, 12.0),
    etas=(0.2, 0.5, 0.8, 1.1, 1.4),
    etas_many=(0.1, 0.3, 0.7),
    tried=100,
)
_TABLE2 = Scale(paper="LSUN-church 64×64 with NCSNv2", preset="digits", steps=4000)
_TABLE3 = Scale(paper="CIFAR-10 with the U-Net", preset="digits-ncsnv2", steps=2000)
SCALES = {
    "table1": _scales(_TABLE1, "digits", "cifar10-ncsnv2", 300_000),
    "table2": _scales(_TABLE2, "digits", "church-ncsnv2", 200_000),
    "table3": _scales(_TABLE3, "digits-ncsnv2", "cifar10-unet", 300_000),
}


@dataclass(frozen=True)
class Measured:
    """Distances, the step sizes that were tried, what real images score, and sheets of samples."""

    rows: Rows
    tried: Rows
    floors: Mapping[str, Number]
    sheets: Sequence[tuple[str, str, str]]

    def lowest(self, **tags: object) -> Rows:
        """The rows of the lowest mean of all cells that have these tags."""
        cells = self.rows.where(**tags).by("objective", "sampler", "n_sigma", "outcome")
        return min(cells.values(), key=lambda rows: statistics.fmean(rows.values()))


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each network, sampler, seed, extractor and outcome."""
    rows, tried, of_cell = Rows(), Rows(), dict[str, list[tuple[str, str, str]]]()
    for objective, training in product(OBJECTIVES, range(scale.trainings)):
        experiment = scale.experiment(objective, training)
        for chain, how, scan in _chains(lab, scale, experiment):
            tried += [{**row, "training": training} for row in scan]
            rows += lab.distances(
                experiment,
                chain,
                seeds=range(scale.seeds),
                count=scale.count,
                extractors=scale.extractors,
                objective=objective,
                training=training,
                sampler=chain.method.upper(),
                step=knob_text(chain),
                how=how,
            )
            if training == 0:
                label = f"{chain.method.upper()}, $n_\\sigma$ = {chain.n_sigma}"
                sheet = lab.sheet(experiment, chain, shown=8, columns=8)
                of_cell.setdefault(label, []).append(("", "" if label in of_cell else label, sheet))
    data = scale.plain.data.name
    real = lab.real_sheet(data, shown=8, columns=8)
    first = [(objective, "real images" * (not i), real) for i, objective in enumerate(OBJECTIVES)]
    floors = lab.floors(data, count=scale.count, extractors=scale.extractors)
    return Measured(rows, tried, floors, [*first, *(x for pair in of_cell.values() for x in pair)])


def _chains(
    lab: Lab, scale: Scale, experiment: Experiment
) -> Iterator[tuple[Chain, str, Sequence[Row]]]:
    """Both samplers at both n_sigma, how their step size was chosen, and what was tried for it."""
    many = scale.many
    if not scale.kappas:
        for n, kind in product((1, many), (als, cas)):
            epsilon = SAMPLERS[f"{scale.preset}-{kind.__name__}-{n}"].epsilon
            yield kind(epsilon=epsilon, n_sigma=n), "the paper's", ()
        return

    def best(chains: Sequence[Chain]) -> tuple[Chain, str, Sequence[Row]]:
        chain, scan = lab.best_of(
            experiment, chains, count=scale.tried, extractor=scale.extractors[0]
        )
        edge = {chains[0]: ", smallest tried", chains[-1]: ", largest tried"}.get(chain, "")
        return chain, f"best of {len(chains)}{edge * (len(chains) > 1)}", scan

    kappa, eta = best([cas(k) for k in scale.kappas]), best([als(e) for e in scale.etas])
    yield eta
    yield kappa
    if eta[0].knob < 1:
        yield als(eta_at_n_sigma(eta[0].knob, many), n_sigma=many), "the noise of η at n_σ = 1", ()
    else:
        yield best([als(e, n_sigma=many) for e in scale.etas_many])
    yield cas(kappa[0].kappa, n_sigma=many), "κ of n_σ = 1", ()


def claims(found: Measured, scale: Scale) -> list[Claim]:
    """What the paper says of a table, put to our own; one extractor after the other."""
    few, many = found.rows.levels("n_sigma")
    more = f"more steps for each level lower the distance (n_σ = {many} against {few})"
    raw, denoised = ({"outcome": outcome} for outcome in OUTCOMES)
    als, cas = ({"sampler": sampler} for sampler in ("ALS", "CAS"))
    plain, adversarial = ({"objective": objective} for objective in OBJECTIVES)
    claims = []
    for extractor in scale.extractors:
        rows = found.rows.where(extractor=extractor)
        cell = "n_σ = {n_sigma}, {objective}"
        asked = {
            denoising_lowers(s["sampler"]): contrasts(
                rows.where(**s), cell, denoised, raw, within_trainings
            )
            for s in (als, cas)
        }
        asked[Statement("denoising changes CAS less than ALS", "yes")] = contrasts(
            _changes(rows), cell, cas, als, within_trainings
        )
        for n, outcome in product((few, many), OUTCOMES):
            of = rows.where(n_sigma=n, outcome=outcome)
            pairs = contrasts(of, "{objective}", cas, als, within_trainings)
            asked[consistent_is_better(n, outcome)] = pairs
        cell = "{sampler}, {objective}, {outcome}"
        asked[Statement(more, "yes, always")] = contrasts(
            rows, cell, {"n_sigma": many}, {"n_sigma": few}, within_trainings
        )
        for outcome in OUTCOMES:
            of, cell = rows.where(outcome=outcome), "{sampler}, n_σ = {n_sigma}"
            asked[adversarial_lowers(outcome, scale.plain.network.kind)] = contrasts(
                of, cell, adversarial, plain, between_trainings
            )
        claims += claims_of(extractor, asked)
    return claims


def _changes(rows: Rows) -> Rows:
    """By how much denoising changes the distance of each chain, in either direction."""
    pairs = zip(*(rows.where(outcome=outcome) for outcome in OUTCOMES), strict=True)
    return Rows({**a, "distance": abs(a["distance"] - b["distance"])} for a, b in pairs)


def compared(where: str, lower: Rows, higher: Rows) -> list[Comparison]:
    """Two cells: of the same networks, or of networks of two objectives."""
    same = lower[0]["objective"] == higher[0]["objective"]
    return (within_trainings if same else between_trainings)(where, lower, higher)


def page(found: Measured, scale: Scale) -> Page:
    """The table as the paper lays it out, its claims one by one, a chart and a sheet of samples."""
    lowest = {extractor: found.lowest(extractor=extractor) for extractor in scale.extractors}

    def number(rows: Rows) -> Number:
        return spread_of(rows.values())

    def cell(rows: Rows) -> str:
        text, low = number(rows).text(), lowest[rows[0]["extractor"]]
        if rows == low:
            return f"**{text}**"
        apart = all(pair.verdict == "held" for pair in compared("", low, rows))
        return text if apart else f"{text} †"

    def style(row: Row) -> Mapping[str, Any]:
        i = list(OBJECTIVES).index(row["objective"])
        return {"colour": COLOURS[i], "shift": SHIFTS[i], "hollow": row["outcome"] == "raw"}

    index = {"sampling": "{sampler}", "n_σ": "{n_sigma}", "outcome": "{outcome}"}
    step = "`{model}`, training {training} | {sampler}, n_σ = {n_sigma} | {step} | {how} | {nfe}"
    in_order = [
        row
        for rows in found.rows.by("model", "training", "n_sigma", "sampler", "seed").values()
        for outcome in OUTCOMES
        for row in rows.where(outcome=outcome)
    ]
    columns = "model training method n_sigma kappa eta epsilon nfe seed outcome extractor distance"
    tables = {"measurements": table(in_order, f"{columns} standard_error")}
    if found.tried:
        columns = "model training method n_sigma knob value raw=distance denoised chosen"
        tables["tunings"] = table(_tunings(found.tried), columns)
    return Page(
        words={
            "distances": pivot(found.rows, index, "`{extractor}`, {objective}", cell),
            "floors": found.floors,
            "steps": list(found.rows.named(step)),
            "seed": VALIDATION_SEED,
        },
        pictures={
            "distances": lambda: dots(
                found.rows,
                number,
                panel="features of {extractor}",
                row="{sampler}, $n_\\sigma$ = {n_sigma}, {outcome}",
                label="{objective}, {outcome}",
                style=style,
                bands={f"features of {name}": floor for name, floor in found.floors.items()},
                columns=5,
                rules=2,
            ),
            "samples": lambda: sheets(found.sheets),
        },
        tables=tables,
    )


def _tunings(tried: Rows) -> Iterator[Row]:
    """A row for each step size that was tried, with both of its distances."""
    in_order = [row for rows in tried.by("model", "training", "method", "n_sigma") for row in rows]
    ...


STUDIES = {
    name: Study(title, SCALES[name], measure, page, claims, "tables.md")
    for name, title in {
        "table1": "sampling, n_sigma, denoising and the objective",
        "table2": "the same on a second data set",
        "table3": "the same with a second network",
    }.items()
}
