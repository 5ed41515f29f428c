"""The GAN losses of Appendix B, each in a short training of the same small network."""

import math
import statistics
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cascore.experiment.settings import Experiment
from cascore.losses import GAN_LOSSES
from paper.engine.chain import Chain
from paper.engine.charts import BLACK, COLOURS, dots, sheets
from paper.engine.claims import ADVERSARIAL, Claim
from paper.engine.compare import Comparison, Number, Pool, by_logarithms, pool_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows, pivot
from paper.engine.subject import Measured, Subject

PLAN = Plan("gan-losses")
PLAIN, PAPERS = "plain", "lsgan"
"""Score matching alone, and the loss that the paper chose; both are trained more than once."""


@dataclass(frozen=True, kw_only=True)
class Scale(Subject):
    """The losses, what samples them, and how often PLAIN and PAPERS are trained."""

    losses: tuple[str, ...] = (PLAIN, *GAN_LOSSES)
    chain: Chain
    trainings: int = 2

    @property
    def others(self) -> list[str]:
        """The GAN losses that the paper did not choose, trained once."""
        return [loss for loss in self.losses if loss not in (PLAIN, PAPERS)]

    def of(self, loss: str, training: int) -> Experiment:
        """The preset with another GAN loss, and a name of its own for the folder of the run."""
        experiment = self.experiment("plain" if loss == PLAIN else "adversarial", training)
        if loss not in self.others:
            return experiment
        adversarial = replace(experiment.adversarial, gan=loss)
        return replace(experiment, name=f"{experiment.name}-{loss}", adversarial=adversarial)


def measure(lab: Lab, scale: Scale) -> Measured:
    """A row for each loss, training, seed, extractor and outcome."""
    rows, pictures = Rows(), Rows()
    for loss in scale.losses:
        for training in range(1 if loss in scale.others else scale.trainings):
            rows += lab.distances(scale.of(loss, training), scale.chain, **scale.how, loss=loss)
        png = lab.sheet(scale.of(loss, 0), scale.chain)
        pictures.append({"label": "", "title": loss, "png": png})
    return Measured(rows, scale.floors(lab), pictures)


def _means(rows: Rows, **tags: str) -> list[float]:
    """The mean distance of the seeds of each training."""
    trainings = rows.where(**tags).by("training").values()
    return [statistics.fmean(seeds.values()) for seeds in trainings]


def _pool(rows: Rows, **tags: str) -> Pool:
    """What another training changes, taken for all losses from the two that have several."""
    return pool_of(_means(rows, loss=loss, **tags) for loss in (PLAIN, PAPERS))


def _number(all_rows: Rows, rows: Rows) -> Number:
    """The mean of a loss, ± what another training changes."""
    tags = {name: rows[0][name] for name in ("extractor", "outcome")}
    return _pool(all_rows, **tags).number(_means(rows))


def _compared(rows: Rows, lower: str, higher: str, **tags: str) -> Comparison:
    """Two losses by the logarithms of their trainings."""
    name, pool = f"{lower} against {higher}, {tags['outcome']}", _pool(rows, **tags)
    low, high = (_means(rows, loss=loss, **tags) for loss in (lower, higher))
    return by_logarithms(name, low, high, pool)


def claims(results: Measured, scale: Scale) -> list[Claim]:
    """Whether least squares is the best loss, and whether any is better than none."""
    others, network = scale.others, results.rows[0]["network"]
    best = "least squares has a lower distance than the other GAN losses"
    other = "another GAN loss than least squares lowers the distance of plain training"
    asked = {
        best: [(PAPERS, loss, outcome) for outcome in OUTCOMES for loss in others],
        **{ADVERSARIAL.format(outcome=o, network=network): [(PAPERS, PLAIN, o)] for o in OUTCOMES},
        other: [(loss, PLAIN, outcome) for outcome in OUTCOMES for loss in others],
    }
    return [
        Claim(
            statement,
            f"`{extractor}`",
            [_compared(rows, low, high, outcome=o) for low, high, o in pairs],
        )
        for extractor, rows in results.rows.by("extractor").items()
        for statement, pairs in asked.items()
    ]


def page(results: Measured, scale: Scale) -> Page:
    """The losses side by side, in numbers and in samples."""
    ranks, rows, number = [], results.rows, partial(_number, results.rows)
    for (extractor, outcome), of in rows.by("extractor", "outcome").items():
        numbers = {x: number(r) for x, r in of.by("loss").items() if x != PLAIN}
        order = sorted(numbers, key=lambda loss: numbers[loss].mean)
        pairs = {loss: _compared(of, order[0], loss, outcome=outcome) for loss in order[1:]}
        ties = [loss for loss, pair in pairs.items() if pair.verdict == "tie"]
        ranks.append({"of": f"`{extractor}`, {outcome}", "order": order, "ties": ties})
    cells = pivot(rows, {"loss": "`{loss}`"}, "{extractor}, {outcome}", lambda r: number(r).text())
    once = _compared(rows, PAPERS, scale.others[0], extractor=scale.extractors[0], outcome="raw")
    inks: dict[Any, str] = {PLAIN: BLACK, PAPERS: COLOURS[1]}
    return Page(
        words={
            "ranks": ranks,
            "losses": cells,
            "floors": results.floors,
            "reach": math.exp(once.difference.margin),
        },
        pictures={
            "distance": dots(
                rows,
                number,
                colour=lambda row: inks.get(row["loss"], COLOURS[0]),
                bands=results.floors,
                **PLAN.look("distance"),
            ),
            "samples": sheets(results.sheets),
        },
        tables={"measurements": PLAN.table("measurements", rows)},
    )


STUDY = PLAN.study(Scale, measure, page, claims)
