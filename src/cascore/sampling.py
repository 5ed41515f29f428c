"""Algorithm 1 (annealed Langevin) and Algorithm 2 (consistent annealed sampling).

Both are written by Proposition 3 as x <- (1 - eta) x + eta H(x, sigma_i) + noise, so a sampler
knows nothing of scores or networks. `kappa` and the bounds follow Serrà, Pascual & Pons
(2104.03725); the second order is the multistep rule of DPM-Solver++(2M) and its SDE form (Lu et
al., 2211.01095).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from cascore.denoiser import (
    EXACT_KAPPA,
    Denoiser,
    default_kappa,
    evaluation_mode,
    evaluations,
    instead_of,
)
from cascore.errors import InputError
from cascore.noise import Device, Noise, Purpose, as_source
from cascore.pixels import encode_png, save_png, sheet, to_uint8
from cascore.schedule import (
    allowed_interval,
    check_sigmas,
    eta_from_epsilon,
    eta_from_kappa,
    langevin_step_size,
)

Kappa = TypeVar("Kappa")

_EDGE = 1e-12  # a squared noise coefficient this close to 0 is 0: rounding at the interval's edge


class Step(NamedTuple):
    """Proposition 3: x <- (1 - eta) x + eta [H + lead (H - H_previous)] + noise z.

    `eta` is rounded so that 1 - eta is exact: the weights of x and H add up to 1 to the last bit.
    """

    sigma: float
    eta: float
    lead: float
    noise: float


def langevin_steps(
    sigmas: Tensor, *, eta: float | None = None, epsilon: float | None = None, n_sigma: int = 1
) -> list[Step]:
    """The steps of Algorithm 1, one for each network call (see `annealed_langevin`)."""
    levels = check_sigmas(sigmas)
    _check_step_size(eta=eta, epsilon=epsilon)
    if n_sigma < 1:
        raise InputError(f"n_sigma must be at least 1, not {n_sigma}")
    last = float(levels[-1])
    if eta is None:
        size = langevin_step_size(levels, n_sigma) if epsilon is None else epsilon
        eta = eta_from_epsilon(size, last)
    if not 0 < eta < 2:
        raise InputError(
            f"eta = {eta:.6g} (epsilon = {eta * last**2:.6g}) does not contract: annealed Langevin"
            f" sampling needs 0 < eta < 2, that is 0 < epsilon < {2 * last**2:.6g}"
        )
    return [
        Step(sigma, _rounded(eta), lead=0.0, noise=math.sqrt(2 * eta) * sigma)
        for sigma in levels.tolist()
        for _ in range(n_sigma)
    ]


def consistent_steps(
    sigmas: Tensor,
    *,
    kappa: float | Sequence[float] | None = None,
    eta: float | None = None,
    epsilon: float | None = None,
    order: int | None = None,
) -> list[Step]:
    """The steps of Algorithm 2, one for each network call (see `consistent_annealed`)."""
    levels = check_sigmas(sigmas)
    order, kappa = order_and_kappa(order=order, kappa=kappa, eta=eta, epsilon=epsilon)
    if epsilon is not None:
        eta = eta_from_epsilon(epsilon, float(levels[-1]))
    if eta is not None:
        etas = _etas_of_eta(eta, levels)
    else:
        assert kappa is not None
        etas = _etas_of_kappa(kappa, levels)
    sigma, etas = levels.tolist(), [_rounded(eta) for eta in etas]
    steps = []
    for i in range(len(sigma) - 1):
        beta_squared = 1 - ((1 - etas[i]) * sigma[i] / sigma[i + 1]) ** 2
        beta = math.sqrt(beta_squared) if beta_squared > _EDGE else 0.0
        lead = 0.0
        if order == 2 and i > 0:
            r = math.log(sigma[i - 1] / sigma[i]) / math.log(sigma[i] / sigma[i + 1])
            lead = 1 / (2 * r)
        steps.append(Step(sigma[i], etas[i], lead, noise=beta * sigma[i + 1]))
    return [*steps, Step(sigma[-1], etas[-1], lead=0.0, noise=0.0)]


def order_and_kappa(
    *,
    order: int | None = None,
    kappa: Kappa | None = None,
    eta: float | None = None,
    epsilon: float | None = None,
    default: float = EXACT_KAPPA,
) -> tuple[int, Kappa | float | None]:
    """The order and the kappa in force in Algorithm 2, where they are not given.

    A step size in eta or epsilon is the paper's: order 1, and no kappa. Otherwise order 2, and the
    `default` kappa, of the denoiser (`cascore.denoiser.default_kappa`). Another order, and more
    than one of kappa, eta and epsilon, raise InputError.
    """
    _check_step_size(kappa=kappa, eta=eta, epsilon=epsilon)
    if order not in (None, 1, 2) or isinstance(order, bool | float):
        raise InputError(f"order must be 1 or 2, not {order!r}")
    if eta is not None or epsilon is not None:
        return order or 1, None
    return order or 2, kappa if kappa is not None else default


def _etas_of_eta(eta: float, levels: Tensor) -> list[float]:
    if len(levels) == 1:
        if not 0 < eta < 2:
            raise InputError(f"eta must be in (0, 2) on a schedule of one level, not {eta}")
        return [1.0]  # raw = H
    allowed = allowed_interval(levels)
    gamma = 1 - allowed.eta.low
    if not (1 - eta) ** 2 / gamma**2 <= 1 + _EDGE:
        last = float(levels[-1])
        raise InputError(
            f"eta = {eta:.6g} (epsilon = {eta * last**2:.6g}) leaves no real noise on this"
            f" schedule: choose eta in {allowed.eta}, that is epsilon in {allowed.epsilon}, or"
            f" any kappa in [1, inf]"
        )
    return [eta] * len(levels)


def _etas_of_kappa(kappa: float | Sequence[float], levels: Tensor) -> list[float]:
    given = torch.as_tensor(kappa, dtype=torch.float64)
    if given.ndim > 0 and given.shape != levels.shape:
        raise InputError(
            f"kappa must be one number or {len(levels)}, one per level, not {list(given.shape)}"
        )
    kappas = given.expand(levels.shape).tolist()
    if len(levels) == 1:
        eta_from_kappa(kappas[0], 0.5)  # refuses what is no kappa
        return [1.0]  # raw = H
    gammas = (levels[1:] / levels[:-1]).tolist()
    pairs = zip(kappas, [*gammas, gammas[-1]], strict=True)  # gamma_L := gamma_{L-1}
    return [eta_from_kappa(kappa_i, gamma) for kappa_i, gamma in pairs]


def _rounded(eta: float) -> float:
    return 1 - (1 - eta)  # moves an eta below 1/2 by at most 2^-54, and makes 1 - eta exact


def _check_step_size(**given: object) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InputError(f"give at most one of {', '.join(given)}, not {' and '.join(names)}")
    for name in names:
        try:
            value = torch.as_tensor(given[name])
            numeric = value.dtype != torch.bool and not value.is_complex()
        except (TypeError, ValueError, RuntimeError):
            numeric = False
        if not numeric:
            raise InputError(f"{name} must be a number, not {given[name]!r}")


@dataclass(frozen=True, repr=False)
class Samples:
    """What one chain returns: both of the paper's results, from the same `nfe` network calls.

    `raw` is x after the last update ("non-denoised" in Tables 1 to 3), `denoised` H(x, sigma_L) of
    the last call, the expected denoised sample; both have the start's shape. `nfe` counts
    evaluations of the network: its calls, or twice as many where guidance needs two a call.
    """

    raw: Tensor
    denoised: Tensor
    nfe: int

    def __repr__(self) -> str:
        count, *shape = self.denoised.shape
        pictures = f"{count} of {'×'.join(map(str, shape))}"
        return f"<Samples: {pictures}, {self.nfe} network evaluations each>"

    def save(self, path: Path | str) -> None:
        """Write the denoised pictures as one sheet, a PNG file, whole or not at all.

        Samples that are no grey or RGB pictures, NaN among their pixels, and a path that cannot be
        such a file raise InputError.
        """
        if not self._are_pictures:
            raise InputError(
                f"samples of shape {list(self.denoised.shape)} are no pictures [N, 1 or 3, H, W]:"
                " save their tensors raw and denoised with numpy or torch"
            )
        save_png(sheet(to_uint8(self.denoised)), path)

    def _repr_png_(self) -> bytes | None:
        """The sheet that a notebook shows, of at most 256 pictures; None of points."""
        return encode_png(sheet(to_uint8(self.denoised[:256]))) if self._are_pictures else None

    @property
    def _are_pictures(self) -> bool:
        return self.denoised.ndim == 4 and self.denoised.shape[1] in (1, 3)


Callback = Callable[[int, float, Tensor, Tensor], None]
"""Called with (step, sigma, x, H): x is where H was evaluated and is not changed afterwards.

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
    n_sigma: int = 1,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Samples:
    """Algorithm 1: n_sigma times per level, x <- (1 - eta) x + eta H + sqrt(2 eta) sigma_i z.

    Args:
        denoiser: H(x, sigma).
        x: the start [N, ...], of `initial_noise` or data + sigma_1 z; left unchanged.
        sigmas: [L], strictly decreasing and positive.
        eta: step size in (0, 2); at most one of eta and epsilon, by default Technique 4.
        epsilon: the same as epsilon = eta sigma_L^2, in squared pixels.
        n_sigma: calls at each level, at least 1.
        noise: a generator, or a keyed source (see `cascore.noise`); seeds 0, ..., N - 1 by default.
        callback: called at every network call with (step, sigma, x, H).

    Returns:
        `Samples` after L n_sigma calls; `raw` contains the last noise, as in Algorithm 1. Levels
        that do not decrease and a step size outside (0, 2) raise InputError.
    """
    steps = langevin_steps(sigmas, eta=eta, epsilon=epsilon, n_sigma=n_sigma)
    return _walk(denoiser, x, steps, noise, callback)


