"""`cascore reproduce`: the paper's figures, measured and drawn anew."""

from pathlib import Path

from rich.console import Console

from cascore.commands.training import use_threads
from cascore.console import Display
from cascore.experiments import build
from cascore.reproduce.studies import STUDIES, reproduce
from cascore.reproduce.workshop import Workshop

__all__ = ["reproduce_study"]


def reproduce_study(
    name: str, *, scale: str, out: Path, runs: Path, device: str, threads: int | None
) -> int:
    """Measure what is missing, draw pictures, tables and the page, and say where they are."""
    use_threads(threads)
    display = Display()
    workshop = Workshop(runs=runs / scale, device=build.select_device(device), notify=display.say)
    display.say(f"{name} at scale {scale}: {STUDIES[name].title}")
    page = reproduce(name, scale=scale, out=out, workshop=workshop)
    Console(soft_wrap=True, highlight=False, markup=False).print(page)
    return 0
