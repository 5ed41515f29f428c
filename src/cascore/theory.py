"""Ground truth without training: optimal denoisers, and what the samplers do to known laws.

Appendix D: the optimal denoiser of a finite set is a softmax-weighted mean of its points.
Appendix E: the optimum of a network that does not see sigma.
Propositions 1 and 2: recursions of the noise.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.denoiser import broadcast_sigma
from cascore.errors import InputError
from cascore.sampling import Step
from cascore.schedule import check_sigmas


@dataclass(frozen=True, eq=False)
class EmpiricalDenoiser:
    """Appendix D: the optimum for a finite data set [M, ...], a softmax over its points."""

    data: Tensor

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma); distances in float64, the result in x's dtype."""
        points = self.data.to(x.device, torch.float64).flatten(1)
        level = broadcast_sigma(sigma, x.double()).reshape(-1, 1)
        squared = _squared_distances(x.double().flatten(1), points)
        weights = (-squared / (2 * level**2)).softmax(dim=1)
        return (weights @ points).reshape(x.shape).to(x.dtype)


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
        points = self.means.to(x.device, torch.float64).flatten(1)
        within = self.stds.to(x.device, torch.float64) ** 2
        level = broadcast_sigma(sigma, x.double()).reshape(-1, 1)
        flat = x.double().flatten(1)
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


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def unconditional_optimum(x: Tensor, data: Tensor, sigmas: Tensor) -> Tensor:
    """Appendix E: the f(x) that minimises Eq. 1 when the network sees x but not sigma.

    f*(x) = E[(x0 - x) / sigma | x], the mean over the data and the levels of p(x, x0, sigma), each
    weighted by its density N(x; x0, sigma^2 I); H = x + sigma f*(x).

    Args:
        x: [N, ...].
        data: [M, ...], the finite data set.
        sigmas: [L], each level equally likely.
    """
    flat, points = x.double().flatten(1), data.double().flatten(1).to(x.device)
    level = check_sigmas(sigmas).to(x.device)[None, :, None]
    squared = _squared_distances(flat, points)[:, None, :]  # [N, 1, M]
    logits = -squared / (2 * level**2) - flat.shape[1] * level.log()
    weights = logits.flatten(1).softmax(dim=1).reshape(logits.shape) / level
    total = weights.sum(dim=(1, 2))[:, None]
    return (weights.sum(1) @ points - total * flat).reshape(x.shape).to(x.dtype)


class NoiseStd(NamedTuple):
    """Standard deviation of the noise in x around the one datum, both [steps], float64."""

    before: Tensor
    after: Tensor


def noise_std(steps: list[Step], *, start: float) -> NoiseStd:
    """Propositions 1 and 2: the noise of a chain under the perfect score of a single datum x0.

    There H = x0 at every call, whatever the order, so v <- (1 - eta)^2 v + noise^2: for Algorithm 1
    v <- (1 - eta)^2 v + 2 eta sigma_i^2.

    Args:
        steps: `langevin_steps(...)` or `consistent_steps(...)` of `cascore.sampling`.
        start: the standard deviation of the first x around x0 (sigma_1).
    """
    variance, path = start**2, [start]
    for step in steps:
        variance = (1 - step.eta) ** 2 * variance + step.noise**2
        path.append(math.sqrt(variance))
    std = torch.tensor(path, dtype=torch.float64)
    return NoiseStd(before=std[:-1], after=std[1:])


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
    the pair (x, H_{i-1}) around the mean, since the second order looks one call back.

    Args:
        steps: `langevin_steps(...)` or `consistent_steps(...)` of `cascore.sampling`.
        mean: Mean of the data.
        std: Standard deviation of the data; 0 is a single datum.
        start_mean: Mean of the first x.
        start_std: Standard deviation of the first x.
    """
    state = torch.tensor([start_mean - mean, 0.0], dtype=torch.float64)
    covariance = torch.zeros(2, 2, dtype=torch.float64)
    covariance[0, 0] = start_std**2
    look = torch.zeros(2, dtype=torch.float64)
    before, before_covariance = state, covariance
    for sigma, eta, lead, noise in steps:
        w = std**2 / (std**2 + sigma**2)
        look = torch.tensor([w, 0.0], dtype=torch.float64)
        update = torch.tensor(
            [[1 - eta + eta * (1 + lead) * w, -eta * lead], [w, 0.0]], dtype=torch.float64
        )
        before, before_covariance = state, covariance
        state = update @ state
        covariance = update @ covariance @ update.T
        covariance[0, 0] += noise**2
    return GaussianLaw(
        raw_mean=mean + float(state[0]),
        raw_variance=float(covariance[0, 0]),
        denoised_mean=mean + float(look @ before),
        denoised_variance=float(look @ before_covariance @ look),
    )
