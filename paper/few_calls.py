"""Few calls against the paper's best: what is shown, with bounds, and what is not."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cascore.experiment.settings import Experiment
from cascore.model.loading import Model
from cascore.sampling import Samples
from paper.engine.lab import BATCH, Lab, Subject
from paper.engine.page import Plan
from paper.engine.rows import Rows
from paper.engine.settings import Chain
from paper.schedulers import SCHEDULERS, generate_by_scheduler

PLAN = Plan("few-calls")
FIRST = 10
"""Sampling seeds of what is reported are from here on: no choice has seen them."""
BEST, DEFAULT = "paper", "default"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A sampler that one would take: a chain of any number of levels, or a scheduler."""

    label: str
    colour: str
    form: str
    chain: Chain | None = None
    scheduler: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """So many pictures on each of so many seeds, at each of these numbers of calls."""

    count: int
    seeds: int
    calls: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Headline(Subject):
    """A network, the paper's samplers that one of is chosen, and the cells of each method.

    Attributes:
        aware: whether the network sees the noise level.
        candidates: the paper's samplers, `chosen` from by these pictures.
        best: the pictures of the chosen one.
    """

    aware: bool = False
    candidates: tuple[Chain, ...]
    chosen: Cell
    best: Cell
    plan: Mapping[str, Cell]

    def experiment(self, objective: str = "plain", training: int = 0) -> Experiment:
        """What is trained: the preset, or its twin that sees the noise level."""
        blind = super().experiment(objective, training)
        if not self.aware:
            return blind
        network = replace(blind.network, conditional=True)
        return replace(blind, name=f"{blind.name}-aware", network=network)


METHODS = PLAN.objects("methods", Method)


def measure(lab: Lab, scale: Sequence[Headline]) -> Rows:
    """A row for each network, method, number of calls and seed, with values of its blocks.

    What costs least comes first, and the paper's best last.
    """
    rows = Rows()
    for subject in scale:
        for name, cell in subject.plan.items():
            for calls in cell.calls:
                rows += _method(lab, subject, name, calls, cell)
    for subject in scale:
        chain = _chosen(lab, subject)
        rows += _jackknifed(lab, subject, chain, subject.best, method=BEST)
    return rows


def _chosen(lab: Lab, subject: Headline) -> Chain:
    """The candidate of the lowest denoised distance, on seeds of the choice alone."""
    means = []
    for chain in subject.candidates:
        rows = lab.distances(
            subject.experiment(),
            chain,
            seeds=range(subject.chosen.seeds),
            count=subject.chosen.count,
            extractors=subject.extractors,
        )
        means.append(statistics.fmean(rows.where(outcome="denoised").values()))
    return subject.candidates[means.index(min(means))]


def _method(lab: Lab, subject: Headline, name: str, calls: int, cell: Cell) -> Rows:
    method, experiment = METHODS[name], subject.experiment()
    if method.chain is not None:
        chain = replace(method.chain, levels=calls)
        return _jackknifed(lab, subject, chain, cell, method=name)
    assert method.scheduler is not None
    scheduler = SCHEDULERS[method.scheduler]
    levels = scheduler.within(calls)
    settings = {"levels": levels, "spacing": "geometric", "batch": BATCH, **scheduler.recorded}
    sigmas = Chain(method="cas", kappa=1, levels=levels).sigmas(experiment.schedule)

    def draw(model: Model, seeds: range) -> tuple[Samples, Mapping[str, object]]:
        return generate_by_scheduler(scheduler, model, seeds, sigmas, BATCH), {}

    return _jackknifed(lab, subject, settings, cell, method=name, draw=draw, calls=calls)


def _jackknifed(
    lab: Lab, subject: Headline, chain: Chain | Mapping[str, object], cell: Cell, **tags: object
) -> Rows:
    seeds, (extractor,) = range(FIRST, FIRST + cell.seeds), subject.extractors
    how = {"seeds": seeds, "count": cell.count, "extractor": extractor, "pictures": cell.count}
    return lab.jackknifed(subject.experiment(), chain, **how, **tags)
