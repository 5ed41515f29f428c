"""The probability-flow ODE, dx / dsigma = (x - H) / sigma, both ways: codes, mixtures, log p.

It is the equation of consistent annealing at kappa = 1 in the limit of many levels (docs/sde.md;
Song et al. 2011.13456), here by Heun's method in sigma (Karras et al. 2206.00364, Algorithm 1),
which errs at second order. Any denoiser will do; of a blind one the noise that a picture is taken
to have is what the network sees in it (docs/blindness.md), so its codes are rough.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.denoiser import Denoiser, evaluation_mode, evaluations, own_mean
from cascore.errors import InputError
from cascore.noise import Noise, Purpose, as_source
from cascore.sampling import Samples
from cascore.schedule import check_sigmas


@torch.no_grad()
def encode(denoiser: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """The noise that the flow makes of pictures: from sigma_L up to sigma_1.

    Args:
        denoiser: H(x, sigma).
        x: Pictures [N, ...], taken to have noise sigma_L, which one may add to clean ones.
        sigmas: The levels [L], strictly decreasing, of `decode` too: 2 L - 1 calls.

    Returns:
        Their codes [N, ...], about m + sigma_1 z with the mean m of the data; `decode` brings them
        back, up to an error of second order in the steps.

    Raises:
        InputError: `x` is no batch of floats, or levels that are no schedule.
    """
    levels = check_sigmas(sigmas).flip(0).tolist()
    with evaluation_mode(denoiser):
        code, _ = _solved(denoiser, _batch(x), levels)
    return code


@torch.no_grad()
def decode(denoiser: Denoiser, code: Tensor, sigmas: Tensor) -> Samples:
    """The pictures that the flow makes of codes: from sigma_1 down to sigma_L.

    What `consistent_annealed` approximates at kappa = 1, with two calls a step. Takes what `encode`
    takes and raises what it raises; `raw` has noise sigma_L, `denoised` is H of it.
    """
    levels = check_sigmas(sigmas).tolist()
    with evaluation_mode(denoiser):
        raw, denoised = _solved(denoiser, _batch(code), levels)
    return Samples(raw, denoised, nfe=(2 * len(levels) - 1) * evaluations(denoiser))


def interpolated(
    denoiser: Denoiser, first: Tensor, second: Tensor, sigmas: Tensor, *, count: int
) -> Tensor:
    """Pictures between pictures: their codes, turned into one another on a sphere, decoded.

    The sphere is around the mean of the data, where the denoiser knows it (`own_mean`).

    Args:
        denoiser: H(x, sigma).
        first, second: Pictures [N, ...] of one shape.
        sigmas: As of `encode`.
        count: How many, at least 2: at shares 0, 1 / (count - 1), ..., 1 of the way.

    Returns:
        Denoised pictures [count, N, ...]; the ends are those given, but for the error of the flow.
    """
    if first.shape != second.shape or count < 2:
        raise InputError(
            f"pictures of shapes {list(first.shape)} and {list(second.shape)}, count {count}:"
            " give two batches of one shape, and a count of at least 2"
        )
    a, b = (encode(denoiser, x, sigmas) for x in (first, second))
    m = own_mean(denoiser).to(a)
    a, b = a - m, b - m
    rows, one = (len(a), *[1] * (a.ndim - 1)), 1 - 1e-7  # codes along one line have an angle too
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-one, one)
    angle = cosine.acos().reshape(rows)
    between = [
        m + (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
        for t in torch.linspace(0, 1, count).tolist()
    ]
    return torch.stack([decode(denoiser, code, sigmas).denoised for code in between])


class LogLikelihood(NamedTuple):
    """Log-densities of pictures, each known to a standard error.

    Attributes:
        nats: log p(x), [N].
        error: What the probes of the trace leave open, [N]; nan of a single probe, 0 without any.
        dimension: Numbers of a picture.
        nfe: Network evaluations of a picture, those with derivatives counted once.
    """

    nats: Tensor
    error: Tensor
    dimension: int
    nfe: int

    @property
    def bits(self) -> Tensor:
        """Bits per dimension [N] of pixels of 8 bits, which lie 1 / 255 apart in [0, 1].

        The bound on the discrete law that `dequantised` pictures give; the lower the better.
        """
        return math.log2(255) - self.nats / (self.dimension * math.log(2))


@torch.no_grad()
def log_likelihood(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    probes: int | None = 1,
    noise: Noise | None = None,
) -> LogLikelihood:
    """The log-density of what `decode` makes of codes m + sigma_1 z, by change of variables.

    Along the flow d log p / d log sigma = tr dH/dx - D, so with the code x_1 of x

        log p(x) = log N(x_1; m, sigma_1^2) + D log(sigma_1 / sigma_L) - integral of tr dH/dx

    over log sigma (Song et al. 2011.13456, Appendix D.2), by the trapezoid rule at the levels. Its
    error is of second order in the steps: half as many levels tell how large it is. p is the law
    with noise sigma_L, m the mean of the data where the denoiser knows it (`own_mean`), or 0.

    Args:
        denoiser: H(x, sigma), differentiable in x.
        x: Pictures [N, ...].
        sigmas: The levels [L], strictly decreasing.
        probes: Random directions for the trace (Hutchinson), each a derivative at L calls; their
            scatter is the `error`. None: all directions, exact, for data of few dimensions.
        noise: Of the directions: as in `annealed_langevin`.

    Raises:
        InputError: As `encode`; less than one probe.
    """
    if probes is not None and probes < 1:
        raise InputError(f"probes must be at least 1, or None, not {probes}")
    x, levels = _batch(x), check_sigmas(sigmas).flip(0)
    directions = _directions(x, probes, noise)
    traces: list[Tensor] = []  # at each level those along each direction, [directions, N]

    def denoised(x: Tensor, sigma: float) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            H = denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))
            rows = [torch.autograd.grad(H, x, e, retain_graph=True)[0] for e in directions]
        along = [
            (e * row).flatten(1).double().sum(1) for e, row in zip(directions, rows, strict=True)
        ]
        traces.append(torch.stack(along))
        return H.detach()

    with evaluation_mode(denoiser):
        code, _ = _solved(denoiser, x, levels.tolist(), denoised)
    integrals = torch.trapezoid(torch.stack(traces).cpu(), levels.log(), dim=0)
    dimension, first = x[0].numel(), float(levels[-1])
    away = code - own_mean(denoiser).to(code)
    start = -away.flatten(1).double().square().sum(1).cpu() / (2 * first**2)
    start -= dimension * (math.log(first) + math.log(2 * math.pi) / 2)
    around = start + dimension * float((levels[-1] / levels[0]).log())
    if probes is None:
        integral, error = integrals.sum(0), torch.zeros_like(around)
    else:
        integral, error = integrals.mean(0), torch.full_like(around, math.nan)
    if probes is not None and probes > 1:
        error = integrals.std(0) / math.sqrt(probes)
    nfe = (2 * len(levels) - 1) * evaluations(denoiser)
    return LogLikelihood(around - integral, error, dimension, nfe)


def dequantised(images: Tensor, *, noise: Noise | None = None) -> Tensor:
    """Pixels of 8 bits, uint8 [N, ...], as floats spread evenly over a step of 1 / 255 each.

    Their mean `LogLikelihood.bits` bounds the bits of the pixels themselves from above.
    """
    z = as_source(noise, len(images)).normal(
        images.shape, purpose=Purpose.DEQUANTISATION, device=images.device
    )
    uniform: Tensor = torch.special.ndtr(z)
    return (images + uniform - 0.5) / 255


def _batch(x: Tensor) -> Tensor:
    if x.ndim < 2 or not x.is_floating_point():
        raise InputError(f"expected a float tensor [N, ...], not {x.dtype} {list(x.shape)}")
    return x.to(torch.promote_types(x.dtype, torch.float32), copy=True)


def _solved(
    denoiser: Denoiser,
    x: Tensor,
    levels: list[float],
    denoised: Callable[[Tensor, float], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Heun's method through the levels, up or down: x at the last one, and H of it.

    `denoised` is called in place of the denoiser where x lies on the path.
    """

    def called(x: Tensor, sigma: float) -> Tensor:
        H: Tensor = denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))
        return H

    seen = denoised or called
    H = seen(x, levels[0])
    for here, there in pairwise(levels):
        slope = (x - H) / here
        guess = x + (there - here) * slope
        slope = slope + (guess - called(guess, there)) / there
        x = x + (there - here) / 2 * slope
        H = seen(x, there)
    return x, H


def _directions(x: Tensor, probes: int | None, noise: Noise | None) -> list[Tensor]:
    """Random signs [N, ...], so many times; or each unit vector."""
    if probes is None:
        units = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
        return [unit.reshape(x.shape[1:]).expand_as(x) for unit in units]
    source = as_source(noise, len(x))
    return [
        source.normal(x.shape, purpose=Purpose.PROBE, step=k, dtype=x.dtype, device=x.device).sign()
        for k in range(probes)
    ]
