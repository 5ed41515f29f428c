"""The page of what never tuning costs, from its records."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.comparisons import Comparison
from cascore.reproduce.never_tuning.values import Search, claims, searches_of
from cascore.reproduce.never_tuning.work import SCALES, Subject
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
from cascore.reproduce.units import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """What the search chose, what that gains on fresh seeds, and all its curves."""
    found = {each.preset: searches_of(each, records) for each in SCALES[scale_name]}
    return Page(
        text=_text(scale_name, records, found),
        pictures={
            each.preset: partial(_curves, each, found[each.preset]) for each in SCALES[scale_name]
        },
        tables={
            "measurements": Table(_COLUMNS, list(_rows(found))),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


# --- picture -------------------------------------------------------------------------------------


def _curves(subject: Subject, found: Sequence[Search]) -> Figure:
    """A panel for each order, a line for each number of calls; rings mark the default."""
    orders = sorted({each.order for search in found for each in search.curve})
    means = [statistics.fmean(values) for search in found for values in search.curve.values()]
    figure, panels = new_figure(len(orders), height=4.0)
    for panel, order in zip(panels, orders, strict=True):
        for search, colour in zip(found, COLOURS, strict=False):
            line = sorted(each for each in search.curve if each.order == order)
            panel.plot(
                [each.kappa for each in line],
                [statistics.fmean(search.curve[each]) for each in line],
                "o-",
                color=colour,
                linewidth=1.5,
                markersize=4,
                label=f"{search.calls} calls",
            )
            if search.default.order == order:
                panel.plot(
                    search.default.kappa,
                    statistics.fmean(search.curve[search.default]),
                    "o",
                    color="#000000",
                    markerfacecolor="none",
                    markersize=10,
                )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_ylim(0.93 * min(means), 1.07 * max(means))
        plain_ticks(panel.xaxis)
        plain_ticks(panel.yaxis, digits=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
        panel.set_xlabel("$\\kappa$")
        panel.set_title(f"order {order}", loc="left", fontsize=10)
    for panel in panels[1:]:
        panel.tick_params(labelleft=False)
    panels[0].set_ylabel("Fréchet distance, denoised")
    legend_below(figure, panels[0], columns=len(found))
    return figure


# --- tables and text -----------------------------------------------------------------------------

_COLUMNS = ("model", "calls", "blocks", "order", "kappa", "block", "distance")


def _rows(found: Mapping[str, Sequence[Search]]) -> Iterator[tuple[object, ...]]:
    for preset, searches in found.items():
        for search in searches:
            curves = {
                "search": search.curve,
                "fresh": {
                    search.default: search.fresh["default"],
                    search.best: search.fresh["best"],
                },
            }
            for blocks, curve in curves.items():
                for candidate, values in curve.items():
                    for block, value in enumerate(values):
                        yield (
                            *(preset, search.calls, blocks),
                            *(candidate.order, candidate.kappa, block, value),
                        )


def _markdown(found: Mapping[str, Sequence[Search]]) -> str:
    rows = []
    for preset, searches in found.items():
        for search in searches:
            compared = search.comparison
            same = search.same
            words = {"held": "tuning pays", "tie": "a tie", "did not hold": "the default is better"}
            rows.append(
                (
                    f"`{preset}`, {search.calls} calls",
                    compared.higher.text(2),
                    str(search.best),
                    "" if same else compared.lower.text(2),
                    "" if same else _gain(compared),
                    "the same" if same else words[compared.verdict],
                )
            )
    return markdown_table(
        ("", "never tuned", "lowest of the search", "on fresh seeds", "gain", "verdict"), rows
    )


def _gain(compared: Comparison) -> str:
    return f"{compared.difference.mean:.3f} ± {compared.difference.error:.3f}"


def _summary(searches: Sequence[Search]) -> str:
    """In how many searches something else was found, and what it was worth."""
    others = [each.comparison for each in searches if not each.same]
    pays = [each for each in others if each.verdict == "held"]
    ties = sum(each.verdict == "tie" for each in others)
    gain = max((1 - each.lower.mean / each.higher.mean for each in pays), default=0.0)
    most = f", by {gain:.0%} of the distance at most" if pays else ""
    return (
        f"{len(others)} of {len(searches)} searches found another setting than the default. On"
        f" fresh seeds it is\nbetter in {len(pays)}{most}, ties in {ties} and is worse in"
        f" {len(others) - len(pays) - ties}."
    )


def _text(scale_name: str, records: Records, found: Mapping[str, Sequence[Search]]) -> str:
    subjects = SCALES[scale_name]
    summary = _summary([search for searches in found.values() for search in searches])
    pictures = "\n\n".join(
        f"""![Distance against kappa of {each.preset}](never-tuning/{each.preset}.png)

*`{each.preset}`, {each.steps:,} training steps, {each.blocks} × {each.count:,} pictures in the
features of `{each.extractor}`. [SVG](never-tuning/{each.preset}.svg)*"""
        for each in subjects
    )
    return f"""# What never tuning costs

`cascore reproduce never-tuning --scale {scale_name}` wrote this page from the records in
[never-tuning/records-{scale_name}](never-tuning/records-{scale_name}).

The search of `cascore tune`: orders 1 and 2 and κ from 1 up to where a step between geometric
levels replaces 99 % of x, for a model and a number of network calls, all on the same blocks of
seeds; then the lowest and the default of `cascore sample` once more on other blocks. The first
order has geometric levels, the second the default's, which are centred.

{summary}

{_markdown(found)}

± of a distance is the deviation of one block of {subjects[0].blocks}. A gain is the mean
difference of the two on fresh blocks, block by block, ± its standard error; a tie unless its 95 %
interval (Student, {subjects[0].blocks - 1} degrees of freedom) leaves zero out. Where the search
finds the default itself there is nothing to compare. What another training would change is not in
it.

{claims_table(claims(scale_name, records))}

## Curves

The black ring is the default. Blocks are small, so all distances are biased upwards alike; compare
within a line.

{pictures}

[All numbers](never-tuning/measurements.csv), [each pair](never-tuning/comparisons.csv).

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""
