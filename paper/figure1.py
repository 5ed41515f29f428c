"""Figure 1: the noise of ideal chains against the schedule, by recursion and by sampling."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cascore.experiment.build import training_sigmas
from cascore.experiment.chain import generate
from cascore.experiment.settings import Schedule
from cascore.noise import KeyedNoise
from cascore.sampling import initial_noise
from cascore.theory import EmpiricalDenoiser
from paper.engine.chain import Chain, als, cas
from paper.engine.charts import BLACK, COLOURS, Picture, curves
from paper.engine.compare import Number
from paper.engine.lab import Lab, Result
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows

PLAN = Plan("figure1")
SCHEDULE = Schedule(first=50.0, last=0.01, levels=232)
EPSILON = 2e-6
DATUM = 0.5  # of each coordinate; the noise around it does not depend on it
EXPECTED = {1: (19.53, 33), 2: (12.65, 22), 5: (6.17, 12), 20: (1.54, 5), 100: (0.275, 2)}
"""By n_sigma of ALS, the largest excess and after which level: computed apart from this code."""


@dataclass(frozen=True)
class Scale:
    """By which n_sigma ALS is run, how many chains of each sampler, and their coordinates."""

    n_sigmas: tuple[int, ...]
    chains: int
    dimension: int

    @property
    def error(self) -> float:
        """Relative standard error of a sampled deviation."""
        return 1 / math.sqrt(2 * self.chains * self.dimension)


def measure(lab: Lab, scale: Scale) -> Rows:
    """A row for each sampler and level, with the noise by recursion and by sampling.

    At 232 levels EPSILON lies below what consistent sampling allows (3.6e-6), so it has kappa 1.5
    there, and EPSILON on the schedule stretched twofold.
    """
    chains = [als(epsilon=EPSILON, n_sigma=n) for n in scale.n_sigmas]
    sigmas, rows = training_sigmas(SCHEDULE).tolist(), Rows()
    for chain in (*chains, cas(1.5), cas(epsilon=EPSILON, n_sigma=2)):
        settings = {"schedule": asdict(SCHEDULE), "sampler": chain.settings(SCHEDULE)}
        sampled = lab.keep(
            "noise-chains",
            {**settings, "chains": scale.chains, "dimension": scale.dimension, "seed": 0},
            partial(_sampled, lab, chain, scale),
            calls=scale.chains * chain.calls(SCHEDULE),
        )
        # ALS after its last step at level i, CAS before its step there, where Proposition 2 says
        # that it has sigma_i.
        std, n = chain.ideal_noise(SCHEDULE), chain.n_sigma
        exact = std.after[n - 1 :: n] if chain.method == "als" else std.before[::n]
        name, label = f"{chain.method}-{n}", f"ALS, $n_\\sigma$ = {n}"
        tags = {"name": name, "method": chain.method, "n_sigma": n}
        tags["label"] = "CAS, κ = 1.5" if chain.kappa else label
        drawn = sampled.get("std", [math.nan] * len(sigmas))
        rows += [
            {**tags, "level": i, "sigma": sigma, "exact": float(a), "sampled": b}
            for i, (sigma, a, b) in enumerate(zip(sigmas, exact, drawn, strict=True), start=1)
        ]
    return rows


def _sampled(lab: Lab, chain: Chain, scale: Scale) -> Result:
    """The root mean square around the datum, of chains on its exact denoiser."""
    shape, seeds, path = (scale.dimension,), range(scale.chains), list[Tensor]()
    noise = initial_noise((scale.chains, *shape), SCHEDULE.first, noise=KeyedNoise(seeds))
    samples = generate(
        EmpiricalDenoiser(torch.full((1, *shape), DATUM, device=lab.device)),
        shape=shape,
        seeds=seeds,
        sampler=chain.sampler,
        schedule=SCHEDULE,
        device=lab.device,
        start=DATUM + noise,
        batch_size=scale.chains,
        callback=lambda step, sigma, x, denoised: path.append(x),
    )
    n, path = chain.n_sigma, [*path, samples.raw]
    levels = path[n::n] if chain.method == "als" else path[:-1:n]
    return {"std": [float((x.double() - DATUM).square().mean().sqrt()) for x in levels]}, {}


def page(results: Rows, scale: Scale) -> Page:
    """Pictures (a) and (b) of the paper, the ratio that (a) hides, and the largest excesses."""
    tops = Rows()
    for rows in results.by("name").values():
        top = max(rows, key=lambda row: abs(row["exact"] - row["sigma"]))
        ratios = [row["exact"] / row["sigma"] for row in rows]
        off = max(abs(row["sampled"] / row["exact"] - 1) for row in rows)
        (most, level), excess = EXPECTED[top["n_sigma"]], top["exact"] - top["sigma"]
        agrees = abs(excess - most) <= 0.005 and top["level"] == level
        expected = {"expected": (most, level), "excess": excess, "agrees": agrees}
        tops.append({**top, "ratios": ratios, "off": off, **expected})
    kinds = ("exact", "sampled")
    columns = (f"{name}_{kind}" for name in results.by("name") for kind in kinds)
    header = ["level", "sigma", *columns]
    numbers = [
        [i, *(f"{x:.8g}" for x in (of[0]["sigma"], *(row[kind] for row in of for kind in kinds)))]
        for i, of in results.by("level").items()
    ]
    shown = Rows(row for row in results if row["name"] != "cas-2")
    x, ratio = "standard deviation", "standard deviation / $\\sigma_i$"
    noise = [
        ("(a) Noise in x", shown, lambda x, sigma: x),
        ("(b) Noise in x above the schedule", shown, lambda x, sigma: x - sigma),
    ]
    ratios = [(of.upper(), shown.where(method=of), lambda x, s: x / s) for of in ("als", "cas")]
    return Page(
        words={"tops": tops, "schedule": SCHEDULE, "epsilon": EPSILON},
        pictures={"noise": _drawn(noise, x), "ratio": _drawn(ratios, ratio, scale.error)},
        tables={"noise": (header, numbers)},
    )


def _drawn(
    panels: Sequence[tuple[str, Rows, Callable[[float, float], float]]], y: str, error: float = 0
) -> Picture:
    """Functions of deviation and sigma: lines for recursions, dots for chains."""
    rows = Rows(
        {**row, "title": title, "kind": kind, "distance": of(row[kind], row["sigma"])}
        for title, chains, of in panels
        for row, kind in product(chains, ("exact", "sampled"))
        if kind == "exact" or row["level"] % 21 == 1
    )

    def number(of: Rows) -> Number:
        drawn = error and of[0]["kind"] == "sampled"
        return Number(of[0]["distance"], error * of[0]["distance"] if drawn else math.nan)

    def style(row: Row) -> Mapping[str, Any]:
        exact = {"fmt": "-", "label": row["label"]}
        return exact if row["kind"] == "exact" else {"fmt": "o", "label": "_"}

    def colour(row: Row) -> str:
        return BLACK if row["method"] == "cas" else COLOURS[[*EXPECTED].index(row["n_sigma"])]

    look = PLAN.look("noise") | {"ylabel": y, "colour": colour, "style": style}
    look["yscale"] = lambda row: "log" if row["title"] == panels[0][0] else "linear"
    return curves(rows, number, **look)


STUDY = PLAN.study(Scale, measure, page)
