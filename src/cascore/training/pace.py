"""Training by the clock: what is spent of a time, and the learning rate that follows what is left.

Whatever the machine does meanwhile, a rate that has come down to nothing when the time is over
leaves weights that are complete. The price: the rates depend on the speed, so such a training is
not replayed by its settings alone; it logs the rates that it used.
"""

import time
from collections.abc import Callable

import torch

from cascore.training.parallel import ALONE, Workers

_CONSTANT = 0.4  # share of the time after which the rate falls


class Pace:
    """The clock of a training; all processes read that of the whole, so that their rates agree.

    Args:
        seconds: Of training, in all.
        steps: Updates after which training ends, if that is sooner.
        warmup: By 1 / warmup the rate may rise in an update, in units of the full rate.
        workers: The processes that train together.
        device: Where processes tell each other what is done: NCCL takes nothing else.
        started: When this part of the training began, by `now`.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        steps: int,
        warmup: int = 1,
        workers: Workers = ALONE,
        device: torch.device | None = None,
        started: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._steps, self._warmup, self._workers = seconds, steps, warmup, workers
        self._device = device
        self._now, self._started = now, now() if started is None else started
        self._before, self._rate = 0.0, 0.0

    def go_on(self, *, seconds: float, rate: float) -> None:
        """Take up a training of which so many seconds are spent, its last rate this share."""
        self._before, self._rate = seconds, rate

    @property
    def spent(self) -> float:
        """Seconds of training so far, earlier parts included; of this process."""
        return self._before + self._now() - self._started

    def share(self, step: int) -> float:
        """What is done after `step` updates: of the time or of the updates, in [0, 1].

        It is the mean over all processes, which wait for each other here.
        """
        here = max(self.spent / self._total, step / self._steps)
        if self._workers.count > 1:
            here = float(self._workers.mean(torch.tensor(here, device=self._device)))
        return min(1.0, here)

    def rate(self, step: int) -> float:
        """What multiplies the learning rate in update `step`, counted from 0.

        Full for 0.4 of the time, then down in a line to 0 at its end; and never further up at once
        than in a warm-up, from 0 at first, from the last rate where a training goes on.
        """
        falling = min(1.0, (1 - self.share(step)) / (1 - _CONSTANT))
        self._rate = min(falling, self._rate + 1 / max(1, self._warmup))
        return self._rate
