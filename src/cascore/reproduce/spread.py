"""Means of measurements: with the deviation of one of them, or the error of the mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascore import stats

__all__ = ["Estimate", "Runs", "Spread", "mean_of", "spread_of", "spread_over"]

Runs = Sequence[Sequence[float]]
"""What was measured of a network: for each of its trainings, a value for each sampling seed."""


@dataclass(frozen=True)
class Spread:
    """Mean of several measurements, and how far apart they are.

    Attributes:
        mean: of the values.
        deviation: their sample standard deviation; nan of a single value.
        count: of the values.
    """

    mean: float
    deviation: float
    count: int

    @property
    def plus_minus(self) -> float:
        """What stands behind ±: the deviation."""
        return self.deviation

    @property
    def band(self) -> tuple[float, float]:
        """Two deviations to either side; a logarithmic axis has no zero, so it ends above it."""
        return _band(self.mean, self.deviation)

    @property
    def whisker(self) -> float:
        """Two deviations, within what a logarithmic axis can show; 0 of a single value."""
        return 0.0 if math.isnan(self.deviation) else min(2 * self.deviation, 0.9 * self.mean)

    def text(self, digits: int) -> str:
        """`mean ± deviation`, or the mean alone, with that many digits behind the point."""
        if math.isnan(self.deviation):
            return f"{self.mean:.{digits}f}"
        return _text(self.mean, self.deviation, digits)


@dataclass(frozen=True)
class Estimate:
    """A mean whose standard error is known, from many pictures."""

    mean: float
    error: float

    @property
    def plus_minus(self) -> float:
        """What stands behind ±: the error."""
        return self.error

    @property
    def band(self) -> tuple[float, float]:
        """Two errors to either side, above zero."""
        return _band(self.mean, self.error)

    def text(self, digits: int) -> str:
        """`mean ± error` with that many digits behind the point."""
        return _text(self.mean, self.error, digits)

    def ties(self, other: Estimate) -> bool:
        """Whether the 95 % interval of their difference holds zero."""
        a, b = (stats.Estimate(side.mean, side.error) for side in (self, other))
        return stats.verdict(stats.independent_difference(a, b)) == "tie"


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and spread of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))


def spread_over(runs: Runs) -> Spread:
    """Mean and spread of all values, whatever their training."""
    return spread_of([value for values in runs for value in values])


def mean_of(results: Sequence[Mapping[str, float]]) -> Estimate:
    """Mean of independent distances, each a `value` with its standard `error`."""
    error = math.hypot(*(each["error"] for each in results)) / len(results)
    return Estimate(statistics.fmean(each["value"] for each in results), error)


def _band(mean: float, part: float) -> tuple[float, float]:
    return max(mean - 2 * part, mean / 3), mean + 2 * part


def _text(mean: float, part: float, digits: int) -> str:
    return f"{mean:.{digits}f} ± {part:.{digits}f}"
