"""Training by the clock: what is spent of a time, and the learning rate that follows what is left.

Whatever the machine does meanwhile, a rate that has come down to nothing when the time is over
leaves weights that are complete. The price: the rates depend on the speed, so such a training is
not replayed by its settings alone; it logs the rates that it used.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from cascore.training.parallel import ALONE, Workers

_CONSTANT = 0.4  # share of the time after which the rate falls
_APART, _MOST = 1.0, 20  # seconds between agreements of processes, and updates


class _Agreed(NamedTuple):
    """What all processes know: the share after a step, what an update adds, and up to which."""

    step: int
    share: float
    speed: float
    until: int

    def foretold(self, step: int) -> float:
        return self.share + (step - self.step) * self.speed


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
        self._agreed: _Agreed | None = None

    def go_on(self, *, seconds: float, rate: float) -> None:
        """Take up a training of which so many seconds are spent, its last rate this share."""
        self._before, self._rate = seconds, rate

    @property
    def spent(self) -> float:
        """Seconds of training so far, earlier parts included; of this process."""
        return self._before + self._now() - self._started

    def share(self, step: int) -> float:
        """What is done after `step` updates: of the time or of the updates, in [0, 1].

        Of several processes it is the mean over all, for which they wait for each other about once
        a second, and at the end. For the updates between it follows from the speed until then.
        """
        if step >= self._steps:
            return 1.0
        if self._workers.count == 1:
            return min(1.0, self._own(step))
        agreed = self._agreed
        if agreed is None or step >= agreed.until or agreed.foretold(step) >= 1:
            agreed = self._agreed = self._agreement(step)
        return min(1.0, agreed.foretold(step))

    def _own(self, step: int) -> float:
        """The share by this process's clock."""
        return max(self.spent / self._total, step / self._steps)

    def _agreement(self, step: int) -> _Agreed:
        own = torch.tensor(self._own(step), device=self._device)
        share, speed = float(self._workers.mean(own)), 0.0
        if self._agreed is not None and step > self._agreed.step:
            speed = max(0.0, share - self._agreed.share) / (step - self._agreed.step)
        apart = int(_APART / (speed * self._total)) if speed > 0 else 1
        return _Agreed(step, share, speed, until=step + min(max(1, apart), _MOST))

    def rate(self, step: int) -> float:
        """What multiplies the learning rate in update `step`, counted from 0.

        Full for 0.4 of the time, then down in a line to 0 at its end; and never further up at once
        than in a warm-up, from 0 at first, from the last rate where a training goes on.
        """
        falling = min(1.0, (1 - self.share(step)) / (1 - _CONSTANT))
        self._rate = min(falling, self._rate + 1 / max(1, self._warmup))
        return self._rate
