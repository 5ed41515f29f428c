"""The GAN losses of Appendix B, each in a short training of the same small network."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.losses import GAN_LOSSES
from paper.engine.chain import Chain, cas
from paper.engine.charts import BLACK, COLOURS, Dot, dots, sheets
from paper.engine.claims import Claim, Statement, adversarial_lowers
from paper.engine.compare import Comparison, Number, Pool, by_logarithms, pool_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.models import Precision, training_of
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, markdown_table, table

PLAIN, PAPERS = "plain", "lsgan"
"""Score matching alone, and the loss that the paper chose; both are trained more than once."""
_ALL = (PLAIN, *GAN_LOSSES)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained and drawn; the GAN losses train the adversarial twin of the preset."""

    preset: str = "digits"
    losses: tuple[str, ...] = _ALL
    steps: int
    precision: Precision = "bfloat16"
    trainings: int = 2
    draws: int
    count: int
    chain: Chain
    extractors: tuple[str, ...] = ("digits", "random-convolution")

    def trainings_of(self, loss: str) -> range:
        """The seeds of training of a loss."""
        return range(self.trainings if loss in (PLAIN, PAPERS) else 1)


SCALES = {
    "tiny": Scale(
        losses=(PLAIN, PAPERS, "hinge"),
        steps=2,
        draws=2,
        count=12,
        chain=cas(2.5, order=2, levels=12),
    ),
    "laptop": Scale(steps=300, draws=3, count=500, chain=cas(2.5, order=2, levels=20)),
    "paper": Scale(
        preset="cifar10-ncsnv2",
        steps=300_000,
        precision="float32",
        draws=2,
        count=10_000,
        chain=cas(epsilon=5.6e-6),
        extractors=("inception",),
    ),
}


@dataclass(frozen=True)
class Measured:
    """Distances, what real images score, and a sheet of samples of each loss."""

    rows: Rows
    floors: Mapping[str, Number]
    sheets: Mapping[str, str]

    def means(self, loss: str, extractor: str, outcome: str) -> list[float]:
        """The mean distance of the draws of each training."""
        rows = self.rows.where(loss=loss, extractor=extractor, outcome=outcome)
        return [statistics.fmean(draws.values()) for draws in rows.by("training").values()]

    def pool(self, extractor: str, outcome: str) -> Pool:
        """What another training changes, taken for all losses from the two that have several."""
        return pool_of(self.means(loss, extractor, outcome) for loss in (PLAIN, PAPERS))

    def number(self, loss: str, extractor: str, outcome: str) -> Number:
        """The mean of a loss, ± what another training changes."""
        return self.pool(extractor, outcome).number(self.means(loss, extractor, outcome))

    def compared(self, extractor: str, outcome: str, *, lower: str, higher: str) -> Comparison:
        """Two losses by the logarithms of their trainings."""
        return by_logarithms(
            f"{lower} against {higher}, {outcome}",
            self.means(lower, extractor, outcome),
            self.means(higher, extractor, outcome),
            self.pool(extractor, outcome),
        )


