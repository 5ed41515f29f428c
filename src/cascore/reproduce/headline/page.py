"""The paper's best numbers, what came since, and the best of our own tables in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from cascore.reproduce.comparisons import Verdict
from cascore.reproduce.floors import like_real
from cascore.reproduce.headline.pictures import calls_and_ratios
from cascore.reproduce.headline.values import Best, Published, best_of_tables, load_published
from cascore.reproduce.pages import Page, Table, markdown_table
from cascore.reproduce.tables.values import OBJECTIVES, Key
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop

__all__ = ["page", "units"]


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """None: everything comes from the tables' records."""
    del scale_name, workshop
    return []


def page(scale_name: str, records: Records) -> Page:
    """The published numbers, ours, and in one sentence each what they say."""
    published, own = load_published(), best_of_tables(scale_name, records)
    return Page(
        text=_text(scale_name, published, own),
        pictures={"best": partial(calls_and_ratios, published, own)},
        tables={"best": _own_table(own)},
    )


def _text(scale_name: str, published: list[Published], own: list[Best]) -> str:
    plain, adversarial, ddpm = published[:3]
    least = min(published, key=lambda each: each.fid)
    quickest = min(
        (each for each in published if each.nfe is not None and each.fid < plain.fid),
        key=lambda each: each.nfe or 0,
    )
    return f"""# The best of each objective

`cascore reproduce headline --scale {scale_name}` wrote this page from published numbers, which come
with the source of cascore (`src/cascore/reproduce/published/headline`), and from the records of
[table1](table1.md), [table2](table2.md) and [table3](table3.md).

**The two scales do not compare.** The first table is Inception distance of 50,000 samples on
CIFAR-10; the second is {_setting(scale_name)}.
A number of ours compares with those of its own row alone.

![Published results, and ours](headline/best.png)

*Left: published results on CIFAR-10. Right: our best, in units of what real images score; whiskers:
two standard deviations. [SVG](headline/best.svg), [numbers](headline/best.csv)*

## The paper's, and since

{markdown_table(("CIFAR-10", "FID", "network calls", "source"), _published_rows(published))}

- The paper's best is {plain.fid:.2f} without and {adversarial.fid:.2f} with the discriminator,
  against {ddpm.fid:.2f} of DDPM.
- The lowest here since then is {least.fid:.2f} ({least.result}). The fewest network calls that
  score below the paper's best are {quickest.nfe} ({quickest.result}, {quickest.fid:.2f}), on a
  better network; the paper's best takes {plain.nfe:,}.

## Ours

{markdown_table(_OWN_COLUMNS, [_own_row(each) for each in own])}

{chr(10).join(_sentence(each) for each in own)}
- ± is the deviation of single measurements. Objectives are compared by the means of their trainings
  (Welch); with one training of each it is two networks, compared seed by seed, and another training
  may say something else. They are told apart where the 95 % interval of the difference leaves zero
  out; of two trainings each that interval is wide.
- The best of eight rows is chosen on the samples that are reported, so it is a little too low for
  both objectives alike.
"""


def _published_rows(published: list[Published]) -> list[tuple[str, ...]]:
    """One for each method, its numbers of network calls beside each other."""
    rows: list[tuple[str, ...]] = []
    for result, group in groupby(published, key=lambda each: each.result):
        each = list(group)
        calls = ["not said" if one.nfe is None else f"{one.nfe:,}" for one in each]
        distances = [f"{one.fid:.2f}" for one in each]
        rows.append((result, " / ".join(distances), " / ".join(calls), each[0].source))
    return rows


_OWN_COLUMNS = ("table", "plain", "by", "adversarial", "by", "real images")


def _own_row(best: Best) -> tuple[str, ...]:
    cells = [
        text
        for key, distance, nfe in zip(best.keys, best.distances, best.nfe, strict=True)
        for text in (distance.text(2), f"{_by(key)}, {nfe:,} calls")
    ]
    return (
        f"[{best.table}]({best.table}.md): `{best.data}`, features of `{best.extractor}`",
        *cells,
        best.floor.text(2),
    )


def _by(key: Key) -> str:
    return f"{key.method.upper()}, n_σ = {key.n_sigma}, {key.outcome}"


_VERDICTS: dict[Verdict, str] = {
    "held": "the adversarial {} is lower, against the paper's headline",
    "tie": "the {}s cannot be told apart",
    "did not hold": "the plain {} is lower, as in the paper's headline",
}


def _sentence(best: Best) -> str:
    plain, adversarial = best.distances
    pair = best.adversarial_lowers
    several = pair.by == "trainings"
    verdict = _VERDICTS[pair.verdict].format("objective" if several else "network")
    known = f"{best.trainings} trainings each" if several else "one training each"
    lower = plain if plain.mean <= adversarial.mean else adversarial
    if like_real(lower.mean, best.floor):
        reach = "where sets of as many real images score"
    elif lower.mean < best.floor.mean:
        reach = "which is below real images: samples nearer to the training set than new data"
    else:
        reach = f"{lower.mean / best.floor.mean:.1f} times the distance of real images"
    return f"- {best.data} ({known}): {verdict}; the lower one is {lower.text(2)}, {reach}."


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "that of 10,000 samples, chosen among eight rows"
    return "the distance of a few hundred small grey images, by small networks"


def _own_table(own: list[Best]) -> Table:
    rows = [
        (
            *(best.table, best.data, best.extractor, objective, key.method, key.n_sigma),
            *(key.outcome, nfe, distance.mean, distance.deviation),
            *(best.floor.mean, best.floor.deviation),
        )
        for best in own
        for objective, key, distance, nfe in zip(
            OBJECTIVES, best.keys, best.distances, best.nfe, strict=True
        )
    ]
    columns = (
        "table model extractor objective method n_sigma outcome nfe distance deviation"
        " real_images real_deviation"
    )
    return Table(columns.split(), rows)
