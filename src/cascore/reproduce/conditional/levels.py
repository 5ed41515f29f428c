"""Eq. 1 at each noise level by itself, of networks and of the best that they could be."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.denoiser import Denoiser, broadcast_sigma
from cascore.losses import Corrupted, dsm_loss
from cascore.noise import KeyedNoise, Purpose
from cascore.theory import unconditional_optimum

__all__ = ["UnconditionalOptimum", "level_losses"]

_TERMS = 2**22  # of the optimum's sum over images, levels and data that are held at a time


@dataclass(frozen=True, eq=False)
class UnconditionalOptimum:
    """Appendix E as a denoiser: H = x + sigma f*(x), the best of a network that sees only x.

    Attributes:
        data: the finite data set [M, ...].
        sigmas: the training levels [L].
    """

    data: Tensor
    sigmas: Tensor

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma), of the shape and dtype of x."""
        size = max(1, _TERMS // (len(self.data) * len(self.sigmas)))
        parts = [
            unconditional_optimum(part, self.data, self.sigmas) for part in torch.split(x, size)
        ]
        return x + broadcast_sigma(sigma, x) * torch.cat(parts)


@torch.no_grad()
def level_losses(denoiser: Denoiser, clean: Tensor, sigmas: Tensor, *, seed: int) -> list[float]:
    """E||H(x + sigma z, sigma) - x||^2 / (2 sigma^2) at each level, summed over pixels.

    Args:
        denoiser: H(x, sigma), on the device of `clean`.
        clean: [N, ...], each corrupted once at each level.
        sigmas: [L].
        seed: of the noise, which is the same for every denoiser.
    """
    noise = KeyedNoise(seed, indices=range(len(clean)))
    found = []
    for level, sigma in enumerate(sigmas.tolist()):
        z = noise.normal(clean.shape, purpose=Purpose.CORRUPTION, step=level, device=clean.device)
        at = torch.full((len(clean),), sigma, device=clean.device)
        drawn = Corrupted(clean=clean, noisy=clean + sigma * z, sigma=at)
        found.append(float(dsm_loss(denoiser(drawn.noisy, at), drawn).double().mean()))
    return found
