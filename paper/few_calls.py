"""Few calls against the paper's best: what is shown, with bounds, and what is not."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from cascore.denoiser import kappa_of_steps
from cascore.experiment.build import training_sigmas
from cascore.experiment.settings import Experiment
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.sampling import Samples, consistent_annealed
from cascore.schedule import nearest_sigmas
from cascore.stats import Estimate, Groups, Within, excess, of_groups, ratio_bounds, within
from paper.engine.charts import Picture, curves
from paper.engine.claims import Claim, Comparison, Number
from paper.engine.lab import BATCH, Lab, Measured, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows
from paper.engine.settings import Chain, knob_text
from paper.schedulers import SCHEDULERS, generate_by_scheduler, in_batches

PLAN = Plan("few-calls")
FIRST = 10
"""Sampling seeds of what is reported are from here on: no choice has seen them."""
MARGIN = 0.1
"""By which part a distance may be above the one that it is compared with."""
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

    @property
    def name(self) -> str:
        """Of the network."""
        return self.experiment().name

    def experiment(self, objective: str = "plain", training: int = 0) -> Experiment:
        """What is trained: the preset, or its twin that sees the noise level."""
        blind = super().experiment(objective, training)
        if not self.aware:
            return blind
        network = replace(blind.network, conditional=True)
        return replace(blind, name=f"{blind.name}-aware", network=network)


METHODS = PLAN.objects("methods", Method)


def measure(lab: Lab, scale: Sequence[Headline]) -> Measured:
    """A row for each network, method, number of calls and seed, with values of its blocks.

    What costs least comes first, and the paper's best last; `tried` are those that it is one of,
    and the floors what new real pictures have without the bias of their number.
    """
    rows, tried, floors = Rows(), Rows(), {}
    for subject in scale:
        for name, cell in subject.plan.items():
            for calls in cell.calls:
                rows += _method(lab, subject, name, calls, cell)
    for subject in scale:
        chain = _chosen(lab, subject, tried)
        label = f"{chain.method.upper()}, n_σ = {chain.n_sigma}, {knob_text(chain)}"
        rows += _jackknifed(lab, subject, chain, cell=subject.best, method=BEST, label=label)
        (name,) = subject.extractors
        floors[subject.name] = lab.unbiased_floor(subject.data, subject.chosen.count, name)
    return Measured(rows, floors, tried=tried)


def _chosen(lab: Lab, subject: Headline, tried: Rows) -> Chain:
    """The candidate of the lowest denoised distance on the seeds of the choice; `tried` grows."""
    means, chosen = [], subject.chosen
    how: dict[str, Any] = {"count": chosen.count, "extractors": subject.extractors}
    for chain in subject.candidates:
        rows = lab.distances(subject.experiment(), chain, seeds=range(chosen.seeds), **how)
        means.append(statistics.fmean(rows.where(outcome="denoised").values()))
        tried.extend(rows.where(outcome="denoised"))
    return subject.candidates[means.index(min(means))]


def _method(lab: Lab, subject: Headline, name: str, calls: int, cell: Cell) -> Rows:
    """A method; of a network that knows the training's levels alone, at those that are nearest."""
    method, experiment = METHODS[name], subject.experiment()
    measured = partial(_jackknifed, lab, subject, cell=cell, method=name, label=method.label)
    at_levels = experiment.at_levels
    if method.chain is not None and (name == DEFAULT or not at_levels):
        spacing = "trained" if at_levels else method.chain.spacing
        kappa, blind = method.chain.kappa, not subject.aware
        if name == DEFAULT and kappa is not None:
            ratio = experiment.schedule.first / experiment.schedule.last
            kappa = kappa_of_steps(kappa, calls, ratio=ratio, blind=blind)
        return measured(replace(method.chain, levels=calls, kappa=kappa, spacing=spacing))
    if method.scheduler is None:
        assert method.chain is not None
        levels, generate = calls, partial(_generate_at, method.chain)
        known = method.chain
        of = {"method": "cas", "order": known.order, "n_sigma": 1, "kappa": known.kappa}
    else:
        scheduler = SCHEDULERS[method.scheduler]
        levels, generate = scheduler.within(calls), partial(generate_by_scheduler, scheduler)
        of = {"batch": BATCH, **scheduler.recorded}
    sigmas = Chain(method="cas", kappa=1, levels=levels).sigmas(experiment.schedule)
    if at_levels:
        sigmas = nearest_sigmas(sigmas, training_sigmas(experiment.schedule))
    of["spacing"] = "nearest to geometric" if at_levels else "geometric"
    settings = {"levels": levels, **of}

    def draw(model: Model, seeds: range) -> tuple[Samples, Mapping[str, object]]:
        return generate(model, seeds, sigmas, BATCH), {}

    return measured(settings, draw=draw, calls=calls)


