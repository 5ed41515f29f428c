"""The page of Figure 2, from its records."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product

from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.figure2.pictures import (
    KINDS,
    LEVELS,
    OUTCOMES,
    SCORES,
    TITLES,
    Spreads,
    distances,
    level_count,
    points,
    real_spread,
)
from cascore.reproduce.figure2.values import (
    MEASURES,
    Costs,
    claims,
    claims_of,
    costs_of,
    denoised_pairs,
    draws_of,
    measures_of,
    objectives_pair,
    spreads_of,
)
from cascore.reproduce.figure2.work import DATA, ETAS, SCALES, SHOWN, Scale, cells
from cascore.reproduce.pages import Page, Table, machine_of, markdown_table
from cascore.reproduce.units import Records

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """The points of Figure 2, and how far they are from real ones."""
    scale = SCALES[scale_name]
    spreads = spreads_of(scale, records)
    pictures = {
        f"{data}-{levels}": partial(points, data, levels, records)
        for data, levels in product(DATA, LEVELS)
    }
    return Page(
        text=_text(scale_name, records, spreads),
        pictures={"distance": partial(distances, records, spreads), **pictures},
        tables={
            "measurements": _table(scale, records),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


def _table(scale: Scale, records: Records) -> Table:
    columns = ("data", "levels", "score", "training", "draw", "eta", "nfe", "outcome")
    measures = ("distance", "good", "covered")
    rows = []
    for cell in cells(scale):
        for seed in range(1, scale.draws + 1):
            result = records[f"{cell.name}.draw-{seed}"]["result"]
            for outcome in OUTCOMES:
                values = [result[outcome].get(measure, "") for measure in measures]
                rows.append(
                    (
                        *(cell.data, cell.levels, cell.score, cell.seed, seed),
                        *(result["eta"], result["nfe"], outcome, *values),
                    )
                )
    return Table((*columns, *measures), rows)


def _markdown(data: str, scale: Scale, records: Records, spreads: Spreads) -> str:
    rows = []
    for levels, score in KINDS:
        etas = sorted({d["result"]["eta"] for d in draws_of(data, levels, score, scale, records)})
        of = [
            spreads[data, levels, score, outcome, measure]
            for measure in measures_of(data)
            for outcome in OUTCOMES
        ]
        digits = (4, 4, 3, 3, 1, 1)
        rows.append(
            (
                f"{level_count(levels)}, {score}",
                _edges(etas),
                *(spread.text(n) for spread, n in zip(of, digits, strict=False)),
            )
        )
    real = [real_spread(data, records, measure) for measure in measures_of(data)]
    texts = [each.text(n) for each, n in zip(real, (4, 3, 1), strict=False)]
    rows.append(("real points", "", *(text for each in texts for text in (each, ""))))
    names = ["distance", "good share", "modes of 25"][: len(real)]
    columns = [f"{name}, {outcome}" for name in names for outcome in OUTCOMES]
    return markdown_table(("", "η", *columns), rows)


_WORDS = {"held": "better", "did not hold": "worse", "tie": "tie"}


def _verdicts(costs: Costs) -> str:
    """Each pair by itself; the networks of one kind beside each other."""
    rows = [
        (
            f"{TITLES[data]}, {level_count(levels)}",
            *(
                " / ".join(
                    ", ".join(_WORDS[each.verdict] for each in pairs)
                    for score in SCORES
                    for pairs in [denoised_pairs(data, levels, score, measure, costs)]
                )
                for measure in MEASURES
            ),
            *(_WORDS[objectives_pair(data, levels, m, costs).verdict] for m in MEASURES),
        )
        for data, levels in product(DATA, LEVELS)
    ]
    return markdown_table(
        (
            "",
            "denoised against raw: distance (exact / plain trainings / adversarial ones)",
            "the same: good share",
            "adversarial against plain, denoised: distance",
            "the same: good share",
        ),
        rows,
    )


def _edges(etas: Iterable[float]) -> str:
    """Step sizes, an asterisk at those behind which a better one may lie."""
    edges = (min(ETAS), max(ETAS))
    return ", ".join(f"{eta:g}{'*' * (eta in edges)}" for eta in etas)


def _text(scale_name: str, records: Records, spreads: Spreads) -> str:
    scale = SCALES[scale_name]
    costs = costs_of(scale, records)
    sections = "\n\n".join(
        f"""### {TITLES[data][0].upper()}{TITLES[data][1:]}

{_markdown(data, scale, records, spreads)}

![{TITLES[data]} by ten levels](figure2/{data}-10.png)

*Ten levels, {SHOWN} points of the first draw of the first training (crosses) on {SHOWN} real points
(grey). [SVG](figure2/{data}-10.svg)*

![{TITLES[data]} by one level](figure2/{data}-1.png)

*The same with the single level 0.1. [SVG](figure2/{data}-1.svg)*"""
        for data in DATA
    )
    return f"""# Figure 2: points in the plane

`cascore reproduce figure2 --scale {scale_name}` wrote this page from the records in
[figure2/records-{scale_name}](figure2/records-{scale_name}).

Networks of three hidden layers of 512 units learn two sets of points, by score matching alone
(plain) or with a discriminator (adversarial), at one noise level of 0.1 or at ten from 1 to 0.01.
Annealed Langevin sampling draws from them, 10 steps a level. Beside them the truth that the paper
did not have: the same sampler with the exact score, of the mixture for the 25 Gaussians and of the
10,000 training points for the swiss roll.

![Sliced Wasserstein distances](figure2/distance.png)

*Sliced Wasserstein distance of {scale.count:,} samples to as many held-out points; the band is what
training points score, mean ± 2 standard deviations. [SVG](figure2/distance.svg),
[numbers](figure2/measurements.csv)*

## What held

The paper's claim is that denoising brings samples much closer to the data, on both sets.

{claims_table(claims_of(costs))}

{_verdicts(costs)}

A pair ties unless the 95 % interval of its difference (Student) leaves zero out. Denoised and raw
are the ends of the same chains and are compared on each network by itself, draw by draw; networks
of two objectives by the means of their trainings. Each pair is in
[comparisons.csv](figure2/comparisons.csv). Where the exact score itself is far from the real
points, it is the sampler and not the network that falls short.

## Measurements

± is the standard deviation of one measurement: over {scale.trainings} training seed(s) ×
{scale.draws} draws with other noise, and over {scale.draws} draws for the exact score, which is not
trained.
*Distance*: sliced 2-Wasserstein, 200 keyed directions, exact along each. *Good share*: samples
within 4 standard deviations of a centre (0.071), or of the roll's middle line (0.133). η is chosen
out of {", ".join(f"{eta:g}" for eta in ETAS)} for each model by the denoised distance of
{scale.tuning_count:,} samples with noise that the draws do not use; where trainings differ, both
are given. * marks the smallest and the largest, behind which a better one may lie.

{sections}

## What differs from the paper

- {scale.steps:,} training steps of 256 points (the paper: 2,000 to 5,000), learning rate 1e-3,
  discriminator of width 512 with learning rate 1e-4; what the figure was made with is not stated.
- The paper shows pictures; the distances are ours. One step size serves raw and denoised samples,
  chosen for the denoised ones.
- With one level a chain starts from a training point with noise 0.1, the paper's other start: from
  the origin a chain at 0.1 reaches almost nothing, whatever the score. So at one level coverage is
  given, and only what the chain does to the points is tested. With ten levels it starts from noise.

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""
