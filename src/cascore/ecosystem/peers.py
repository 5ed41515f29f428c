"""Denoisers of k-diffusion, EDM and azula, seen as ours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cascore.denoiser import Denoiser, broadcast_sigma, rescaled
from cascore.errors import InputError

PIXELS = (-1.0, 1.0)
_HALVINGS = 60  # of azula's times: to less than their rounding
_SLACK = 1e-4  # relative, of a level that was rounded to float32


class _KDiffusion(nn.Module):
    """D(x, sigma) with one sigma for each sample, as k-diffusion and EDM have it."""

    def __init__(self, model: nn.Module, conditioning: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.conditioning = model, dict(conditioning)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = broadcast_sigma(sigma, x).reshape(-1).expand(len(x))
        ends = (getattr(self.model, name, default) for name, default in _ENDS)
        _require_within(level, *(float(end) for end in ends))
        denoised: Tensor = self.model(x, level, **self.conditioning)
        return denoised.to(x.dtype)


_ENDS = (("sigma_min", 0.0), ("sigma_max", float("inf")))


def from_k_diffusion(
    model: nn.Module,
    *,
    conditioning: Mapping[str, Any] | None = None,
    pixels: tuple[float, float] | None = PIXELS,
) -> Denoiser:
    """The denoiser of k-diffusion's models and wrappers, and of EDM's networks.

    They are called as `model(x, sigma, **conditioning)`, sigma [N], and return H(x, sigma) already.
    A sigma beyond the model's sigma_min and sigma_max, where it has them, is an InputError.

    Args:
        model: such as k_diffusion.external.CompVisDenoiser, or what EDM's code has loaded.
        conditioning: further arguments, such as class_labels of EDM, or cond.
        pixels: the range of the model's pixels, of which x here is in [0, 1]; None for latents.
    """
    return _in_0_1(_KDiffusion(model, conditioning or {}), pixels)


class _Azula(nn.Module):
    """The mean of azula's posterior of x given alpha_t x + sigma_t z, at the t of sigma."""

    def __init__(self, denoiser: nn.Module, conditioning: Mapping[str, Any]) -> None:
        super().__init__()
        self.theirs, self.conditioning = denoiser, dict(conditioning)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = broadcast_sigma(sigma, x).reshape(-1)
        t = self._time(level)
        theirs: Any = self.theirs
        alpha, _ = theirs.schedule(t)
        state = alpha.reshape(-1, *(1,) * (x.ndim - 1)).to(x) * x
        denoised: Tensor = theirs(state, t.expand(len(x)), **self.conditioning).mean
        return denoised.to(x.dtype)

    def _time(self, sigma: Tensor) -> Tensor:
        """The t in [0, 1] at which sigma_t / alpha_t is sigma, by halving: it grows with t."""
        theirs: Any = self.theirs
        low, high = torch.zeros_like(sigma), torch.ones_like(sigma)
        ends = [float((s / a)[0]) for a, s in (theirs.schedule(t) for t in (low, high))]
        _require_within(sigma, *ends)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            alpha, noise = theirs.schedule(middle)
            below = noise < sigma * alpha
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def from_azula(
    denoiser: nn.Module,
    *,
    conditioning: Mapping[str, Any] | None = None,
    pixels: tuple[float, float] | None = PIXELS,
) -> Denoiser:
    """The denoiser of azula: called as denoiser(x_t, t), it returns a posterior with its mean.

    x_t = alpha_t x + sigma_t z by its `schedule`, of which sigma here is sigma_t / alpha_t. Beyond
    the schedule's t in [0, 1] a sigma is an InputError.

    Args:
        denoiser: with the attribute `schedule`, as those of azula.denoise.
        conditioning: further arguments of the network.
        pixels: the range of its pixels, of which x here is in [0, 1]; None for other data.
    """
    return _in_0_1(_Azula(denoiser, conditioning or {}), pixels)


def _in_0_1(denoiser: Denoiser, pixels: tuple[float, float] | None) -> Denoiser:
    return denoiser if pixels is None else rescaled(denoiser, *pixels)


def _require_within(sigma: Tensor, low: float, high: float) -> None:
    least, most = float(sigma.min()), float(sigma.max())
    if not low * (1 - _SLACK) <= least <= most <= high * (1 + _SLACK):
        raise InputError(
            f"sigma from {least:.6g} to {most:.6g} is outside of the model's own range,"
            f" {low:.6g} to {high:.6g} in units of its pixels"
        )
