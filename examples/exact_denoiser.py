"""Propositions 1 and 2, seen without training: the noise in a chain around a single datum.

The exact denoiser of one datum always answers with that datum, so whatever else is in x is noise.
Annealed Langevin sampling leaves more of it than sigma at every level; consistent annealed sampling
leaves sigma. Run: python examples/exact_denoiser.py
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cascore.noise import KeyedNoise
from cascore.sampling import annealed_langevin, consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser


class Row(NamedTuple):
    """The noise at one level: sigma, and the standard deviations measured in the two chains."""

    sigma: float
    langevin: float
    consistent: float


class NoiseMeter:
    """A callback that keeps the standard deviation of x around the datum at every call."""

    def __init__(self, datum: Tensor) -> None:
        self.datum = datum
        self.measured: list[float] = []

    def __call__(self, step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        """Called by a sampler with x, where it evaluates the denoiser."""
        del step, sigma, denoised
        self.measured.append(float((x - self.datum).square().mean().sqrt()))


def main(*, chains: int = 2000) -> list[Row]:
    """Run both samplers at the same step size and print the noise that each has at each level."""
    datum = torch.tensor([[0.25, 0.75]])
    denoiser = EmpiricalDenoiser(datum)
    sigmas = geometric_sigmas(10.0, 0.01, 12)
    noise = KeyedNoise(range(chains))
    start = datum + initial_noise((chains, 2), float(sigmas[0]), noise=noise)

    langevin, consistent = NoiseMeter(datum), NoiseMeter(datum)
    eta = 0.7
    annealed_langevin(denoiser, start, sigmas, eta=eta, noise=noise, callback=langevin)
    consistent_annealed(denoiser, start, sigmas, eta=eta, noise=noise, callback=consistent)

    rows = [
        Row(*each)
        for each in zip(sigmas.tolist(), langevin.measured, consistent.measured, strict=True)
    ]
    print(f"noise in x, eta = {eta}, {chains} chains")
    print(f"{'sigma':>10} {'ALS / sigma':>12} {'CAS / sigma':>12}")
    for sigma, als, cas in rows:
        print(f"{sigma:10.4f} {als / sigma:12.3f} {cas / sigma:12.3f}")
    return rows


if __name__ == "__main__":
    main()
