"""Train a small network on a swiss roll and sample it with both of the paper's algorithms.

Prints how far the samples lie from the nearest training point, before and after denoising, beside
what real points score that were held out. Run: python examples/swiss_roll.py (10 seconds).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cascore import (
    ConditionalDenoiser,
    TrainState,
    annealed_langevin,
    consistent_annealed,
    geometric_sigmas,
    initial_noise,
    train,
)
from cascore.data import load_points
from cascore.networks import ConditionalMLP


class Row(NamedTuple):
    """A sampler's mean distances to the nearest training point."""

    name: str
    calls: int
    raw: float
    denoised: float


def main(*, steps: int = 2000, count: int = 1000, width: int = 256) -> list[Row]:
    """Train for `steps` updates, draw `count` points with each sampler, print the distances."""
    real, held_out = (load_points("swiss-roll", split).points for split in ("train", "test"))
    denoiser = _trained(real, steps=steps, width=width)

    start = initial_noise((count, 2), 1.0)
    samplers = {
        "annealed Langevin": annealed_langevin(
            denoiser, start, geometric_sigmas(1.0, 0.01, 10), n_sigma=5
        ),
        "consistent, order 2": consistent_annealed(
            denoiser, start, geometric_sigmas(1.0, 0.01, 25), kappa=3
        ),
    }
    rows = [
        Row(name, samples.nfe, _distance(samples.raw, real), _distance(samples.denoised, real))
        for name, samples in samplers.items()
    ]
    print(f"{'distance to training points':28}{'calls':>6}{'raw':>9}{'denoised':>10}")
    for row in rows:
        print(f"{row.name:28}{row.calls:6}{row.raw:9.4f}{row.denoised:10.4f}")
    print(f"{'real points, held out':28}{'':6}{_distance(held_out, real):9.4f}")
    return rows


def _trained(real: Tensor, *, steps: int, width: int) -> nn.Module:
    """A network that sees sigma, its weights averaged over training."""
    torch.manual_seed(0)  # of the initial weights; every other number is keyed
    state = TrainState(ConditionalDenoiser(ConditionalMLP(width=width)))
    sigmas = geometric_sigmas(1.0, 0.01, 10)
    for metrics in train(state, real, sigmas, steps=steps, batch_size=256):
        if metrics.step % 500 == 0:
            print(f"step {metrics.step}: loss {metrics.dsm:.3f}")
    return state.average


def _distance(points: Tensor, real: Tensor) -> float:
    return float(torch.cdist(points, real).min(dim=1).values.mean())


if __name__ == "__main__":
    main()
