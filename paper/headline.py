"""The paper's best numbers, what came since, and the best of our own tables in the same form."""

from collections.abc import Mapping

from paper.authors import published_results
from paper.engine.charts import curves, dots
from paper.engine.compare import by_networks, plain, spread, spread_of
from paper.engine.lab import Lab
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, table
from paper.engine.subject import OBJECTIVES
from paper.tables import SCALES as TABLES
from paper.tables import Scale, lowest
from paper.tables import measure as measure_table

SCALES = {
    scale: {name: TABLES[name][scale] for name in TABLES} for scale in ("tiny", "laptop", "paper")
}


def measure(lab: Lab, scale: Mapping[str, Scale]) -> Rows:
    """The rows of the best cell of each table and objective, in the first extractor."""
    rows = Rows()
    for name, of in scale.items():
        measured, first = measure_table(lab, of), of.extractors[0]
        real, cells = measured.floors[first], measured.rows.where(extractor=first)
        tags = {"table": name, "preset": of.preset, "real": real}
        rows += [
            {**row, **tags, "ratio": row["distance"] / real.mean}
            for objective in OBJECTIVES
            for row in lowest(cells.where(objective=objective))
        ]
    return rows


def page(found: Rows, scale: Mapping[str, Scale]) -> Page:
    """The published numbers and ours, which do not compare."""
    published, best, ours = published_results(), [], Rows()
    for name, rows in found.by("table").items():
        cells = rows.by("objective")
        numbers = {objective: spread(cell) for objective, cell in cells.items()}
        (pair,) = by_networks(name, cells["adversarial"], cells["plain"])
        best.append({"cells": cells, "numbers": numbers, "pair": pair})
        for objective, number in numbers.items():
            row, real = cells[objective][0], cells[objective][0]["real"]
            own = {"distance": number.mean, "deviation": number.plus_minus}
            floor = {"real_images": real.mean, "real_deviation": real.plus_minus}
            ours.append({**row, **own, **floor})
    columns = "table model=preset extractor objective method n_sigma outcome nfe distance deviation"
    return Page(
        words={"published": published.by("result"), "best": best},
        pictures={
            "published": curves(
                Rows({**row, "distance": row["fid"]} for row in published if row["nfe"]),
                "nfe",
                plain,
                label="{result}",
                colour="result",
                style=lambda row: {"fmt": "*", "markersize": 12} if "this" in row["result"] else {},
                panel="CIFAR-10, published",
                columns=1,
                height=5,
                xscale="log",
                xticks=(5, 10, 100, 1000),
                xlabel="network calls for each sample",
                ylabel="Fréchet Inception distance",
            ),
            "best": dots(
                found,
                lambda rows: spread_of(rows.values("ratio")),
                row="{table}: {preset}",
                label="{objective}, {outcome}",
                colour="objective",
                shift="objective",
                bands={},
                panel="the best of each objective",
                axis="Fréchet distance, in units of that of real images",
                scale="linear",
                line=(1, "real images"),
            ),
        },
        tables={"best": table(ours, f"{columns} real_images real_deviation")},
    )


STUDY = Study(
    "the best of each objective, and what came since", "headline.md", SCALES, measure, page
)
