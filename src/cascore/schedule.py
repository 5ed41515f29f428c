"""Noise levels (Eq. 2, Technique 2 and other spacings) and step sizes (Technique 4, Proposition 3).

Schedules are float64 tensors on the CPU, strictly decreasing and positive. The Techniques are those
of Song & Ermon (2020); Technique 1, sigma_1, is `cascore.data.diameter`.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError


def check_sigmas(sigmas: Tensor) -> Tensor:
    """The levels as a float64 tensor on the CPU, once they are known to be a schedule.

    They must be [L] with L >= 1, finite, positive and strictly decreasing, else InputError.
    """
    levels = torch.as_tensor(sigmas).detach().to(device="cpu", dtype=torch.float64)
    if levels.ndim != 1 or len(levels) == 0:
        raise InputError(f"sigmas must be [L] with L >= 1, not {list(levels.shape)}")
    if not bool(torch.isfinite(levels).all()) or float(levels.min()) <= 0:
        raise InputError("sigmas must be finite and positive")
    if bool((levels[1:] >= levels[:-1]).any()):
        at = int((levels[1:] >= levels[:-1]).nonzero()[0])
        raise InputError(
            f"sigmas must decrease strictly, but sigma_{at + 2} = {float(levels[at + 1]):g}"
            f" follows {float(levels[at]):g}"
        )
    return levels


def geometric_sigmas(first: float, last: float, count: int) -> Tensor:
    """Eq. 2: `count` levels from `first` down to `last` at a constant ratio; float64 [count]."""
    _check_range(first, last, count)
    sigmas = torch.logspace(
        math.log10(first), math.log10(last), count, base=10, dtype=torch.float64
    )
    return _with_ends(sigmas, first, last)


def karras_sigmas(first: float, last: float, count: int, *, rho: float = 7.0) -> Tensor:
    """Eq. 5 of Karras et al. (2022): levels even in sigma^(1/rho); float64 [count], no final 0."""
    _check_range(first, last, count)
    if not rho > 0:
        raise InputError(f"rho must be positive, not {rho}")
    # In units of sigma_1: the powers themselves overflow at a small rho.
    ramp = torch.linspace(1, (last / first) ** (1 / rho), count, dtype=torch.float64)
    return _with_ends(first * ramp**rho, first, last)


def centred_sigmas(first: float, last: float, count: int) -> Tensor:
    """Quantiles of log sigma, 2/3 uniform, 1/3 normal at log(sigma_1 / 20); float64 [count].

    Geometric levels, a third of them moved to where noise becomes a picture: the normal part has
    deviation 3/2 and is cut to the range. With sigma_1 the largest distance between data (Technique
    1) its centre grows with their size. Chosen on the digits, stacked or not, and Fashion-MNIST,
    plain and adversarial, at 5 to 12 calls and on other seeds than the study `beyond`
    reports: with half of them moved a plain network gains as much, and an adversarial one loses
    more. No paper has it.
    """
    _check_range(first, last, count)
    if count == 1:
        return check_sigmas(torch.tensor([first], dtype=torch.float64))
    top, bottom, centre = math.log(first), math.log(last), math.log(first / 20)
    normal = torch.special.ndtr
    ends = normal((torch.tensor([bottom, top], dtype=torch.float64) - centre) / 1.5)
    share = torch.linspace(1, 0, count, dtype=torch.float64)
    low, high = torch.full_like(share, bottom), torch.full_like(share, top)
    for _ in range(60):  # halves the range to less than its rounding
        middle = (low + high) / 2
        uniform = (middle - bottom) / (top - bottom)
        bell = (normal((middle - centre) / 1.5) - ends[0]) / (ends[1] - ends[0])
        below = (2 * uniform + bell) / 3 < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return _with_ends(((low + high) / 2).exp(), first, last)


def nearest_sigmas(sigmas: Tensor, among: Tensor) -> Tensor:
    """For each level the nearest of `among` in log sigma, no two the same; float64, as many.

    For a network that sees sigma and was trained at the levels `among` alone. Where two share a
    nearest one, the lower of them gets the next below, or at the end the higher the next above.
    More levels than `among` has raise InputError.
    """
    wanted, offered = check_sigmas(sigmas), check_sigmas(among)
    spare = len(offered) - len(wanted)
    if spare < 0:
        raise InputError(
            f"{len(wanted)} levels among the {len(offered)} of a training: ask for at most as many"
        )
    at: list[int] = []
    for i, j in enumerate((wanted.log()[:, None] - offered.log()).abs().argmin(1).tolist()):
        at.append(min(max(j, at[-1] + 1 if at else 0), spare + i))
    return offered[at]


def stretch(sigmas: Tensor, n_sigma: int) -> Tensor:
    """Sec. 3.2: the schedule dilated by n_sigma, (L - 1) n_sigma + 1 levels over the same range.

    New levels are log-linear between neighbours; the original levels are kept to the bit.
    """
    levels = check_sigmas(sigmas)
    if n_sigma < 1:
        raise InputError(f"n_sigma must be at least 1, not {n_sigma}")
    fraction = torch.arange(n_sigma, dtype=torch.float64) / n_sigma
    ratio = (levels[1:] / levels[:-1])[:, None]
    between = levels[:-1, None] * ratio**fraction  # ratio^0 = 1 keeps the original level exactly
    return torch.cat([between.reshape(-1), levels[-1:]])


def level_count(dimension: int, first: float, last: float, *, coverage: float = 0.5) -> int:
    """Technique 2: how many geometric levels, so that neighbours overlap with the given coverage.

    Solves Phi(sqrt(2D)(gamma - 1) + 3 gamma) - Phi(sqrt(2D)(gamma - 1) - 3 gamma) = C for the ratio
    gamma = sigma_{i+1} / sigma_i < 1 (the form of the authors' script; with gamma > 1 the same
    formula asks for 4 % fewer levels), and rounds the count up. D is the dimension of one datum
    (3 * 32 * 32 for CIFAR-10), C the coverage in (0, 1).
    """
    _check_range(first, last, 2)
    if dimension < 1 or not 0 < coverage < 1:
        raise InputError(f"need dimension >= 1 and 0 < coverage < 1, not {dimension}, {coverage}")
    phi = NormalDist().cdf

    def covered(gamma: float) -> float:
        shift = math.sqrt(2 * dimension) * (gamma - 1)
        return phi(shift + 3 * gamma) - phi(shift - 3 * gamma)

    low, high = 0.0, 1.0  # covered grows from 0 to 0.9973 on this interval
    if coverage >= covered(high):
        raise InputError(f"coverage must be below {covered(high):.4f}, not {coverage}")
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) < coverage else (low, middle)
    return math.ceil(1 + math.log(last / first) / math.log((low + high) / 2))


def _check_range(first: float, last: float, count: int) -> None:
    if not (math.isfinite(first) and first > 0 and last > 0):
        raise InputError(f"noise levels must be finite and positive, not {first} and {last}")
    if count < 1:
        raise InputError(f"a schedule needs at least 1 level, not {count}")
    if count > 1 and first <= last:
        raise InputError(f"the first level must be above the last: {first} <= {last}")
    if count == 1 and first != last:
        raise InputError(f"a single level cannot be both {first} and {last}")


def _with_ends(sigmas: Tensor, first: float, last: float) -> Tensor:
    sigmas[0], sigmas[-1] = first, last  # powers and logarithms miss the ends by an ulp
    return check_sigmas(sigmas)


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{self.low:.6g}, {self.high:.6g}]"


class AllowedInterval(NamedTuple):
    """The step sizes for which the noise of CAS is real; so it is for any kappa in [1, inf]."""

    eta: Interval
    epsilon: Interval


def langevin_step_size(sigmas: Tensor, n_sigma: int) -> float:
    """Technique 4: the epsilon of ALS that keeps the noise of a level nearest to its sigma.

    Minimises (1 - eta)^(2n) (g^2 - c) + c over 0 < eta < 1 with g = 1 / gamma, n = n_sigma,
    c = 2 eta / (1 - (1 - eta)^2) = 2 / (2 - eta) and epsilon = eta sigma_L^2. The value is the
    variance left after a level in units of its sigma^2; the aim is 1, which it never reaches. gamma
    is the mean ratio of the levels [L], which should be geometric.
    """
    levels = check_sigmas(sigmas)
    if len(levels) < 2 or n_sigma < 1:
        raise InputError("Technique 4 needs at least 2 levels and n_sigma >= 1")
    g = float(levels[0] / levels[-1]) ** (1 / (len(levels) - 1))

    def slope(eta: float) -> float:
        c = 2 / (2 - eta)
        keep: float = (1 - eta) ** (2 * n_sigma - 1)
        left = -2 * n_sigma * keep * (g * g - c)
        return float(left + (1 - keep * (1 - eta)) * 2 / (2 - eta) ** 2)

    low, high = 0.0, 1.0  # the slope is negative at 0 and positive at 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2 * float(levels[-1]) ** 2


def eta_from_epsilon(epsilon: float, last: float) -> float:
    """Proposition 3: epsilon = eta sigma_L^2, so eta = epsilon / sigma_L^2."""
    return epsilon / last**2


def eta_from_kappa(kappa: float, gamma: float) -> float:
    """The step size eta = 1 - gamma^kappa, for kappa in [1, inf] and gamma in (0, 1)."""
    if not kappa >= 1 or not 0 < gamma < 1:
        raise InputError(f"need kappa in [1, inf] and gamma in (0, 1), not {kappa} and {gamma}")
    return -math.expm1(kappa * math.log(gamma))


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
    epsilon = Interval(*(bound * last**2 for bound in eta))
    return AllowedInterval(eta=eta, epsilon=epsilon)
