"""The page of how chains start and end, from its records."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from cascore.experiment.presets import PRESETS
from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.dots import dots
from cascore.reproduce.floors import bands_of
from cascore.reproduce.initialisation.values import (
    LABELS,
    PLACES,
    Gaps,
    Measured,
    claims,
    end_claims,
    gaps_of,
    ideals_of,
    measured_of,
    start_claims,
)
from cascore.reproduce.initialisation.work import (
    OUTCOMES,
    SAMPLERS,
    SCALES,
    STARTS,
    Scale,
    name_of,
)
from cascore.reproduce.pages import (
    COLOURS,
    Page,
    Table,
    legend_below,
    machine_of,
    markdown_table,
    new_figure,
)
from cascore.reproduce.spread import spread_of
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """Distances by start, and gaps by sampler."""
    scale = SCALES[scale_name]
    measured = measured_of(scale, records)
    return Page(
        text=_text(scale_name, records, measured),
        pictures={
            **{
                f"{preset}-starts": partial(_starts, preset, scale, records, measured)
                for preset in scale.presets
            },
            "gap": partial(_gap_picture, scale, gaps_of(scale, records), ideals_of(scale, records)),
        },
        tables={
            "measurements": _table(scale, records),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


# --- pictures ------------------------------------------------------------------------------------


def _starts(preset: str, scale: Scale, records: Records, measured: Measured) -> Figure:
    """A row for each sampler and start of one network."""
    colours = {
        _set(f"{LABELS[sampler]}, {start}"): colour
        for sampler, colour in zip(SAMPLERS, COLOURS, strict=False)
        for start in STARTS
    }
    found = {
        (_set(f"{LABELS[sampler]}, {start}"), extractor, outcome): spread_of(
            measured[preset, sampler, start, extractor, outcome]
        )
        for sampler, start, extractor, outcome in product(
            SAMPLERS, STARTS, scale.extractors, OUTCOMES
        )
    }
    return dots(colours, bands_of(scale.extractors, records), found)


def _gap_picture(scale: Scale, gaps: Gaps, ideals: Mapping[tuple[str, str], float]) -> Figure:
    """The two gaps of each sampler, filled points for networks, a black line for theory."""
    figure, panels = new_figure(len(PLACES), height=3.2)
    for panel, (place, title) in zip(panels, PLACES.items(), strict=True):
        for row, sampler in enumerate(SAMPLERS):
            panel.plot(
                [ideals[sampler, place]] * 2,
                [row - 0.28, row + 0.28],
                color="#000000",
                linewidth=1.6,
                label="the perfect score of one datum" if row == 0 else None,
            )
            for preset, colour, shift in zip(scale.presets, COLOURS, (-0.1, 0.1), strict=False):
                panel.plot(
                    statistics.fmean(gaps[preset, sampler, place]),
                    row + shift,
                    "o",
                    color=colour,
                    label=preset if row == 0 else None,
                )
        panel.set_xlim(left=0)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("root mean square per pixel, in units of $\\sigma_L$")
        panel.set_yticks(range(len(SAMPLERS)), labels=[_set(LABELS[each]) for each in SAMPLERS])
        panel.set_ylim(len(SAMPLERS) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
    panels[1].tick_params(labelleft=False)
    legend_below(figure, panels[0], columns=3)
    return figure


def _set(label: str) -> str:
    """A label with its index as matplotlib sets it."""
    return label.replace("n_σ", "$n_\\sigma$")


# --- tables and text -----------------------------------------------------------------------------


def _table(scale: Scale, records: Records) -> Table:
    rows = []
    for preset, sampler, start, seed in product(
        scale.presets, SAMPLERS, STARTS, range(scale.draws)
    ):
        result = records[name_of(preset, sampler, start, seed)]["result"]
        rows += [
            (
                *(preset, sampler, start, seed, result["nfe"], extractor, outcome),
                *(result[outcome][extractor]["value"], result[outcome][extractor]["error"]),
                *(result["gap"]["call"], result["gap"]["result"]),
            )
            for extractor in scale.extractors
            for outcome in OUTCOMES
        ]
    columns = "model sampler start draw nfe extractor outcome distance standard_error"
    return Table((*columns.split(), "gap_at_last_call", "gap_raw_denoised"), rows)


def _markdown(preset: str, scale: Scale, records: Records, measured: Measured) -> str:
    cells = list(product(scale.extractors, OUTCOMES))
    rows = [
        (
            f"{LABELS[sampler]}, {start}",
            *(spread_of(measured[preset, sampler, start, *cell]).text(2) for cell in cells),
        )
        for sampler, start in product(SAMPLERS, STARTS)
    ]
    bands = bands_of(scale.extractors, records).values()
    rows.append(("real images", *(text for band in bands for text in (band.text(2), ""))))
    return markdown_table(
        ("sampler and start", *(f"{extractor}, {outcome}" for extractor, outcome in cells)), rows
    )


def _gap_table(scale: Scale, records: Records) -> str:
    gaps, ideals = gaps_of(scale, records), ideals_of(scale, records)
    rows = [
        (
            f"{LABELS[sampler]}, {title}",
            f"{ideals[sampler, place]:.3f}",
            *(spread_of(gaps[preset, sampler, place]).text(3) for preset in scale.presets),
        )
        for sampler in SAMPLERS
        for place, title in PLACES.items()
    ]
    return markdown_table(("gap / σ_L", "perfect score of one datum", *scale.presets), rows)


def _text(scale_name: str, records: Records, measured: Measured) -> str:
    scale = SCALES[scale_name]
    gaps, schedule = gaps_of(scale, records), PRESETS[scale.presets[0]].schedule
    sections = "\n\n".join(
        f"""### {preset}

