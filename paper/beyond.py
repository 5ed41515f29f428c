"""Quality against network calls: our samplers, the paper's best and diffusers' on one network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from cascore.noise import KeyedNoise
from cascore.sampling import Samples, consistent_annealed, initial_noise
from paper.engine.chain import Chain, als, cas
from paper.engine.charts import BLACK, COLOURS, GREY, Curve, Panel, curves, lines
from paper.engine.claims import Claim, Statement, claims_by
from paper.engine.compare import Number, by_errors, estimated, mean_of
from paper.engine.lab import BATCH, Lab
from paper.engine.models import Trained
from paper.engine.page import Page, Study
from paper.engine.rows import Row, Rows, pivot, table
from paper.engine.subject import PAPER, TINY, Measured, Subject
from paper.schedulers import SCHEDULERS, diffusers, generate_by_scheduler, run_scheduler

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Method(NamedTuple):
    """One line of the pictures.

    Attributes:
        label: in words.
        shown: in the picture of our family (f), of other solvers (o), of raw samples (r).
        colour, form: of the line.
        choices: chains, or names of schedulers; of several the validation seed takes one.
    """

    label: str
    shown: str
    colour: str
    form: str
    choices: Sequence[Chain | str]


_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY, _ = COLOURS
KAPPAS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_first, _second = partial(cas, order=1), partial(cas, order=2)
_centred = partial(_second, spacing="centred")
BEST, DEFAULT, GEOMETRIC = "paper", "default", "order-2-geometric"
METHODS = {
    BEST: Method("ALS, n_σ = 5, best η", "r", _RED, "*",
                 [als(eta, n_sigma=5) for eta in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)]),
    "als-1": Method("ALS, n_σ = 1, best η", "r", _ORANGE, "*",
                    [als(eta) for eta in (0.8, 1.2, 1.6)]),
    "order-1-kappa-1": Method("order 1, κ = 1: Euler, DDIM", "fr", _SKY, "v--", [_first(1.0)]),
    "order-1-default": Method("order 1, κ = 1.5", "fr", _SKY, "o-", [_first(1.5)]),
    "order-1-kappa-2": Method("order 1, κ = 2: Euler ancestral", "fr", _BLUE, "o-", [_first(2.0)]),
    "order-1-tuned": Method("order 1, best κ", "f", _BLUE, "x:", [_first(k) for k in KAPPAS]),
    "order-1-eta-1": Method("order 1, η = 1", "f", _ORANGE, "s-", [_first(eta=1.0)]),
    "order-2-kappa-1": Method("order 2, κ = 1: DPM-Solver++(2M)", "for", _PINK, "v--",
                              [_second(1.0)]),
    "order-2-kappa-2": Method("order 2, κ = 2: SDE-DPM-Solver++(2M)", "fr", _RED, "o-",
                              [_second(2.0)]),
    DEFAULT: Method("the default of `cascore sample`", "for", BLACK, "D-", [_centred(2.5)]),
    GEOMETRIC: Method("order 2, κ = 2.5, geometric levels", "f", _GREEN, "D-", [_second(2.5)]),
    "order-2-karras": Method("order 2, κ = 2.5, Karras levels", "o", GREY, "d-",
                             [_second(2.5, spacing="karras")]),
    "order-2-kappa-1-centred": Method("order 2, κ = 1, centred levels", "o", _SKY, "^--",
                                      [_centred(1.0)]),
    "order-2-tuned": Method("order 2, best κ, centred levels", "f", _GREEN, "x:",
                            [_centred(k) for k in KAPPAS]),
    "heun": Method("Heun of diffusers", "o", _ORANGE, "v--", ["heun"]),
    "dpm-3m": Method("DPM-Solver++(3M) of diffusers", "o", _GREEN, "v--", ["dpm-3m"]),
    "unipc": Method("UniPC of diffusers", "o", _BLUE, "v--", ["unipc"]),
    "unipc-3": Method("UniPC-3 of diffusers", "o", GREY, "^--", ["unipc-3"]),
    "deis": Method("DEIS of diffusers", "o", _RED, "v--", ["deis"]),
}  # fmt: skip
"""By name; a new sampler is one more line here and one in a plan below."""
TWINS = {
    "euler": _first(1.0),
    "ddim": _first(1.0),
    "euler-ancestral": _first(2.0),
    "dpm-2m": _second(1.0),
    "dpm-2m-sde": _second(2.0),
}
"""Which of our settings each scheduler equals."""
TWIN_CALLS, _TWIN_COUNT = 12, 64

_ALL, _FEW = (None,), (5, 8, 12, 20)
_SOME, _MANY = (*_FEW, 30, 50), (5, 8, 10, 12, 15, 20, 30, 50, 100)
_FULL: Mapping[str, Sequence[int | None]] = {
    **dict.fromkeys(METHODS, _SOME),
    BEST: _ALL,
    "als-1": _ALL,
    "order-1-tuned": (12, 50),
    "order-1-eta-1": (12,),
    DEFAULT: _MANY,
    GEOMETRIC: _MANY,
    "order-2-karras": _FEW,
    "order-2-kappa-1-centred": _FEW,
    "heun": _FEW,
    "dpm-3m": _FEW,
    "unipc": _FEW,
    "unipc-3": (8, 12),
    "deis": _FEW,
}
_SHORT = {
    BEST: _ALL,
    "order-1-kappa-2": (8, 12, 20),
    "order-2-kappa-1": (8, 12, 20),
    DEFAULT: (8, 12, 20, 50),
    GEOMETRIC: (8, 12, 20, 50),
    "order-2-kappa-1-centred": (8, 12, 20),
    "unipc": (8, 12, 20),
}


@dataclass(frozen=True, kw_only=True)
class Plan(Subject):
    """A network, and at how many network calls each method is measured on it; None: all levels.

    `validation` pictures of each choice are looked at in the features of the first extractor.
    """

    count: int = 300
    validation: int = 100
    plan: Mapping[str, Sequence[int | None]]


_NOISE = "random-convolution"
_DIGITS = Plan(preset="digits", steps=4000, validation=200, plan=_FULL)
_STACKED = Plan(preset="stacked-digits", steps=2000, extractors=(_NOISE, "pixels"), plan=_SHORT)
_FASHION = replace(_STACKED, preset="fashion-mnist", steps=16_000, count=400, validation=60)
_TINY = replace(_DIGITS, **TINY, count=12, validation=6)
_PAPER = replace(_DIGITS, preset="cifar10-unet", steps=300_000, **PAPER, validation=2000)
SCALES = {
    "tiny": (
        replace(_TINY, plan={**{m: calls[:1] for m, calls in _FULL.items()}, DEFAULT: (5, 8)}),
        replace(_TINY, preset="digits-adversarial", plan={BEST: _ALL, DEFAULT: (8,)}),
    ),
    "laptop": (
        _DIGITS,
        Plan(preset="digits-adversarial", steps=4000, plan=_SHORT),
        _STACKED,
        replace(_FASHION, extractors=("fashion-mnist", _NOISE)),
    ),
    "paper": (_PAPER, replace(_PAPER, preset="cifar10-unet-adversarial")),
}


def measure(lab: Lab, scale: Sequence[Plan]) -> Measured:
    """A row for each network, method, number of calls, seed, extractor and outcome.

    Of the floors the one under an empty name is the twins: how far schedulers are from ours.
    """
    rows, tried = Rows(), Rows()
    for subject in scale:
        seen = set[tuple[str, int]]()
        for name, planned in subject.plan.items():
            for calls in planned:
                found, scan = _measured(lab, subject, METHODS[name], calls)
                row = found[0]
                choice = row["choice"], row["budget"]
                # A choice that is a method of its own counts once; at eta = 1 the last step is
                # denoising itself; chains of all levels are those of the tables.
                ours = "scheduler" not in row and row.get("eta") != 1
                pair = ours and calls is not None and choice not in seen
                seen.add(choice)
                tags = {"method": name, "few": calls is not None, "pair": pair}
                rows += [{**row, **tags} for row in found]
                tried += [{**row, **tags} for row in scan]
    floors: dict[str, Any] = {subject.preset: subject.floors(lab) for subject in scale}
    return Measured(rows, {**floors, "": _twins(lab, scale[0])}, tried=tried)


def _measured(lab: Lab, subject: Plan, method: Method, calls: int | None) -> tuple[Rows, Rows]:
    """The rows of a method at a number of calls, and those of its choices."""
    tags: dict[str, Any] = {"label": method.label, "tuned": len(method.choices) > 1}
    first, schedule = method.choices[0], subject.experiment().schedule
    if isinstance(first, str):
        scheduler = SCHEDULERS[first]
        assert calls is not None
        levels = scheduler.within(calls)
        settings = {
            "scheduler": scheduler.kind,
            "settings": scheduler.settings,
            "batch": BATCH,
            "prediction": scheduler.prediction,
            "levels": levels,
            "spacing": "geometric",
        }
        draw = partial(_drawn, lab, first, levels)
        tags |= {"choice": first, "budget": calls}
        return subject.distances(lab, settings, draw=draw, calls=calls, **tags), Rows()
    chains = [replace(c, levels=calls) for c in method.choices if isinstance(c, Chain)]
    tags["budget"] = chains[0].calls(schedule)
    chain, scan = chains[0], Rows()
    if len(chains) > 1:
        how: dict[str, Any] = {"count": subject.validation, "extractor": subject.extractors[0]}
        chain, scan = lab.best_of(subject.experiment(), chains, **how, **tags)
    return subject.distances(lab, chain, choice=_name(chain), **tags), scan


def _name(chain: Chain) -> str:
    letter = "eta" if chain.kappa is None else "kappa"
    if chain.method == "als":
        return f"als-{chain.n_sigma}-{letter}-{chain.knob:g}"
    spaced = "" if chain.spacing == "geometric" else f"-{chain.spacing}"
    return f"order-{chain.order}-{letter}-{chain.knob:g}{spaced}"


def _drawn(
    lab: Lab, name: str, levels: int, trained: Trained, seeds: range
) -> tuple[Samples, Mapping[str, Any]]:
    model = trained.model
    samples = generate_by_scheduler(
        SCHEDULERS[name],
        model.denoiser,
        shape=model.shape,
        seeds=seeds,
        sigmas=cas(1.0, levels=levels).sigmas(model.experiment.schedule),
        device=lab.device,
        batch_size=BATCH,
    )
    return samples, {}


def _twins(lab: Lab, subject: Plan) -> Mapping[str, Any]:
    """How far the pictures of each scheduler are from those of the setting that equals it."""
    experiment = subject.experiment()
    chains = {name: replace(chain, levels=TWIN_CALLS) for name, chain in TWINS.items()}
    of = {name: chain.settings(experiment.schedule) for name, chain in chains.items()}
    settings = {"calls": TWIN_CALLS, "count": _TWIN_COUNT, "twins": of}

    def measure() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        trained, largest = lab.model(experiment), {}
        denoiser, noise = trained.model.denoiser, KeyedNoise(range(_TWIN_COUNT))
        shape = (_TWIN_COUNT, *trained.model.shape)
        x = initial_noise(shape, experiment.schedule.first, noise=noise).to(lab.device)
        for name, chain in chains.items():
            sigmas = chain.sigmas(experiment.schedule)
            one, same = (torch.Generator().manual_seed(0) for _ in range(2))
            theirs = run_scheduler(SCHEDULERS[name], denoiser, x, sigmas, generator=one)
            ours = consistent_annealed(
                denoiser, x, sigmas, kappa=chain.kappa, order=chain.order, noise=same
            )
            largest[name] = float((theirs.denoised - ours.denoised).abs().max())
        result = {"largest": largest, "version": diffusers().__version__}
        return result, {"checkpoint": trained.digest}

    calls = 2 * len(TWINS) * TWIN_CALLS * _TWIN_COUNT
    return lab.keep("twins", settings, measure, experiment=experiment, calls=calls)


def claims(found: Measured, scale: Sequence[Plan]) -> list[Claim]:
    """The default against the paper's best and its levels, and denoised samples against raw."""
    denoised, claims = found.rows.where(outcome="denoised"), list[Claim]()
    for calls in (8, 12, 20):
        says = f"the default at {calls} calls has a lower distance than the paper's best sampling"
        own = denoised.where(method=DEFAULT, budget=calls)
        both = Rows([*denoised.where(method=BEST), *own])
        asked = (Statement(says), both, "{model}", f"method: {DEFAULT} < {BEST}")
        claims += claims_by("extractor", [asked], by_errors)
    says = "centred levels lower the distance of order 2, against geometric ones"
    sides = f"method: {DEFAULT} < {GEOMETRIC}"
    asked = (Statement(says), denoised, "{model}, {budget} calls", sides)
    claims += claims_by("extractor", [asked], by_errors)
    says = "denoising lowers the distance of chains of few calls"
    chains, where = found.rows.where(pair=True), "{model}, {label}, {budget} calls"
    asked = (Statement(says), chains, where, "outcome: denoised < raw")
    return claims + claims_by("extractor", [asked])


