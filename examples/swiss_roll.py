"""Train a small network on a swiss roll, sample it, and see what denoising does (Figure 2's set).

Prints how far samples lie from the nearest real point, for x after the last update and for the
expected denoised sample H, beside what real points score among themselves.
Run: python examples/swiss_roll.py
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cascore.datasets import load_points
from cascore.denoiser import UnconditionalDenoiser
from cascore.networks import MLP
from cascore.noise import KeyedNoise
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas
from cascore.training import PointBatches, TrainState, adam, train


class Distances(NamedTuple):
    """Mean distance to the nearest training point."""

    raw: float
    denoised: float
    held_out: float


def main(*, steps: int = 2000, count: int = 1000, width: int = 256) -> Distances:
    """Train for `steps` updates, draw `count` points, and print three distances."""
    real, held_out = (load_points("swiss-roll", split).points for split in ("train", "test"))
    sigmas = geometric_sigmas(1.0, 0.01, 10)

    torch.manual_seed(0)  # of the initial weights; every other number is keyed
    denoiser = UnconditionalDenoiser(MLP(width=width))
    optimizer = adam(denoiser.parameters(), learning_rate=1e-3, betas=(0.9, 0.999))
    state = TrainState(denoiser, optimizer, seed=0)
    data = PointBatches(real, batch_size=256, seed=0)
    for metrics in train(state, data, sigmas, steps=steps, ema_decay=0.999, ema_warmup=True):
        if metrics.step % 500 == 0:
            print(f"step {metrics.step}: loss {metrics.dsm:.3f}")

    noise = KeyedNoise(range(count))
    start = initial_noise((count, 2), float(sigmas[0]), noise=noise)
    samples = consistent_annealed(state.average, start, sigmas, order=2, kappa=2, noise=noise)
    found = Distances(
        raw=_to_nearest(samples.raw, real),
        denoised=_to_nearest(samples.denoised, real),
        held_out=_to_nearest(held_out, real),
    )
    print(f"mean distance to the nearest training point, {samples.nfe} network calls:")
    print(f"  x after the last update    {found.raw:.4f}")
    print(f"  H, the denoised sample     {found.denoised:.4f}")
    print(f"  real points held out       {found.held_out:.4f}")
    return found


def _to_nearest(points: Tensor, real: Tensor) -> float:
    return float(torch.cdist(points, real).min(dim=1).values.mean())


if __name__ == "__main__":
    main()
