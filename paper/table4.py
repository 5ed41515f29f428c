"""Table 4: which modes of 3-stacked digits samples reach, and how evenly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cascore.evaluation.metrics import COUNTED, TOTAL, mode_labels
from cascore.evaluation.reference import channel_classifier
from cascore.experiment.presets import SAMPLERS
from cascore.metrics import Classifier, ModeCoverage, mode_coverage, published_kl, stacked_labels
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_uint8
from cascore.sampling import Samples
from paper.engine.chain import Chain, cas
from paper.engine.charts import COLOURS, dots, sheets
from paper.engine.claims import Claim, Statement, claims_by
from paper.engine.compare import Comparison, Number, by_errors, contrasts, mean_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, table
from paper.engine.subject import OBJECTIVES, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = 1000
PRINTED = {"plain": 1.36, "adversarial": 1.49}
"""What Table 4 of the paper prints as KL of its two networks; both cover all 1,000 modes."""
_FEW = {"20-calls": cas(2.5, order=2, levels=20)}


@dataclass(frozen=True, kw_only=True)
class Group(Subject):
    """Both networks of one data set, sampled by chains; seeds are blocks, counted together."""

    chains: Mapping[str, Chain]


# The paper's eta of 0.05 lies below what 48 levels allow; in kappa it carries over: ln 0.95 / ln
# gamma with its 200 levels from 50 to 0.01 is 1.20.
_DIGITS = Group(
    preset="stacked-digits", steps=2000, count=12_500, chains={"all-levels": cas(1.2), **_FEW}
)
SCALES = {
    "tiny": (replace(_DIGITS, steps=2, precision="float32", count=30),),
    "laptop": (
        _DIGITS,
        Group(preset="stacked-mnist", steps=4000, count=5000, chains=_FEW),
    ),
    "paper": (
        Group(
            preset="stacked-mnist-ncsnv2",
            steps=200_000,
            precision="float32",
            count=12_500,
            chains={
                "all-levels": cas(epsilon=SAMPLERS["stacked-mnist-ncsnv2-cas-1"].epsilon),
                **_FEW,
            },
        ),
    ),
}


@dataclass(frozen=True)
class Measured:
    """The counts of each block, those of real images, and sheets of samples, by preset."""

    rows: Rows
    real: Mapping[str, Mapping[str, Any]]
    sheets: Rows


def measure(lab: Lab, scale: Sequence[Group]) -> Measured:
    """A row for each network, chain, block and outcome, with how often each mode is hit."""
    rows, real, pictures = Rows(), {}, Rows()
    for group in scale:
        data, count = group.experiment().data.name, group.count * group.seeds
        settings = {"data": data, "count": count}
        real[group.preset] = lab.keep("modes-real", settings, partial(_real, lab, data, count))
        first = {"preset": group.preset, "label": "real", "png": lab.real_sheet(data)}
        pictures += [{**first, "title": objective} for objective in OBJECTIVES]
        for objective, (name, chain) in product(OBJECTIVES, group.chains.items()):
            experiment = group.experiment(objective)
            tags = {"preset": group.preset, "objective": objective, "chain": name}
            drawn = lab.draws(
                experiment,
                chain,
                partial(_judge, data),
                kind="modes",
                seeds=range(group.seeds),
                count=group.count,
                **tags,
            )
            rows += [
                {**row, "outcome": outcome, "counts": row.get("counts", {}).get(outcome)}
                for outcome, row in product(OUTCOMES, drawn)
            ]
            label, png = f"{drawn[0]['nfe']} calls", lab.sheet(experiment, chain)
            pictures.append({**tags, "label": label, "title": objective, "png": png})
    return Measured(rows, real, pictures)


def _judge(data: str, samples: Samples) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    classifier = _classifier(data)
    images = {"raw": to_uint8(samples.raw), "denoised": to_uint8(samples.denoised)}
    counts = {o: _counts(mode_labels(images[o], classifier)[0]) for o in OUTCOMES}
    return {"counts": counts}, {"classifier": classifier.identity.digest}


def _real(lab: Lab, data: str, count: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Stacks whose channels are drawn from the test images."""
    classifier, test = _classifier(data), lab.images(data, "test")
    channels = classifier.classify(test.images.reshape(-1, 1, *test.images.shape[2:]))
    noise = KeyedNoise(0, indices=torch.arange(count))
    chosen = [
        noise.integers(count, high=len(channels), purpose=Purpose.DATA, step=channel)
        for channel in range(3)
    ]
    counts = _counts(stacked_labels(channels[torch.stack(chosen, dim=1)]))
    provenance = {"reference": test.digest, "classifier": classifier.identity.digest}
    return {"counts": counts, "accuracy": classifier.accuracy}, provenance


@cache
def _classifier(data: str) -> Classifier:
    classifier = channel_classifier(data)
    assert classifier is not None
    return classifier


