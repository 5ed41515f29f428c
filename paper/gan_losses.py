"""The GAN losses of Appendix B, each in a short training of the same small network."""

import math
from dataclasses import dataclass, replace
from itertools import product

from cascore.experiment.settings import Experiment
from cascore.losses import GAN_LOSSES
from paper.engine.charts import BLACK, COLOURS, dots, sheets
from paper.engine.claims import ADVERSARIAL, Claim, Comparison, Number, Pool, contrasts, pool_of
from paper.engine.lab import OUTCOMES, Lab, Measured, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows, pivot
from paper.engine.settings import Chain

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


def _pool(rows: Rows, like: Row) -> Pool:
    """What another training changes, taken for all losses from the two that have several."""
    alike = rows.where(extractor=like["extractor"], outcome=like["outcome"])
    return pool_of(alike.where(loss=loss) for loss in (PLAIN, PAPERS))


def _compared(rows: Rows, lower: str, higher: str) -> Comparison:
    """Two losses, in rows of one extractor and outcome."""
    where, sides = f"{lower} against {higher}, {{outcome}}", f"loss: {lower} < {higher}"
    (pair,) = contrasts(rows, where, sides, _pool(rows, rows[0]).compare)
    return pair


def claims(results: Measured, scale: Scale) -> list[Claim]:
    """Whether least squares is the best loss, and whether any is better than none."""
    others, network = scale.others, results.rows[0]["network"]
    best = "least squares has a lower distance than the other GAN losses"
    other = "another GAN loss than least squares lowers the distance of plain training"
    pairs = {
        best: [(PAPERS, loss, outcome) for outcome in OUTCOMES for loss in others],
        **{ADVERSARIAL.format(outcome=o, network=network): [(PAPERS, PLAIN, o)] for o in OUTCOMES},
        other: [(loss, PLAIN, outcome) for outcome in OUTCOMES for loss in others],
    }
    claims = []
    for (extractor, rows), statement in product(results.rows.by("extractor").items(), pairs):
        sides = [_compared(rows.where(outcome=o), a, b) for a, b, o in pairs[statement]]
        claims.append(Claim(statement, f"`{extractor}`", sides))
    return claims


def page(results: Measured, scale: Scale) -> Page:
    """The losses side by side, in numbers and in samples."""
    ranks, rows = [], results.rows

    def number(loss: Rows) -> Number:
        return _pool(rows, loss[0]).number(loss)

    for (extractor, outcome), of in rows.by("extractor", "outcome").items():
        numbers = {x: number(r) for x, r in of.by("loss").items() if x != PLAIN}
        order = sorted(numbers, key=lambda loss: numbers[loss].mean)
        ties = [x for x in order[1:] if _compared(of, order[0], x).verdict == "tie"]
        ranks.append({"of": f"`{extractor}`, {outcome}", "order": order, "ties": ties})
    cells = pivot(rows, {"loss": "`{loss}`"}, "{extractor}, {outcome}", lambda r: number(r).text())
    raw = rows.where(extractor=scale.extractors[0], outcome="raw")
    reach = math.exp(_compared(raw, PAPERS, scale.others[0]).difference.margin)
    inks = {PLAIN: BLACK, PAPERS: COLOURS[1]}
    look = PLAN.look("distance") | {"colour": lambda row: inks.get(row["loss"], COLOURS[0])}
    return Page(
        {"ranks": ranks, "losses": cells, "reach": reach},
        {
            "distance": dots(rows, number, bands=results.floors, **look),
            "samples": sheets(results.sheets),
        },
        PLAN.tables(measurements=rows),
    )


STUDY = PLAN.study(Scale, measure, page, claims)