def page(found: Measured, scale: Sequence[Plan]) -> Page:
    """Distance against calls on every model, and who equals whom."""
    rows, first = found.rows.where(outcome="denoised"), scale[0]
    bests = {k: mean_of(r) for k, r in rows.where(method=BEST).by("model", "extractor").items()}
    untuned = Rows(row for row in rows.where(tuned=False) if row["method"] != BEST)
    of_model = {s.preset: rows.where(model=s.preset, extractor=s.extractors[0]) for s in scale}
    few = of_model[first.preset].where(few=True)

    def fewest(of: Rows) -> str:
        best = bests[of[0]["model"], of[0]["extractor"]]
        calls, most = _enough(of, best), max(of.levels("budget"))
        return f"{calls} ({_relative(of, calls, best)})" if calls else f"> {most}"

    def cell(of: Rows) -> str:
        column = few.where(budget=of[0]["budget"])
        bold = "**" * (len(column.levels("method")) > 1 and mean_of(of).ties(_lowest(column)[1]))
        return f"{bold}{mean_of(of).text()}{bold}"

    models = []
    for subject in scale:
        of, extractor = of_model[subject.preset], subject.extractors[0]
        chosen, best = of.where(method=BEST)[0], bests[subject.preset, extractor]
        needed = {
            label: calls
            for label, r in of.where(tuned=False).by("label").items()
            if (calls := _enough(r, best))
        }
        models.append(
            {
                "subject": subject,
                "chosen": chosen,
                "best": best,
                "needed": needed,
                "floor": found.floors[subject.preset][extractor],
                "default": _default(of),
            }
        )
    return Page(
        words={
            "fewest": pivot(untuned, {"nothing tuned": "{label}"}, "{model} ({extractor})", fewest),
            "models": models,
            "budgets": pivot(few, {"method": "{label}"}, "{budget}", cell),
            "twins": found.floors[""],
            "schedulers": SCHEDULERS,
            "ours": TWINS,
            "kappas": KAPPAS,
        },
        pictures={
            "calls": lambda: _calls(found, [(first, shown, t) for shown, t in _TITLES.items()]),
            "models": lambda: _calls(found, [(s, "", s.preset) for s in scale]),
            "raw": partial(_raw, found.rows, first),
            "kappa": partial(_kappa, found.tried, first),
        },
        tables={
            "measurements": table(
                found.rows,
                "model method choice calls=budget nfe seed extractor outcome distance"
                " standard_error",
            )
        },
    )


