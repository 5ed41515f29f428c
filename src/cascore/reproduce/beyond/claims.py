"""What `beyond` says of the default against the paper's best, and of the last step."""

from collections.abc import Iterable, Sequence
from itertools import product

from cascore.experiments.config import Sampler
from cascore.reproduce.beyond.methods import DEFAULT, METHODS, SCALES, Subject
from cascore.reproduce.beyond.values import Key, Measured, distances_of, measured_of, paper_best
from cascore.reproduce.beyond.work import Cell, cells
from cascore.reproduce.claims import Claim, Statement, denoising_lowers
from cascore.reproduce.comparisons import estimated, paired
from cascore.reproduce.tuning import Method
from cascore.reproduce.units import Records

__all__ = ["claims", "default_claims", "denoising_claims"]

_FEW = (8, 12, 20)
"""Network calls of the default that are put against the paper's best."""


def claims(scale_name: str, records: Records) -> list[Claim]:
    """The default against the paper's best, and denoised samples against raw ones."""
    subjects = SCALES[scale_name]
    return [
        *default_claims(subjects, measured_of(scale_name, records)),
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


def denoising_claims(subjects: Sequence[Subject], records: Records) -> list[Claim]:
    """Raw and denoised samples of the same chains, over all settings of our samplers."""
    return _filled(
        Claim(
            denoising_lowers(method),
            f"`{extractor}`",
            [
                paired(
                    f"{subject.preset}, {METHODS[cell.method].label}, {cell.calls} calls",
                    distances_of(subject, records, Key(cell, extractor, "denoised")),
                    distances_of(subject, records, Key(cell, extractor, "raw")),
                )
                for subject in subjects
                if extractor in subject.extractors
                for cell in _chains(subject, method, records)
            ],
        )
        for method, extractor in product(_METHODS, _extractors(subjects))
    )


_METHODS: tuple[Method, Method] = ("als", "cas")


def _chains(subject: Subject, method: Method, records: Records) -> list[Cell]:
    """The cells of one of our samplers; a choice that is a method of its own counts once."""
    found: dict[tuple[str, int], Cell] = {}
    for cell in cells(subject):
        if _method_of(cell) == method:
            choice = records[cell.unit(0)]["result"]["choice"]
            found.setdefault((choice, cell.calls), cell)
    return list(found.values())


def _method_of(cell: Cell) -> Method | None:
    """None for a scheduler of diffusers, which is not ours."""
    choice = METHODS[cell.method].choices[0]
    return choice.method if isinstance(choice, Sampler) else None


def _extractors(subjects: Sequence[Subject]) -> list[str]:
    return list(dict.fromkeys(name for each in subjects for name in each.extractors))


def _filled(found: Iterable[Claim]) -> list[Claim]:
    """Those that anything was measured for."""
    return [claim for claim in found if claim.comparisons]
