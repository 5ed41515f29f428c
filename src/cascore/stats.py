"""Differences of means with their 95 % intervals: what can be told apart, and what ties."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from cascore.errors import InputError

__all__ = ["Difference", "independent_difference", "known_difference", "paired_difference"]

_QUANTILE = 0.975
"""Of Student's t: chance alone passes in one of twenty, half of them in each direction."""


@dataclass(frozen=True)
class Difference:
    """The difference of two means.

    Attributes:
        mean: the estimate.
        error: its standard error; nan where nothing is known of it.
        freedom: degrees of freedom behind the error; infinite where it is known.
    """

    mean: float
    error: float
    freedom: float

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval around the mean (Student); nan if unknown."""
        return float(stdtrit(self.freedom, _QUANTILE)) * self.error

    @property
    def is_tie(self) -> bool:
        """Whether zero lies in the interval; what nothing is known of is a tie."""
        return not abs(self.mean) > self.margin


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Mean of a less b, measured in pairs: what both share, such as their noise, drops out.

    Args:
        a: at least one value.
        b: as many, in the same order.

    Raises:
        InputError: a value that is not finite, or another number of values in b.
    """
    _require(a, b)
    if len(a) != len(b):
        raise InputError(f"pairs take as many values on both sides, got {len(a)} and {len(b)}")
    each = [x - y for x, y in zip(a, b, strict=True)]
    return Difference(statistics.fmean(each), _error(each), len(each) - 1)


def independent_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Mean of a less that of b, not paired, which may vary unequally (Welch 1947).

    Args:
        a: at least one value.
        b: at least one value; a side with one leaves the error unknown.

    Raises:
        InputError: a value that is not finite.
    """
    _require(a, b)
    mean = statistics.fmean(a) - statistics.fmean(b)
    own, other = _error(a) ** 2, _error(b) ** 2
    error = math.sqrt(own + other)
    if not error > 0:
        return Difference(mean, error, len(a) + len(b) - 2)
    freedom = (own + other) ** 2 / (own**2 / (len(a) - 1) + other**2 / (len(b) - 1))
    return Difference(mean, error, freedom)


def known_difference(a: tuple[float, float], b: tuple[float, float]) -> Difference:
    """Of two means, each with a standard error that is known well, a less b."""
    return Difference(a[0] - b[0], math.hypot(a[1], b[1]), math.inf)


def _require(*sides: Sequence[float]) -> None:
    for values in sides:
        if not all(map(math.isfinite, values)):
            raise InputError(f"values that are not finite have no difference: {list(values)}")


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean; nan of a single value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
