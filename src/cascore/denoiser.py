"""The contract of the house: `denoiser(x, sigma) -> H(x, sigma)`, the expected denoised sample.

Sec. 2.3 of the paper, Eq. 3: H(x, sigma) = x + sigma^2 s(x, sigma), the posterior mean of the clean
datum given x = clean + sigma z. A trained network, a foreign model and a closed-form optimum look
the same to a sampler, a loss and a plot.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from cascore.errors import InputError


class Denoiser(Protocol):
    """`denoiser(x, sigma) -> H`: x is [N, ...], sigma a scalar or [N] in x's dtype and device."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        """H(x, sigma), of the shape and dtype of x."""
        ...


def broadcast_sigma(sigma: Tensor | float, x: Tensor) -> Tensor:
    """Sigma in x's dtype and on its device, [1, 1, ...] or [N, 1, ...], ready to multiply x.

    It must be a scalar or one number per sample, else InputError.
    """
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if level.ndim > 1 or (level.ndim == 1 and len(level) not in (1, len(x))):
        raise InputError(f"sigma must be a scalar or [{len(x)}], not {list(level.shape)}")
    return level.reshape(-1, *(1,) * (x.ndim - 1))


NETWORK_KAPPA, EXACT_KAPPA = 2.5, 1.5


def is_blind(denoiser: Denoiser) -> bool:
    """Whether the network behind a denoiser does not see sigma: its `blind`; without one, no."""
    return bool(getattr(denoiser, "blind", False))


def default_kappa(denoiser: Denoiser) -> float:
    """The kappa of a chain that names none: the denoiser's own `kappa`; without one, 1.5.

    The networks of cascore have 2.5. A blind one has to: below 2 no wrong noise level is ever
    mended (Proposition 4, `docs/blindness.md`). One that sees sigma was measured to want as much,
    because noise mends what a network gets wrong (`docs/which-sampler.md`). A denoiser of another's
    making is taken to be right, where noise only costs. Wrappers forward both attributes.
    """
    return float(getattr(denoiser, "kappa", EXACT_KAPPA))


class UnconditionalDenoiser(nn.Module):
    """Technique 3: s(x, sigma) = f(x) / sigma, so H(x, sigma) = x + sigma f(x)."""

    blind, kappa = True, NETWORK_KAPPA

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma); the network sees x only."""
        estimate: Tensor = self.network(x)
        return x + broadcast_sigma(sigma, x) * estimate


class ConditionalDenoiser(nn.Module):
    """s(x, sigma) = f(x, log sigma) / sigma, so H(x, sigma) = x + sigma f(x, log sigma)."""

    blind, kappa = False, NETWORK_KAPPA

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma); the network sees x and log sigma as [N]."""
        level = broadcast_sigma(sigma, x)
        estimate: Tensor = self.network(x, level.reshape(-1).log().expand(len(x)))
        return x + level * estimate


class _Rescaled(nn.Module):
    """H of [0, 1] pixels by a denoiser of [low, high] pixels."""

    def __init__(self, denoiser: Denoiser, low: float, high: float) -> None:
        super().__init__()
        self.denoiser = denoiser  # registered as a submodule when it is one
        self.blind, self.kappa = is_blind(denoiser), default_kappa(denoiser)
        self.low, self.span = low, high - low

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        return (self.denoiser(self.low + self.span * x, self.span * level) - self.low) / self.span


def rescaled(denoiser: Denoiser, low: float, high: float) -> Denoiser:
    """A denoiser of [low, high] pixels seen in [0, 1]: of [-1, 1], (D(2x - 1, 2 sigma) + 1) / 2."""
    if not low < high:
        raise InputError(f"low must be below high, not {low} and {high}")
    return _Rescaled(denoiser, low, high)


def score(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Eq. 3: s(x, sigma) = (H(x, sigma) - x) / sigma^2, of the shape of x."""
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return (denoiser(x, level) - x) / broadcast_sigma(level, x) ** 2