def _generate_at(
    of: Chain, model: Model, seeds: Sequence[int], sigmas: Tensor, batch_size: int
) -> Samples:
    """Consistent annealed sampling at these levels."""

    def chain(x: Tensor, noise: KeyedNoise, first: int) -> Samples:
        how: dict[str, Any] = {"kappa": of.kappa, "order": of.order, "noise": noise}
        return consistent_annealed(model.denoiser, x, sigmas, **how)

    return in_batches(chain, model, seeds, float(sigmas[0]), batch_size)


def _jackknifed(
    lab: Lab, subject: Headline, chain: Chain | Mapping[str, object], *, cell: Cell, **tags: Any
) -> Rows:
    seeds, (extractor,) = range(FIRST, FIRST + cell.seeds), subject.extractors
    how: dict[str, Any] = {"seeds": seeds, "count": cell.count, "extractor": extractor}
    rows = lab.jackknifed(subject.experiment(), chain, **how, **tags)
    pictures = {"pictures": cell.count, "aware": subject.aware, "budget": rows[0]["nfe"]}
    return Rows({**row, "distance": _mean(row), **pictures} for row in rows)


def _mean(row: Row) -> float:
    values = row.get("values", ())
    return statistics.fmean(values) if values else math.nan


# --- what it says --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distance:
    """A distance without its bias, from rows of one method at one number of calls."""

    rows: Rows

    @property
    def calls(self) -> int:
        """Network calls of one picture."""
        return int(self.rows[0]["nfe"])

    @property
    def pictures(self) -> str:
        """How many, and on how many seeds."""
        return f"{self.rows[0]['pictures']:,} × {len(self.rows)}"

    @property
    def groups(self) -> Groups:
        """Values of blocks by seed."""
        return self.rows.values("values")

    @cached_property
    def estimate(self) -> Estimate:
        """With the error of blocks and seeds."""
        return of_groups(self.groups)

    @property
    def number(self) -> Number:
        """The same, ± its standard error."""
        return Number(self.estimate.mean, self.estimate.error)


@dataclass(frozen=True)
class Ratio:
    """A distance over another; paired where both are of the same pictures' seeds."""

    above: Distance
    below: Distance

    @property
    def paired(self) -> bool:
        """Whether each block has its partner, which starts from the same noise."""
        a, b = (
            [(row["seed"], row["pictures"]) for row in d.rows] for d in (self.above, self.below)
        )
        return a == b

    def excess(self, ratio: float) -> Estimate:
        """One distance less that many times the other."""
        return excess(self.above.groups, self.below.groups, ratio, paired=self.paired)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """At least and at most, each with 95 % confidence."""
        return ratio_bounds(self.above.groups, self.below.groups, paired=self.paired)

    @property
    def verdict(self) -> Within:
        """Whether it is at most 1 + MARGIN."""
        return within(self.excess(1 + MARGIN))

    @property
    def text(self) -> str:
        """The ratio with its bounds, bold where it is shown to be within the margin."""
        bold = "**" * (self.verdict == "shown")
        low, high = self.bounds
        most = "∞" if math.isinf(high) else f"{high:.2f}"
        ratio = self.above.estimate.mean / self.below.estimate.mean
        return f"{bold}{ratio:.2f} ({low:.2f} to {most}){bold}"


