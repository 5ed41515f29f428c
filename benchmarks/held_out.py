"""What a denoiser gets wrong on pictures kept apart, by noise level and in their mean colour."""

import torch
from torch import nn

from cascore.data import ImageSet
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.training.held_out import denoising_errors

SIGMAS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0)
PICTURES, SEED = 256, 0


@torch.no_grad()
def held_out_errors(denoiser: nn.Module, held_out: ImageSet) -> dict[str, float]:
    """Root mean squares: of H per pixel at each level, and of the mean colour of H at the largest.

    The noise is the same for all denoisers.
    """
    images = held_out.images[torch.linspace(0, held_out.count - 1, PICTURES).long()]
    errors = denoising_errors(denoiser, images, SIGMAS, seed=SEED)
    found = {f"{sigma:g}": error for sigma, error in zip(SIGMAS, errors, strict=True)}
    clean, sigma = to_float(images), torch.tensor(SIGMAS[-1])
    noise = KeyedNoise(SEED, indices=range(len(images)))
    z = noise.normal(clean.shape, purpose=Purpose.HELD_OUT, step=len(SIGMAS))
    off = denoiser(clean + sigma * z, sigma) - clean
    found[f"colour, {SIGMAS[-1]:g}"] = float(off.mean(dim=(2, 3)).square().mean().sqrt())
    return found