@torch.no_grad()
def consistent_annealed(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    kappa: float | Sequence[float] | None = None,
    eta: float | None = None,
    epsilon: float | None = None,
    order: int | None = None,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Samples:
    """Algorithm 2: x <- (1 - eta) x + eta H + beta sigma_{i+1} z, with beta from eta and gamma.

    beta^2 = 1 - (1 - eta)^2 / gamma^2; with eta = 1 - gamma^kappa it is 1 - gamma^(2 kappa - 2).
    kappa = 1 is the probability-flow ODE (Euler, DDIM), 2 is ancestral sampling, inf re-noises H.
    The last step has gamma_L = gamma_{L-1}, first order and no noise; with L = 1, raw = H.

    Args:
        denoiser: as in `annealed_langevin`, and so are x, noise and callback.
        sigmas: [L], strictly decreasing and positive; `schedule.stretch` gives n_sigma > 1.
        kappa: in [1, inf], one number or one per step [L]; at most one of kappa, eta, epsilon.
            Without any, the denoiser's, for such levels (`cascore.denoiser.default_kappa`).
        eta: constant step size in `schedule.allowed_interval(sigmas)`.
        epsilon: the same as epsilon = eta sigma_L^2, in squared pixels.
        order: 1, the paper's; 2, the multistep rule H_i + (H_i - H_{i-1}) / (2 r), with
            r = log(sigma_{i-1} / sigma_i) / log(sigma_i / sigma_{i+1}): DPM-Solver++(2M) at kappa 1
            and SDE-DPM-Solver++(2M) at kappa 2. By default 2, but 1 with eta or epsilon.

    Returns:
        `Samples` after L calls. Levels that do not decrease, more than one step size, and one
        outside its interval, which the message states, raise InputError.
    """
    if kappa is eta is epsilon is None:
        kappa = default_kappa(denoiser, sigmas, order=order or 2)
    steps = consistent_steps(sigmas, kappa=kappa, eta=eta, epsilon=epsilon, order=order)
    return _walk(denoiser, x, steps, noise, callback)


def initial_noise(
    shape: Sequence[int],
    sigma: float,
    *,
    mean: Tensor | float = 0.0,
    noise: Noise | None = None,
    device: Device = "cpu",
) -> Tensor:
    """The start of a chain, x = mean + sigma_1 z, float32 of `shape`.

    Data plus sigma_1 z have the mean of the data, `cascore.load(...).data_mean` where a model knows
    it. A start at 0 misses it: what is left of that at the end is less the larger sigma_1 is and
    the more fresh noise a chain has (`docs/which-sampler.md`).

    Args:
        shape: [N, ...].
        sigma: sigma_1, positive, else InputError.
        mean: of the data, a number or what broadcasts with x; the paper's start has 0.
        noise: as in `annealed_langevin`.
        device: where x is made.
    """
    if not sigma > 0:
        raise InputError(f"the first level must be positive, not {float(sigma)}")
    source = as_source(noise, shape[0])
    x = sigma * source.normal(shape, purpose=Purpose.INITIAL, device=device)
    return x + torch.as_tensor(mean, dtype=x.dtype, device=x.device)


def _walk(
    denoiser: Denoiser,
    start: Tensor,
    steps: list[Step],
    random: Noise | None,
    callback: Callback | None,
) -> Samples:
    _require_chain(denoiser, start)
    source = as_source(random, len(start))
    # bfloat16 near 0.7 has spacing 0.004 and would lose sigma_L = 0.01.
    # A copy: the caller keeps the start, and a denoiser may ask for gradients of what it is given.
    x = start.to(torch.promote_types(start.dtype, torch.float32), copy=True)
    H = H_previous = start
    remember = any(step.lead for step in steps)
    # Before the chain: a GPU would wait for the copy of each.
    levels = torch.tensor([step.sigma for step in steps], dtype=x.dtype, device=x.device)
    with evaluation_mode(denoiser):
        for i, (sigma, eta, lead, noise) in enumerate(steps):
            H = denoiser(x, levels[i])
            _require_denoised(H, x)
            if callback is not None:
                callback(i, sigma, x, H)
            # x <- (1 - eta) x + eta [H + lead (H - H_previous)] + noise z, tensor by tensor: the
            # bracket needs no memory of its own, and pictures keep the bits they always had.
            x = (1 - eta) * x  # a new tensor: the old one may be the caller's now
            x.add_(H, alpha=eta * (1 + lead))
            if lead:
                x.add_(H_previous, alpha=-eta * lead)
            if noise:
                z = source.normal(
                    x.shape, purpose=Purpose.CHAIN, step=i, dtype=x.dtype, device=x.device
                )
                x.add_(z, alpha=noise)
            if remember:
                H_previous = H.clone()  # a compiled denoiser may reuse its output buffer
    # An identity denoiser returns the caller's own tensor: the result must not share it.
    nfe = len(steps) * evaluations(denoiser)
    return Samples(raw=x.to(start.dtype), denoised=H.to(start.dtype, copy=True), nfe=nfe)


def _require_chain(denoiser: Denoiser, start: Tensor) -> None:
    """Refuse what no chain can start from, before the denoiser is asked."""
    if not isinstance(start, Tensor):
        raise InputError(
            f"the start must be a float tensor [N, ...], not {type(start).__name__}:"
            " torch.as_tensor makes one of an array"
        )
    if start.ndim < 1 or not start.is_floating_point():
        raise InputError(
            f"the start must be a float tensor [N, ...], not {start.dtype} {start.ndim}-d"
        )
    if not callable(denoiser):
        raise InputError(
            f"a denoiser is called as denoiser(x, sigma), and {type(denoiser).__name__} is no"
            f" function{instead_of(denoiser)}"
        )


def _require_denoised(H: Tensor, x: Tensor) -> None:
    """Refuse what is no H of x, such as the outputs that networks of diffusers wrap."""
    if not isinstance(H, Tensor):
        raise InputError(
            f"the denoiser returned {type(H).__name__}; expected H(x, sigma), a tensor of the shape"
            f" of x, {list(x.shape)}"
        )
    if H.shape != x.shape:
        raise InputError(f"the denoiser returned {list(H.shape)} for an x of {list(x.shape)}")
