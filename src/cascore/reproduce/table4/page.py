"""The page of Table 4, from its records."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

from cascore.evaluation.metrics import COUNTED, TOTAL
from cascore.experiment.presets import PRESETS
from cascore.metrics import ModeCoverage, published_kl
from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.pages import Page, Table, machine_of, markdown_table
from cascore.reproduce.table4.pictures import SAMPLERS, Coverages, divergences, samples
from cascore.reproduce.table4.values import (
    PRINTED,
    claims,
    claims_of,
    coverage_line,
    coverages_of,
    floor_line,
    groups_with_data,
    honest_kl,
    kl_text,
    printed_kl,
    published_line,
    real_of,
)
from cascore.reproduce.table4.work import (
    MISSING,
    MODES,
    OBJECTIVES,
    OUTCOMES,
    SCALES,
    Group,
    coverage_of,
)
from cascore.reproduce.units import Records

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """Modes covered and divergences, honest and as published, of all data sets that are here."""
    pictures, tables = {}, {}
    for group in groups_with_data(scale_name, records):
        found, real = coverages_of(group, records), real_of(group, records)
        pictures[f"{group.preset}-kl"] = partial(divergences, group, found, real)
        pictures[f"{group.preset}-samples"] = partial(samples, group, records)
        tables[group.preset] = _table(group, records)
    sections = [_section(group, records) for group in SCALES[scale_name]]
    tables["comparisons"] = comparisons_table(claims(scale_name, records))
    return Page(text=_text(scale_name, records, sections), pictures=pictures, tables=tables)


# --- tables and text -----------------------------------------------------------------------------


def _markdown(found: Coverages, real: ModeCoverage) -> str:
    rows = [
        (
            f"{SAMPLERS[sampler]}, {objective}, {outcome}",
            f"{each.covered:,}",
            kl_text(each),
            f"{printed_kl(each):.2f}",
        )
        for (objective, sampler, outcome), each in found.items()
    ]
    rows.append(("real test images", f"{real.covered:,}", kl_text(real), f"{printed_kl(real):.2f}"))
    rows += [
        (f"*the paper, {objective}, raw*", "1,000", f"*{honest_kl(kl):.3f}*", f"{kl:.2f}")
        for objective, kl in PRINTED.items()
    ]
    return markdown_table(("samples", f"modes of {MODES:,}", "KL", "KL as published"), rows)


def _table(group: Group, records: Records) -> Table:
    """Every block, for a CSV file."""
    rows = []
    for objective, sampler, outcome in product(OBJECTIVES, group.samplers, OUTCOMES):
        for block in range(group.blocks):
            result = records[group.unit(objective, sampler, block)]["result"]
            one = coverage_of([result["counts"][outcome]])
            rows.append(
                (
                    *(objective, sampler, result["nfe"], outcome, block, one.count),
                    *(one.covered, one.kl, one.kl_error, one.kl_floor),
                )
            )
    columns = "objective sampler nfe outcome block count covered kl kl_error kl_of_even_draws"
    return Table(columns.split(), rows)


def _blocks_line(group: Group, records: Records, found: Coverages) -> str:
    """How far the blocks of one kind are apart, beside what the standard error expects."""
    if group.blocks < 2:
        return ""
    ratios = []
    for (objective, sampler, outcome), each in found.items():
        kls = [
            coverage_of(
                [records[group.unit(objective, sampler, b)]["result"]["counts"][outcome]]
            ).kl
            for b in range(group.blocks)
        ]
        # A block has 1 / blocks of the pictures, and blocks differ by two errors squared.
        expected = math.sqrt(2 * group.blocks) * each.kl_error
        ratios.append((max(kls) - min(kls)) / expected)
    return (
        f" Two blocks of one kind are at most {max(ratios):.1f} times as far apart as the standard"
        " error\nof their difference says."
    )


def _section(group: Group, records: Records) -> str:
    result = records[group.real]["result"]
    if MISSING in result:
        return f"""## `{group.preset}`

