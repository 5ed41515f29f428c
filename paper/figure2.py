"""Figure 2: points in the plane by plain and adversarial networks, and by the exact score."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cascore.data import load_points
from cascore.denoiser import Denoiser
from cascore.experiment.settings import Experiment
from cascore.noise import KeyedNoise, Purpose
from cascore.sampling import Samples
from cascore.theory import EmpiricalDenoiser, GaussianMixtureDenoiser
from paper.engine.charts import BLACK, COLOURS, dots, new_figure
from paper.engine.claims import (
    Claim,
    Comparison,
    between_trainings,
    claims_of,
    contrasts,
    spread,
    spread_of,
    within_trainings,
)
from paper.engine.lab import OUTCOMES, SEED_APART, Lab, Measured, Result, seeds_of
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows
from paper.engine.settings import als, training_of
from paper.initialisation import starting_points

PLAN = Plan("figure2")
DATA = {"25-gaussians": "25 Gaussians", "swiss-roll": "swiss roll"}
INKS = {"exact": BLACK, "plain": COLOURS[0], "adversarial": COLOURS[1]}
ETAS = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8)
SHOWN = 500  # points in a picture
CENTRES = (2.0 * torch.cartesian_prod(*2 * [torch.arange(-2, 3.0)])) / 2.828
MODE_STD, ROLL_STD = 0.05 / 2.828, 0.25 / 7.5
GOOD = 4.0  # standard deviations from a centre, or from the roll's middle line


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Steps and seeds of training, seeds of sampling, points of each and of a step size's trial."""

    steps: int
    trainings: int
    draws: int
    count: int
    tried: int


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each kind of network, training, draw and outcome; the floors are of real points.

    The sheets are points, of which the store has none: drawn just now, or again if all networks
    are there.
    """
    rows, real, shown = Rows(), Rows(), list[_Shown]()
    for data, title in DATA.items():
        settings = {"data": data, "count": scale.count, "parts": scale.draws + 1}
        parts = lab.keep("plane-real", settings, partial(_real, data, scale)).get("parts", ())
        real += [{"data": data, "title": title, **part} for part in parts]
    for (data, title), levels, score in product(DATA.items(), (1, 10), INKS):
        of = {"data": data, "title": title, "levels": levels, "score": score}
        of["count"] = f"{levels} level{'s' * (levels > 1)}"
        preset = data + "-one-level" * (levels == 1) + "-adversarial" * (score == "adversarial")
        for training in range(1 if score == "exact" else scale.trainings):
            experiment = training_of(preset, steps=scale.steps, seed=training, precision="float32")
            draw = partial(_drawn, lab, experiment, score)
            tried = {eta: draw(eta, 0, scale.tried)[0] for eta in ETAS}
            eta = min(ETAS, key=lambda eta: tried[eta]["denoised"]["distance"])
            tags = {**of, "training": training, "eta": eta, "nfe": 10 * levels}
            for seed in range(1, scale.draws + 1):
                result, drawn = draw(eta, seed, scale.count)
                rows += [{**tags, "seed": seed, "outcome": o, **result[o]} for o in OUTCOMES]
                if seed == 1 and training == 0:
                    again = partial(_points, lab, experiment, score, eta, seed, scale.count)
                    shown.append(_Shown(tags, experiment, again, drawn))
    trained = [each.experiment for each in shown if each.tags["score"] != "exact"]
    models = lab.models if lab.cost is None else None
    there = models is not None and all(map(models.has, trained))
    points = Rows(
        {**each.tags, "outcome": o, "points": getattr(drawn, o)}
        for each in shown
        if (drawn := each.drawn or (each.again()[0] if there else None))
        for o in OUTCOMES
    )
    return Measured(rows, real.by("title"), points)


class _Shown(NamedTuple):
    """Points of a picture: what they are of, what draws them, and themselves if that was now."""

    tags: Mapping[str, Any]
    experiment: Experiment
    again: Callable[[], tuple[Samples, Mapping[str, Any]]]
    drawn: Samples | None


def _points(
    lab: Lab, experiment: Experiment, score: str, eta: float, seed: int, count: int
) -> tuple[Samples, Mapping[str, Any]]:
    """Algorithm 1 with 10 steps at each level; at a single one it starts around data.

    The points, and the provenance of what drew them.
    """
    data, schedule, made = experiment.data.name, experiment.schedule, {}
    denoiser: Denoiser
    if score == "exact":
        denoiser = _exact(data)
    else:
        model = lab.model(experiment)
        denoiser, made = model.denoiser, {"checkpoint": model.digest}
    train, seeds = load_points(data, "train").points, seeds_of(seed, count)
    start = "noise" if schedule.levels > 1 else "data"
    x = starting_points(start, seeds, sigma=schedule.first, train=train)
    of = {"sampler": als(eta, n_sigma=10).sampler, "schedule": schedule, "start": x}
    return lab.generate(denoiser, shape=(2,), seeds=seeds, **of), made


def _drawn(
    lab: Lab, experiment: Experiment, score: str, eta: float, seed: int, count: int
) -> tuple[Mapping[str, Any], Samples | None]:
    """How good the points of both outcomes are; and the points, unless it was in the store."""
    chain, schedule, data = als(eta, n_sigma=10), experiment.schedule, experiment.data.name
    settings = {
        "start": "noise" if schedule.levels > 1 else "datum + noise",
        "sampler": chain.settings(schedule),
        "first_seed": seed * SEED_APART,
        "count": count,
    }
    if score == "exact":
        settings |= {"exact": data, "schedule": asdict(schedule)}
    drawn: list[Samples] = []

    def measure() -> Result:
        samples, made = _points(lab, experiment, score, eta, seed, count)
        drawn.append(samples)
        of = {outcome: judged(getattr(samples, outcome), data) for outcome in OUTCOMES}
        return of | {"nfe": samples.nfe}, made

    calls, network = count * chain.calls(schedule), None if score == "exact" else experiment
    results = lab.keep("plane", settings, measure, calls=calls, experiment=network)
    missing = {outcome: {"distance": math.nan} for outcome in OUTCOMES}
    return results or missing, drawn[0] if drawn else None


def _exact(data: str) -> Denoiser:
    if data == "swiss-roll":
        return EmpiricalDenoiser(load_points(data, "train").points)
    same = torch.ones(len(CENTRES))
    return GaussianMixtureDenoiser(CENTRES, MODE_STD * same, same / len(CENTRES))


def _real(data: str, scale: Scale) -> Result:
    """What as many training points score against the held-out ones, in disjoint parts."""
    parts = torch.split(load_points(data, "train").points, scale.count)[: scale.draws + 1]
    return {"parts": [judged(part, data) for part in parts if len(part) == scale.count]}, {}


def judged(points: Tensor, data: str) -> dict[str, float]:
    """Distance to as many held-out points; share of good points, and of the Gaussians the modes.

    Good is within GOOD deviations of a centre or of the roll's middle line; the mixture itself has
    1 - exp(-8) = 0.9997 of them. A mode is covered by one such point.
    """
    held_out = load_points(data, "test").points[: len(points)]
    distance = sliced_wasserstein(points, held_out, directions(200))
    gaussians = data == "25-gaussians"
    t = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 4000, dtype=torch.float64)
    line = torch.stack([t * t.cos(), t * t.sin()], dim=1) / 7.5
    nearest = torch.cdist(points.double(), CENTRES.double() if gaussians else line).min(dim=1)
    good = nearest.values <= GOOD * (MODE_STD if gaussians else ROLL_STD)
    results = {"distance": distance, "good": float(good.double().mean())}
    return results | ({"covered": len(set(nearest.indices[good].tolist()))} if gaussians else {})


def directions(count: int) -> Tensor:
    """Unit vectors [count, 2], keyed: the same on every call."""
    noise = KeyedNoise(0, indices=range(count))
    z = noise.normal((count, 2), purpose=Purpose.DATA, dtype=torch.float64)
    return torch.nn.functional.normalize(z, dim=1)


def sliced_wasserstein(a: Tensor, b: Tensor, along: Tensor) -> float:
    """Sliced 2-Wasserstein distance of as many points [N, D], exact along unit vectors [K, D].

    In one dimension the best transport keeps the order, so W2^2 is the mean squared difference of
    sorted values; the distance is the root of its mean over the directions.
    """
    first, second = ((x.double() @ along.T).sort(dim=0).values for x in (a, b))
    return float((first - second).square().mean().sqrt())


def _costs(results: Measured) -> tuple[Rows, Rows]:
    """Rows by distance, and by the share of points that are not good."""
    return results.rows, Rows({**row, "distance": 1 - row["good"]} for row in results.rows)


_DENOISED = "{title}, {score}", "outcome: denoised < raw"
_OBJECTIVES = "{title}, {count}", "score: adversarial < plain"


def claims(results: Measured, scale: Scale) -> list[Claim]:
    """What denoising and the discriminator do, at one level and at ten, by both measures."""
    share = "share of points that are not good"
    measures = {
        "sliced Wasserstein": ("distance of ALS", "distance of denoised samples, perceptron"),
        share: (share, share),
    }
    claims = []
    for (name, (raw, plain)), rows in zip(measures.items(), _costs(results), strict=True):
        statements = [(f"denoising lowers the {raw}", rows, *_DENOISED)]
        claims += claims_of(f"{name}, {{count}}", statements, within_trainings)
        denoised = rows.where(outcome="denoised")
        statements = [(f"the adversarial objective lowers the {plain}", denoised, *_OBJECTIVES)]
        claims += claims_of(name, statements, between_trainings)
    return claims


def page(results: Measured, scale: Scale) -> Page:
    """The points of Figure 2, and how far they are from real ones."""
    look = PLAN.look("distance") | {"colour": lambda row: INKS[row["score"]]}
    bands = {title: spread(rows) for title, rows in results.floors.items()}
    pictures = {"distance": dots(results.rows, bands=bands, **look)}
    for (data, levels), drawn in results.sheets.by("data", "levels").items():
        if len(drawn) == len(INKS) * len(OUTCOMES):  # all of them drawn just now
            pictures[f"{data}-{levels}"] = partial(_scatter, data, drawn)

    def objectives(rows: Rows) -> list[Comparison]:
        return contrasts(rows.where(outcome="denoised"), *_OBJECTIVES, between_trainings)

    def denoised(rows: Rows) -> list[Comparison]:
        return contrasts(rows, *_DENOISED, within_trainings)

    names = {"data": DATA, "scores": list(INKS), "outcomes": OUTCOMES, "etas": ETAS, "shown": SHOWN}
    words = {"costs": _costs(results), "denoised": denoised, "objectives": objectives}
    words |= {**names, "spread": spread_of}
    return Page(words, pictures, PLAN.tables(measurements=results.rows))


def _scatter(data: str, drawn: Rows) -> Figure:
    """Raw above, denoised below, of the first training's first draw; real points in grey."""
    figure, panels = new_figure(len(INKS), rows=2, height=3.1)
    real = load_points(data, "train").points[:SHOWN]
    reach = 1.15 * float(real.abs().max())
    for panel, (outcome, score) in zip(panels, product(OUTCOMES, INKS), strict=True):
        (points,) = drawn.where(outcome=outcome, score=score).values("points")
        panel.plot(*real.T, "o", color="#bdbdbd", markersize=2.6, markeredgewidth=0)
        panel.plot(*points[:SHOWN].T, "x", color=INKS[score], markersize=2.6, markeredgewidth=0.7)
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        panel.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        panel.set_title(f"{score} score, {outcome}", loc="left", fontsize=10)
    return figure


STUDY = PLAN.study(Scale, measure, page, claims)
