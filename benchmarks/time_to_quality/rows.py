"""What was measured: rows of a CSV file, tables and a picture of them."""

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from cascore.files import write_text
from cascore.stats import estimate
from paper.engine.charts import new_figure, plain_ticks
from paper.engine.page import write_picture
from paper.engine.rows import csv_text

SHARES = (0.25, 0.5, 1.0)
"""Of the time, after which the average of the weights is kept."""
DISTANCE, ERROR = "Fréchet distance", "error of H"
_LOOKS: Mapping[str, tuple[str, str]] = {
    "cascore": ("#000000", "P"),
    "cascore, EDM's form": ("#0072B2", "o"),
    "cascore, paper's form": ("#56B4E9", "v"),
    "cascore, paper's form, blind": ("#332288", "<"),
    "cascore 0.3": ("#777777", "p"),
    "diffusers' loop": ("#E69F00", "s"),
    "diffusers' loop, our rate": ("#009E73", "D"),
    "diffusers": ("#D55E00", "^"),
}


@dataclass(frozen=True)
class Row:
    """A number of the average of the weights after so many seconds of a training of `minutes`.

    A `DISTANCE` is that of the pictures of a sampler, which is what it is `of`, ± `error`; an
    `ERROR` is of held-out pictures at the level that it is `of`.
    """

    data: str
    minutes: float
    way: str
    seed: int
    seconds: float
    updates: int
    weights: int
    kind: str
    of: str
    pictures: int
    value: float
    error: float = math.nan
    seconds_for_64: float = math.nan

    @property
    def task(self) -> str:
        """What all ways are given alike: the pictures and the time."""
        return f"{self.data}, {self.minutes:g} minutes"

    @property
    def share(self) -> int:
        """The index of its share of the time."""
        return min(
            range(len(SHARES)), key=lambda i: abs(60 * self.minutes * SHARES[i] - self.seconds)
        )


def read(path: Path) -> list[Row]:
    """The rows of a CSV file, none if there is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Row)}
    return [Row(**{name: kinds[name](text) for name, text in line.items()}) for line in lines]


def write(path: Path, rows: Iterable[Row]) -> None:
    """All of them, or the file stays what it was: they took hours."""
    columns = [field.name for field in fields(Row)]
    write_text(path, csv_text((columns, list(map(astuple, rows)))))


Course = Sequence[tuple[float, float]]
"""Seconds and distances."""


def courses(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[list[Row]]]:
    """Distances by task, way and sampler: for each share of the time the rows of all seeds."""
    found: dict[tuple[str, str, str], dict[int, list[Row]]] = {}
    for row in rows:
        if row.kind == DISTANCE:
            found.setdefault((row.task, row.way, row.of), {}).setdefault(row.share, []).append(row)
    return {key: [shares[i] for i in sorted(shares)] for key, shares in found.items()}


def mean_point(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean seconds, and the mean value of the seeds."""
    values = ([row.seconds for row in rows], [row.value for row in rows])
    return statistics.fmean(values[0]), statistics.fmean(values[1])


def seconds_until(distance: float, course: Course) -> float:
    """When a course is down to a distance, straight between its points in logarithms.

    Of the first point at most; infinite where it never is.
    """
    before = None
    for seconds, value in course:
        if value <= distance:
            if before is None:
                return seconds
            part = math.log(before[1] / distance) / math.log(before[1] / value)
            return float(before[0] * (seconds / before[0]) ** part)
        before = seconds, value
    return math.inf


def cell(rows: Sequence[Row]) -> str:
    """The mean of the seeds ± its standard error; of one seed ± that of its pictures."""
    values = [row.value for row in rows]
    error = estimate(values).error if len(rows) > 1 else rows[0].error
    return f"{statistics.fmean(values):.3g}" + ("" if math.isnan(error) else f" ± {error:.2g}")


def distances_table(rows: Sequence[Row]) -> str:
    """A line for each way and sampler: its end, and when it was as good as diffusers' best end."""
    lines = [
        "| data and time | training | sampler | seeds | updates | distance at the end"
        " | seconds until diffusers' best | seconds for 64 pictures |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    found = courses(rows)
    means = {key: [mean_point(at) for at in course] for key, course in found.items()}
    for (task, way, sampler), course in found.items():
        theirs = [
            of[-1][1] for (t, w, _), of in means.items() if t == task and w.startswith("diffusers")
        ]
        until = seconds_until(min(theirs), means[task, way, sampler]) if theirs else math.nan
        end, known = course[-1], bool(theirs) and len(course) > 1
        cells = [
            *(task, way, sampler, str(len(end))),
            f"{statistics.fmean(row.updates for row in end):,.0f}",
            cell(end),
            "" if not known else "never" if math.isinf(until) else f"{until:.0f}",
            f"{statistics.fmean(row.seconds_for_64 for row in end):.2g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def errors_table(rows: Sequence[Row]) -> str:
    """A line for each task and way, a column for each level of noise."""
    errors = [row for row in rows if row.kind == ERROR]
    levels = list(dict.fromkeys(row.of for row in errors))
    lines = [
        f"| data and time | training | {' | '.join(levels)} |",
        "| --- | --- |" + " ---: |" * len(levels),
    ]
    for task, way in dict.fromkeys((row.task, row.way) for row in errors):
        of = [row for row in errors if (row.task, row.way) == (task, way)]
        cells = (cell([row for row in of if row.of == level]) for level in levels)
        lines.append(f"| {task} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_picture(rows: Sequence[Row], path: Path) -> None:
    """Distance against seconds of training, a panel for each task: means, bars over all seeds.

    Of samplers of the end alone there are marks without a line, a star for 1,000 calls.
    """
    found = courses(rows)
    tasks = list(dict.fromkeys(task for task, *_ in found))
    figure, panels = new_figure(len(tasks), height=4.6)
    for panel, task in zip(panels, tasks, strict=True):
        for way, sampler in [key[1:] for key in found if key[0] == task]:
            course, (ink, mark) = found[task, way, sampler], _LOOKS[way]
            points = [mean_point(at) for at in course]
            values = [[row.value for row in at] for at in course]
            below = [mean - min(of) for (_, mean), of in zip(points, values, strict=True)]
            above = [max(of) - mean for (_, mean), of in zip(points, values, strict=True)]
            line = len(points) > 1
            panel.errorbar(
                *zip(*points, strict=True),
                yerr=[below, above],
                color=ink,
                marker=mark if line else "*" if "1000" in sampler else "+",
                label=f"{way}: {sampler}" if line else None,
            )
        panel.set(xscale="log", yscale="log", title=task, xlabel="seconds of training")
        plain_ticks(panel.xaxis)
        plain_ticks(panel.yaxis)
    panels[0].set_ylabel("Fréchet distance without its bias")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    write_picture(path, figure)
