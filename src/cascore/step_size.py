"""The step size: Technique 4 of Song & Ermon (2020), and the three names that CAS has for it.

`epsilon` of the paper, `eta = epsilon / sigma_L^2` without units, and the exponent `kappa` of
`eta_i = 1 - gamma_i^kappa`, gamma_i = sigma_{i+1} / sigma_i, which does not depend on the schedule.
The bounds are those of Serrà, Pascual & Pons (arXiv 2104.03725).
"""

import math
from typing import NamedTuple

from torch import Tensor

from cascore.errors import InputError
from cascore.schedule import check_sigmas

__all__ = [
    "AllowedInterval",
    "Interval",
    "allowed_interval",
    "epsilon_from_eta",
    "eta_at_steps_per_level",
    "eta_from_epsilon",
    "eta_from_kappa",
    "kappa_from_eta",
    "langevin_step_size",
]


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{self.low:.6g}, {self.high:.6g}]"


class AllowedInterval(NamedTuple):
    """The step sizes for which the noise of CAS is real, in its three names."""

    eta: Interval
    epsilon: Interval
    kappa: Interval


def langevin_step_size(sigmas: Tensor, steps_per_level: int) -> float:
    """Technique 4: the epsilon of ALS that keeps the noise of a level nearest to its sigma.

    Minimises (1 - eta)^(2n) (g^2 - c) + c over 0 < eta < 1 with g = 1 / gamma, n = n_sigma,
    c = 2 eta / (1 - (1 - eta)^2) = 2 / (2 - eta) and epsilon = eta sigma_L^2. The value is the
    variance left after a level in units of its sigma^2; the aim is 1, which it never reaches.

    Args:
        sigmas: [L], geometric; gamma is the mean ratio of the schedule.
        steps_per_level: n_sigma >= 1.
    """
    levels = check_sigmas(sigmas)
    if len(levels) < 2 or steps_per_level < 1:
        raise InputError("Technique 4 needs at least 2 levels and steps_per_level >= 1")
    g = float(levels[0] / levels[-1]) ** (1 / (len(levels) - 1))

    def slope(eta: float) -> float:
        c = 2 / (2 - eta)
        keep: float = (1 - eta) ** (2 * steps_per_level - 1)
        left = -2 * steps_per_level * keep * (g * g - c)
        return float(left + (1 - keep * (1 - eta)) * 2 / (2 - eta) ** 2)

    low, high = 0.0, 1.0  # the slope is negative at 0 and positive at 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2 * float(levels[-1]) ** 2


def eta_from_epsilon(epsilon: float, last: float) -> float:
    """Proposition 3: eta = epsilon / sigma_L^2."""
    return epsilon / last**2


def epsilon_from_eta(eta: float, last: float) -> float:
    """Proposition 3: epsilon = eta sigma_L^2."""
    return eta * last**2


def eta_from_kappa(kappa: float, gamma: float) -> float:
    """The step size eta = 1 - gamma^kappa, for kappa in [1, inf] and gamma in (0, 1)."""
    if not kappa >= 1:
        raise InputError(f"kappa must be in [1, inf], not {kappa}")
    _check_ratio(gamma)
    return -math.expm1(kappa * math.log(gamma))


def kappa_from_eta(eta: float, gamma: float) -> float:
    """The exponent kappa = log(1 - eta) / log(gamma) of an eta in (0, 1]; inf at 1."""
    if not 0 < eta <= 1:
        raise InputError(f"eta must be in (0, 1] to have a kappa, not {eta}")
    _check_ratio(gamma)
    return math.inf if eta == 1 else math.log1p(-eta) / math.log(gamma)


def eta_at_steps_per_level(eta: float, steps_per_level: int) -> float:
    """The eta of the stretched schedule with the noise of `eta`: 1 - (1 - eta)^(1 / n_sigma)."""
    if not 0 < eta < 1 or steps_per_level < 1:
        raise InputError(f"need 0 < eta < 1 and steps_per_level >= 1: {eta}, {steps_per_level}")
    return -math.expm1(math.log1p(-eta) / steps_per_level)


def allowed_interval(sigmas: Tensor) -> AllowedInterval:
    """Where beta^2 = 1 - (1 - eta)^2 / gamma^2 >= 0 at every step: 1 - gamma <= eta <= 1 + gamma.

    gamma is the smallest ratio of the schedule, so one constant eta serves all its steps. kappa
    may be anything in [1, inf] on every schedule; 1 < eta <= 1 + gamma has no kappa.
    """
    levels = check_sigmas(sigmas)
    if len(levels) < 2:
        raise InputError("a schedule of one level has no step between levels, so no interval")
    gamma = float((levels[1:] / levels[:-1]).min())
    eta, last = Interval(1 - gamma, 1 + gamma), float(levels[-1])
    epsilon = Interval(*(epsilon_from_eta(bound, last) for bound in eta))
    return AllowedInterval(eta=eta, epsilon=epsilon, kappa=Interval(1.0, math.inf))


def _check_ratio(gamma: float) -> None:
    if not 0 < gamma < 1:
        raise InputError(f"gamma must be in (0, 1), not {gamma}")
