"""How chains start, and how far x is from H(x, sigma_L) at their end (Sec. 3 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cascore.model.loading import Model
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.sampling import Samples, initial_noise
from paper.engine.charts import BLACK, COLOURS, dots
from paper.engine.claims import Claim, claims_of, spread, spread_text
from paper.engine.lab import OBJECTIVES, Lab, Measured, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows, pivot
from paper.engine.settings import Chain, als, cas

PLAN = Plan("initialisation")
STARTS = {
    "noise": "σ₁ z",
    "data": "a start from a training image and noise",
    "uniform": "a start from U[0, 1] without noise",  # the authors' program
}
GAPS = {"call": "x − H at the last call", "result": "raw − denoised"}
THEORY = "perfect score of one datum"
INKS = dict(zip((*OBJECTIVES, THEORY), (*COLOURS[:2], BLACK), strict=True))


@dataclass(frozen=True, kw_only=True)
class Scale(Subject):
    """Both networks, and the eta of ALS."""

    eta: float


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each network, sampler, start, seed, extractor and outcome."""
    rows, few = Rows(), cas(2.5, order=2, levels=12, spacing="centred")
    chains = {
        ("als", "ALS, n_σ = 1"): als(scale.eta),
        ("cas", "CAS, κ = 1.5"): cas(1.5),
        ("12-calls", "12 calls, order 2"): few,
    }
    for objective, ((sampler, name), chain), start in product(OBJECTIVES, chains.items(), STARTS):
        how: dict[str, Any] = {"more": {"start": start}, "draw": partial(draw, lab, chain, start)}
        how |= {"sampler": sampler, "name": name, "start": start}
        rows += scale.distances(lab, chain, objective, kind="starts", **how)
    return Measured(rows, scale.floors(lab))


def draw(
    lab: Lab, chain: Chain, start: str, model: Model, seeds: range
) -> tuple[Samples, Mapping[str, Any]]:
    """Chains of a start; root mean squares of x - H at their end, and those of a single datum."""
    schedule, ends = model.experiment.schedule, list[Tensor]()
    last, train = chain.calls(schedule) - 1, lab.images(model.experiment.data.name, "train")

    def watch(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        if step == last:
            ends.append((x - denoised).cpu())

    x = starting_points(start, seeds, sigma=schedule.first, train=to_float(train.images))
    of = {"sampler": chain.sampler, "schedule": schedule, "start": x, "callback": watch}
    samples = lab.generate(model.denoiser, shape=model.shape, seeds=seeds, **of)
    gaps = (torch.cat(ends), samples.raw - samples.denoised)
    sizes = [float(gap.double().square().mean().sqrt()) for gap in gaps]
    ideals = [float(noise[-1]) for noise in chain.ideal_noise(schedule)]
    units = [[x / schedule.last for x in of] for of in (sizes, ideals)]
    gap, ideal = (dict(zip(GAPS, of, strict=True)) for of in units)
    return samples, {"gap": gap, "ideal": ideal}


def starting_points(start: str, seeds: Sequence[int], *, sigma: float, train: Tensor) -> Tensor:
    """The first x of each seed's chain, of STARTS: [N, ...]; `train` [M, ...] are data.

    The noise of a seed is the same for all starts: the distribution function of a normal number is
    uniform in [0, 1].
    """
    noise, shape = KeyedNoise(seeds), (len(seeds), *train.shape[1:])
    x = initial_noise(shape, 1.0 if start == "uniform" else sigma, noise=noise)
    if start == "data":
        x += train[noise.integers(len(seeds), high=len(train), purpose=Purpose.DATA)]
    return torch.special.ndtr(x) if start == "uniform" else x


def _gaps(rows: Rows) -> Rows:
    """A row for each network, sampler, seed and gap of chains from noise; `distance` is the gap."""
    first = rows.where(start="noise", outcome="raw", extractor=rows[0]["extractor"])
    return Rows(
        {**row, "outcome": "", "gap": gap, "distance": row["gap"][key], "ideal": row["ideal"][key]}
        for row in first
        for key, gap in GAPS.items()
    )


def claims(results: Measured, scale: Scale) -> list[Claim]:
    """Whether another start is better than noise, and whether CAS ends nearer to H."""
    claims, where = [], "{model}, {outcome}"
    for start, rows in product(("data", "uniform"), results.rows.by("name").values()):
        says = f"{STARTS[start]} lowers the distance against {STARTS['noise']}, {{name}}"
        claims += claims_of("`{extractor}`", [(says, rows, where, f"start: {start} < noise")])
    ends, gaps = "CAS ends nearer to H(x, σ_L) than ALS", _gaps(results.rows)
    return claims + claims_of("{gap}", [(ends, gaps, "{model}", "sampler: cas < als")])


def page(results: Measured, scale: Scale) -> Page:
    """Distances by start, and gaps by sampler."""
    rows, gaps, models = results.rows, _gaps(results.rows), results.rows.by("model")
    index, cells = {"sampler and start": "{name}, {start}"}, "{extractor}, {outcome}"
    of_gaps = {"gap / σ_L": "{name}, {gap}", THEORY: "{ideal:.3f}"}
    theory = {"model": THEORY, "objective": THEORY}
    drawn = Rows([*gaps, *({**row, **theory, "distance": row["ideal"]} for row in gaps)])
    look = PLAN.look("gap") | {"colour": lambda row: INKS[row["objective"]], "bands": {}}
    starts = PLAN.look("starts") | {"bands": results.floors}
    words = {
        "distances": {model: pivot(of, index, cells, spread_text) for model, of in models.items()},
        "gaps": pivot(gaps, of_gaps, "{model}", lambda of: spread(of).text(3)),
    }
    pictures = {f"{model}-starts": dots(of, **starts) for model, of in models.items()}
    tables = PLAN.tables(measurements=[{**row, **row["gap"]} for row in rows])
    return Page(words, pictures | {"gap": dots(drawn, **look)}, tables)


STUDY = PLAN.study(Scale, measure, page, claims)
