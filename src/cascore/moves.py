"""The coefficients of Algorithms 1 and 2: what each network call does to x, before any is made.

A sampler is a list of `Move`s: `sampling` walks along it with a network, `theory` without one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.schedule import check_sigmas
from cascore.step_size import allowed_interval, eta_from_epsilon, eta_from_kappa, langevin_step_size

__all__ = ["Move", "consistent_moves", "langevin_moves"]

DEFAULT_KAPPA = 1.5

_EDGE = 1e-12  # a squared noise coefficient this close to 0 is 0: rounding at the interval's edge


class Move(NamedTuple):
    """One update, x <- keep x + (1 - keep) [(1 + lead) H_i - lead H_{i-1}] + spread z."""

    sigma: float
    keep: float
    lead: float
    spread: float


def langevin_moves(
    sigmas: Tensor,
    *,
    eta: float | None = None,
    epsilon: float | None = None,
    steps_per_level: int = 1,
) -> list[Move]:
    """The coefficients of Algorithm 1, one `Move` per network call (see `annealed_langevin`)."""
    levels = check_sigmas(sigmas)
    _at_most_one(eta=eta, epsilon=epsilon)
    if steps_per_level < 1:
        raise InputError(f"steps_per_level must be at least 1, not {steps_per_level}")
    last = float(levels[-1])
    if eta is None:
        size = langevin_step_size(levels, steps_per_level) if epsilon is None else epsilon
        eta = eta_from_epsilon(size, last)
    if not 0 < eta < 2:
        raise InputError(
            f"eta = {eta:.6g} (epsilon = {eta * last**2:.6g}) does not contract: annealed Langevin"
            f" sampling needs 0 < eta < 2, that is 0 < epsilon < {2 * last**2:.6g}"
        )
    spread = math.sqrt(2 * eta)
    return [
        Move(sigma=sigma, keep=1 - eta, lead=0.0, spread=spread * sigma)
        for sigma in levels.tolist()
        for _ in range(steps_per_level)
    ]


def consistent_moves(
    sigmas: Tensor,
    *,
    kappa: float | Sequence[float] | None = None,
    eta: float | None = None,
    epsilon: float | None = None,
    order: int = 1,
) -> list[Move]:
    """The coefficients of Algorithm 2, one `Move` per network call (see `consistent_annealed`)."""
    levels = check_sigmas(sigmas)
    _at_most_one(kappa=kappa, eta=eta, epsilon=epsilon)
    if order not in (1, 2):
        raise InputError(f"order must be 1 or 2, not {order}")
    if epsilon is not None:
        eta = eta_from_epsilon(epsilon, float(levels[-1]))
    if eta is not None:
        keeps = _keeps_of_eta(eta, levels)
    else:
        keeps = _keeps_of_kappa(DEFAULT_KAPPA if kappa is None else kappa, levels)
    sigma = levels.tolist()
    moves = []
    for i, keep in enumerate(keeps[:-1]):
        beta_squared = 1 - (keep * sigma[i] / sigma[i + 1]) ** 2
        beta = math.sqrt(beta_squared) if beta_squared > _EDGE else 0.0
        lead = 0.0
        if order == 2 and i > 0:
            r = math.log(sigma[i - 1] / sigma[i]) / math.log(sigma[i] / sigma[i + 1])
            lead = 1 / (2 * r)
        moves.append(Move(sigma=sigma[i], keep=keep, lead=lead, spread=beta * sigma[i + 1]))
    return [*moves, Move(sigma=sigma[-1], keep=keeps[-1], lead=0.0, spread=0.0)]


def _keeps_of_eta(eta: float, levels: Tensor) -> list[float]:
    if len(levels) == 1:
        if not 0 < eta < 2:
            raise InputError(f"eta must be in (0, 2) on a schedule of one level, not {eta}")
        return [0.0]  # raw = H
    allowed = allowed_interval(levels)
    gamma = 1 - allowed.eta.low
    if not (1 - eta) ** 2 / gamma**2 <= 1 + _EDGE:
        last = float(levels[-1])
        raise InputError(
            f"eta = {eta:.6g} (epsilon = {eta * last**2:.6g}) leaves no real noise on this"
            f" schedule: choose eta in {allowed.eta}, that is epsilon in {allowed.epsilon}, or"
            f" any kappa in {allowed.kappa}"
        )
    return [1 - eta] * len(levels)


def _keeps_of_kappa(kappa: float | Sequence[float], levels: Tensor) -> list[float]:
    given = torch.as_tensor(kappa, dtype=torch.float64)
    if given.ndim > 0 and given.shape != levels.shape:
        raise InputError(
            f"kappa must be one number or {len(levels)}, one per level, not {list(given.shape)}"
        )
    each = given.expand(levels.shape).tolist()
    if len(levels) == 1:
        eta_from_kappa(each[0], 0.5)  # refuses what is no kappa
        return [0.0]  # raw = H
    gammas = (levels[1:] / levels[:-1]).tolist()
    pairs = zip(each, [*gammas, gammas[-1]], strict=True)  # gamma_L := gamma_{L-1}
    return [1 - eta_from_kappa(k, gamma) for k, gamma in pairs]


def _at_most_one(**given: object) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InputError(f"give at most one of {', '.join(given)}, not {' and '.join(names)}")
