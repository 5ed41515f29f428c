"""The page of networks that see the noise level, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from cascore.experiment.build import training_sigmas
from cascore.experiment.presets import PRESETS
from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.conditional.values import (
    NAMES,
    Losses,
    Measured,
    claims,
    images_of,
    levels_line,
    loss_line,
    losses_of,
    measured_of,
    optima_of,
    theory_line,
)
from cascore.reproduce.conditional.work import (
    KINDS,
    OUTCOMES,
    SAMPLERS,
    SCALES,
    SPLITS,
    Scale,
    draw_unit,
    loss_unit,
)
from cascore.reproduce.dots import dots
from cascore.reproduce.floors import bands_of
from cascore.reproduce.pages import (
    COLOURS,
    Page,
    Table,
    legend_below,
    machine_of,
    markdown_table,
    new_figure,
    plain_ticks,
)
from cascore.reproduce.spread import spread_of, spread_over
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["page"]

_COLOUR = dict(zip(KINDS, COLOURS, strict=False))


def page(scale_name: str, records: Records) -> Page:
    """Losses by level and distances of samples, with and without sight of sigma."""
    scale = SCALES[scale_name]
    measured, losses = measured_of(scale, records), losses_of(scale, records)
    return Page(
        text=_text(scale_name, records, measured, losses),
        pictures={
            "loss": partial(_loss_picture, scale, losses, optima_of(records)),
            "distance": partial(_distances, scale, records, measured),
        },
        tables={
            "measurements": _table(scale, records),
            "comparisons": comparisons_table(claims(scale_name, records)),
            "losses": _loss_table(scale, losses, optima_of(records)),
        },
    )


# --- pictures ------------------------------------------------------------------------------------


def _loss_picture(scale: Scale, losses: Losses, optima: Mapping[str, Sequence[float]]) -> Figure:
    """A line for each training; in the training panel what theory allows."""
    sigmas = training_sigmas(PRESETS[scale.preset].schedule).tolist()
    figure, panels = new_figure(2, height=3.9)
    for panel, split in zip(panels, SPLITS, strict=True):
        for kind in KINDS:
            for training, values in enumerate(losses[kind, split]):
                panel.plot(
                    sigmas,
                    values,
                    color=_COLOUR[kind],
                    linewidth=1.4,
                    label=f"{kind} network" if training == 0 else None,
                )
            if split == "train":
                style = {"conditional": ":", "unconditional": "--"}[kind]
                panel.plot(
                    sigmas,
                    optima[kind],
                    style,
                    color="#000000",
                    linewidth=1.4,
                    label=f"{kind} optimum",
                )
        panel.set_xscale("log")
        plain_ticks(panel.xaxis)
        panel.set_ylim(bottom=0)
        panel.set_title(images_of(split), loc="left", fontsize=10)
        panel.set_xlabel("noise level $\\sigma$")
        panel.set_ylabel("denoising loss (Eq. 1)")
    legend_below(figure, panels[0], columns=4)
    return figure


def _distances(scale: Scale, records: Records, measured: Measured) -> Figure:
    rows = {(kind, sampler): f"{NAMES[sampler]}, {kind}" for sampler in SAMPLERS for kind in KINDS}
    found = {
        (rows[kind, sampler], extractor, outcome): spread_over(runs)
        for (kind, sampler, extractor, outcome), runs in measured.items()
    }
    colours = {label: _COLOUR[kind] for (kind, _), label in rows.items()}
    return dots(colours, bands_of(scale.extractors, records), found)


# --- tables and text -----------------------------------------------------------------------------


def _table(scale: Scale, records: Records) -> Table:
    rows = []
    for (kind, training), sampler, seed in product(scale.trials, SAMPLERS, range(scale.draws)):
        result = records[draw_unit(kind, training, sampler, seed)]["result"]
        rows += [
            (
                *(kind, training, sampler, seed, result["nfe"], extractor, outcome),
                *(result[outcome][extractor]["value"], result[outcome][extractor]["error"]),
            )
            for extractor in scale.extractors
            for outcome in OUTCOMES
        ]
    columns = "network training sampler draw nfe extractor outcome distance standard_error"
    return Table(columns.split(), rows)


def _loss_table(scale: Scale, losses: Losses, optima: Mapping[str, Sequence[float]]) -> Table:
    sigmas = training_sigmas(PRESETS[scale.preset].schedule).tolist()
    columns = [
        (f"{kind}_{training}_{split}", values)
        for (kind, split), trainings in losses.items()
        for training, values in enumerate(trainings)
    ] + [(f"{kind}_optimum_train", optima[kind]) for kind in KINDS]
    rows = [
        (f"{sigma:.6g}", *(f"{values[level]:.6g}" for _, values in columns))
        for level, sigma in enumerate(sigmas)
    ]
    return Table(("sigma", *(name for name, _ in columns)), rows)


def _markdown(scale: Scale, records: Records, measured: Measured) -> str:
    cells = list(product(scale.extractors, OUTCOMES))
    rows = [
        (
            f"{NAMES[sampler]}, {kind}, training {training}",
            *(spread_of(measured[kind, sampler, *cell][training]).text(2) for cell in cells),
        )
        for sampler, kind, training in product(SAMPLERS, KINDS, range(scale.trainings))
    ]
    bands = bands_of(scale.extractors, records).values()
    rows.append(("real images", *(text for band in bands for text in (band.text(2), ""))))
    return markdown_table(("samples", *(f"{e}, {outcome}" for e, outcome in cells)), rows)


def _text(scale_name: str, records: Records, measured: Measured, losses: Losses) -> str:
    scale = SCALES[scale_name]
    schedule = PRESETS[scale.preset].schedule
    sigmas = training_sigmas(schedule).tolist()
    sizes = [records[loss_unit(kind, 0)]["result"]["parameters"] for kind in KINDS]
    lines = [
        *(loss_line(split, losses, sigmas) for split in SPLITS),
        *(levels_line(split, losses) for split in SPLITS),
        theory_line(optima_of(records)),
    ]
    return f"""# Does a network need to see the noise level?