def training(loss: str, seed: int, scale: Scale) -> Experiment:
    """The preset with another GAN loss, and a name of its own for the folder of the run."""
    preset = PRESETS[scale.preset if loss == PLAIN else f"{scale.preset}-adversarial"]
    if loss not in (PLAIN, PAPERS):
        adversarial = replace(preset.adversarial, gan=loss)
        preset = replace(preset, name=f"{preset.name}-{loss}", adversarial=adversarial)
    return training_of(preset, steps=scale.steps, seed=seed, precision=scale.precision)


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each loss, training, draw, extractor and outcome."""
    rows, pictures = Rows(), {}
    for loss in scale.losses:
        for seed in scale.trainings_of(loss):
            experiment = training(loss, seed, scale)
            rows += lab.distances(
                experiment,
                scale.chain,
                seeds=range(scale.draws),
                count=scale.count,
                extractors=scale.extractors,
                loss=loss,
                training=seed,
            )
        pictures[loss] = lab.sheet(training(loss, 0, scale), scale.chain)
    data = PRESETS[scale.preset].data.name
    floors = lab.floors(data, count=scale.count, extractors=scale.extractors)
    return Measured(rows, floors, pictures)


def claims(found: Measured, scale: Scale) -> list[Claim]:
    """Whether least squares is the best loss, and whether any is better than none."""
    others = [loss for loss in scale.losses if loss not in (PLAIN, PAPERS)]
    network = PRESETS[scale.preset].network.kind
    asked = {
        Statement("least squares has a lower distance than the other GAN losses", "yes"): [
            (PAPERS, other, outcome) for outcome in OUTCOMES for other in others
        ],
        **{
            adversarial_lowers(outcome, network): [(PAPERS, PLAIN, outcome)] for outcome in OUTCOMES
        },
        Statement("another GAN loss than least squares lowers the distance of plain training"): [
            (other, PLAIN, outcome) for outcome in OUTCOMES for other in others
        ],
    }
    return [
        Claim(
            statement,
            f"`{extractor}`",
            [
                found.compared(extractor, outcome, lower=lower, higher=higher)
                for lower, higher, outcome in pairs
            ],
        )
        for extractor in scale.extractors
        for statement, pairs in asked.items()
    ]


def page(found: Measured, scale: Scale) -> Page:
    """The losses side by side, in numbers and in samples."""
    cells = list(product(scale.extractors, OUTCOMES))
    rows = [
        (f"`{loss}`", *(found.number(loss, *cell).text() for cell in cells))
        for loss in scale.losses
    ]
    real = ("real images", *(text for f in found.floors.values() for text in (f.text(), "")))
    columns = "loss training draw=seed nfe extractor outcome distance standard_error"
    once = next(loss for loss in scale.losses if loss not in (PLAIN, PAPERS))
    reach = found.compared(*cells[0], lower=PAPERS, higher=once).difference.margin
    return Page(
        words={
            "others": len(scale.losses) - 1,
            "best": "\n".join(f"- {_best(found, scale, *cell)}" for cell in cells),
            "table": markdown_table(("loss", *(", ".join(cell) for cell in cells)), [*rows, real]),
            "reach": f"{math.exp(reach):.1f}",
        },
        pictures={
            "distance": partial(_distances, found, scale),
            "samples": lambda: sheets([(loss, "", png) for loss, png in found.sheets.items()]),
        },
        tables={"measurements": table(found.rows, columns)},
    )


def _distances(found: Measured, scale: Scale):  # type: ignore[no-untyped-def]
    colours = {PLAIN: BLACK, PAPERS: COLOURS[1]}
    return dots(
        {
            f"features of {extractor}": [
                Dot(
                    loss,
                    found.number(loss, extractor, outcome),
                    colours.get(loss, COLOURS[0]),
                    hollow=outcome == "raw",
                    shift=shift,
                    label=outcome if loss == PLAIN else "",
                )
                for loss in scale.losses
                for outcome, shift in zip(OUTCOMES, (-0.14, 0.14), strict=True)
            ]
            for extractor in scale.extractors
        },
        bands={f"features of {name}": floor for name, floor in found.floors.items()},
    )


def _best(found: Measured, scale: Scale, extractor: str, outcome: str) -> str:
    """Which loss is the lowest, and where the paper's stands."""
    losses = {x: found.number(x, extractor, outcome) for x in scale.losses if x != PLAIN}
    best = min(losses, key=lambda loss: losses[loss].mean)
    ties = [
        loss
        for loss in losses
        if loss != best
        and found.compared(extractor, outcome, lower=best, higher=loss).verdict == "tie"
    ]
    head = f"Features of `{extractor}`, {outcome}: `{best}` is the lowest ({losses[best].text()}),"
    if best == PAPERS:
        return f"{head} and {len(ties)} of the {len(losses) - 1} others tie with it."
    rank = 1 + sum(number.mean < losses[PAPERS].mean for number in losses.values())
    verdict = "cannot be told from it" if PAPERS in ties else "is worse"
    return (
        f"{head} `{PAPERS}` is number {rank} of {len(losses)} ({losses[PAPERS].text()}) and"
        f" {verdict}."
    )


STUDY = Study("the GAN losses of Appendix B", SCALES, measure, page, claims, "gan-losses.md")
