"""The page of the GAN losses, from its records."""

from __future__ import annotations

import math
import statistics
from functools import partial
from typing import TYPE_CHECKING

from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.dots import dots
from cascore.reproduce.floors import bands_of
from cascore.reproduce.gan_losses.values import (
    Measured,
    best_line,
    claims_of,
    compared,
    measured_of,
    spread_in,
)
from cascore.reproduce.gan_losses.work import (
    OUTCOMES,
    PAPERS,
    PLAIN,
    SCALES,
    Scale,
    name_of,
)
from cascore.reproduce.pages import (
    COLOURS,
    Page,
    Table,
    machine_of,
    markdown_table,
    new_figure,
)
from cascore.reproduce.sampler import label_of, resolved
from cascore.reproduce.sheets import picture_of, show_sheet
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """Distances of every loss, and whether the paper's is the best."""
    scale = SCALES[scale_name]
    measured = measured_of(scale, records)
    return Page(
        text=_text(scale_name, records, measured),
        pictures={
            "distance": partial(_distances, scale, records, measured),
            "samples": partial(_samples, scale, records),
        },
        tables={
            "measurements": _table(scale, records),
            "comparisons": comparisons_table(claims_of(scale, measured)),
        },
    )


# --- pictures ------------------------------------------------------------------------------------


def _distances(scale: Scale, records: Records, measured: Measured) -> Figure:
    """A row for each loss."""
    colours = {kind: {PLAIN: "#000000", PAPERS: COLOURS[1]}.get(kind, COLOURS[0])
               for kind in scale.kinds}  # fmt: skip
    bands = bands_of(scale.extractors, records)
    return dots(colours, bands, {key: spread_in(measured, *key) for key in measured})


def _samples(scale: Scale, records: Records) -> Figure:
    """Denoised samples of every kind, the first of the first draw."""
    sheets = {kind: records[name_of(kind, 0, 0)]["result"]["sheet"] for kind in scale.kinds}
    height, width = picture_of(sheets[PLAIN]).shape[:2]
    rows = -(-len(scale.kinds) // 2)
    figure, panels = new_figure(2, rows=rows, height=0.35 + 4.4 * height / width)
    for panel, (kind, sheet) in zip(panels, sheets.items(), strict=False):
        show_sheet(panel, sheet, title=kind, label="")
    for panel in panels[len(scale.kinds) :]:
        panel.set_visible(False)
    return figure


# --- tables and text -----------------------------------------------------------------------------


def _table(scale: Scale, records: Records) -> Table:
    rows = []
    for kind in scale.kinds:
        for training in range(scale.trainings_of(kind)):
            for seed in range(scale.draws):
                result = records[name_of(kind, training, seed)]["result"]
                rows += [
                    (
                        *(kind, training, seed, result["nfe"], extractor, outcome),
                        *(result[outcome][extractor]["value"], result[outcome][extractor]["error"]),
                    )
                    for extractor in scale.extractors
                    for outcome in OUTCOMES
                ]
    columns = "loss training draw nfe extractor outcome distance standard_error"
    return Table(columns.split(), rows)


def _markdown(scale: Scale, records: Records, measured: Measured) -> str:
    cells = [(extractor, outcome) for extractor in scale.extractors for outcome in OUTCOMES]
    rows = [
        (f"`{kind}`", *(spread_in(measured, kind, *cell).text(2) for cell in cells))
        for kind in scale.kinds
    ]
    bands = bands_of(scale.extractors, records).values()
    rows.append(("real images", *(text for band in bands for text in (band.text(2), ""))))
    return markdown_table(
        ("loss", *(f"{extractor}, {outcome}" for extractor, outcome in cells)), rows
    )


def _text(scale_name: str, records: Records, measured: Measured) -> str:
    scale = SCALES[scale_name]
    cells = [(extractor, outcome) for extractor in scale.extractors for outcome in OUTCOMES]
    lines = [best_line(scale, *cell, measured) for cell in cells]
    nfe = records[name_of(PLAIN, 0, 0)]["result"]["nfe"]
    return f"""# The GAN losses of the paper

`cascore reproduce gan-losses --scale {scale_name}` wrote this page from the records in
[gan-losses/records-{scale_name}](gan-losses/records-{scale_name}).

The authors tried {len(scale.kinds) - 1} GAN losses for the adversarial term and chose least squares
(`{PAPERS}`) as the best. Here each of them trains `{scale.preset}-adversarial` for {
        scale.steps:,} steps, beside plain score
matching for as many, and {scale.draws} × {scale.count:,} samples of {nfe} network calls are judged
({label_of(scale.sampler)}, {resolved(scale.sampler).spacing} levels).

![Distances](gan-losses/distance.png)

*Fréchet distance to the training images; bars are two deviations; the band is what real images
score. [SVG](gan-losses/distance.svg), [numbers](gan-losses/measurements.csv)*

{chr(10).join(f"- {line}" for line in lines)}

{claims_table(claims_of(scale, measured))}

{_markdown(scale, records, measured)}

± is the deviation of one training, each the mean of its {scale.draws} draws. Only `{PLAIN}` and
`{PAPERS}` were trained more than once, {scale.trainings} times with other seeds; their relative
deviations{_apart(measured, cells[0])}, pooled, are taken for all. Two losses are compared by the
logarithms of their distances and tie unless the 95 % interval of the difference (Student) leaves
zero out. With {scale.trainings - 1} + {scale.trainings - 1} degrees of freedom it is wide:
{_reach(scale, measured, cells[0])} Each pair is in
[comparisons.csv](gan-losses/comparisons.csv). For real images ± is the deviation of one random
split.

![Samples](gan-losses/samples.png)

*Denoised samples of the same noise, by loss. [SVG](gan-losses/samples.svg)*

## What differs from the paper

- The paper says which loss was best and gives no numbers, so only that can be compared.
- {_setting(scale)}

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _apart(measured: Measured, cell: tuple[str, str]) -> str:
    """How far the trainings of the two kinds are apart, which are pooled."""
    plain, papers = (
        statistics.stdev(means) / statistics.fmean(means)
        for means in (measured[(kind, *cell)] for kind in (PLAIN, PAPERS))
    )
    return f" ({plain:.0%} and {papers:.0%} in the features of `{cell[0]}`, {cell[1]})"


def _reach(scale: Scale, measured: Measured, cell: tuple[str, str]) -> str:
    """By which factor two losses have to differ to be told apart."""
    once = next((kind for kind in scale.kinds if kind not in (PLAIN, PAPERS)), PLAIN)
    margin = compared(measured, *cell, lower=PAPERS, higher=once).difference.margin
    return f"`{PAPERS}` and `{once}` are told apart from a factor of {math.exp(margin):.1f} on."


def _setting(scale: Scale) -> str:
    if scale.preset != "digits":
        return "Data, network and levels are the paper's."
    return (
        "8×8 digits and a short training: what a loss does in the long run, and how easily it"
        "\n  diverges in a large network, is not in it."
    )
