"""Algorithm 1 (annealed Langevin) and Algorithm 2 (consistent annealed sampling).

Both are written by Proposition 3 as x <- (1 - eta) x + eta H(x, sigma_i) + noise, so a sampler
knows nothing of scores or networks. `kappa` and the bounds follow Serrà, Pascual & Pons
(2104.03725); the second order is the multistep rule of DPM-Solver++(2M) and its SDE form (Lu et
al., 2211.01095).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cascore.denoiser import Denoiser
from cascore.errors import InputError
from cascore.noise import Noise, Purpose, as_source
from cascore.schedule import (
    allowed_interval,
    check_sigmas,
    eta_from_epsilon,
    eta_from_kappa,
    langevin_step_size,
)

__all__ = [
    "Callback",
    "Move",
    "Samples",
    "annealed_langevin",
    "consistent_annealed",
    "consistent_moves",
    "initial_noise",
    "langevin_moves",
]


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


@dataclass(frozen=True)
class Samples:
    """What one chain returns: both of the paper's results, from the same network calls.

    Attributes:
        raw: x after the last update ("non-denoised" in Tables 1 to 3), of the start's shape.
        denoised: H(x, sigma_L) of the last call, the expected denoised sample.
        nfe: network calls (number of function evaluations).
    """

    raw: Tensor
    denoised: Tensor
    nfe: int


Callback = Callable[[int, float, Tensor, Tensor], None]
"""callback(step, sigma, x, H): x is where H was evaluated and is not changed afterwards.

H is what the denoiser returned: copy it to keep it, if the denoiser reuses its output buffer.
"""


@torch.no_grad()
def annealed_langevin(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    eta: float | None = None,
    epsilon: float | None = None,
    steps_per_level: int = 1,
    noise: Noise,
    callback: Callback | None = None,
) -> Samples:
    """Algorithm 1: n_sigma times per level, x <- (1 - eta) x + eta H + sqrt(2 eta) sigma_i z.

    Args:
        denoiser: H(x, sigma).
        x: the start [N, ...], sigma_1 z or data + sigma_1 z; left unchanged.
        sigmas: [L], strictly decreasing and positive.
        eta: step size in (0, 2); at most one of eta and epsilon, by default Technique 4.
        epsilon: the same as epsilon = eta sigma_L^2, in squared pixels.
        steps_per_level: n_sigma >= 1.
        noise: a generator, or a keyed source (see `cascore.noise`).
        callback: called at every network call with (step, sigma, x, H).

    Returns:
        `Samples` after L n_sigma calls; `raw` contains the last noise, as in Algorithm 1.

    Raises:
        InputError: a ValueError; a schedule or a step size that is none.
    """
    moves = langevin_moves(sigmas, eta=eta, epsilon=epsilon, steps_per_level=steps_per_level)
    return _run(denoiser, x, moves, noise=noise, callback=callback)


@torch.no_grad()
def consistent_annealed(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    kappa: float | Sequence[float] | None = None,
    eta: float | None = None,
    epsilon: float | None = None,
    order: int = 1,
    noise: Noise,
    callback: Callback | None = None,
) -> Samples:
    """Algorithm 2: x <- (1 - eta) x + eta H + beta sigma_{i+1} z, with beta from eta and gamma.

    beta^2 = 1 - (1 - eta)^2 / gamma^2; with eta = 1 - gamma^kappa it is 1 - gamma^(2 kappa - 2).
    kappa = 1 is the probability-flow ODE (Euler, DDIM), 2 is ancestral sampling, inf re-noises H.
    The last step has gamma_L = gamma_{L-1}, first order and no noise; with L = 1, raw = H.

    Args:
        denoiser: H(x, sigma).
        x: the start [N, ...] at noise sigma_1; left unchanged.
        sigmas: [L], strictly decreasing and positive; `schedule.stretch` gives n_sigma > 1.
        kappa: in [1, inf], one number or one per step [L]; at most one of kappa, eta, epsilon, and
            1.5 without any.
        eta: constant step size in `step_size.allowed_interval(sigmas)`.
        epsilon: the same as epsilon = eta sigma_L^2, in squared pixels.
        order: 1, the paper's; 2, the multistep rule H_i + (H_i - H_{i-1}) / (2 r), with
            r = log(sigma_{i-1} / sigma_i) / log(sigma_i / sigma_{i+1}): DPM-Solver++(2M) at kappa 1
            and SDE-DPM-Solver++(2M) at kappa 2.
        noise: a generator, or a keyed source (see `cascore.noise`).
        callback: called at every network call with (step, sigma, x, H).

    Returns:
        `Samples` after L calls.

    Raises:
        InputError: a ValueError; more than one step size, or one outside its interval, which the
            message states in eta, epsilon and kappa.
    """
    moves = consistent_moves(sigmas, kappa=kappa, eta=eta, epsilon=epsilon, order=order)
    return _run(denoiser, x, moves, noise=noise, callback=callback)


def initial_noise(shape: Sequence[int], sigma: float, *, noise: Noise) -> Tensor:
    """The start of a chain, x = sigma_1 z, float32 of `shape` on the generator's device or CPU."""
    device = noise.device if isinstance(noise, torch.Generator) else "cpu"
    return sigma * as_source(noise).normal(shape, purpose=Purpose.INITIAL, device=device)


def _run(
    denoiser: Denoiser, x: Tensor, moves: list[Move], *, noise: Noise, callback: Callback | None
) -> Samples:
    if x.ndim < 1 or not x.is_floating_point():
        raise InputError(f"the start must be a float tensor [N, ...], not {x.dtype} {x.ndim}-d")
    source = as_source(noise)
    # bfloat16 near 0.7 has spacing 0.004 and would lose sigma_L = 0.01.
    # A copy: a denoiser may work in place or ask for gradients of what it is given.
    state = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    denoised = previous = x
    remember = any(move.lead for move in moves)
    with _evaluation_mode(denoiser):
        for step, (sigma, keep, lead, spread) in enumerate(moves):
            level = torch.tensor(sigma, dtype=state.dtype, device=state.device)
            denoised = denoiser(state, level)
            if denoised.shape != state.shape:
                raise InputError(
                    f"the denoiser returned {list(denoised.shape)} for an x of {list(state.shape)}"
                )
            if callback is not None:
                callback(step, sigma, state, denoised)
            state = keep * state  # a new tensor: the old one may be the caller's now
            state.add_(denoised, alpha=(1 - keep) * (1 + lead))
            if lead:
                state.add_(previous, alpha=-(1 - keep) * lead)
            if spread:
                z = source.normal(
                    state.shape,
                    purpose=Purpose.CHAIN,
                    step=step,
                    dtype=state.dtype,
                    device=state.device,
                )
                state.add_(z, alpha=spread)
            if remember:
                previous = denoised.clone()  # a compiled denoiser may reuse its output buffer
    # An identity denoiser returns the caller's own tensor: the result must not share it.
    return Samples(raw=state.to(x.dtype), denoised=denoised.to(x.dtype, copy=True), nfe=len(moves))


@contextmanager
def _evaluation_mode(denoiser: Denoiser) -> Iterator[None]:
    """Dropout off and statistics frozen during a chain; every submodule's own mode afterwards."""
    modules = list(denoiser.modules()) if isinstance(denoiser, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
