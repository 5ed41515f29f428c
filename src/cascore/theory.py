"""Ground truth without training: optimal denoisers, and what the samplers do to known laws.

Appendix D: the optimal denoiser of a finite set is a softmax-weighted mean of its points.
Appendix E: the optimum of a network that does not see sigma.
Propositions 1, 2 and 4: recursions of the noise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.denoiser import broadcast_sigma
from cascore.errors import InputError
from cascore.sampling import Step, consistent_steps
from cascore.schedule import check_sigmas


@dataclass(frozen=True, eq=False)
class EmpiricalDenoiser:
    """Appendix D: the optimum for a finite data set [M, ...], a softmax over its points."""

    data: Tensor

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma); distances in float64, the result in x's dtype."""
        points = _rows(self.data).to(x.device)
        level = broadcast_sigma(sigma, x.double()).reshape(-1, 1)
        squared = _squared_distances(_rows(x), points)
        return ((-squared / (2 * level**2)).softmax(dim=1) @ points).reshape(x.shape).to(x.dtype)


@dataclass(frozen=True, eq=False)
class GaussianMixtureDenoiser:
    """The optimum for a mixture of isotropic Gaussians: weights [K], means [K, ...], stds [K]."""

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        if not len(self.means) == len(self.stds) == len(self.weights):
            raise InputError("means, stds and weights must have one entry per component")

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma), computed in float64, in x's dtype."""
        points = _rows(self.means).to(x.device)
        within = self.stds.to(x.device, torch.float64) ** 2
        level = broadcast_sigma(sigma, x.double()).reshape(-1, 1)
        flat = _rows(x)
        variance = within + level**2  # [N or 1, K]
        logits = (
            self.weights.to(x.device, torch.float64).log()
            - _squared_distances(flat, points) / (2 * variance)
            - points.shape[1] / 2 * variance.log()
        )
        # Each component pulls x towards its mean by sigma^2 / (std^2 + sigma^2).
        share = logits.softmax(dim=1)
        pull = share * level**2 / variance
        mean = pull @ points + (share - pull).sum(1, keepdim=True) * flat
        return mean.reshape(x.shape).to(x.dtype)


def _rows(x: Tensor) -> Tensor:
    """[N, ...] as [N, D] in float64; [N] as [N, 1]."""
    return x.double().reshape(len(x), math.prod(x.shape[1:]))


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def unconditional_optimum(x: Tensor, data: Tensor, sigmas: Tensor) -> Tensor:
    """Appendix E: the f(x) that minimises Eq. 1 when the network sees x but not sigma.

    f*(x) = E[(x0 - x) / sigma | x], the mean over the data and the levels of p(x, x0, sigma), each
    weighted by its density N(x; x0, sigma^2 I); H = x + sigma f*(x). x is [N, ...], the finite data
    set [M, ...], the levels are [L], each equally likely.
    """
    flat, points = _rows(x), _rows(data).to(x.device)
    level = check_sigmas(sigmas).to(x.device)[None, :, None]
    squared = _squared_distances(flat, points)[:, None, :]  # [N, 1, M]
    logits = -squared / (2 * level**2) - flat.shape[1] * level.log()
    weights = logits.flatten(1).softmax(dim=1).reshape(logits.shape) / level
    total = weights.sum(dim=(1, 2))[:, None]
    return (weights.sum(1) @ points - total * flat).reshape(x.shape).to(x.dtype)


