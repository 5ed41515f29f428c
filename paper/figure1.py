"""Figure 1: the noise of ideal chains against the schedule, by recursion and by sampling."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from cascore.experiment.build import training_sigmas
from cascore.experiment.settings import Schedule
from cascore.noise import KeyedNoise
from cascore.sampling import initial_noise
from cascore.theory import EmpiricalDenoiser
from paper.engine.charts import BLACK, COLOURS, Picture, curves
from paper.engine.lab import Lab, Result
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows
from paper.engine.settings import Chain, als, cas

PLAN = Plan("figure1")
SCHEDULE = Schedule(first=50.0, last=0.01, levels=232)
EPSILON = 2e-6
DATUM = 0.5  # of each coordinate; the noise around it does not depend on it
KINDS = {"exact": "-", "sampled": "o"}
"""The two ways to the noise, and how they are drawn."""
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
        settings = {"schedule": asdict(SCHEDULE), "sampler": chain.settings(SCHEDULE), "seed": 0}
        settings |= {"chains": scale.chains, "dimension": scale.dimension}
        of, calls = partial(_sampled, lab, chain, scale), scale.chains * chain.calls(SCHEDULE)
        sampled = lab.keep("noise-chains", settings, of, calls=calls)
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
    shape, seeds, parts = (
        (scale.dimension,),
        range(scale.chains),
        defaultdict[int, list[Tensor]](list),
    )
    noise = initial_noise((scale.chains, *shape), SCHEDULE.first, noise=KeyedNoise(seeds))
    exact = EmpiricalDenoiser(torch.full((1, *shape), DATUM, device=lab.device))

    def watch(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        parts[step].append(x.cpu())

    of = {"sampler": chain.sampler, "schedule": SCHEDULE, "start": DATUM + noise}
    samples = lab.generate(exact, shape=shape, seeds=seeds, callback=watch, **of)
    n, path = chain.n_sigma, [*map(torch.cat, parts.values()), samples.raw]
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
    columns = [f"{name}_{kind}" for name, kind in product(results.by("name"), KINDS)]
    numbers = [
        [i, *(f"{x:.8g}" for x in (of[0]["sigma"], *(row[kind] for row in of for kind in KINDS)))]
        for i, of in results.by("level").items()
    ]
    shown = Rows(row for row in results if row["name"] != "cas-2")
    noise = [
        ("(a) Noise in x", shown, lambda x, sigma: x),
        ("(b) Noise in x above the schedule", shown, lambda x, sigma: x - sigma),
    ]
    ratios = [(of.upper(), shown.where(method=of), lambda x, s: x / s) for of in ("als", "cas")]
    pictures = {
        "noise": _drawn(noise, "standard deviation"),
        "ratio": _drawn(ratios, "standard deviation / $\\sigma_i$", sampled=scale.error),
    }
    words = {"tops": tops, "schedule": SCHEDULE, "epsilon": EPSILON}
    return Page(words, pictures, {"noise": (["level", "sigma", *columns], numbers)})


def _drawn(
    panels: Sequence[tuple[str, Rows, Callable[[float, float], float]]], y: str, **errors: float
) -> Picture:
    """Functions of deviation and sigma: lines for recursions, dots for chains.

    `errors` are relative standard errors, by kind.
    """
    rows = Rows(
        {
            **row,
            "title": title,
            "kind": kind,
            "distance": (distance := of(row[kind], row["sigma"])),
            "standard_error": errors.get(kind, math.nan) * distance,
            "style": {"fmt": fmt, "label": row["label"] if kind == "exact" else "_"},
        }
        for title, chains, of in panels
        for row, (kind, fmt) in product(chains, KINDS.items())
        if kind == "exact" or row["level"] % 21 == 1
    )

    def colour(row: Row) -> str:
        return BLACK if row["method"] == "cas" else COLOURS[[*EXPECTED].index(row["n_sigma"])]

    look = PLAN.look("noise") | {"ylabel": y, "colour": colour}
    look["yscale"] = lambda row: "log" if row["title"] == panels[0][0] else "linear"
    return curves(rows, **look)


STUDY = PLAN.study(Scale, measure, page)
