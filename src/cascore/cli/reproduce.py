"""`cascore reproduce`: the paper's figures and tables, measured and drawn anew."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.cli.common import Device, plain_console
from cascore.errors import InputError
from cascore.progress import Display

if TYPE_CHECKING:
    from cascore.reproduce.workshop import Workshop

EVERYTHING = "all"
"""In place of a study's name."""


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Measure a figure or table of the paper anew: pictures, tables, records and a page.

    Example: cascore reproduce figure1 --scale laptop

    What has a record is not measured again, so the same command goes on after an interruption, and
    with --out docs/results it redraws the results that come with the source.
    """

    name: tyro.conf.Positional[
        Literal[
            "figure1",
            "figure2",
            "figure3",
            "table1",
            "table2",
            "table3",
            "table4",
            "headline",
            "initialisation",
            "gan-losses",
            "conditional",
            "beyond",
            "never-tuning",
            "all",
        ]
    ]
    """What to reproduce; all: every one of them, and a page of the paper's claims."""
    scale: Literal["tiny", "laptop", "paper"] = "laptop"
    """tiny: seconds, a trial of the program; laptop: minutes to an hour; paper: wants a GPU."""
    out: Path = Path("results")
    """Folder of the page NAME.md, and of NAME/ with its pictures, tables and records."""
    runs: Path = Path("runs/reproduce")
    """Folder of the models that are trained for it."""
    models: Path = Path("models")
    """Folder of model folders (`cascore convert`) that are taken where they are of the very
    training that is wanted; so are models that come with cascore."""
    device: Device = "auto"
    """Where to compute."""
    threads: int | None = 1
    """CPU threads; the records of the laptop scale were made with 1."""

    def run(self, typed: str) -> int:
        """Measure what is missing, draw pictures, tables and the page, and say where they are."""
        from cascore.experiment.build import select_device, use_threads
        from cascore.reproduce.studies import STUDIES, reproduce
        from cascore.reproduce.workshop import Workshop

        use_threads(self.threads)
        display = Display()
        workshop = Workshop(
            runs=self.runs / self.scale,
            device=select_device(self.device),
            notify=display.say,
            models=self.models,
        )
        if self.name == EVERYTHING:
            return reproduce_everything(self.scale, self.out, workshop)
        display.say(f"{self.name} at scale {self.scale}: {STUDIES[self.name].title}")
        page = reproduce(self.name, scale=self.scale, out=self.out, workshop=workshop)
        plain_console().print(page)
        return 0


def reproduce_everything(scale: str, out: Path, workshop: "Workshop") -> int:
    """Every study in order, as far as it can be done here; then the claims of all of them."""
    from cascore.reproduce.pages import require_matplotlib
    from cascore.reproduce.studies import STUDIES, reproduce, write_claims

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
        plain_console().print(page)
    for name, reason in left.items():
        workshop.notify(f"left out: {name}: {reason}")
    workshop.notify(
        f"{len(pages) + 1} pages in {time.perf_counter() - started:,.0f} s;"
        f" {len(left)} of {len(STUDIES)} studies left out"
    )
    return 2 if left else 0