![Distances by start of {preset}](initialisation/{preset}-starts.png)

*{preset}, {scale.steps:,} training steps. [SVG](initialisation/{preset}-starts.svg),
[numbers](initialisation/measurements.csv)*

{_markdown(preset, scale, records, measured)}"""
        for preset in scale.presets
    )
    return f"""# How chains start, and how they end

`cascore reproduce initialisation --scale {scale_name}` wrote this page from the records in
[initialisation/records-{scale_name}](initialisation/records-{scale_name}).

## The start

Proposition 2 wants a chain to start from a datum with noise σ₁; the paper starts from the noise
alone and says that the two are indistinguishable, σ₁ being the largest distance between two data.
Its program starts from U[0, 1] without the noise, which is offered nowhere else in cascore. Here σ₁
= {schedule.first:g}, {schedule.levels} levels; {scale.draws} draws of {scale.count:,} samples
each, whose noise is the same for all starts: U[0, 1] is Φ(z).

{claims_table(start_claims(scale, measured))}

Each row counts networks and outcomes; each pair is in
[comparisons.csv](initialisation/comparisons.csv).

{sections}

± is the deviation of one draw with other noise; what another training would change is not in it.
Two starts are compared draw by draw, since a draw has the same noise whatever its start; they tie
unless the 95 % interval of the difference (Student) leaves zero out.

## The end

If sampling behaves, the last x is close to its expected denoised sample H(x, σ_L). Their distance
is measured twice: where H is computed for the last time, and between the two results of a chain.
Under the perfect score of a single datum all of it is noise, whose size theory gives: at the last
call of consistent sampling exactly σ_L (Proposition 2), at that of annealed Langevin more
(Proposition 1). A last step of consistent sampling adds no noise and shrinks what is there, one of
annealed Langevin adds some.

![Gaps](initialisation/gap.png)

*Chains from noise. [SVG](initialisation/gap.svg)*

{_gap_table(scale, records)}

{claims_table(end_claims(scale, gaps))}

## What differs from the paper

- {_setting(scale)}
- ALS has η = {scale.als_eta:g}{_eta(scale)}; CAS κ = 1.5, which is not tuned. The 12 calls
  are the default of `cascore sample`: order 2, κ = 2.5, centred levels.

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _eta(scale: Scale) -> str:
    if scale.presets[0] != "digits":
        return ", the paper's"
    return ", between the best of these two networks in [table 2](table2.md)"


def _setting(scale: Scale) -> str:
    if scale.presets[0] != "digits":
        return "Data, network and levels are the paper's; it gives no numbers on its starts."
    return (
        "8×8 digits, where σ₁ is a tenth of that of CIFAR-10, and few levels;"
        "\n  the paper gives no numbers on its starts."
    )
