"""What can be reproduced, by name, and the one way in which all of it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from cascore.errors import InputError
from cascore.reproduce import (
    beyond,
    beyond_claims,
    beyond_page,
    conditional,
    conditional_page,
    conditional_values,
    figure1,
    figure1_page,
    figure2,
    figure2_page,
    figure3,
    figure3_page,
    gan_losses,
    gan_losses_page,
    headline,
    initialisation,
    initialisation_page,
    initialisation_values,
    never_tuning,
    never_tuning_page,
    table4,
    table4_page,
    table4_values,
    table_page,
    table_values,
    tables,
)
from cascore.reproduce.claims import Claim, claims_page
from cascore.reproduce.pages import Page, require_matplotlib, write_page
from cascore.reproduce.units import Record, Records, Unit, run_units
from cascore.reproduce.workshop import Workshop

__all__ = ["CLAIMS", "SCALES", "STUDIES", "Study", "gather", "reproduce", "write_claims"]

SCALES = ("tiny", "laptop", "paper")
CLAIMS = "claims"
"""The name of the page that all studies share."""


@dataclass(frozen=True)
class Study:
    """One figure or table.

    Attributes:
        title: in a few words.
        units: by the name of a scale, the work in order.
        page: by the name of a scale, the page from the records of all units.
        claims: by the name of a scale, what the paper claims and these records say; None if it
            claims nothing that a comparison decides.
        needs: other studies whose records the page is made of, each under STUDY/UNIT; they are
            measured first.
    """

    title: str
    units: Callable[[str, Workshop], Sequence[Unit]]
    page: Callable[[str, Records], Page]
    claims: Callable[[str, Records], Sequence[Claim]] | None = None
    needs: tuple[str, ...] = ()


def _table(name: str, title: str) -> Study:
    return Study(
        title,
        partial(tables.units, name),
        partial(table_page.page, name),
        partial(table_values.claims, name),
    )


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure1": Study("the noise of ideal chains", figure1.units, figure1_page.page),
        "figure2": Study(
            "points in the plane", figure2.units, figure2_page.page, figure2_page.claims
        ),
        "figure3": Study(
            "distance against step size", figure3.units, figure3_page.page, figure3_page.claims
        ),
        "table1": _table("table1", "sampling, n_sigma, denoising and the objective"),
        "table2": _table("table2", "the same on a second data set"),
        "table3": _table("table3", "the same with a second network"),
        "table4": Study(
            "modes of 3-stacked digits", table4.units, table4_page.page, table4_values.claims
        ),
        "headline": Study(
            "the best of each objective, and what came since",
            headline.units,
            headline.page,
            needs=headline.NEEDS,
        ),
        "initialisation": Study(
            "how chains start and how they end",
            initialisation.units,
            initialisation_page.page,
            initialisation_values.claims,
        ),
        "gan-losses": Study(
            "the GAN losses of the paper",
            gan_losses.units,
            gan_losses_page.page,
            gan_losses_page.claims,
        ),
        "conditional": Study(
            "networks that see the noise level",
            conditional.units,
            conditional_page.page,
            conditional_values.claims,
        ),
        "beyond": Study(
            "quality against network calls, and other samplers",
            beyond.units,
            beyond_page.page,
            beyond_claims.claims,
        ),
        "never-tuning": Study(
            "what never tuning costs",
            never_tuning.units,
            never_tuning_page.page,
            never_tuning_page.claims,
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
    """Write OUT/claims.md from the records of studies that claim something; its path.

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
    return write_page(claims_page(scale, found), out, study=CLAIMS)


def _folder(name: str, scale: str, out: Path) -> Path:
    return out / name / f"records-{scale}"
