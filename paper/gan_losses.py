"""The GAN losses of Appendix B, each in a short training of the same small network."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.losses import GAN_LOSSES
from paper.engine.chain import Chain, cas
from paper.engine.charts import BLACK, COLOURS, dots, sheets
from paper.engine.claims import Claim, Statement, adversarial_lowers
from paper.engine.compare import Comparison, Number, Pool, by_logarithms, pool_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.models import Precision, training_of
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, pivot, table

PLAIN, PAPERS = "plain", "lsgan"
"""Score matching alone, and the loss that the paper chose; both are trained more than once."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained and drawn; the GAN losses train the adversarial twin of the preset."""

    preset: str = "digits"
    losses: tuple[str, ...] = (PLAIN, *GAN_LOSSES)
    steps: int
    precision: Precision = "bfloat16"
    trainings: int = 2
    draws: int
    count: int
    chain: Chain
    extractors: tuple[str, ...] = ("digits", "random-convolution")

    @property
    def others(self) -> list[str]:
        """The GAN losses that the paper did not choose, trained once."""
        return [loss for loss in self.losses if loss not in (PLAIN, PAPERS)]


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
    sheets: Rows

    def means(self, loss: str, extractor: str, outcome: str) -> list[float]:
        """The mean distance of the draws of each training."""
        rows = self.rows.where(loss=loss, extractor=extractor, outcome=outcome)
        return [statistics.fmean(draws.values()) for draws in rows.by("training").values()]

    def pool(self, extractor: str, outcome: str) -> Pool:
        """What another training changes, taken for all losses from the two that have several."""
        return pool_of(self.means(loss, extractor, outcome) for loss in (PLAIN, PAPERS))

    def number(self, rows: Rows) -> Number:
        """The mean of a loss, ± what another training changes."""
        cell = rows[0]["extractor"], rows[0]["outcome"]
        return self.pool(*cell).number(self.means(rows[0]["loss"], *cell))

    def compared(self, lower: str, higher: str, extractor: str, outcome: str) -> Comparison:
        """Two losses by the logarithms of their trainings."""
        cell = extractor, outcome
        means = self.means(lower, *cell), self.means(higher, *cell)
        return by_logarithms(f"{lower} against {higher}, {outcome}", *means, self.pool(*cell))


def training(loss: str, seed: int, scale: Scale) -> Experiment:
    """The preset with another GAN loss, and a name of its own for the folder of the run."""
    preset = PRESETS[scale.preset if loss == PLAIN else f"{scale.preset}-adversarial"]
    if loss in scale.others:
        adversarial = replace(preset.adversarial, gan=loss)
        preset = replace(preset, name=f"{preset.name}-{loss}", adversarial=adversarial)
    return training_of(preset, steps=scale.steps, seed=seed, precision=scale.precision)


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each loss, training, draw, extractor and outcome."""
    rows, pictures = Rows(), Rows()
    of: dict[str, Any] = {"count": scale.count, "extractors": scale.extractors}
    for loss in scale.losses:
        for seed in range(1 if loss in scale.others else scale.trainings):
            rows += lab.distances(
                training(loss, seed, scale),
                scale.chain,
                seeds=range(scale.draws),
                **of,
                loss=loss,
                training=seed,
            )
        png = lab.sheet(training(loss, 0, scale), scale.chain)
        pictures.append({"label": "", "title": loss, "png": png})
    return Measured(rows, lab.floors(PRESETS[scale.preset].data.name, **of), pictures)


def claims(found: Measured, scale: Scale) -> list[Claim]:
    """Whether least squares is the best loss, and whether any is better than none."""
    network = PRESETS[scale.preset].network.kind
    best = Statement("least squares has a lower distance than the other GAN losses", "yes")
    other = Statement("another GAN loss than least squares lowers the distance of plain training")
    asked = {
        best: [(PAPERS, loss, outcome) for outcome in OUTCOMES for loss in scale.others],
        **{adversarial_lowers(o, network): [(PAPERS, PLAIN, o)] for o in OUTCOMES},
        other: [(loss, PLAIN, outcome) for outcome in OUTCOMES for loss in scale.others],
    }
    return [
        Claim(statement, f"`{e}`", [found.compared(low, high, e, o) for low, high, o in pairs])
        for e in scale.extractors
        for statement, pairs in asked.items()
    ]


def page(found: Measured, scale: Scale) -> Page:
    """The losses side by side, in numbers and in samples."""
    ranks = []
    for (extractor, outcome), rows in found.rows.by("extractor", "outcome").items():
        numbers = {x: found.number(r) for x, r in rows.by("loss").items() if x != PLAIN}
        order = sorted(numbers, key=lambda loss: numbers[loss].mean)
        pairs = [(loss, found.compared(order[0], loss, extractor, outcome)) for loss in order[1:]]
        ties = [loss for loss, pair in pairs if pair.verdict == "tie"]
        ranks.append({"of": f"`{extractor}`, {outcome}", "order": order, "ties": ties})
    real = ("real images", *(text for f in found.floors.values() for text in (f.text(), "")))
    losses = pivot(
        found.rows,
        {"loss": "`{loss}`"},
        "{extractor}, {outcome}",
        lambda rows: found.number(rows).text(),
    )
    once = found.compared(PAPERS, scale.others[0], scale.extractors[0], "raw")
    columns = "loss training draw=seed nfe extractor outcome distance standard_error"
    colours = {PLAIN: BLACK, PAPERS: COLOURS[1]}
    return Page(
        words={
            "ranks": ranks,
            "losses": [*losses, real],
            "reach": math.exp(once.difference.margin),
        },
        pictures={
            "distance": lambda: dots(
                found.rows,
                found.number,
                row="{loss}",
                label="{outcome}",
                colour=lambda row: colours.get(row["loss"], COLOURS[0]),
                shift="outcome",
                bands=found.floors,
            ),
            "samples": lambda: sheets(found.sheets),
        },
        tables={"measurements": table(found.rows, columns)},
    )


STUDY = Study("the GAN losses of Appendix B", SCALES, measure, page, claims, "gan-losses.md")
