"""The paper's best numbers, what came since, and the best of our own tables in the same form."""

from collections.abc import Mapping

from paper.authors import published_results
from paper.engine.charts import COLOURS, GREY, Curve, Panel, curves, dots
from paper.engine.compare import by_networks, spread_of
from paper.engine.lab import Lab
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, table
from paper.engine.subject import OBJECTIVES
from paper.tables import SCALES as TABLES
from paper.tables import Scale
from paper.tables import measure as measure_table

SCALES = {
    scale: {name: TABLES[name][scale] for name in TABLES} for scale in ("tiny", "laptop", "paper")
}


def measure(lab: Lab, scale: Mapping[str, Scale]) -> Rows:
    """The rows of the best cell of each table and objective, in the first extractor."""
    rows = Rows()
    for name, of in scale.items():
        measured, first = measure_table(lab, of), of.extractors[0]
        real = measured.floors[first]
        tags = {"table": name, "preset": of.preset, "real": real}
        rows += [
            {**row, **tags, "ratio": row["distance"] / real.mean}
            for objective in OBJECTIVES
            for row in measured.lowest(extractor=first, objective=objective)
        ]
    return rows


def page(found: Rows, scale: Mapping[str, Scale]) -> Page:
    """The published numbers and ours, which do not compare."""
    published, best = published_results(), []
    for name, rows in found.by("table").items():
        cells = rows.by("objective")
        numbers = {objective: spread_of(of.values()) for objective, of in cells.items()}
        (pair,) = by_networks(name, cells["adversarial"], cells["plain"])
        lowest = min(numbers.values(), key=lambda number: number.mean)
        best.append({"cells": cells, "numbers": numbers, "pair": pair, "lowest": lowest})
    ours = [
        {
            **cell[0],
            "distance": number.mean,
            "deviation": number.plus_minus,
            "real_images": cell[0]["real"].mean,
            "real_deviation": cell[0]["real"].plus_minus,
        }
        for cell in found.by("table", "objective").values()
        for number in [spread_of(cell.values())]
    ]
    columns = "table model=preset extractor objective method n_sigma outcome nfe distance deviation"
    return Page(
        words={
            "published": published.by("result"),
            "least": min(published, key=lambda row: row["fid"]),
            "quickest": min(
                (row for row in published if row["nfe"] and row["fid"] < published[0]["fid"]),
                key=lambda row: row["nfe"],
            ),
            "best": best,
        },
        pictures={
            "published": lambda: curves([_published(published)], columns=1, legend=2, height=5),
            "best": lambda: dots(
                found,
                lambda rows: spread_of(rows.values("ratio")),
                row="{table}: {preset}",
                label="{objective}, {outcome}",
                colour=lambda row: COLOURS[OBJECTIVES.index(row["objective"])],
                shift="objective",
                bands={},
                panel="the best of each objective",
                axis="Fréchet distance, in units of that of real images",
                logarithmic=False,
                line=(1, "real images"),
            ),
        },
        tables={"best": table(ours, f"{columns} real_images real_deviation")},
    )


def _published(published: Rows) -> Panel:
    """Distance against network calls of what is published."""
    told = Rows(row for row in published if row["nfe"]).by("result")
    drawn = []
    for (name, rows), colour in zip(told.items(), (*COLOURS, GREY, "#b9b9b9"), strict=True):
        form, size = ("*", 12.0) if name.startswith("this paper") else ("o-", 4.0)
        drawn.append(Curve(rows.values("nfe"), rows.values("fid"), name, colour, form, size=size))
    return Panel(
        title="CIFAR-10, published",
        curves=drawn,
        x="network calls for each sample",
        y="Fréchet Inception distance",
        log="xy",
        xticks=(5, 10, 100, 1000),
    )


STUDY = Study(
    "the best of each objective, and what came since",
    SCALES,
    measure,
    page,
    lambda found, scale: (),  # those of the tables
    "headline.md",
)