def _counts(labels: Tensor) -> str:
    """How often each mode was hit, in one line of the store."""
    return " ".join(map(str, labels.bincount(minlength=MODES).tolist()))


def coverage(counts: Sequence[str]) -> ModeCoverage:
    """Modes and divergence of all blocks together."""
    hits = torch.tensor([[int(count) for count in line.split()] for line in counts]).sum(0)
    return mode_coverage(torch.arange(MODES).repeat_interleave(hits), MODES)


def kinds(rows: Rows) -> Rows:
    """A row for each kind of samples, with the divergence of its blocks together."""
    groups = rows.by("preset", "objective", "chain", "outcome").values()
    found = [(group[0], coverage(group.values("counts"))) for group in groups]
    return Rows(
        {**row, "of": of, "distance": of.kl, "standard_error": of.kl_error} for row, of in found
    )


def claims(found: Measured, scale: Sequence[Group]) -> list[Claim]:
    """What the objective, the last step and the number of calls do to the evenness of modes."""
    plain, adversarial = ({"objective": objective} for objective in OBJECTIVES)
    raw, denoised = ({"outcome": outcome} for outcome in OUTCOMES)
    paper = f"no: it prints {PRINTED['adversarial']} against {PRINTED['plain']}"
    few, every = {"chain": "20-calls"}, {"chain": "all-levels"}

    def asked(rows: Rows) -> dict[Statement, list[Comparison]]:
        return {
            Statement("the adversarial objective lowers the divergence of modes", paper): contrasts(
                rows, "{chain}, {outcome}", adversarial, plain, by_errors
            ),
            Statement("denoising lowers the divergence of modes"): [
                pair
                for of in (plain, adversarial)
                for pair in contrasts(
                    rows.where(**of), "{chain}, {objective}", denoised, raw, by_errors
                )
            ],
            Statement("all levels lower the divergence of modes, against 20 calls"): contrasts(
                rows, "{objective}, {outcome}", every, few, by_errors
            ),
        }

    return claims_by("preset", kinds(found.rows), asked)


def printed(kl: float, count: int) -> float:
    """What the authors' program prints: every image counted twice, over 26 for each 25 images."""
    return published_kl(kl, counted=count, total=max(1, round(count * TOTAL / COUNTED)))


def honest(printed: float) -> float:
    """The divergence behind a printed one, p / a - log a with a = 50 / 26."""
    a = 2 * COUNTED / TOTAL
    return printed / a - math.log(a)


def page(found: Measured, scale: Sequence[Group]) -> Page:
    """Modes covered and divergences, honest and as published, of each data set."""
    parts, pictures, tables = [], {}, {}
    for group in scale:
        name, blocks = group.preset, group.seeds
        rows, real = found.rows.where(preset=name), coverage([found.real[name]["counts"]])
        of_kinds = kinds(rows)
        each = Rows({**row, **asdict(coverage([row["counts"]]))} for row in rows)
        apart = [
            # A block has 1 / blocks of the pictures, and blocks differ by two errors squared.
            (max(kls) - min(kls)) / (math.sqrt(2 * blocks) * kind["standard_error"])
            for kind, of in zip(of_kinds, each.by("objective", "chain", "outcome").values(), strict=True)
            for kls in [of.values("kl")]
        ]
        floor = Number(real.kl, real.kl_error)
        parts.append(
            {
                "group": group,
                "experiment": group.experiment(),
                "real": real,
                "floor": floor,
                "accuracy": found.real[name]["accuracy"],
                "kinds": of_kinds,
                "apart": max(apart),
                "ties": sum(mean_of(Rows([kind])).ties(floor) for kind in of_kinds),
            }
        )
        pictures[f"{name}-kl"] = partial(_divergences, of_kinds, real)
        pictures[f"{name}-samples"] = partial(sheets, found.sheets.where(preset=name))
        tables[name] = table(
            each,
            "objective sampler=chain nfe outcome block=seed count covered kl kl_error"
            " kl_of_even_draws=kl_floor",
        )
    words = {"parts": parts, "printed": printed, "honest": honest, "papers": PRINTED}
    return Page(words=words, pictures=pictures, tables=tables)


def _divergences(of_kinds: Rows, real: ModeCoverage) -> Figure:
    """KL of each network and chain; what real images have."""
    return dots(
        of_kinds,
        mean_of,
        row="{chain}, {objective}",
        label="{objective}, {outcome}",
        colour=lambda row: COLOURS[OBJECTIVES.index(row["objective"])],
        shift="outcome",
        bands={"": Number(real.kl, real.kl_error)},
        panel="{preset}",
        axis="KL divergence from even modes, nats (lower is better)",
        line=(real.kl_floor, "even draws, on average"),
    )


STUDY = Study("modes of 3-stacked digits", SCALES, measure, page, claims, "table4.md")
