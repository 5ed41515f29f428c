"""The paper's best numbers, what came since, and the best of our own tables in the same form."""

from collections.abc import Mapping

from paper.authors import published_results
from paper.engine.charts import curves, dots
from paper.engine.claims import by_networks, plain, spread
from paper.engine.lab import OBJECTIVES, Lab
from paper.engine.page import Page, Plan, Study
from paper.engine.rows import Rows
from paper.tables import SCALES as TABLES
from paper.tables import Scale, lowest
from paper.tables import measure as measure_table

PLAN = Plan("headline")
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
        for objective in OBJECTIVES:
            rows += [{**row, **tags} for row in lowest(cells.where(objective=objective))]
    return rows


def page(results: Rows, scale: Mapping[str, Scale]) -> Page:
    """The published numbers and ours, which do not compare."""
    published, best, ours = published_results(), [], Rows()
    for name, rows in results.by("table").items():
        cells = rows.by("objective")
        numbers = {objective: spread(cell) for objective, cell in cells.items()}
        (pair,) = by_networks(name, cells["adversarial"], cells["plain"])
        best.append({"cells": cells, "numbers": numbers, "pair": pair})
        for objective, number in numbers.items():
            row, real = cells[objective][0], cells[objective][0]["real"]
            lowest_of = {"distance": number.mean, "deviation": number.plus_minus}
            floor = {"real_images": real.mean, "real_deviation": real.plus_minus}
            ours.append({**row, **lowest_of, **floor})
    star = {"fmt": "*", "markersize": 12}
    drawn = Rows(
        {**row, "distance": row["fid"], "style": star if "this paper" in row["result"] else {}}
        for row in published
        if row["nfe"]
    )
    ratios = Rows({**row, "distance": row["distance"] / row["real"].mean} for row in results)
    pictures = {
        "published": curves(drawn, plain, **PLAN.look("published")),
        "best": dots(ratios, bands={}, **PLAN.look("best")),
    }
    words = {"published": published.by("result"), "best": best}
    return Page(words, pictures, PLAN.tables(best=ours))


STUDY = Study(
    "the best of each objective, and what came since", "headline.md", SCALES, measure, page
)