def _lowest(rows: Rows) -> tuple[str, Number]:
    """The method of the lowest distance, and that."""
    numbers = {name: mean_of(of) for name, of in rows.by("method").items()}
    return min(numbers.items(), key=lambda pair: pair[1].mean)


def _enough(rows: Rows, best: Number) -> int | None:
    """The fewest calls at which a method is lower than the paper's best or ties."""
    numbers = {calls: mean_of(of) for calls, of in rows.by("budget").items()}
    return next((c for c, n in numbers.items() if n.mean <= best.mean or n.ties(best)), None)


def _relative(rows: Rows, calls: int, best: Number) -> str:
    """How much higher than the paper's best a distance is, in parts of it, ± half the interval."""
    own = mean_of(rows.where(budget=calls))
    ratio = own.mean / best.mean
    error = ratio * math.hypot(own.plus_minus / own.mean, best.plus_minus / best.mean)
    found = estimated("", Number(1.0, 0.0), Number(ratio, error)).difference
    return f"{100 * found.mean:+.0f} ± {100 * found.margin:.0f} %"


def _default(rows: Rows) -> list[str]:
    """The default against the lowest of all methods, tuned ones too, at each number of calls."""
    texts = []
    for calls, column in rows.where(few=True).by("budget").items():
        own = column.where(method=DEFAULT)
        if own and len(column.levels("method")) > 1:
            (name, low), number = _lowest(column), mean_of(own)
            higher = f"{number.mean / low.mean - 1:+.0%} ({METHODS[name].label})"
            text = "the lowest" if name == DEFAULT else "a tie" if number.ties(low) else higher
            texts.append(f"{calls} calls: {text}")
    return texts


