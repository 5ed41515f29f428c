"""The paper's best and what came since, as published; the best of our own tables."""

import csv
from importlib import resources
from typing import NamedTuple

from cascore.reproduce.comparisons import Comparison
from cascore.reproduce.spread import Spread, spread_over
from cascore.reproduce.tables.scales import TABLES
from cascore.reproduce.tables.values import (
    OBJECTIVES,
    Key,
    best_key,
    compared,
    floors_of,
    values_of,
)
from cascore.reproduce.tables.work import Cell, Trial
from cascore.reproduce.units import Records, of_study

__all__ = ["NEEDS", "Best", "Published", "best_of_tables", "load_published"]

NEEDS = ("table1", "table2", "table3")
"""Studies whose records the headline is made of."""


class Published(NamedTuple):
    """Fréchet Inception distance on CIFAR-10 as others published it; nfe None where not told."""

    result: str
    fid: float
    nfe: int | None
    source: str


class Best(NamedTuple):
    """The lowest distance of each objective in one of our tables, in its first extractor."""

    table: str
    data: str
    extractor: str
    keys: tuple[Key, Key]
    distances: tuple[Spread, Spread]
    adversarial_lowers: Comparison
    trainings: int
    nfe: tuple[int, int]
    floor: Spread


def load_published() -> list[Published]:
    """The published results, the paper's own first, from the file of the package."""
    file = resources.files("cascore.reproduce").joinpath("published/headline/cifar-10.csv")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    return [
        Published(
            row["result"], float(row["fid"]), int(row["nfe"]) if row["nfe"] else None, row["source"]
        )
        for row in rows
    ]


def best_of_tables(scale_name: str, records: Records) -> list[Best]:
    """One for each table."""
    found = []
    for table in NEEDS:
        scale, own = TABLES[table][scale_name], of_study(records, table)
        values, extractor = values_of(scale, own), scale.extractors[0]
        plain, adversarial = (
            best_key(values, extractor=extractor, objective=each) for each in OBJECTIVES
        )
        keys = (plain, adversarial)
        calls = [
            own[Cell(Trial(preset, 0), key.method, key.n_sigma).unit(0)]["result"]["nfe"]
            for preset, key in zip(scale.presets, keys, strict=True)
        ]
        (pair,) = compared(table, values, lower=adversarial, higher=plain)
        found.append(
            Best(
                table=table,
                data=scale.presets[0],
                extractor=extractor,
                keys=keys,
                distances=(spread_over(values[plain]), spread_over(values[adversarial])),
                adversarial_lowers=pair,
                trainings=scale.trainings,
                nfe=(calls[0], calls[1]),
                floor=floors_of(own)[extractor],
            )
        )
    return found
