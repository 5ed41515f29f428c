"""Noise levels by the exact law of the sampler on Gaussian data with the variances of real data.

On Gaussian data every update is linear, so the law of the denoised sample is known for any levels
before any network is called, and so are its derivatives. `calibrated_sigmas` chooses the levels
whose law is nearest to the exact one. AYS (Sabour et al., 2404.14507), GITS (2405.11326), DMN
(2402.17376) and LD3 (2405.15506) search for levels with a network; here the network's place is
taken by the optimum for a Gaussian, whose variances are those of the data's principal components.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cascore.denoiser import EXACT_KAPPA
from cascore.errors import InputError
from cascore.sampling import order_and_kappa
from cascore.schedule import check_sigmas, geometric_sigmas

__all__ = ["calibrated_sigmas", "denoised_variances", "natural_variances"]

Array = NDArray[np.float64] | NDArray[np.complex128]

ORDER = 2
_SEARCHED = 64  # levels at most; more lie between those of 64, where all are at the floor
_CLASSES = 96  # of the variances: one number stands for all within a few per cent
_CLOSEST = 1.16  # ratio of neighbouring levels, unless so many levels do not fit the range
_FINE = 1 / 64  # weight of the distance in units of each variance; see `calibrated_sigmas`
_EVEN = 1e-4  # weight of even steps, per unit of the sum of the variances
_EVEN_BLIND = 1e-2  # the same of a blind network; see `calibrated_sigmas`
_DIGITS = 5  # of a level that are kept: far more than matter, far fewer than rounding moves


def calibrated_sigmas(
    first: float,
    last: float,
    count: int,
    *,
    variances: Tensor | Sequence[float],
    kappa: float | None = None,
    order: int | None = None,
    blind: bool = False,
) -> Tensor:
    """Levels that minimise the Fréchet distance of the sampler's denoised law to the exact one.

    The data are N(0, v) along each principal component, the chain starts from sigma_1 z, and the
    aim is what H(x, sigma_L) gives of an exact x, N(0, v^2 / (v + sigma_L^2)); aiming at N(0, v)
    would ask for too wide samples, to undo the last shrinkage. The distance is that of pixels, sum
    (s - s')^2 over the deviations of the two laws, plus 1/64 of the same in units of v / mean(v):
    nine tenths of the components of a picture have too little variance to be seen in the first,
    and are its sharpness. Where that leaves levels undetermined, even steps in log sigma do.

    Least squares by Levenberg and Marquardt from geometric levels with exact derivatives: no
    random numbers, no network call, the same levels on every machine.

    Args:
        first: sigma_1; last and count as in `geometric_sigmas`.
        variances: of the data along its principal components, in squared pixels, any order.
        kappa: of the sampler, by default 1.5. Levels belong to a kappa.
        order: of the sampler, 1 or 2, by default 2.
        blind: for a network that does not see sigma: the law is that of Proposition 4, of many
            dimensions. In few, the noise of a chain fluctuates, and more so where a large step
            follows a small one, so even steps have a hundred times the weight: then these levels
            are no worse than geometric ones in 64 dimensions either (`docs/calibration.md`).

    Returns:
        float64 [count], no two neighbours closer than a factor 1.16 or half an even step. Variances
        that are negative, not finite, or all 0 raise InputError.
    """
    geometric = geometric_sigmas(first, last, count)
    values, many = _classes(variances, last)
    order, _ = order_and_kappa(order=order, kappa=kappa)
    kappa = EXACT_KAPPA if kappa is None else kappa
    if not isinstance(kappa, int | float) or not kappa >= 1:
        raise InputError(f"kappa must be one number in [1, inf], not {kappa}")
    if count < 3:
        return geometric
    searched = min(count, _SEARCHED)
    problem = _Problem(_Steps(first, last, searched), values, many, kappa, order, blind)
    logs, _ = problem.steps.logs(_least_squares(problem.residuals, np.zeros(searched - 1)))
    if count > searched:
        at = np.linspace(0, searched - 1, count)
        logs = np.interp(at, np.arange(searched), logs)
    rounded = [float(f"{level:.{_DIGITS - 1}e}") for level in np.exp(logs)]
    rounded[0], rounded[-1] = first, last
    return check_sigmas(torch.tensor(rounded, dtype=torch.float64))


@dataclass(frozen=True)
class _Steps:
    """Levels by their steps in log sigma, each a least one and its share of the rest."""

    first: float
    last: float
    count: int

    def logs(self, u: Array) -> tuple[Array, Array]:
        """Log sigma [count] of shares softmax(u), and its derivatives [count, count - 1] by u."""
        total, steps = math.log(self.first / self.last), self.count - 1
        least = min(math.log(_CLOSEST), total / steps / 2)
        share = np.exp(u - u.max())
        share /= share.sum()
        rest = total - steps * least
        slope = rest * (np.diag(share) - np.outer(share, share))
        return (
            math.log(self.first) - np.concatenate([[0.0], np.cumsum(least + rest * share)]),
            -np.concatenate([np.zeros((1, steps)), np.cumsum(slope, axis=0)]),
        )


@dataclass(frozen=True)
class _Problem:
    """The least squares that `calibrated_sigmas` states, of `many` of each of `values`."""

    steps: _Steps
    values: Array
    many: Array
    kappa: float
    order: int
    blind: bool

    def residuals(self, u: Array) -> tuple[Array, Array]:
        """What is to be small, and its derivatives by u."""
        logs, slope = self.steps.logs(u)
        values, many = self.values, self.many
        law, derivatives = _with_derivatives(logs, values, many, self.kappa, self.order, self.blind)
        deviation, aim = np.sqrt(law), values / np.sqrt(values + self.steps.last**2)
        weight = np.sqrt(many * (1 + _FINE * (many @ values / many.sum()) / values))
        weight_of_even = _EVEN_BLIND if self.blind else _EVEN
        even = math.sqrt(weight_of_even * float(many @ values) / len(u))
        by_level = (derivatives / (2 * deviation)).T * weight[:, None]
        return (
            np.concatenate([weight * (deviation - aim), even * u]),
            np.concatenate([by_level @ slope, even * np.eye(len(u))]),
        )


def natural_variances(shape: Sequence[int], first: float) -> Tensor:
    """What stands for unknown variances of data of a shape: v_k in proportion to k^(-4/3).

    The exponent is that of the first 100 principal components of the photographs of CIFAR-10. The
    sum is D / 14 of pictures, whose pixels are in [0, 1] (CIFAR-10 has D / 16, the digits D / 14,
    Fashion-MNIST D / 11), and first^2 / 11 of points [D], with sigma_1 their largest distance
    (Technique 1; the three sets have 1 / 13, 1 / 5 and 1 / 9 of its square). Too much by a factor 4
    costs little, see `docs/which-sampler.md`.

    Returns:
        float64 [D], largest first.
    """
    size = math.prod(shape)
    rank = torch.arange(1, size + 1, dtype=torch.float64) ** (-4 / 3)
    total = first**2 / 11 if len(shape) == 1 else size / 14
    return rank * (total / rank.sum())


def denoised_variances(
    sigmas: Tensor,
    variances: Tensor | Sequence[float],
    *,
    kappa: float = EXACT_KAPPA,
    order: int = ORDER,
    blind: bool = False,
) -> Tensor:
    """The exact variances of H at the last call on data N(0, v), from a start sigma_1 z; [K].

    With `blind` the network is the optimum that does not see sigma, in many dimensions: it answers
    f = -s x / (v + s^2), with the one s that is most likely for all components of x together, kept
    between the ends of the schedule, as Appendix E has it. Of a single datum, v = 0, s is the
    deviation tau of the noise (Proposition 4).
    """
    logs = check_sigmas(sigmas).log().numpy()
    values = np.asarray(variances, dtype=np.float64)
    many = np.ones_like(values)
    return torch.from_numpy(_law(logs[None], values, many, kappa, order, blind)[0].copy())


def _classes(variances: Tensor | Sequence[float], last: float) -> tuple[Array, Array]:
    """At most 96 variances that stand for all, with how many they stand for."""
    values = np.sort(np.asarray(variances, dtype=np.float64).reshape(-1))
    if not len(values) or not np.isfinite(values).all() or values[0] < 0 or values[-1] == 0:
        raise InputError("variances must be finite, not negative and not all 0")
    values = np.maximum(values, 1e-4 * last**2)  # nothing of these is left after denoising
    low, high = math.log(values[0]), math.log(values[-1])
    bins = np.floor((np.log(values) - low) / max(high - low, 1e-9) * (_CLASSES - 1e-6))
    _, index, many = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(index, weights=values) / many, many.astype(np.float64)


def _with_derivatives(
    logs: Array, values: Array, many: Array, kappa: float, order: int, blind: bool
) -> tuple[Array, Array]:
    """The law [K] and its derivatives by each log sigma [count, K].

    By the complex step, f'(x) = Im f(x + i e) / e with e = 1e-40: exact, since nothing is
    subtracted, and one pass for all levels.
    """
    moved = logs + 1e-40j * np.eye(len(logs))
    law = _law(moved, values, many, kappa, order, blind)
    return law[0].real, law.imag / 1e-40


def _law(logs: Array, values: Array, many: Array, kappa: float, order: int, blind: bool) -> Array:
    """`theory.gaussian_law` for many variances and, along the first axis, many schedules."""
    sigma = np.exp(logs)[..., None]  # [B, L, 1]
    step = logs[:, :-1, None] - logs[:, 1:, None]
    still = np.zeros_like(step) if math.isinf(kappa) else np.exp(-kappa * step)
    noise = sigma[:, 1:] ** 2 - (still * sigma[:, :-1]) ** 2
    lead = np.zeros_like(step)
    if order == 2:
        lead[:, 1:] = step[:, 1:] / (2 * step[:, :-1])
    square = sigma[:, 0] ** 2 + np.zeros_like(values)
    product = last_square = np.zeros_like(square)
    for i in range(logs.shape[1]):
        if blind:
            s = _most_likely(square, sigma[:, i], sigma[:, -1], sigma[:, 0], values, many)
            w = 1 - sigma[:, i] * s / (values + s**2)
        else:
            w = values / (values + sigma[:, i] ** 2)
        if i == logs.shape[1] - 1:
            break
        of_last = (still[:, i] - 1) * lead[:, i]
        of_x = still[:, i] + (1 - still[:, i] - of_last) * w
        square, product, last_square = (
            of_x * (of_x * square + 2 * of_last * product) + of_last**2 * last_square + noise[:, i],
            w * (of_x * square + of_last * product),
            w**2 * square,
        )
    law: Array = w**2 * square
    return law


def _most_likely(
    square: Array, sigma: Array, low: Array, high: Array, values: Array, many: Array
) -> Array:
    """The s in [low, high] at which x of mean squares `square` is most likely N(0, v + s^2)."""
    t = sigma**2
    for i in range(8):
        inside = 1 / (values + t)
        excess = many * (square - values - t) * inside**2
        slope = (many * inside**2).sum(-1, keepdims=True)
        if i > 3:  # Newton near the root; Fisher's scoring, which cannot turn back, before
            newton = slope + 2 * (excess * inside).sum(-1, keepdims=True)
            slope = np.where(newton.real > 0.2 * slope.real, newton, slope)
        t = t + excess.sum(-1, keepdims=True) / slope
        t = np.where(t.real < low.real**2, low**2, np.where(t.real > high.real**2, high**2, t))
    return np.sqrt(t)


def _least_squares(residuals: Callable[[Array], tuple[Array, Array]], u: Array) -> Array:
    """Levenberg and Marquardt's minimum of |r(u)|^2, until a step gains less than 1e-6 of it."""
    r, jacobian = residuals(u)
    damping = 1e-3
    for _ in range(200):
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ r
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
        new_r, new_jacobian = residuals(u + step)
        gain = 1 - float((new_r @ new_r) / (r @ r))
        if gain > 0:
            u, r, jacobian, damping = u + step, new_r, new_jacobian, max(damping / 5, 1e-9)
        else:
            damping *= 4
        if 0 < gain < 1e-6 or damping > 1e9:
            break
    return u
