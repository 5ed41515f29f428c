"""What `beyond` says of the default against the paper's best, and of the last step."""

from collections.abc import Iterable, Sequence
from itertools import product

from cascore.reproduce.beyond.methods import DEFAULT, GEOMETRIC, METHODS, SCALES, Subject
from cascore.reproduce.beyond.values import Key, Measured, distances_of, measured_of, paper_best
from cascore.reproduce.beyond.work import Cell, cells
from cascore.reproduce.claims import Claim, Statement
from cascore.reproduce.comparisons import estimated, paired
from cascore.reproduce.sampler import Sampler
from cascore.reproduce.units import Records

__all__ = ["claims", "default_claims", "denoising_claims", "levels_claims"]

_FEW = (8, 12, 20)
"""Network calls of the default that are put against the paper's best."""


def claims(scale_name: str, records: Records) -> list[Claim]:
    """The default against the paper's best and its levels, and denoised samples against raw."""
    subjects, measured = SCALES[scale_name], measured_of(scale_name, records)
    return [
        *default_claims(subjects, measured),
        *levels_claims(subjects, measured),
        *denoising_claims(subjects, records),
    ]


def default_claims(subjects: Sequence[Subject], measured: Measured) -> list[Claim]:
    """The default at few calls against the paper's best sampling, both denoised."""
    return _filled(
        Claim(
            Statement(
                f"the default at {calls} calls has a lower distance than the paper's best sampling"
            ),
            f"`{extractor}`",
            [
                estimated(
                    subject.preset,
                    measured[Key(Cell(subject.preset, DEFAULT, calls), extractor, "denoised")],
                    paper_best(subject, measured, extractor)[1],
                )
                for subject in subjects
                if calls in subject.plan[DEFAULT] and extractor in subject.extractors
            ],
        )
        for calls, extractor in product(_FEW, _extractors(subjects))
    )


def levels_claims(subjects: Sequence[Subject], measured: Measured) -> list[Claim]:
    """The default against the same sampler at geometric levels, both denoised."""
    return _filled(
        Claim(
            Statement("centred levels lower the distance of order 2, against geometric ones"),
            f"`{extractor}`",
            [
                estimated(
                    f"{subject.preset}, {calls} calls",
                    *(
                        measured[Key(Cell(subject.preset, method, calls), extractor, "denoised")]
                        for method in (DEFAULT, GEOMETRIC)
                    ),
                )
                for subject in subjects
                if extractor in subject.extractors
                for calls in subject.plan[DEFAULT]
                if calls in subject.plan.get(GEOMETRIC, ())
            ],
        )
        for extractor in _extractors(subjects)
    )


def denoising_claims(subjects: Sequence[Subject], records: Records) -> list[Claim]:
    """Raw and denoised samples of the same chains, over our samplers with fewer than all levels.

    Chains of all levels are those of the paper's tables, which count them.
    """
    return _filled(
        Claim(
            Statement("denoising lowers the distance of chains of few calls"),
            f"`{extractor}`",
            [
                paired(
                    f"{subject.preset}, {METHODS[cell.method].label}, {cell.calls} calls",
                    distances_of(subject, records, Key(cell, extractor, "denoised")),
                    distances_of(subject, records, Key(cell, extractor, "raw")),
                )
                for subject in subjects
                if extractor in subject.extractors
                for cell in _chains(subject, records)
            ],
        )
        for extractor in _extractors(subjects)
    )


def _chains(subject: Subject, records: Records) -> list[Cell]:
    """Cells of few calls by our samplers; a choice that is a method of its own counts once."""
    found: dict[tuple[str, int], Cell] = {}
    for cell in cells(subject):
        ends_apart = all(
            isinstance(choice, Sampler) and choice.eta != 1  # its last step is denoising itself
            for choice in METHODS[cell.method].choices
        )
        if cell.planned is not None and ends_apart:
            choice = records[cell.unit(0)]["result"]["choice"]
            found.setdefault((choice, cell.calls), cell)
    return list(found.values())


def _extractors(subjects: Sequence[Subject]) -> list[str]:
    return list(dict.fromkeys(name for each in subjects for name in each.extractors))


def _filled(found: Iterable[Claim]) -> list[Claim]:
    """Those that anything was measured for."""
    return [claim for claim in found if claim.comparisons]
