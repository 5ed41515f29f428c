"""Our time beside another's, in turns: `make bench`, or some rows of it.

    python -m benchmarks.speed
    python -m benchmarks.speed noise sampler --out OTHER.json

One thread. Every row is told with its seconds, the ratio and its quartiles over the rounds, and the
machine's load. A group that was timed takes the place of its rows in the file, from which the table
of docs/performance.md is written.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.speed.paired import Pair
from benchmarks.speed.rows import GROUPS
from cascore.files import write_text

FILE, PAGE = Path("benchmarks/data/speed.json"), Path("docs/performance.md")
_START, _END = "<!-- speed: written by `python -m benchmarks.speed` -->", "<!-- end of speed -->"
_HEAD = "| what | ours | beside it | its time | ours / its | aim | 0.3 |"


@dataclass(frozen=True)
class Group:
    """Rows that were timed together, and the machine in words."""

    machine: str
    rows: Sequence[Pair]


Groups = Mapping[str, Group]


def main() -> None:
    """Time, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in GROUPS]
    if unknown:
        sys.exit(f"no rows {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    torch.set_num_threads(1)
    groups = read(arguments.out) if arguments.out.exists() else {}
    for name in arguments.groups or GROUPS:
        rows = []
        for row in GROUPS[name]():
            print(in_words(row), flush=True)
            rows.append(row)
        timed = {**groups, name: Group(machine(), rows)}
        groups = {key: timed[key] for key in GROUPS if key in timed}
        saved = {key: asdict(group) for key, group in groups.items()}
        write_text(arguments.out, json.dumps(saved, indent=1) + "\n")
    if arguments.out == FILE:
        write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), groups))


def machine() -> str:
    """What rows are timed on, in words."""
    lines = Path("/proc/cpuinfo")
    text = lines.read_text(encoding="utf-8") if lines.exists() else ""
    model = next((x.split(":")[1].strip() for x in text.splitlines() if "model name" in x), "")
    return (
        f"{model or platform.processor()} ({torch.backends.cpu.get_cpu_capability()}),"
        f" {os.cpu_count()} cores, one thread,"
        f" torch {torch.__version__}, Python {platform.python_version()}"
    )


def read(path: Path) -> dict[str, Group]:
    """The rows of a file, by group."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Group(group["machine"], [Pair(**row) for row in group["rows"]])
        for name, group in saved.items()
    }


def in_words(row: Pair) -> str:
    """A row of the terminal."""
    mark = "  behind" if row.behind else ""
    return (
        f"{row.what}: {time_text(row.ours)}, {row.peer} {time_text(row.theirs)};"
        f" {ratio_text(row.ratio)} times ({ratio_text(row.low)} to {ratio_text(row.high)},"
        f" {row.rounds} rounds,"
        f" load {row.load:.1f}){mark}"
    )


def table(groups: Groups) -> str:
    """All rows as Markdown; bold where they are behind what was asked of them."""
    lines = [_HEAD, "| --- | ---: | --- | ---: | ---: | ---: | ---: |"]
    for row in (row for group in groups.values() for row in group.rows):
        low, middle, high = (ratio_text(x) for x in (row.low, row.ratio, row.high))
        ratio = f"{middle} ({low} to {high})"
        cells = (
            row.what,
            time_text(row.ours),
            row.peer,
            time_text(row.theirs),
            f"**{ratio}**" if row.behind else ratio,
            "" if row.aim is None else f"{row.aim:.2f}",
            row.before,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machines(groups: Groups) -> str:
    """A line for each machine, with what was timed on it."""
    found: dict[str, list[str]] = {}
    for name, group in groups.items():
        found.setdefault(group.machine, []).append(name)
    return "\n".join(f"- {', '.join(names)}: {machine}" for machine, names in found.items())


def with_table(page: str, groups: Groups) -> str:
    """The page with the table and the machines in their place."""
    head, rest = page.split(_START)
    _, tail = rest.split(_END)
    return f"{head}{_START}\n\n{table(groups)}\n\n{machines(groups)}\n\n{_END}{tail}"


def ratio_text(ratio: float) -> str:
    """Two decimals, or one digit of what is below a tenth."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.1g}"


def time_text(seconds: float) -> str:
    """Seconds with three digits, in a unit that suits them."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    main()
