"""Proposition 1: the noise of annealed Langevin sampling stays above sigma_i at every step."""

import math

import pytest
import torch

from cascore.sampling import annealed_langevin, langevin_steps
from cascore.schedule import geometric_sigmas, karras_sigmas
from cascore.theory import EmpiricalDenoiser, noise_std

IRREGULAR = torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64)
SCHEDULES = {
    "geometric": geometric_sigmas(50.0, 0.01, 232),
    "karras": karras_sigmas(80.0, 0.02, 30),
    "irregular": IRREGULAR,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_sigma", [1, 5])
@pytest.mark.parametrize("eta", [0.001, 0.056, 0.5, 1.0, 1.7])
def test_recursion_is_above_sigma_at_every_step(schedule, n_sigma, eta):
    sigmas = SCHEDULES[schedule]
    steps = langevin_steps(sigmas, eta=eta, n_sigma=n_sigma)
    std = noise_std(steps, start=float(sigmas[0]))
    level = sigmas.repeat_interleave(n_sigma)
    # v (1 - eta)^2 + 2 eta sigma^2 with v >= sigma^2 is at least sigma^2 (1 + eta^2).
    floor = level * math.sqrt(1 + eta**2)
    assert bool((std.after >= floor * (1 - 1e-12)).all())
    assert bool((std.before[1:] > level[1:]).all())
    assert float(std.before[0]) == float(sigmas[0])


def test_recursion_is_the_one_of_the_proof():
    eta, variance, expected = 0.3, 81.0, []
    for sigma in IRREGULAR.tolist():
        for _ in range(3):
            variance = (1 - eta) ** 2 * variance + 2 * eta * sigma**2
            expected.append(math.sqrt(variance))
    steps = langevin_steps(IRREGULAR, epsilon=eta * 0.01, n_sigma=3)
    assert noise_std(steps, start=9.0).after.tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("n_sigma", [1, 4])
def test_sampled_noise_is_above_sigma_at_every_step(n_sigma):
    """65,536 independent numbers: the standard error of a deviation s is s / sqrt(2 n), 0.28 %."""
    sigmas, eta, count = geometric_sigmas(20.0, 0.05, 12), 0.4, 65536
    generator = torch.Generator().manual_seed(1)
    datum = torch.linspace(0, 1, 16, dtype=torch.float64)
    z = torch.randn(count // 16, 16, generator=generator, dtype=torch.float64)
    seen = []
    samples = annealed_langevin(
        EmpiricalDenoiser(datum[None]),
        datum + sigmas[0] * z,
        sigmas,
        eta=eta,
        n_sigma=n_sigma,
        noise=generator,
        callback=lambda step, sigma, x, H: seen.append(float((x - datum).std())),
    )
    after = torch.tensor([*seen[1:], float((samples.raw - datum).std())], dtype=torch.float64)
    steps = langevin_steps(sigmas, eta=eta, n_sigma=n_sigma)
    expected = noise_std(steps, start=20.0).after
    error = expected / math.sqrt(2 * count)
    assert bool(((after - expected).abs() < 5 * error).all())
    assert bool((after > sigmas.repeat_interleave(n_sigma) + 5 * error).all())