# --- pictures ------------------------------------------------------------------------------------

_TITLES = {"f": "one family: order and κ", "o": "other solvers, and the default again"}
_AXES: Mapping[str, Any] = {
    "x": "network calls for one picture",
    "log": "xy",
    "xticks": (5, 8, 12, 20, 50, 100, 200, 500),
}


def _style(row: Row) -> Mapping[str, Any]:
    method, default = METHODS[row["method"]], row["method"] == DEFAULT
    return {
        "label": method.label.replace("`", ""),
        "colour": method.colour,
        "form": method.form,
        "size": 10 if method.form == "*" else 5,
        "width": 2.2 if default else 1.4,
        "hollow": False,
    }


def _calls(found: Measured, panels: Sequence[tuple[Plan, str, str]]) -> Figure:
    """Distance against calls: the methods of a group, or those that all models have."""
    drawn = []
    all_have = set.intersection(*(set(subject.plan) for subject, _, _ in panels)) - {BEST}
    for subject, shown, title in panels:
        extractor = subject.extractors[0]
        rows = found.rows.where(model=subject.preset, extractor=extractor, outcome="denoised")
        best = rows.where(method=BEST)
        names = {m for m in all_have if not shown or shown in METHODS[m].shown}
        own = Rows(row for row in rows if row["method"] in names)
        star = Curve(best.levels("budget"), [mean_of(best).mean], None, _RED, "*", size=11)
        bands = {"real images": found.floors[subject.preset][extractor]}
        bands["the paper's best: ALS, $n_\\sigma$ = 5, all levels"] = mean_of(best)
        drawn.append(
            Panel(
                title,
                [star, *lines(own, "budget", "{label}", _style)],
                y=f"Fréchet distance, features of {extractor}",
                bands=bands,
                **_AXES,
            )
        )
    return curves(drawn, legend=3, height=4.2 if len(panels) > 2 else 6)


