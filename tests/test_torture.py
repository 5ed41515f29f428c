"""A little of `make torture`, at another seed each time, which its output names."""

import os
import subprocess
import sys
from pathlib import Path

import cascore

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cascore.__file__).parents[1])}


def test_commands_that_are_killed_raced_and_damaged_lose_nothing():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "torture.py", "--seconds", "12"],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tried = [row.split("|")[2:4] for row in done.stdout.splitlines()[2:]]
    assert tried
    assert all(int(times) == int(survived) > 0 for times, survived in tried)
