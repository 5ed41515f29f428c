"""Two distances against each other: what is paired, and what counts as a tie."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cascore.reproduce.spread import Estimate, Runs, Spread, spread_of
from cascore.stats import Estimate as Difference
from cascore.stats import estimate, independent_difference, paired_difference, verdict

__all__ = [
    "COMPARISONS",
    "By",
    "Comparison",
    "Verdict",
    "between_trainings",
    "comparison_rows",
    "estimated",
    "independent",
    "paired",
    "within_trainings",
]

Verdict = Literal["held", "tie", "did not hold"]
By = Literal["pairs", "trainings", "errors", "logarithms"]


@dataclass(frozen=True)
class Comparison:
    """Two distances, of which a statement says that one is lower.

    Attributes:
        where: what else is the same in both, in a few words.
        lower: the one that is said to be lower.
        higher: the other.
        difference: higher less lower, which decides.
        by: what it was taken from: pairs with the same seeds, means of trainings, two numbers with
            known errors, or logarithms of means of trainings.
    """

    where: str
    lower: Spread | Estimate
    higher: Spread | Estimate
    difference: Difference
    by: By

    @property
    def verdict(self) -> Verdict:
        """A tie, unless the 95 % interval of the difference leaves zero out."""
        words: dict[str, Verdict] = {"tie": "tie", "better": "held", "worse": "did not hold"}
        return words[verdict(self.difference, better="higher")]


def paired(where: str, lower: Sequence[float], higher: Sequence[float]) -> Comparison:
    """Of measurements with the same seeds, whose common noise drops out of each difference."""
    found = paired_difference(higher, lower)
    return Comparison(where, spread_of(lower), spread_of(higher), found, "pairs")


def independent(where: str, lower: Sequence[float], higher: Sequence[float]) -> Comparison:
    """Of trainings: not paired. Seeds that both share are ignored, which at worst makes ties."""
    found = independent_difference(estimate(higher), estimate(lower))
    return Comparison(where, spread_of(lower), spread_of(higher), found, "trainings")


def estimated(where: str, lower: Estimate, higher: Estimate) -> Comparison:
    """Of two numbers with errors over many pictures: common noise, if any, makes more ties."""
    found = independent_difference(
        Difference(higher.mean, higher.error), Difference(lower.mean, lower.error)
    )
    return Comparison(where, lower, higher, found, "errors")


def within_trainings(where: str, lower: Runs, higher: Runs) -> list[Comparison]:
    """Two ways of sampling, on each network by itself, paired by sampling seed."""
    both = list(zip(lower, higher, strict=True))
    return [
        paired(f"{where}, training {training}" if len(both) > 1 else where, *runs)
        for training, runs in enumerate(both)
    ]


def between_trainings(where: str, lower: Runs, higher: Runs) -> Comparison:
    """Two ways of training: the means of their networks are the measurements.

    With one network of each kind nothing is known of trainings. Then it is the two networks that
    are compared, paired by sampling seed. One against several is always a tie.
    """
    if len(lower) == len(higher) == 1:
        return paired(f"{where}, one training each", lower[0], higher[0])
    return independent(
        where,
        [statistics.fmean(values) for values in lower],
        [statistics.fmean(values) for values in higher],
    )


COMPARISONS = (
    *("lower", "lower_plus_minus", "higher", "higher_plus_minus"),
    *("difference", "standard_error", "degrees_of_freedom", "margin_95", "compared_by", "verdict"),
)
"""The columns of `comparison_rows`."""


def comparison_rows(comparisons: Sequence[Comparison]) -> list[tuple[object, ...]]:
    """Both sides, their difference and what it says, for a CSV file."""
    return [
        (
            *(each.lower.mean, each.lower.plus_minus),
            *(each.higher.mean, each.higher.plus_minus),
            *(each.difference.mean, each.difference.error),
            *(each.difference.freedom, each.difference.margin, each.by, each.verdict),
        )
        for each in comparisons
    ]
