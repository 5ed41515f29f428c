"""`cascore reproduce`: the paper's figures and tables, measured and drawn anew."""

import time
from pathlib import Path

from rich.console import Console

from cascore.commands.training import use_threads
from cascore.errors import InputError
from cascore.experiment import build
from cascore.progress import Display
from cascore.reproduce.pages import require_matplotlib
from cascore.reproduce.studies import STUDIES, reproduce, write_claims
from cascore.reproduce.workshop import Workshop

__all__ = ["EVERYTHING", "reproduce_study"]

EVERYTHING = "all"
"""In place of a study's name."""


def reproduce_study(
    name: str,
    *,
    scale: str,
    out: Path,
    runs: Path,
    models: Path,
    device: str,
    threads: int | None,
) -> int:
    """Measure what is missing, draw pictures, tables and the page, and say where they are."""
    use_threads(threads)
    display = Display()
    workshop = Workshop(
        runs=runs / scale, device=build.select_device(device), notify=display.say, models=models
    )
    if name == EVERYTHING:
        return _everything(scale, out, workshop)
    display.say(f"{name} at scale {scale}: {STUDIES[name].title}")
    _print(reproduce(name, scale=scale, out=out, workshop=workshop))
    return 0


def _everything(scale: str, out: Path, workshop: Workshop) -> int:
    """Every study in order, as far as it can be done here; then the claims of all of them."""
    require_matplotlib()
    started = time.perf_counter()
    pages: dict[str, Path] = {}
    left: dict[str, InputError] = {}
    for number, (name, study) in enumerate(STUDIES.items(), start=1):
        workshop.notify(f"{name} at scale {scale} ({number} of {len(STUDIES)}): {study.title}")
        try:
            pages[name] = reproduce(name, scale=scale, out=out, workshop=workshop)
        except InputError as error:
            workshop.notify(f"{name} is left out: {error}")
            left[name] = error
    claims = write_claims(list(pages), scale=scale, out=out, workshop=workshop)
    for page in (*pages.values(), claims):
        _print(page)
    for name, reason in left.items():
        workshop.notify(f"left out: {name}: {reason}")
    workshop.notify(
        f"{len(pages) + 1} pages in {time.perf_counter() - started:,.0f} s;"
        f" {len(left)} of {len(STUDIES)} studies left out"
    )
    return 2 if left else 0


def _print(page: Path) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(page)