`cascore reproduce conditional --scale {scale_name}` wrote this page from the records in
[conditional/records-{scale_name}](conditional/records-{scale_name}).

The paper's networks do not see σ: their score is f(x)/σ. Whether that costs anything it leaves
open. Here the network of `{scale.preset}` and one that also sees log σ, otherwise the same, are
trained for {scale.steps:,} steps with {scale.trainings} seeds each ({sizes[0]:,} and {sizes[1]:,}
parameters; the embedding of σ is the difference), then judged level by level and by their samples.

{chr(10).join(f"- {line}" for line in lines)}

{claims_table(claims(scale_name, records))}

![Loss by level](conditional/loss.png)

*Eq. 1 at each of {schedule.levels} levels; up to {scale.images:,} images of each split, each
corrupted once at each level by the same noise for all. The optima are of the training images:
a network below the unconditional one sees more than x, or gains by this draw of noise.
[SVG](conditional/loss.svg), [numbers](conditional/losses.csv)*

![Distances](conditional/distance.png)

*Fréchet distance of {scale.count:,} samples; order 2 with κ = 2.5 at 12 geometric levels and at
all {schedule.levels}. [SVG](conditional/distance.svg), [numbers](conditional/measurements.csv)*

{_markdown(scale, records, measured)}

± is the deviation of one measurement: of losses over {scale.trainings} trainings, of distances over
{scale.draws} draw(s) of one network. With and without sight of σ are compared by the means of their
trainings (Welch), and tie unless the 95 % interval of the difference leaves zero out; with
{scale.trainings} trainings of each that interval is wide. Each pair is in
[comparisons.csv](conditional/comparisons.csv).

{_setting(scale)}

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _setting(scale: Scale) -> str:
    if scale.preset != "digits":
        return "Data, network and levels are the paper's Table 3; the conditional network is ours."
    return "8×8 digits, where 64 pixels tell less about σ than the 3,072 of CIFAR-10 do."
