"""What the records of searches say: what was found, and what it gains on fresh seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cascore.evaluation.search import Candidate
from cascore.reproduce.claims import Claim, Statement
from cascore.reproduce.comparisons import Comparison, paired
from cascore.reproduce.never_tuning.work import SCALES, Subject
from cascore.reproduce.units import Records

__all__ = ["Search", "claims", "searches_of"]


class Search(NamedTuple):
    """A record of a search."""

    calls: int
    curve: Mapping[Candidate, Sequence[float]]
    default: Candidate
    best: Candidate
    fresh: Mapping[str, Sequence[float]]

    @property
    def comparison(self) -> Comparison:
        """The best of the curve against the default, on seeds that chose neither."""
        return paired(f"{self.calls} calls", self.fresh["best"], self.fresh["default"])

    @property
    def same(self) -> bool:
        """Whether nothing else was found, and nothing is to compare."""
        return self.best == self.default


def claims(scale_name: str, records: Records) -> list[Claim]:
    """Whether tuning gains anything."""
    found = {
        subject.preset: [each.comparison for each in searches_of(subject, records) if not each.same]
        for subject in SCALES[scale_name]
    }
    statement = "tuning order and κ for the number of calls lowers the distance of the default"
    return [
        Claim(Statement(statement), f"`{preset}`", pairs)
        for preset, pairs in found.items()
        if pairs
    ]


def searches_of(subject: Subject, records: Records) -> list[Search]:
    """One for each number of network calls."""
    return [
        Search(
            calls,
            {_candidate(each): each["values"] for each in result["curve"]},
            _candidate(result["default"]),
            _candidate(result["best"]),
            result["fresh"],
        )
        for calls in subject.calls
        for result in (records[subject.unit(calls)]["result"],)
    ]


def _candidate(found: Mapping[str, Any]) -> Candidate:
    return Candidate(found["order"], found["kappa"])