def _raw(rows: Rows, subject: Plan) -> Figure:
    """What the last step is worth: raw over denoised distance, a panel for each extractor."""

    def ratio(of: Rows) -> Number:
        raw, denoised = (mean_of(of.where(outcome=o)).mean for o in ("raw", "denoised"))
        return Number(raw / denoised, math.nan)

    own = Rows(r for r in rows.where(model=subject.preset) if "r" in METHODS[r["method"]].shown)
    panels = [
        Panel(
            f"{subject.preset}, features of {extractor}",
            lines(own.where(extractor=extractor), "budget", "{label}", _style, ratio),
            y="raw / denoised distance",
            **{**_AXES, "log": "x"},
        )
        for extractor in subject.extractors
    ]
    return curves(panels, legend=2, height=4.4)


def _kappa(tried: Rows, subject: Plan) -> Figure:
    """The validation of kappa, a panel for each order and a line for each number of calls."""
    rows = tried.where(model=subject.preset, sampler="CAS", outcome="denoised")
    budgets = rows.levels("budget")
    panels = [
        Panel(
            f"order {order}",
            lines(of, "kappa", "{budget} calls",
                  lambda row: {"colour": COLOURS[budgets.index(row["budget"])]}),
            x="$\\kappa$",
            y="Fréchet distance",
            log="xy",
            xticks=KAPPAS,
        )
        for order, of in rows.by("order").items()
    ]  # fmt: skip
    return curves(panels, legend=6, height=4.2)


STUDY = Study(
    "quality against network calls, with other samplers", SCALES, measure, page, claims, "beyond.md"
)
