"""Train, judge and draw in one process for an hour, and watch its memory.

    python tools/soak.py --minutes 60

A network of digits trains with a checkpoint every 10 updates and an evaluation every 20; after
100 updates pictures are drawn from it and judged, and it begins anew. Every minute the resident
memory is printed. It fails if the second half of the rows rises by more than 5 % in all.
"""

import argparse
import contextlib
import io
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from cascore.cli.__main__ import main as cascore

UPDATES = 100
TRAIN = ["--train.steps", f"{UPDATES}", "--train.save-every", "10", "--train.keep-last", "2"]
TRAIN += ["--train.evaluate-every", "20", "--train.evaluate-count", "16"]
TRAIN += ["--network.width", "16", "--train.batch-size", "16"]
GROWTH = 0.05
MINUTE = 60.0  # seconds


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def command(*arguments: str) -> None:
    """Run a command, which has to end well; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            cascore([*arguments, "--device", "cpu"])
        except SystemExit as stopped:
            if stopped.code not in (0, None):
                raise RuntimeError(f"{' '.join(arguments)}: code {stopped.code}") from stopped


def one_round(folder: Path) -> None:
    """A run that is trained, drawn from, judged and deleted."""
    run = str(folder / "run")
    command("train", "digits", "--out", run, *TRAIN)
    command("sample", run, "--out", str(folder / "drawn"), "--count", "16", "--calls", "4")
    command("evaluate", run, "--out", str(folder / "record.json"), "--count", "64", "--calls", "4")
    shutil.rmtree(folder)


def watch(rows: list[float], ended: threading.Event, notes: dict[str, int]) -> None:
    """Print and keep a row a minute until the end."""
    while not ended.wait(MINUTE):
        rows.append(resident())
        row = f"{len(rows)} min: {rows[-1]:.0f} MB, {notes['rounds']} rounds"
        print(row, file=sys.__stdout__, flush=True)  # what commands print is dropped


def growth(rows: list[float]) -> float:
    """How much the second half of the rows rises in all, by the least-squares line, as a share."""
    half = rows[len(rows) // 2 :]
    line = statistics.linear_regression(range(len(half)), half)
    return line.slope * (len(half) - 1) / line.intercept


def main() -> int:
    """Go round for some minutes; 1 if memory grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    end = time.monotonic() + MINUTE * parser.parse_args().minutes
    torch.set_num_threads(1)
    rows, notes, ended = list[float](), {"rounds": 0}, threading.Event()
    watching = threading.Thread(target=watch, args=(rows, ended, notes), daemon=True)
    watching.start()
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < end:
            one_round(Path(name) / "here")
            notes["rounds"] += 1
            if notes["rounds"] == 1:
                print(f"after the first round {resident():.0f} MB", flush=True)
    ended.set()
    if len(rows) < 4:
        print("too short to tell")
        return 0
    updates = UPDATES * notes["rounds"]
    print(
        f"{len(rows)} minutes, {notes['rounds']} rounds, {updates:,} updates: first {rows[0]:.0f},"
        f" largest {max(rows):.0f}, last {rows[-1]:.0f} MB; second half {growth(rows):+.1%}"
    )
    return int(growth(rows) > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
