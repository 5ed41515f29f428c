"""Every number that a user can give: what it may be, in one table that is asked before any work."""

import math
import os
from collections.abc import Mapping
from typing import NamedTuple

from cascore.errors import InputError


class Range(NamedTuple):
    """From `low` to `high`; ends that are `open` do not belong to it."""

    low: float
    high: float
    open: bool = False
    half: bool = False  # open above alone

    def fault(self, number: float) -> str | None:
        """What the number must be and is not, in words."""
        if not (number > self.low if self.open else number >= self.low):  # NaN too
            return f"{'above' if self.open else 'at least'} {self.low:,}"
        if not (number < self.high if self.open or self.half else number <= self.high):
            return f"{'below' if self.open or self.half else 'at most'} {self.high:,}"
        return None


_MANY = 10**9
_POSITIVE = Range(0, 10**9, open=True)
RANGES: Mapping[str, Range] = {
    "width": Range(1, 16_384),
    "blocks": Range(1, 256),
    "depth": Range(1, 256),
    "unshuffle": Range(1, 64),
    "multipliers": Range(1, 64),
    "dropout": Range(0, 1, half=True),
    "first": _POSITIVE,
    "last": _POSITIVE,
    "levels": Range(1, 100_000),
    "steps": Range(1, _MANY),
    "adversarial.steps": Range(1, 1000),
    "batch_size": Range(1, 16_384),  # activations fill the memory
    "learning_rate": Range(0, 10, open=True),
    "warmup": Range(0, _MANY),
    "decay_from": Range(0, _MANY),
    "weight_decay": Range(0, 10),
    "clip_norm": Range(1e-9, math.inf),
    "accumulation": Range(1, 10**6),
    "log_mean": Range(-100, 100),
    "log_deviation": Range(0, 100, open=True),
    "label_dropout": Range(0, 1),
    "betas": Range(-1, 1, open=True),
    "ema_decay": Range(0, 1, half=True),
    "ema_length": Range(0, 0.28, open=True),
    "weight": Range(0, _MANY),
    "seed": Range(0, 2**64 - 1),
    "save_every": Range(1, _MANY),
    "keep_last": Range(1, _MANY),
    "keep_every": Range(0, _MANY),
    "evaluate_every": Range(0, _MANY),
    "evaluate_count": Range(2, 10**6),
    "calls": Range(1, 10**6),
    "n_sigma": Range(1, 10**6),
    "kappa": Range(1, math.inf),
    "eta": Range(0, 2, open=True),
    "epsilon": _POSITIVE,
    "guidance": Range(-1000, 1000),
    "factor": Range(1, 16_384),
    "blur": Range(0, 100, open=True),
    "numbers": Range(1, _MANY),
    "noise": Range(0, 10),
    "count": Range(1, _MANY),
    "evaluate.count": Range(2, _MANY),
    "tune.count": Range(2, _MANY),
    "tune.calls": Range(2, 10**6),
    "tune.blocks": Range(2, 1000),
    "play.count": Range(1, 256),  # one batch, on one page
    "play.calls": Range(1, 1000),
    "port": Range(0, 65_535),
    "size": Range(1, 16_384),
    "shift": Range(0, 64),
    "threads": Range(1, 1024),
    "minutes": Range(0, 10**6, open=True),
}
"""By the name of a setting or option, after that of its part or command where they differ."""


def require_in_range(values: Mapping[str, object], *, part: str = "", prefix: str = "") -> None:
    """Raise InputError for the first number, alone or in a tuple, that is out of its range.

    Values of other kinds and names pass. `prefix` comes before the name in the message: "--" for
    options, whose names have hyphens.
    """
    for name, value in values.items():
        allowed = RANGES.get(f"{part}.{name}", RANGES.get(name))
        for number in value if isinstance(value, tuple) else (value,):
            if allowed is None or not isinstance(number, int | float):
                continue
            if fault := allowed.fault(number):
                option = f"{prefix}{name.replace('_', '-')}" if prefix else name
                raise InputError(f"{option} must be {fault}, not {number!r:.60}")


def require_memory(count: int, size: int, what: str) -> None:
    """Raise InputError if `count` things of `size` bytes are more than this machine's memory."""
    try:
        here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # a system that does not say
        return
    if count * size > here:
        raise InputError(
            f"{count:,} {what} take {count * size / 1e9:,.1f} GB of memory, and this machine has"
            f" {here / 1e9:,.1f} GB, in which {here // size:,} fit"
        )
