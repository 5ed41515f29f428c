"""Averages of the weights: exponential (Technique 5), and of lengths chosen after the training.

The latter are Karras et al.'s (EDM2, arXiv 2312.02696, Section 3): a training keeps averages with
profiles p(t) ~ t^gamma of two lengths, and those of several moments combine to any other length.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

PROFILES = (0.05, 0.10)
"""Relative lengths that a training keeps, as EDM2 does."""


class Profile(NamedTuple):
    """An average of the weights of updates 1 to `step`, the one of update t weighing t^gamma.

    `length` is the deviation of the profile as a share of the steps, which gamma follows from.
    """

    length: float
    step: int


@torch.no_grad()
def update_ema(average: nn.Module, module: nn.Module, *, decay: float) -> None:
    """Move the average towards the module: a <- decay a + (1 - decay) w; buffers are copied."""
    ours, theirs = list(average.parameters()), list(module.parameters())
    get_ema_multi_avg_fn(decay)(ours, theirs, 1)  # type: ignore[no-untyped-call]
    for kept, current in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(current)


def warmed_decay(decay: float, step: int) -> float:
    """A decay that starts low, min(decay, (1 + step) / (10 + step)).

    A long average of a short run is mostly the initial weights; this one forgets them.
    """
    return min(decay, (1 + step) / (10 + step))


@cache
def power_exponent(length: float) -> float:
    """Gamma of the profile t^gamma on [0, 1] whose deviation is `length` (EDM2, Eq. 126).

    The positive root of gamma^3 + 7 gamma^2 + (16 - 1/length^2) gamma + (12 - 1/length^2); lengths
    from 0 to 0.28, both exclusive: near that is the plain mean, of gamma 0.
    """
    inverse = length**-2
    return float(max(np.roots([1, 7, 16 - inverse, 12 - inverse]).real))


def power_decay(length: float, step: int) -> float:
    """The decay of such an average at update t = `step`, from 1 on: (1 - 1 / t)^(gamma + 1)."""
    return float((1 - 1 / step) ** (power_exponent(length) + 1))


class Combination(NamedTuple):
    """How much of each kept average makes another, and how well it does: 0 exact, 1 not at all."""

    shares: tuple[float, ...]
    misfit: float


def combination(kept: Sequence[Profile], wanted: Profile) -> Combination:
    """The kept averages that come nearest to the wanted one: least squares of their profiles.

    The profiles are taken as functions of a continuous t, whose inner products are closed forms
    (EDM2, Algorithm 3). Unlike there the shares add up to 1, so that a weight that never moved is
    what it was. The misfit is the norm of what is left over that of the wanted profile.
    """
    inner = np.array([[_inner(a, b) for b in kept] for a in kept])
    target, whole = np.array([_inner(a, wanted) for a in kept]), _inner(wanted, wanted)
    ones = np.ones(len(kept))
    bordered = np.block([[inner, ones[:, None]], [ones, np.zeros(1)]])
    shares = np.linalg.lstsq(bordered, np.append(target, 1.0), rcond=None)[0][:-1]
    left = shares @ inner @ shares - 2 * shares @ target + whole
    return Combination(tuple(map(float, shares)), float(np.sqrt(max(left, 0) / whole)))


def _inner(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles, each of integral 1 over its own steps."""
    (p, s), (q, t) = ((power_exponent(x.length), x.step) for x in (a, b))
    if s > t:
        p, s, q, t = q, t, p, s
    # (p + 1) (q + 1) / s^(p + 1) / t^(q + 1) times the integral of x^(p + q) up to s.
    return float((p + 1) * (q + 1) / (p + q + 1) * (s / t) ** q / t)
