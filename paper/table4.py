"""Table 4: which modes of 3-stacked digits samples reach, and how evenly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from cascore.evaluation.metrics import COUNTED, TOTAL, mode_labels
from cascore.metrics import (
    ModeCoverage,
    load_classifier,
    mode_coverage,
    published_kl,
    stacked_labels,
)
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_uint8
from cascore.sampling import Samples
from paper.engine.charts import dots, sheets
from paper.engine.claims import Claim, Number, by_errors, claims_of, mean_of
from paper.engine.lab import OBJECTIVES, OUTCOMES, Lab, Measured, Result, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows
from paper.engine.settings import Chain

PLAN, MODES = Plan("table4"), 1000
PRINTED = {"plain": 1.36, "adversarial": 1.49}
"""What Table 4 of the paper prints as KL of its two networks; both cover all 1,000 modes."""


@dataclass(frozen=True, kw_only=True)
class Group(Subject):
    """Both networks of one data set, sampled by chains; seeds are blocks, counted together."""

    chains: Mapping[str, Chain]


def measure(lab: Lab, scale: Sequence[Group]) -> Measured:
    """A row for each network, chain, block and outcome, with how often each mode is hit."""
    rows, real, pictures = Rows(), {}, Rows()
    for group in scale:
        data, count = group.data, group.count * group.seeds
        settings = {"data": data, "count": count}
        real[group.preset] = lab.keep("modes-real", settings, partial(_real, lab, data, count))
        first = {"preset": group.preset, "label": "real", "png": lab.real_sheet(data)}
        pictures += [{**first, "title": objective} for objective in OBJECTIVES]
        for objective, (scheme, chain) in product(OBJECTIVES, group.chains.items()):
            experiment = group.experiment(objective)
            tags = {"preset": group.preset, "objective": objective, "scheme": scheme}
            how: dict[str, Any] = {"seeds": range(group.seeds), "count": group.count, **tags}
            judge = partial(_modes, data)
            for row in lab.draws(experiment, chain, judge, kind="modes", **how):
                counts = row.get("counts", dict.fromkeys(OUTCOMES))
                rows += [{**row, "outcome": o, "counts": counts[o]} for o in OUTCOMES]
            png = lab.sheet(experiment, chain)
            pictures.append({**tags, "label": scheme, "title": objective, "png": png})
    return Measured(rows, real, pictures)


def _modes(data: str, samples: Samples) -> Result:
    """How often raw and denoised samples hit each mode."""
    classifier = load_classifier(data.removeprefix("stacked-"))
    images = {o: to_uint8(getattr(samples, o)) for o in OUTCOMES}
    counts = {o: _line(mode_labels(images[o], classifier)[0]) for o in OUTCOMES}
    return {"counts": counts}, {"classifier": classifier.identity.digest}


def _real(lab: Lab, data: str, count: int) -> Result:
    """The same of stacks whose channels are drawn from the test images."""
    classifier, test = load_classifier(data.removeprefix("stacked-")), lab.images(data, "test")
    digits = classifier.classify(test.images.reshape(-1, 1, *test.images.shape[2:]))
    noise = KeyedNoise(0, indices=torch.arange(count))
    how: dict[str, Any] = {"high": len(digits), "purpose": Purpose.DATA}
    chosen = [noise.integers(count, step=channel, **how) for channel in range(3)]
    counts = _line(stacked_labels(digits[torch.stack(chosen, dim=1)]))
    provenance = {"reference": test.digest, "classifier": classifier.identity.digest}
    return {"counts": counts, "accuracy": classifier.accuracy}, provenance


def _line(labels: torch.Tensor) -> str:
    return " ".join(map(str, labels.bincount(minlength=MODES).tolist()))


def coverage(*lines: str) -> ModeCoverage:
    """Modes and divergence of blocks together."""
    hits = torch.tensor([[int(count) for count in line.split()] for line in lines]).sum(0)
    return mode_coverage(torch.arange(MODES).repeat_interleave(hits), MODES)


def _kinds(rows: Rows) -> Rows:
    """A row for each kind of samples: the divergence of its blocks together."""
    kinds = Rows()
    for blocks in rows.by("preset", "objective", "scheme", "outcome").values():
        of, kls = coverage(*blocks.values("counts")), [coverage(b["counts"]).kl for b in blocks]
        # A block has 1 / blocks of the pictures, and blocks differ by two errors squared.
        apart = (max(kls) - min(kls)) / (math.sqrt(2 * len(kls)) * of.kl_error)
        number = Number(of.kl, of.kl_error)
        kind = {"of": of, "number": number, "apart": apart}
        kinds.append({**blocks[0], **kind, "distance": of.kl, "standard_error": of.kl_error})
    return kinds


def claims(results: Measured, scale: Sequence[Group]) -> list[Claim]:
    """What the objective, the last step and the number of calls do to the evenness of modes."""
    rows, modes = _kinds(results.rows), "the divergence of modes"
    by_objective = "{objective:.0}{scheme}, {objective}"  # an empty text, which is sorted by
    objective, levels = "{scheme}, {outcome}", "{objective}, {outcome}"
    sides, few = "objective: adversarial < plain", f"all levels lower {modes}, against 20 calls"
    statements = [
        (f"the adversarial objective lowers {modes}", rows, objective, sides),
        (f"denoising lowers {modes}", rows, by_objective, "outcome: denoised < raw"),
        (few, rows, levels, "scheme: all-levels < 20-calls"),
    ]
    return claims_of("`{preset}`", statements, by_errors)


def page(results: Measured, scale: Sequence[Group]) -> Page:
    """Modes covered and divergences, honest and as published, of each data set."""
    parts, pictures, tables = [], {}, {}
    order = ("objective", "scheme", "outcome", "seed")
    for group in scale:
        name, counted = group.preset, results.floors[group.preset]
        rows, real = results.rows.where(preset=name), coverage(counted["counts"])
        kinds, floor = _kinds(rows), Number(real.kl, real.kl_error)
        part = {"group": group, "kinds": kinds, "real": real, "floor": floor}
        ties = sum(kind["number"].ties(floor) for kind in kinds)
        parts.append({**part, "ties": ties, "accuracy": counted["accuracy"]})
        even = (real.kl_floor, "even draws, on average")
        look = PLAN.look("kl") | {"bands": {name: floor}, "line": even}
        pictures[f"{name}-kl"] = dots(kinds, mean_of, **look)
        pictures[f"{name}-samples"] = sheets(results.sheets.where(preset=name))
        blocks = [{**row, **asdict(coverage(row["counts"]))} for (row,) in rows.by(*order).values()]
        tables[name] = PLAN.tables(blocks=blocks)["blocks"]
    words = {"parts": parts, "printed": printed, "honest": honest, "papers": PRINTED}
    return Page(words, pictures, tables)


def printed(kl: float, count: int) -> float:
    """What the authors' program prints: every image counted twice, over 26 for each 25 images."""
    return published_kl(kl, counted=count, total=max(1, round(count * TOTAL / COUNTED)))


def honest(printed: float) -> float:
    """The divergence behind a printed one, p / a - log a with a = 50 / 26."""
    a = 2 * COUNTED / TOTAL
    return printed / a - math.log(a)


STUDY = PLAN.study(Group, measure, page, claims)
