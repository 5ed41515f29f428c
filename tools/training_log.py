"""Keep what a training told: its settings, its losses as a table, and their curve.

    python tools/training_log.py RUN docs/training/NAME

The table has a row for every 20 steps, the mean of each loss over them; the picture shows the same,
with a running mean of 400 steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cascore.files import write_text

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `paper` is

from paper.engine.charts import COLOURS, new_figure, plain_ticks
from paper.engine.page import write_picture
from paper.engine.rows import csv_text

STRETCH = 20  # steps
SMOOTH = 20  # stretches


def main() -> None:
    """Copy the settings, write the table, draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    lines = (arguments.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = stretches([json.loads(line) for line in lines])
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in ("experiment.json", "data.json"):
        shutil.copy(arguments.run / name, arguments.out / name)
    numbers = [[f"{value:.6g}" for value in row.values()] for row in rows]
    write_text(arguments.out / "losses.csv", csv_text((list(rows[0]), numbers)))
    draw(rows, arguments.out)
    print(f"{len(lines):,} steps in {len(rows):,} rows: {arguments.out}")


def stretches(metrics: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The last step of each stretch with the mean of every loss that it has."""
    rows = []
    for first in range(0, len(metrics), STRETCH):
        part = metrics[first : first + STRETCH]
        means = {
            name: statistics.fmean(step[name] for step in part)
            for name in part[0]
            if name != "step"
        }
        rows.append({"step": part[-1]["step"], **means})
    return rows


def draw(rows: Sequence[Mapping[str, float]], out: Path) -> None:
    """A panel for each loss."""
    names = [name for name in rows[0] if name != "step"]
    figure, panels = new_figure(1, rows=len(names), height=2.6)
    steps = [row["step"] for row in rows]
    for panel, name in zip(panels, names, strict=True):
        values = [row[name] for row in rows]
        smooth = [
            statistics.fmean(values[max(0, i + 1 - SMOOTH) : i + 1]) for i in range(len(values))
        ]
        panel.plot(steps, values, color=COLOURS[0], linewidth=0.7, alpha=0.35)
        panel.plot(steps, smooth, color=COLOURS[0], linewidth=1.8)
        panel.set_ylabel(name)
        panel.set_yscale("log" if min(values) > 0 else "linear")
        plain_ticks(panel.yaxis)
    panels[-1].set_xlabel("training step")
    write_picture(out / "losses.png", figure)


if __name__ == "__main__":
    main()
