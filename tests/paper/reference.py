"""The paper's algorithms, transcribed literally in float64: the score s, alpha_i, epsilon, beta.

Nothing here imports the package. The noise is an argument, a list of tensors in the order in which
the algorithms ask for it, so that a sampler and its transcription can be fed the same numbers.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor, float], Tensor]
Expected = Callable[[Tensor, float], Tensor]


def algorithm_1(
    score: Score,
    x: Tensor,
    sigmas: Sequence[float],
    *,
    epsilon: float,
    n_sigma: int,
    noises: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Annealed Langevin sampling; x after the last update, and the last call's x + sigma^2 s."""
    draws = iter(noises)
    denoised = x
    for sigma in sigmas:
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2
        for _ in range(n_sigma):
            s = score(x, sigma)
            denoised = x + sigma**2 * s
            x = x + alpha * s + math.sqrt(2 * alpha) * next(draws)
    return x, denoised


def algorithm_2(
    score: Score, x: Tensor, sigmas: Sequence[float], *, epsilon: float, noises: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Consistent annealed sampling with sigma_{L+1} = 0; the same two results.

    gamma is that of each step, which on a geometric schedule is the paper's one gamma.
    """
    eta = epsilon / sigmas[-1] ** 2
    followers = [*sigmas[1:], 0.0]
    denoised = x
    for i, sigma in enumerate(sigmas):
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2
        s = score(x, sigma)
        denoised = x + sigma**2 * s
        x = x + alpha * s
        if followers[i] > 0:
            gamma = followers[i] / sigma
            beta = math.sqrt(max(0.0, 1 - (1 - eta) ** 2 / gamma**2))
            x = x + beta * followers[i] * noises[i]
    return x, denoised


def kappa_form(
    expected: Expected,
    x: Tensor,
    sigmas: Sequence[float],
    *,
    kappa: float,
    noises: Sequence[Tensor],
) -> list[Tensor]:
    """x at every network call, by x <- g^k x + (1 - g^k) H + sigma_next sqrt(1 - g^(2k - 2)) z."""
    path = [x]
    for i in range(len(sigmas) - 1):
        g = sigmas[i + 1] / sigmas[i]
        h = expected(x, sigmas[i])
        x = g**kappa * x + (1 - g**kappa) * h
        x = x + sigmas[i + 1] * math.sqrt(1 - g ** (2 * kappa - 2)) * noises[i]
        path.append(x)
    return path


def multistep_sde(
    expected: Expected, x: Tensor, sigmas: Sequence[float], *, eta: float, noises: Sequence[Tensor]
) -> list[Tensor]:
    """DPM-Solver++(2M) SDE, midpoint, with k-diffusion's eta; x at every network call."""
    path = [x]
    old, old_h = x, 1.0
    for i in range(len(sigmas) - 1):
        denoised = expected(x, sigmas[i])
        h = math.log(sigmas[i] / sigmas[i + 1])
        eta_h = eta * h
        weight = -math.expm1(-h - eta_h)
        x = sigmas[i + 1] / sigmas[i] * math.exp(-eta_h) * x + weight * denoised
        if i > 0:
            r = old_h / h
            x = x + 0.5 * weight * (1 / r) * (denoised - old)
        x = x + sigmas[i + 1] * math.sqrt(-math.expm1(-2 * eta_h)) * noises[i]
        old, old_h = denoised, h
        path.append(x)
    return path


def ddim(
    expected: Expected, x: Tensor, sigmas: Sequence[float], *, eta: float, noises: Sequence[Tensor]
) -> list[Tensor]:
    """DDIM, Eq. 12 and 16 of 2010.02502, whose alpha is a here: x_t = sqrt(a) (x0 + sigma z)."""
    a = [1 / (1 + sigma**2) for sigma in sigmas]
    x_t, path = math.sqrt(a[0]) * x, [x]
    for t in range(len(sigmas) - 1):
        e = (path[-1] - expected(path[-1], sigmas[t])) / sigmas[t]
        s = eta * math.sqrt((1 - a[t + 1]) / (1 - a[t])) * math.sqrt(1 - a[t] / a[t + 1])
        predicted = (x_t - math.sqrt(1 - a[t]) * e) / math.sqrt(a[t])
        direction = math.sqrt(1 - a[t + 1] - s**2) * e
        x_t = math.sqrt(a[t + 1]) * predicted + direction + s * noises[t]
        path.append(x_t / math.sqrt(a[t + 1]))
    return path


def ve_ancestral(
    score: Score, x: Tensor, sigmas: Sequence[float], *, noises: Sequence[Tensor]
) -> list[Tensor]:
    """Ancestral sampling of the variance-exploding chain, Eq. 47 of 2011.13456."""
    path = [x]
    for i in range(len(sigmas) - 1):
        fall = sigmas[i] ** 2 - sigmas[i + 1] ** 2
        deviation = math.sqrt(sigmas[i + 1] ** 2 * fall / sigmas[i] ** 2)
        x = x + fall * score(x, sigmas[i]) + deviation * noises[i]
        path.append(x)
    return path


def sa_solver_1(
    expected: Expected, x: Tensor, sigmas: Sequence[float], *, tau: float, noises: Sequence[Tensor]
) -> list[Tensor]:
    """SA-Predictor of one step, data prediction, constant tau (2309.05019), at alpha = 1.

    Its coefficient, sigma times the integral of exp(-tau^2 (end - u)) (1 + tau^2) exp(u) over u
    from lambda_i to lambda_{i+1}, lambda = -log sigma, is taken by quadrature.
    """
    path = [x]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for i in range(len(sigmas) - 1):
        begin, end = -math.log(sigmas[i]), -math.log(sigmas[i + 1])
        u = begin + (end - begin) * (nodes + 1) / 2
        inside = np.exp(-(tau**2) * (end - u)) * (1 + tau**2) * np.exp(u)
        b = sigmas[i + 1] * float(weights @ inside) * (end - begin) / 2
        keep = sigmas[i + 1] / sigmas[i] * math.exp(-(tau**2) * (end - begin))
        spread = sigmas[i + 1] * math.sqrt(1 - math.exp(-2 * tau**2 * (end - begin)))
        x = keep * x + b * expected(x, sigmas[i]) + spread * noises[i]
        path.append(x)
    return path


def er_sde_1(
    expected: Expected,
    x: Tensor,
    sigmas: Sequence[float],
    *,
    phi: Callable[[float], float],
    noises: Sequence[Tensor],
) -> list[Tensor]:
    """VE ER-SDE-Solver-1 of 2309.06169, its noise scale a function phi of sigma."""
    path = [x]
    for i in range(len(sigmas) - 1):
        ratio = phi(sigmas[i + 1]) / phi(sigmas[i])
        variance = sigmas[i + 1] ** 2 - sigmas[i] ** 2 * ratio**2
        x = ratio * x + (1 - ratio) * expected(x, sigmas[i]) + math.sqrt(variance) * noises[i]
        path.append(x)
    return path


def mixture_log_density(x: Tensor, sigma: float, means: Tensor, stds: Tensor, p: Tensor) -> Tensor:
    """log of sum_k p_k N(x; mean_k, (std_k^2 + sigma^2) I) for x [N, D], up to a constant."""
    variance = stds**2 + sigma**2
    squared = ((x[:, None] - means[None]) ** 2).sum(-1)
    dimension = x.shape[1]
    return (p.log() - squared / (2 * variance) - dimension / 2 * variance.log()).logsumexp(1)


def mixture_score(means: Tensor, stds: Tensor, p: Tensor) -> Score:
    """The gradient of the log density by automatic differentiation: no closed form of H in it."""

    def score(x: Tensor, sigma: float) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().double().requires_grad_()
            density = mixture_log_density(leaf, sigma, means, stds, p).sum()
            (gradient,) = torch.autograd.grad(density, leaf)
        return gradient

    return score


class Replay:
    """A noise source that hands out given numbers: noises[step], whatever it is asked for."""

    def __init__(self, noises: Sequence[Tensor]) -> None:
        self.noises = list(noises)

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu") -> Tensor:
        assert tuple(shape) == tuple(self.noises[step].shape)
        return self.noises[step].to(device=device, dtype=dtype)

    def integers(self, count, *, high, purpose, step=0, device="cpu") -> Tensor:
        raise AssertionError("a sampler draws no integers")


class Impulses:
    """z = 1 for sample 2 + step at that step and 0 otherwise, for a batch of 2 + steps samples.

    On a linear denoiser sample 0 is then the mean of a chain, and what the others differ by are the
    coefficients of every z (and of the start, if sample 1 starts one deviation away).
    """

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu") -> Tensor:
        z = torch.zeros(tuple(shape), dtype=dtype, device=device)
        z[2 + step] = 1
        return z

    def integers(self, count, *, high, purpose, step=0, device="cpu") -> Tensor:
        raise AssertionError("a sampler draws no integers")


def normals(count: int, shape: Sequence[int], *, seed: int) -> list[Tensor]:
    """`count` float64 tensors of N(0, 1) numbers."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(tuple(shape), generator=generator, dtype=torch.float64) for _ in range(count)
    ]
