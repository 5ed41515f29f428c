"""The error of a denoiser by noise level, on pictures that it is or is not trained on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float


@torch.no_grad()
def denoising_errors(
    denoiser: nn.Module,
    images: Tensor,
    sigmas: Sequence[float],
    *,
    seed: int,
    labels: Tensor | None = None,
    batch_size: int = 64,
) -> list[float]:
    """The root mean square over pixels of H(x + sigma z, sigma) - x, at each level.

    The noise of picture i at level k is a function of (seed, i, k), so that the errors of two
    denoisers differ by the denoisers alone.

    Args:
        denoiser: H(x, sigma), or H(x, sigma, label); its mode is restored.
        images: uint8 [N, C, H, W].
        sigmas: Levels, in pixels of [0, 1].
        seed: Key of the noise.
        labels: int64 [N], of a denoiser that takes them.
        batch_size: Pictures at a time.
    """
    device, training = next(denoiser.parameters()).device, denoiser.training
    squares = [0.0] * len(sigmas)
    denoiser.eval()
    try:
        for first in range(0, len(images), batch_size):
            clean = to_float(images[first : first + batch_size]).to(device)
            noise = KeyedNoise(seed, indices=range(first, first + len(clean)))
            told = () if labels is None else (labels[first : first + batch_size].to(device),)
            for level, sigma in enumerate(sigmas):
                z = noise.normal(clean.shape, purpose=Purpose.HELD_OUT, step=level, device=device)
                h = denoiser(clean + sigma * z, torch.tensor(sigma, device=device), *told)
                # Summed here: Apple's GPUs know no float64.
                squares[level] += float((h - clean).cpu().double().square().sum())
    finally:
        denoiser.train(training)
    return [(square / images.numel()) ** 0.5 for square in squares]
