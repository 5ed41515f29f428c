"""Algorithm 1 (annealed Langevin) and Algorithm 2 (consistent annealed sampling).

Both are written by Proposition 3 as x <- (1 - eta) x + eta H(x, sigma_i) + noise, so a sampler
knows nothing of scores or networks. `kappa` and the bounds follow Serrà, Pascual & Pons
(2104.03725); the second order is the multistep rule of DPM-Solver++(2M) and its SDE form (Lu et
al., 2211.01095).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cascore.denoiser import Denoiser
from cascore.errors import InputError
from cascore.moves import Move, consistent_moves, langevin_moves
from cascore.noise import Noise, Purpose, as_source

__all__ = [
    "Callback",
    "Samples",
    "annealed_langevin",
    "consistent_annealed",
    "initial_noise",
]


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
