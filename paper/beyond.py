"""Quality against network calls: our samplers, the paper's best and diffusers' on one network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.sampling import Samples, consistent_annealed, initial_noise
from paper.engine.charts import Picture, curves
from paper.engine.claims import Claim, Number, by_errors, claims_of, mean_of
from paper.engine.lab import BATCH, OUTCOMES, Lab, Measured, Result, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows, pivot
from paper.engine.settings import Chain, cas
from paper.schedulers import SCHEDULERS, generate_by_scheduler, run_scheduler


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of the pictures: a scheduler, or chains of which the validation seed takes one.

    Attributes:
        label: in words.
        shown: in the picture of our family (f), of other solvers (o), of raw samples (r).
        colour, form: of the line.
    """

    label: str
    shown: str
    colour: str
    form: str
    scheduler: str | None = None
    chains: tuple[Chain, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Calls(Subject):
    """A network, and at how many calls each method is measured on it; if none: all levels.

    `validation` pictures of each choice are looked at in the features of the first extractor.
    """

    validation: int
    plan: Mapping[str, tuple[int, ...]]


PLAN = Plan("beyond")
METHODS, TWINS = PLAN.objects("methods", Method), PLAN.objects("twins", Chain)
"""Which of our settings each scheduler equals."""
BEST, DEFAULT, GEOMETRIC = "paper", "default", "order-2-geometric"
_TWINS = 64  # pictures


def measure(lab: Lab, scale: Sequence[Calls]) -> Measured:
    """A row for each network, method, number of calls, seed, extractor and outcome.

    The floors under an empty name are the twins: how far schedulers are from ours.
    """
    rows, tried = Rows(), Rows()
    for subject in scale:
        seen = set[tuple[str, int]]()
        for name, method in METHODS.items():
            for calls in (subject.plan[name] or (None,)) if name in subject.plan else ():
                tags = {"label": method.label, "few": calls is not None}
                results = _measured(lab, subject, name, calls, tried, **tags)
                # A choice that is a method of its own counts once; at eta = 1 the last step is
                # denoising itself; chains of all levels are those of the tables.
                row = results[0]
                ours = "scheduler" not in row and row.get("eta") != 1
                pair = ours and row["few"] and (row["choice"], row["budget"]) not in seen
                seen.add((row["choice"], row["budget"]))
                rows += [{**row, "method": name, "pair": pair} for row in results]
    floors: dict[str, Any] = {subject.preset: subject.floors(lab) for subject in scale}
    return Measured(rows, {**floors, "": _twins(lab, scale[0])}, tried=tried)


def _measured(
    lab: Lab, subject: Calls, name: str, calls: int | None, tried: Rows, **tags: Any
) -> Rows:
    """The rows of a method at a number of calls; `tried` grows by those of its choices."""
    method, experiment = METHODS[name], subject.experiment()
    if method.scheduler is not None and calls is not None:
        scheduler = SCHEDULERS[method.scheduler]
        levels = scheduler.within(calls)
        settings = {"levels": levels, "spacing": "geometric", "batch": BATCH, **scheduler.recorded}
        sigmas = cas(1.0, levels=levels).sigmas(experiment.schedule)

        def draw(model: Model, seeds: range) -> tuple[Samples, Mapping[str, Any]]:
            return generate_by_scheduler(scheduler, model, seeds, sigmas, BATCH), {}

        tags |= {"choice": method.scheduler, "budget": calls, "tuned": False}
        return subject.distances(lab, settings, draw=draw, calls=calls, **tags)
    chains = [replace(chain, levels=calls) for chain in method.chains]
    chain, tuned = chains[0], len(chains) > 1
    tags |= {"budget": chain.calls(experiment.schedule), "tuned": tuned}
    if tuned:
        first = subject.extractors[0]
        chain, scan = lab.best_of(experiment, chains, count=subject.validation, extractor=first)
        tried.extend({**row, **tags} for row in scan)
    return subject.distances(lab, chain, choice=_name(chain), **tags)


def _name(chain: Chain) -> str:
    knob = f"{'eta' if chain.kappa is None else 'kappa'}-{chain.knob:g}"
    if chain.method == "als":
        return f"als-{chain.n_sigma}-{knob}"
    spaced = "" if chain.spacing == "geometric" else f"-{chain.spacing}"
    return f"order-{chain.order}-{knob}{spaced}"


def _twins(lab: Lab, subject: Calls) -> Mapping[str, Any]:
    """How far the pictures of each scheduler are from those of the setting that equals it."""
    experiment, (calls,) = subject.experiment(), {chain.levels for chain in TWINS.values()}
    schedule, calls = experiment.schedule, calls or 0
    settings = {name: chain.settings(schedule) for name, chain in TWINS.items()}

    def measure() -> Result:
        model, largest = lab.model(experiment), {}
        denoiser, noise = model.denoiser, KeyedNoise(range(_TWINS))
        x = initial_noise((_TWINS, *model.shape), schedule.first, noise=noise).to(lab.device)
        for name, chain in TWINS.items():
            sigmas = chain.sigmas(schedule)
            one, same = (torch.Generator().manual_seed(0) for _ in range(2))
            theirs = run_scheduler(SCHEDULERS[name], denoiser, x, sigmas, one)
            of: dict[str, Any] = {"kappa": chain.kappa, "order": chain.order, "noise": same}
            ours = consistent_annealed(denoiser, x, sigmas, **of)
            largest[name] = float((theirs.denoised - ours.denoised).abs().max())
        return {"largest": largest, "version": version("diffusers")}, {"checkpoint": model.digest}

    of = {"calls": calls, "count": _TWINS, "twins": settings}
    cost = 2 * len(TWINS) * calls * _TWINS
    return lab.keep("twins", of, measure, experiment=experiment, calls=cost)


def claims(results: Measured, scale: Sequence[Calls]) -> list[Claim]:
    """Centred levels against geometric ones, and denoised samples against raw."""
    denoised, claims = results.rows.where(outcome="denoised"), list[Claim]()
    of = "`{extractor}`"
    says = "centred levels lower the distance of order 2, against geometric ones"
    where, sides = "{model}, {budget} calls", f"method: {DEFAULT} < {GEOMETRIC}"
    claims += claims_of(of, [(says, denoised, where, sides)], by_errors)
    says = "denoising lowers the distance of chains of few calls"
    where, pairs = "{model}, {label}, {budget} calls", results.rows.where(pair=True)
    return claims + claims_of(of, [(says, pairs, where, "outcome: denoised < raw")])


def page(results: Measured, scale: Sequence[Calls]) -> Page:
    """Distance against calls on every model, and who equals whom."""
    rows, (first, *_) = results.rows.where(outcome="denoised"), scale
    bests = {k: mean_of(of) for k, of in rows.where(method=BEST).by("model", "extractor").items()}
    shown = {s.preset: rows.where(model=s.preset, extractor=s.extractors[0]) for s in scale}
    few = shown[first.preset].where(few=True)

    def cell(of: Rows) -> str:
        column = few.where(budget=of[0]["budget"])
        bold = "**" * (len(column.levels("method")) > 1 and mean_of(of).ties(_lowest(column)[1]))
        return f"{bold}{mean_of(of).text()}{bold}"

    models = []
    for subject in scale:
        of, extractor = shown[subject.preset], subject.extractors[0]
        best, floor = bests[subject.preset, extractor], results.floors[subject.preset][extractor]
        model = {"subject": subject, "chosen": of.where(method=BEST)[0], "best": best}
        models.append({**model, "floor": floor, "default": _default(of)})
    tried = results.tried.where(model=first.preset, sampler="CAS", outcome="denoised")
    words = {
        "models": models,
        "budgets": pivot(few, {"method": "{label}"}, "{budget}", cell),
        "schedulers": SCHEDULERS,
        "ours": TWINS,
        "kappas": [chain.knob for chain in METHODS["order-1-tuned"].chains],
    }
    pictures = {
        "calls": _calls(results, {"f": [first], "o": [first]}),
        "models": _calls(results, {"": scale}),
        "raw": _raw(results.rows.where(model=first.preset)),
        "kappa": curves(tried, **PLAN.look("kappa")),
    }
    return Page(words, pictures, PLAN.tables(measurements=results.rows))


def _lowest(rows: Rows) -> tuple[str, Number]:
    """The method of the lowest distance, and that."""
    numbers = {name: mean_of(of) for name, of in rows.by("method").items()}
    return min(numbers.items(), key=lambda pair: pair[1].mean)


def _default(rows: Rows) -> list[str]:
    """The default against the lowest of all methods, tuned ones too, at each number of calls."""
    texts = []
    for calls, column in rows.where(few=True).by("budget").items():
        default = column.where(method=DEFAULT)
        if default and len(column.levels("method")) > 1:
            (name, low), number = _lowest(column), mean_of(default)
            higher = f"{number.mean / low.mean - 1:+.0%} ({METHODS[name].label})"
            text = "the lowest" if name == DEFAULT else "open" if number.ties(low) else higher
            texts.append(f"{calls} calls: {text}")
    return texts


def _styled(row: Row) -> Row:
    """A row with how the line of its method is drawn."""
    method = METHODS[row["method"]]
    size, width = 10 if method.form == "*" else 5, 2.2 if row["method"] == DEFAULT else 1.4
    ink = {"color": method.colour, "markerfacecolor": method.colour, "fmt": method.form}
    label = method.label.replace("`", "")
    return {**row, "style": {**ink, "label": label, "markersize": size, "linewidth": width}}


def _calls(results: Measured, panels: Mapping[str, Sequence[Calls]]) -> Picture:
    """Distance against calls: the methods of a kind, or those that all models have."""
    titles = {"f": "one family: order and κ", "o": "other solvers, and the default again"}
    rows = Rows()
    for kind, subjects in panels.items():
        common = set.intersection(*(set(subject.plan) for subject in subjects))
        for subject in subjects:
            model, extractor = subject.preset, subject.extractors[0]
            of = results.rows.where(model=model, extractor=extractor, outcome="denoised")
            names = {m for m in common if not kind or kind in METHODS[m].shown} | {BEST}
            title = titles.get(kind, f"{model}, features of {extractor}")
            rows += [{**_styled(row), "title": title} for row in of if row["method"] in names]

    def bands(row: Row) -> Mapping[str, Number]:
        best = rows.where(title=row["title"], method=BEST)
        real = results.floors[row["model"]][row["extractor"]]
        return {"real images": real, "the paper's best: ALS, n_σ = 5, all levels": mean_of(best)}

    look = PLAN.look("calls") | {"height": 4 if "" in panels else 6}
    return curves(rows, bands=bands, **look)


def _raw(rows: Rows) -> Picture:
    """What the last step is worth: raw over denoised distance, a panel for each extractor."""

    def ratio(of: Rows) -> Number:
        raw, denoised = (mean_of(of.where(outcome=outcome)).mean for outcome in OUTCOMES)
        return Number(raw / denoised, math.nan)

    shown = Rows(_styled(row) for row in rows if "r" in METHODS[row["method"]].shown)
    return curves(shown, ratio, **PLAN.look("raw"))


STUDY = PLAN.study(Calls, measure, page, claims)
