"""Means with their errors, their differences, the one rule of a tie, and bounds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cascore.errors import InputError

_QUANTILE, _ONE_SIDED = 0.975, 0.95
"""Quantiles of Student's t: chance alone passes in one of twenty, half of them each way; or all."""
_FARTHEST = 1e6  # a ratio that has no bound

Better = Literal["lower", "higher"]
"""Which way of a number is the better one."""

Verdict = Literal["better", "worse", "tie"]

Within = Literal["shown", "refuted", "open"]
"""Of a statement that something is at most so much: the data show it, its contrary, or neither."""


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known of it.

    Attributes:
        mean: The estimate.
        error: Its standard error; nan where nothing is known of it.
        freedom: Degrees of freedom behind the error; infinite where the error is known.
    """

    mean: float
    error: float
    freedom: float = math.inf

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval around the mean (Student); nan if unknown."""
        return _student(_QUANTILE, self.freedom) * self.error

    @property
    def bounds(self) -> tuple[float, float]:
        """A lower and an upper bound, each by itself with 95 % confidence (one-sided, Student)."""
        reach = _student(_ONE_SIDED, self.freedom) * self.error
        return self.mean - reach, self.mean + reach


def _student(quantile: float, freedom: float) -> float:
    from scipy.special import stdtrit  # on demand, for programs that only print help

    return float(stdtrit(freedom, quantile))


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one or more finite values, with the error of their scatter; nan for one."""
    if not all(map(math.isfinite, values)):
        raise InputError(f"values that are not finite have no mean to compare: {list(values)}")
    count = len(values)
    error = statistics.stdev(values) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(statistics.fmean(values), error, count - 1)


def of_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """The mean of values in groups, whose error is never below that of the scatter of the groups.

    The error is that of all values, or of the means of the groups with their degrees of freedom
    where these scatter by more: what one group has in common, such as a seed, is then in it. The
    groups have as many values each.
    """
    if len({len(group) for group in groups}) != 1:
        raise InputError(f"groups of {[len(group) for group in groups]} values are not alike")
    single = estimate([value for group in groups for value in group])
    means = estimate([statistics.fmean(group) for group in groups])
    return means if means.error > single.error else single


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of a - b, measured in pairs: what both share, such as their noise, drops out."""
    if len(a) != len(b):
        raise InputError(f"pairs take as many values on both sides, got {len(a)} and {len(b)}")
    return estimate([x - y for x, y in zip(a, b, strict=True)])


def independent_difference(a: Estimate, b: Estimate) -> Estimate:
    """A - b of means that share nothing and may vary unequally (Welch 1947).

    Where both errors are known, their degrees of freedom are infinite, and so are those of the
    difference. An error that is nan on one side leaves that of the difference unknown.
    """
    mean, error = a.mean - b.mean, math.hypot(a.error, b.error)
    if not error > 0:
        return Estimate(mean, error, a.freedom + b.freedom)
    # Each side's share of the variance, squared, over its degrees of freedom (Satterthwaite).
    parts = sum((side.error / error) ** 4 / side.freedom for side in (a, b) if side.error > 0)
    return Estimate(mean, error, 1 / parts if parts > 0 else math.inf)


def verdict(difference: Estimate, *, better: Better = "lower") -> Verdict:
    """What a difference a - b says of a: a tie, unless its 95 % interval leaves zero out.

    Of an error that nothing is known of, the verdict is a tie.
    """
    if not abs(difference.mean) > difference.margin:
        return "tie"
    return "better" if (difference.mean < 0) == (better == "lower") else "worse"


Groups = Sequence[Sequence[float]]
"""Values of blocks of pictures, a group for each seed."""


def excess(a: Groups, b: Groups, ratio: float, *, paired: bool) -> Estimate:
    """A - ratio B of two means over groups: below zero where A is less than that many times B.

    Paired, where each value of one side has its partner, what both share drops out.
    """
    if paired:
        return of_groups(
            [[x - ratio * y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]
        )
    scaled = [[ratio * value for value in group] for group in b]
    return independent_difference(of_groups(a), of_groups(scaled))


def within(excess: Estimate) -> Within:
    """Whether a mean below zero is shown or refuted by a one-sided 95 % bound (non-inferiority).

    Nothing known of the error leaves it open.
    """
    low, high = excess.bounds
    return "shown" if high < 0 else "refuted" if low > 0 else "open"


def ratio_bounds(a: Groups, b: Groups, *, paired: bool) -> tuple[float, float]:
    """A lower and an upper bound of A / B, for positive B, each with 95 % confidence.

    They are where `within` of the excess turns: a ratio is shown to be below the margins that are
    above its upper bound (Fieller 1954); 0 or infinite where there is none. It may turn again where
    the error changes from that of the values to that of their groups (`of_groups`), with other
    degrees of freedom: the bound is then one of the turns, and a margin is to be asked by `within`.
    """

    def turn(side: Literal[0, 1]) -> float:
        low, high = 0.0, _FARTHEST

        def above(ratio: float) -> bool:
            """Whether the bound of A / B on this side is above that ratio; nan bounds nothing."""
            bound = excess(a, b, ratio, paired=paired).bounds[side]
            return not bound <= 0 if side else bound > 0

        if above(high):
            return math.inf
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) else (low, middle)
        return high

    return turn(0), turn(1)
