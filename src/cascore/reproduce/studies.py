"""What can be reproduced, by name, and the one way in which all of it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cascore.errors import InputError
from cascore.reproduce import (
    conditional,
    conditional_page,
    figure1,
    figure1_page,
    figure2,
    figure2_page,
    figure3,
    figure3_page,
    gan_losses,
    gan_losses_page,
    initialisation,
    initialisation_page,
    table4,
    table4_page,
)
from cascore.reproduce.pages import Page, require_matplotlib, write_page
from cascore.reproduce.units import Records, Unit, run_units
from cascore.reproduce.workshop import Workshop

__all__ = ["SCALES", "STUDIES", "Study", "reproduce"]

SCALES = ("tiny", "laptop", "paper")


@dataclass(frozen=True)
class Study:
    """One figure or table.

    Attributes:
        title: in a few words.
        units: by the name of a scale, the work in order.
        page: by the name of a scale, the page from the records of all units.
    """

    title: str
    units: Callable[[str, Workshop], Sequence[Unit]]
    page: Callable[[str, Records], Page]


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure1": Study("the noise of ideal chains", figure1.units, figure1_page.page),
        "figure2": Study("points in the plane", figure2.units, figure2_page.page),
        "figure3": Study("distance against step size", figure3.units, figure3_page.page),
        "table4": Study("modes of 3-stacked digits", table4.units, table4_page.page),
        "gan-losses": Study("the GAN losses of the paper", gan_losses.units, gan_losses_page.page),
        "initialisation": Study(
            "how chains start and how they end", initialisation.units, initialisation_page.page
        ),
        "conditional": Study(
            "networks that see the noise level", conditional.units, conditional_page.page
        ),
    }
)


def reproduce(name: str, *, scale: str, out: Path, workshop: Workshop) -> Path:
    """Measure what has no record yet, then draw everything from the records; the page's path.

    Args:
        name: one of STUDIES.
        scale: one of SCALES.
        out: gets NAME.md and NAME/ with pictures, tables and records-SCALE/.
        workshop: where to compute.

    Raises:
        InputError: an unknown name or scale, or records of other settings.
        MissingExtraError: nothing to draw with.
    """
    if name not in STUDIES or scale not in SCALES:
        raise InputError(
            f"cannot reproduce {name!r} at scale {scale!r}: known are {', '.join(STUDIES)} at"
            f" {', '.join(SCALES)}"
        )
    require_matplotlib()
    study = STUDIES[name]
    records = run_units(
        study.units(scale, workshop), out / name / f"records-{scale}", notify=workshop.notify
    )
    return write_page(study.page(scale, records), out, study=name)