@dataclass(frozen=True, eq=False)
class UnitNoiseDenoiser:
    """The perfect noise-blind network around one datum [...]: f of length sqrt(D), away from x0.

    Appendix E's optimum in the limit of many levels is this times 1 - 1 / (4 D), between the ends
    of its levels.
    """

    datum: Tensor
    blind = True

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma) = x - sigma sqrt(D) (x - x0) / |x - x0|; D is the size of the datum."""
        away = x - self.datum.to(x.device)
        length = away.flatten(1).norm(dim=1) / math.sqrt(self.datum.numel())
        return x - broadcast_sigma(sigma, x) / broadcast_sigma(length, x) * away


class _Spread(NamedTuple):
    """Mean squares of x and of the last H around the datum or the mean, and their mean product."""

    square: float
    product: float = 0.0
    last_square: float = 0.0

    def after(self, step: Step, w: float) -> "_Spread":
        """After a step whose H is w x."""
        of_x, of_last = _weights(step, w)
        return _Spread(
            of_x**2 * self.square
            + 2 * of_x * of_last * self.product
            + of_last**2 * self.last_square
            + step.noise**2,
            w * (of_x * self.square + of_last * self.product),
            w**2 * self.square,
        )


def _weights(step: Step, w: float) -> tuple[float, float]:
    """Of x and of the last H in the next x, where H is w x."""
    return 1 - step.eta + step.eta * (1 + step.lead) * w, -step.eta * step.lead


class NoiseStd(NamedTuple):
    """Standard deviation of the noise in x around the one datum, both [steps], float64."""

    before: Tensor
    after: Tensor


def noise_std(steps: list[Step], *, start: float) -> NoiseStd:
    """Propositions 1 and 2: the noise of a chain under the perfect score of a single datum x0.

    There H = x0 at every call, whatever the order, so v <- (1 - eta)^2 v + noise^2: for Algorithm 1
    v <- (1 - eta)^2 v + 2 eta sigma_i^2. `start` is the deviation of the first x, sigma_1.
    """
    return _noise_std(steps, start, lambda sigma, tau: 0.0)


def blind_noise_std(steps: list[Step], *, start: float) -> NoiseStd:
    """Proposition 4: the noise of a chain under the perfect noise-blind network of a single datum.

    Technique 3's network estimates the unit noise, of the right length whatever noise x has: with
    tau the deviation of that, H - x0 = (1 - sigma / tau) (x - x0), 0 only where tau = sigma. So of
    consistent annealing of order 1

        tau_next^2 = (tau - sigma + sigma gamma^kappa)^2 + sigma^2 gamma^2 (1 - gamma^(2 kappa - 2))

    and, to first order and at any order, a step multiplies tau / sigma - 1 by gamma^(kappa - 2): it
    grows for kappa < 2 and dies above, where a large one still grows (`blind_basin`). A step of
    annealed Langevin multiplies the distance from tau = sigma (1 + eta / 2) by
    (1 - eta / 2) / (1 + eta / 2).

    That is the limit of many dimensions D; in D dimensions the noise of a step moves tau by about
    sigma / sqrt(2 D), and what grows, grows from there. `start` need not be sigma_1.
    """
    if not start > 0:
        raise InputError(f"the noise of the first x must be positive, not {start}")
    return _noise_std(steps, start, lambda sigma, tau: 1 - sigma / tau)


def _noise_std(
    steps: list[Step], start: float, weight: Callable[[float, float], float]
) -> NoiseStd:
    """The noise where H - x0 = w (x - x0), w a function of sigma and of the noise of x."""
    spread, path = _Spread(start**2), [start]
    for step in steps:
        spread = spread.after(step, weight(step.sigma, path[-1]))
        path.append(math.sqrt(spread.square))
    std = torch.tensor(path, dtype=torch.float64)
    return NoiseStd(before=std[:-1], after=std[1:])


def blind_basin(gamma: float, kappa: float, *, order: int = 1) -> float:
    """The largest tau / sigma_1 from which noise returns to a geometric schedule; 1 if kappa <= 2.

    Of order 1 it is the second fixed point of Proposition 4's recursion of tau / sigma,
    1 + 2 gamma^2 (1 - gamma^(kappa - 2)) / (1 - gamma^2). Of order 2 it is found by bisection of
    the recursion itself. `gamma` in (0, 1) is the ratio of the schedule.
    """
    if not 0 < gamma < 1:
        raise InputError(f"gamma must be in (0, 1), not {gamma}")
    if kappa <= 2:
        return 1.0
    edge: float = 1 + 2 * gamma**2 * (1 - gamma ** (kappa - 2)) / (1 - gamma**2)
    if order == 1:
        return edge
    ladder = torch.tensor([1 / gamma, 1.0, gamma], dtype=torch.float64)
    step = consistent_steps(ladder, kappa=kappa, order=order)[1]
    low, high = 1.0, 2 * edge  # coarse ladders have less than the edge of order 1, fine ones more
    for _ in range(50):
        start = (low + high) / 2
        low, high = (start, high) if _returns(start, step, gamma) else (low, start)
    return (low + high) / 2


def _returns(start: float, step: Step, gamma: float) -> bool:
    """Whether tau / sigma goes from `start` to 1, by the same step in units of the level again."""
    spread, tau = _Spread(start**2).after(step._replace(lead=0.0), 1 - 1 / start), start
    for _ in range(100_000):
        spread = _Spread(*(part / gamma**2 for part in spread))
        tau = math.sqrt(spread.square)
        if not 1 + (start - 1) / 10 < tau < 10 * start:
            break
        spread = spread.after(step, 1 - step.sigma / tau)
    return tau < start


def linear_errors(variances: Tensor, sigmas: Sequence[float]) -> list[float]:
    """The root mean square error of the best linear denoiser (Wiener), for each level.

    Along a principal axis of variance v it leaves sigma^2 v / (v + sigma^2) of it; the mean is over
    the axes [D], so the error is that of a pixel.
    """
    v = variances.double()
    return [float((sigma**2 * v / (v + sigma**2)).mean().sqrt()) for sigma in sigmas]


class GaussianLaw(NamedTuple):
    """Mean and variance of a coordinate of `Samples` on Gaussian data."""

    raw_mean: float
    raw_variance: float
    denoised_mean: float
    denoised_variance: float


def gaussian_law(
    steps: list[Step], *, mean: float, std: float, start_mean: float, start_std: float
) -> GaussianLaw:
    """The exact law of a sampler on data N(mean, std^2), where every update is linear.

    H(x, sigma) = mean + w (x - mean) with w = std^2 / (std^2 + sigma^2). The chain is followed as
    the pair (x, H_{i-1}) around the mean, since the second order looks one call back. `start_mean`
    and `start_std` are those of the first x; a `std` of 0 is a single datum.
    """
    x, last, spread = start_mean - mean, 0.0, _Spread(start_std**2)
    for step in steps:
        w = std**2 / (std**2 + step.sigma**2)
        of_x, of_last = _weights(step, w)
        x, last = of_x * x + of_last * last, w * x
        spread = spread.after(step, w)
    return GaussianLaw(mean + x, spread.square, mean + last, spread.last_square)
