"""Means with their errors, their differences, and the one rule of what can be told apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cascore.errors import InputError

_QUANTILE = 0.975
"""Quantile of Student's t: chance alone passes in one of twenty, half of them each way."""

Better = Literal["lower", "higher"]
"""Which way of a number is the better one."""

Verdict = Literal["better", "worse", "tie"]


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
        from scipy.special import stdtrit  # on demand, for programs that only print help

        return float(stdtrit(self.freedom, _QUANTILE)) * self.error


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one or more finite values, with the error of their scatter; nan for one."""
    if not all(map(math.isfinite, values)):
        raise InputError(f"values that are not finite have no mean to compare: {list(values)}")
    count = len(values)
    error = statistics.stdev(values) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(statistics.fmean(values), error, count - 1)


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
