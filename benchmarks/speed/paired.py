"""Two ways of doing a thing, timed in turns, so that whatever else runs here slows both alike."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]

_ROUND = 0.05
"""Seconds of either side in a round, at least: a clock and a scheduler are coarser than a call."""
_ROUNDS, _SLOW_ROUNDS, _SLOW = 7, 3, 5.0
"""At least so many; fewer where a call takes so many seconds."""


@dataclass(frozen=True)
class Pair:
    """One row: seconds of ours and of what stands beside it, and their ratio, round by round.

    Attributes:
        what: is done, in words.
        ours: seconds of one call, the median of the rounds.
        peer: what is beside it, in words.
        theirs: its seconds.
        ratio: ours over theirs, the median of the rounds.
        low, high: quartiles of that ratio.
        rounds: how many.
        load: of the machine's processors before it began, the mean of a minute.
        aim: what the ratio should be at most, if anything was asked of it.
        before: the ratio, or the seconds, of version 0.3, in words.
    """

    what: str
    ours: float
    peer: str
    theirs: float
    ratio: float
    low: float
    high: float
    rounds: int
    load: float
    aim: float | None = None
    before: str = ""

    @property
    def behind(self) -> bool:
        """Whether most rounds were above the aim."""
        return self.aim is not None and self.ratio > self.aim


def paired(
    what: str,
    ours: Work,
    peer: str,
    theirs: Work,
    *,
    seconds: float = 4.0,
    aim: float | None = None,
    before: str = "",
) -> Pair:
    """Run both in turns for so many seconds, at least some times; each is first as often."""
    load = os.getloadavg()[0]
    ours(), theirs()  # what is set up once is not timed
    once = [max(_seconds(work, 1), 1e-7) for work in (ours, theirs)]
    each = [max(1, round(_ROUND / call)) for call in once]
    least = _SLOW_ROUNDS if max(once) > _SLOW else _ROUNDS
    rounds: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < end:
        if len(rounds) % 2:
            second, first = _seconds(theirs, each[1]), _seconds(ours, each[0])
        else:
            first, second = _seconds(ours, each[0]), _seconds(theirs, each[1])
        rounds.append((first, second))
    ratios = [a / b for a, b in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Pair(
        what=what,
        ours=statistics.median(a for a, _ in rounds),
        peer=peer,
        theirs=statistics.median(b for _, b in rounds),
        ratio=middle,
        low=low,
        high=high,
        rounds=len(rounds),
        load=load,
        aim=aim,
        before=before,
    )


def _seconds(work: Work, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times
