"""What can be reproduced, by name, and the one way in which all of it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from cascore.errors import InputError
from cascore.reproduce import (
    beyond,
    conditional,
    figure1,
    figure2,
    figure3,
    gan_losses,
    headline,
    initialisation,
    never_tuning,
    table4,
    tables,
)
from cascore.reproduce.claims import claims_page
from cascore.reproduce.pages import Page, require_matplotlib, write_page
from cascore.reproduce.study import Study
from cascore.reproduce.units import Record, Records, run_units
from cascore.reproduce.workshop import Workshop

__all__ = [
    "CLAIMS",
    "SCALES",
    "STUDIES",
    "gather",
    "gather_claims",
    "reproduce",
    "write_claims",
]

SCALES = ("tiny", "laptop", "paper")
CLAIMS = "claims"
"""The name of the page that all studies share."""

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure1": figure1.STUDY,
        "figure2": figure2.STUDY,
        "figure3": figure3.STUDY,
        **tables.STUDIES,
        "table4": table4.STUDY,
        "headline": headline.STUDY,
        "initialisation": initialisation.STUDY,
        "gan-losses": gan_losses.STUDY,
        "conditional": conditional.STUDY,
        "beyond": beyond.STUDY,
        "never-tuning": never_tuning.STUDY,
    }
)
"""In the order of `cascore reproduce all`."""


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
    records = gather(name, scale=scale, out=out, workshop=workshop)
    return write_page(STUDIES[name].page(scale, records), out, study=name)


def gather(name: str, *, scale: str, out: Path, workshop: Workshop) -> Records:
    """Measure what has no record yet; the records of a study and of those that it needs."""
    study = STUDIES[name]
    found: dict[str, Record] = {}
    for other in study.needs:
        try:
            records = gather(other, scale=scale, out=out, workshop=workshop)
        except InputError as error:
            raise InputError(f"{name} is made of the records of {other}: {error}") from None
        found |= {f"{other}/{unit}": record for unit, record in records.items()}
    units, folder = study.units(scale, workshop), _folder(name, scale, out)
    return found | run_units(units, folder, notify=workshop.notify)


def write_claims(names: Sequence[str], *, scale: str, out: Path, workshop: Workshop) -> Path:
    """Write OUT/claims.md; its path. Arguments as for `gather_claims`."""
    page = gather_claims(names, scale=scale, out=out, workshop=workshop)
    return write_page(page, out, study=CLAIMS)


def gather_claims(names: Sequence[str], *, scale: str, out: Path, workshop: Workshop) -> Page:
    """The page of claims, from the records of the studies that claim something.

    Args:
        names: of the studies, all of which have their records.
        scale: one of SCALES.
        out: where their records are.
        workshop: as for `reproduce`.
    """
    found = {
        name: claims(scale, gather(name, scale=scale, out=out, workshop=workshop))
        for name in names
        if (claims := STUDIES[name].claims) is not None
    }
    return claims_page(scale, found)


def _folder(name: str, scale: str, out: Path) -> Path:
    return out / name / f"records-{scale}"