@dataclass(frozen=True)
class Found:
    """What came of one network: distances by method and number of calls, and the paper's best."""

    name: str
    aware: bool
    best: Distance
    cells: Mapping[str, Mapping[int, Distance]]

    @property
    def kind(self) -> str:
        """Which kind of network, in words."""
        return "sees σ" if self.aware else "blind"

    def ratios(self, method: str) -> dict[int, Ratio]:
        """Those of a method to the paper's best, by number of calls."""
        return {calls: Ratio(cell, self.best) for calls, cell in self.cells[method].items()}

    def fewest(self, method: str) -> str:
        """The fewest calls that are shown to be within the margin, tested from the most on.

        The first that is not shown ends the sequence, so that one in twenty is wrong by chance
        however many are tested (Maurer, Hothorn and Lehmacher 1995).
        """
        fewest, ratios = None, self.ratios(method)
        for calls in sorted(ratios, reverse=True):
            if ratios[calls].verdict != "shown":
                break
            fewest = calls
        return f"> {max(ratios)}" if fewest is None else str(fewest)

    def peer(self, calls: int) -> Ratio | None:
        """The default over the lowest of the others at that number of calls, if there are any."""
        others = [of[calls] for name, of in self.cells.items() if name != DEFAULT and calls in of]
        if not others:
            return None
        return Ratio(self.cells[DEFAULT][calls], min(others, key=lambda of: of.estimate.mean))


def found(results: Measured) -> list[Found]:
    """The measurements, network by network."""
    networks = []
    for name, rows in results.rows.by("model").items():
        methods = {
            method: {calls: Distance(of) for calls, of in cells.by("budget").items()}
            for method, cells in rows.by("method").items()
        }
        (best,) = methods.pop(BEST).values()
        networks.append(Found(name, rows[0]["aware"], best, methods))
    return networks


def claims(results: Measured, scale: Sequence[Headline]) -> list[Claim]:
    """The default against the paper's best, at as many pictures as there are."""
    statements: dict[str, list[Comparison]] = {}
    for network in found(results):
        for calls, ratio in network.ratios(DEFAULT).items():
            says = f"the default at {calls} calls has a lower distance than the paper's best"
            above = ratio.excess(1)
            lower = Estimate(-above.mean, above.error, above.freedom)
            numbers = ratio.above.number, ratio.below.number
            pair = Comparison(network.name, *numbers, lower, "pairs" if ratio.paired else "errors")
            statements.setdefault(says, []).append(pair)
    return [Claim(says, "without bias", pairs) for says, pairs in statements.items()]


def page(results: Measured, scale: Sequence[Headline]) -> Page:
    """Distances and ratios with their bounds, and the fewest calls that are shown to be enough."""
    networks = found(results)
    words = {"networks": networks, "methods": METHODS, "margin": MARGIN, "floors": results.floors}
    pictures = {"distances": picture(results, **PLAN.look("distances"))}
    return Page(words, pictures, PLAN.tables(measurements=results.rows, choices=results.tried))


def picture(results: Measured, *, floors: bool = True, **look: Any) -> Picture:
    """Distance against calls, a panel for each network, with `floors` those of real pictures."""
    networks = found(results)
    best = {network.name: network.best.number for network in networks}
    kinds = {network.name: network.kind for network in networks}
    rows = Rows(
        {**row, "title": f"{row['model']}: {kinds[row['model']]}", "style": _style(row)}
        for row in results.rows
        if row["method"] != BEST
    )

    def bands(row: Row) -> Mapping[str, Number | None]:
        real = results.floors[row["model"]] if floors else None
        return {"new real pictures": real, "the paper's best": best[row["model"]]}

    return curves(rows, lambda of: Distance(of).number, bands=bands, **look)


def _style(row: Row) -> dict[str, object]:
    method = METHODS[row["method"]]
    width = 2.2 if row["method"] == DEFAULT else 1.4
    ink = {"color": method.colour, "markerfacecolor": method.colour, "fmt": method.form}
    return {**ink, "label": method.label.replace("`", ""), "markersize": 5, "linewidth": width}


STUDY = PLAN.study(Headline, measure, page, claims)