Not measured: the images are not here. `cascore data prepare mnist --source FOLDER`, with the
four official files in FOLDER, puts them in place; then delete the records `{group.preset}.*` and
run the command again."""
    found, real = coverages_of(group, records), real_of(group, records)
    lines = [
        coverage_line(found, real),
        floor_line(found, real),
        published_line(found),
    ]
    network = PRESETS[group.preset].network
    count = group.count * group.blocks
    folder, name = "table4", group.preset
    return f"""## `{group.preset}`

{network.kind} of width {network.width}, {group.steps:,} training steps, {
        PRESETS[group.preset].schedule.levels
    } levels, one training of each network;
{count:,} pictures of each kind in {group.blocks} block(s), counted together.

![Divergences]({folder}/{name}-kl.png)

*KL of the modes; the real images are the test split's, their channels stacked anew to as many
pictures. [SVG]({folder}/{name}-kl.svg), [numbers of each block]({folder}/{name}.csv)*

{_markdown(found, real)}

± is the standard error over the pictures; what another training would change is not in it.{
        _blocks_line(group, records, found)
    }
Even draws of {count:,} pictures have a divergence of {real.kl_floor:.4f} on average, since some
modes are hit more often than others by chance. Each channel is classified by the classifier of
`{group.data.removeprefix("stacked-")}` digits, {
        result["accuracy"]:.1%} of whose answers on held-out images are right.

{chr(10).join(f"- {line}" for line in lines)}

{claims_table(claims_of(group, found))}

Two divergences tie unless the 95 % interval of their difference leaves zero out: 1.96 times the
root of the summed squares of both ±. Raw and denoised pictures of one chain are counted as if they
were others, so their small differences are not seen. One training each: a difference of objectives
is one of two networks. Each pair is in [comparisons.csv]({folder}/comparisons.csv).

![Samples]({folder}/{name}-samples.png)

*Denoised samples, the first of the first block; above them real test images.
[SVG]({folder}/{name}-samples.svg)*"""


def _text(scale_name: str, records: Records, sections: list[str]) -> str:
    body = "\n\n".join(sections)
    measured = [each for each in records.values() if MISSING not in each["result"]]
    return f"""# Table 4: modes of 3-stacked digits

`cascore reproduce table4 --scale {scale_name}` wrote this page from the records in
[table4/records-{scale_name}](table4/records-{scale_name}).

Three digits as the channels of one picture have 1,000 modes. How many do samples reach, how even
are they, and does a discriminator hurt? KL = Σ q log(1000 q) over the modes that are hit, q being
their shares.

**What the paper's KL means.** Its program counts 25,000 raw samples twice and divides by 26,000, so
the shares sum to a = 50/26 and it prints a (log a + KL): {
        published_kl((MODES - 1) / (2 * COUNTED), counted=COUNTED, total=TOTAL):.2f} for a perfect
sampler. Its {PRINTED["plain"]} and {PRINTED["adversarial"]} mean {
        honest_kl(PRINTED["plain"]):.3f} and {
        honest_kl(PRINTED["adversarial"]):.3f}, if that program
made the table: an inference from the published code, not a measurement. "As published" below is
that arithmetic on these samples.

{body}

## What differs from the paper

- {_setting(scale_name)}
- "All levels" is consistent sampling with n_σ = 1 and the paper's step size, which was not tuned:
  η = 0.05 with its 200 levels, κ = 1.20 in units that carry over to other schedules. "20 calls" is
  what `cascore sample --steps 20 --spacing geometric` does.
- The paper's program never scored the denoised samples. Here both outcomes of the same chains are.

{machine_of(measured)}
The seconds of a record include training where the model was not there yet.
"""


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "Data, network and levels are the paper's; the digit classifier is ours."
    return (
        "Networks trained for minutes, not NCSNv2 for 200,000 steps; `stacked-digits` are 8×8\n"
        "  digits, not MNIST."
    )
