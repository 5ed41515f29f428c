"""The least of a noisy, flat curve: a grid in log kappa, refined, then compared on fresh blocks.

Every candidate is measured on the same blocks of seeds, so that what the seeds decide cancels in
the difference of two candidates and a few small blocks tell them apart. A golden section would
decide each of its steps by one such difference and never look back; a grid that is halved around
its best point compares with all that was measured, and ends where neighbours tie (`stats.verdict`).
The best of many is lucky in part, so it meets the default again on blocks that chose nothing.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cascore.errors import InputError
from cascore.stats import Estimate, paired_difference, verdict


@dataclass(frozen=True, order=True)
class Candidate:
    """Settings of consistent sampling: order of the multistep rule, and kappa, at least 1."""

    order: int
    kappa: float

    def __str__(self) -> str:
        return f"order {self.order}, kappa {self.kappa:g}"


Objective = Callable[[Candidate, int], float]
"""What is to be small: of a candidate on a block of seeds, numbered from 0."""
Pair = tuple[Candidate, int]
"""A candidate and a block that it is measured on."""
_Curve = Mapping[Candidate, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search measured and chose."""

    curve: _Curve
    """Every candidate's values on the blocks of the search."""
    default: Candidate
    """What is chosen where nothing better can be told."""
    best: Candidate
    """The candidate of least mean in the curve."""
    fresh: _Curve
    """Values of default and best on other blocks."""
    difference: Estimate
    """default - best on those; positive where tuning helps."""
    choice: Candidate
    """best, where that is the verdict on the fresh blocks, or else the default."""

    def against_default(self, candidate: Candidate) -> Estimate:
        """A candidate of the curve minus the default, on the blocks of the search."""
        return paired_difference(self.curve[candidate], self.curve[self.default])


def search(
    objective: Objective,
    *,
    default: Candidate,
    orders: Sequence[int],
    largest: float,
    points: int = 7,
    rounds: int = 3,
    blocks: int = 4,
    watch: Callable[[Candidate, Sequence[float]], None] = lambda candidate, values: None,
    ahead: Callable[[Sequence[Pair]], None] = lambda pairs: None,
) -> SearchResult:
    """Choose order and kappa, from 1 to the largest.

    The first grid has `points`, at least 3, even in log kappa; its spacing is halved at most
    `rounds` times around the best point of an order. Every candidate is measured on `blocks` of
    seeds, at least 2, and there are as many more at the end; `watch` is told of each. `ahead` is
    told what is going to be measured whatever comes of it, as for processes that share it. Others
    raise InputError.
    """
    _require_searchable(orders, largest, points, rounds, blocks)
    curve: dict[Candidate, tuple[float, ...]] = {}

    def measured(candidates: Sequence[Candidate], of: range) -> Iterator[tuple[float, ...]]:
        ahead([(candidate, block) for candidate in candidates for block in of])
        for candidate in candidates:
            yield tuple(objective(candidate, block) for block in of)

    def measure(candidates: Sequence[Candidate]) -> None:
        new = [candidate for candidate in dict.fromkeys(candidates) if candidate not in curve]
        for candidate, values in zip(new, measured(new, range(blocks)), strict=True):
            curve[candidate] = values
            watch(candidate, values)

    grid = [largest ** (i / (points - 1)) for i in range(points)]
    measure([default, *(_at(order, kappa) for order in orders for kappa in grid)])
    factor = grid[1]  # between neighbours
    for _ in range(rounds):
        nearer = [
            _at(order, min(max(kappa, 1.0), largest))
            for order in orders
            if (centre := _worth_refining(curve, order, factor)) is not None
            for kappa in (centre.kappa / math.sqrt(factor), centre.kappa * math.sqrt(factor))
        ]
        if not nearer:
            break
        measure(nearer)
        factor = math.sqrt(factor)
    best = _least(curve)
    finalists = list(dict.fromkeys((default, best)))
    values = measured(finalists, range(blocks, 2 * blocks))
    fresh = dict(zip(finalists, values, strict=True))
    difference = paired_difference(fresh[default], fresh[best])
    return SearchResult(
        curve=curve,
        default=default,
        best=best,
        fresh=fresh,
        difference=difference,
        choice=best if verdict(difference) == "worse" else default,
    )


def _require_searchable(
    orders: Sequence[int], largest: float, points: int, rounds: int, blocks: int
) -> None:
    for name, value, least in (("points", points, 3), ("rounds", rounds, 0), ("blocks", blocks, 2)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")
    if not orders:
        raise InputError("there is no order to try: give at least one")
    if not 1 < largest < math.inf:
        raise InputError(f"the largest kappa must be above 1 and finite, not {largest}")


def _worth_refining(curve: _Curve, order: int, factor: float) -> Candidate | None:
    """The best point of an order; None if the order has lost, or is flat around that point."""

    def tie(a: Candidate, b: Candidate) -> bool:
        return verdict(paired_difference(curve[a], curve[b])) == "tie"

    line = {candidate: values for candidate, values in curve.items() if candidate.order == order}
    centre, best = _least(line), _least(curve)
    if order != best.order and not tie(centre, best):
        return None
    reach = 1.1 * factor  # kappas are rounded
    near = (point for point in line if 1 / reach < point.kappa / centre.kappa < reach)
    return None if all(tie(neighbour, centre) for neighbour in near) else centre


def _at(order: int, kappa: float) -> Candidate:
    """With three digits: nobody can tell more apart, and a person may have to type it."""
    return Candidate(order, max(1.0, float(f"{kappa:.3g}")))


def _least(curve: _Curve) -> Candidate:
    return min(curve, key=lambda candidate: statistics.fmean(curve[candidate]))
