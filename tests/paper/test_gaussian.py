"""The samplers on Gaussian data, exactly: every update is linear, so impulses give the law.

The output of a chain is a linear function of its start and of every z. The batch carries one
impulse per sample (`reference.Impulses`), so the variance is a sum of squares, without Monte Carlo.
"""

import math

import pytest
import torch
from reference import Impulses

from cascore.sampling import (
    annealed_langevin,
    consistent_annealed,
    consistent_steps,
    langevin_steps,
)
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import GaussianMixtureDenoiser, gaussian_law

SCHEDULES = {
    "geometric": geometric_sigmas(20.0, 0.05, 15),
    "karras": karras_sigmas(20.0, 0.05, 10),
    "centred": centred_sigmas(20.0, 0.05, 10),
    "irregular": torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64),
    "one level": torch.tensor([0.5], dtype=torch.float64),
}
LAWS = [(0.4, 0.3), (-1.0, 2.0), (0.2, 0.0)]


def gaussian(mean, std):
    return GaussianMixtureDenoiser(
        torch.tensor([[mean]], dtype=torch.float64),
        torch.tensor([std], dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
    )


def start_of(steps, mean, std):
    """Sample 0 at the mean, sample 1 one deviation away, and one sample for each z."""
    x = torch.full((2 + steps, 1), mean, dtype=torch.float64)
    x[1] += std
    return x


def moments(output):
    mean = float(output[0])
    return mean, float((output[1:] - mean).square().sum())


def check_law(samples, law):
    # A start at 3 leaves a mean of 1e-12 relative to the largest intermediate numbers.
    expected = (law.raw_mean, law.raw_variance, law.denoised_mean, law.denoised_variance)
    got = (*moments(samples.raw), *moments(samples.denoised))
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0, math.inf])
def test_consistent_annealed_sampling(schedule, law, order, kappa):
    sigmas, (mean, std) = SCHEDULES[schedule], law
    start_std = math.hypot(std, float(sigmas[0]))
    samples = consistent_annealed(
        gaussian(mean, std),
        start_of(len(sigmas), 3.0, start_std),
        sigmas,
        kappa=kappa,
        order=order,
        noise=Impulses(),
    )
    steps = consistent_steps(sigmas, kappa=kappa, order=order)
    check_law(samples, gaussian_law(steps, mean=mean, std=std, start_mean=3.0, start_std=start_std))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("n_sigma", [1, 3])
def test_annealed_langevin_sampling(schedule, law, n_sigma):
    sigmas, (mean, std) = SCHEDULES[schedule], law
    samples = annealed_langevin(
        gaussian(mean, std),
        start_of(len(sigmas) * n_sigma, 3.0, 7.0),
        sigmas,
        eta=0.3,
        n_sigma=n_sigma,
        noise=Impulses(),
    )
    steps = langevin_steps(sigmas, eta=0.3, n_sigma=n_sigma)
    check_law(samples, gaussian_law(steps, mean=mean, std=std, start_mean=3.0, start_std=7.0))


@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0])
def test_law_by_hand_of_two_levels(kappa):
    """sigma = 2, 1 on N(0, 1): w = 1/5 and 1/2, and every coefficient written out."""
    sigmas = torch.tensor([2.0, 1.0], dtype=torch.float64)
    steps = consistent_steps(sigmas, kappa=kappa, order=1)
    law = gaussian_law(steps, mean=0.0, std=1.0, start_mean=0.0, start_std=2.0)
    keep = 0.5**kappa
    middle = (keep + (1 - keep) / 5) ** 2 * 4 + 1 - 0.5 ** (2 * kappa - 2)
    assert law.denoised_variance == pytest.approx(middle / 4, rel=1e-13)
    assert law.raw_variance == pytest.approx((keep + (1 - keep) / 2) ** 2 * middle, rel=1e-13)
    assert law.raw_mean == law.denoised_mean == 0.0


@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("order", [1, 2])
def test_many_steps_reach_the_law_of_the_data(kappa, order):
    """Before the last call x ~ N(mean, std^2 + sigma_L^2), whatever kappa; then w^2 of it."""
    sigmas, std = geometric_sigmas(20.0, 0.05, 4000), 0.5
    law = gaussian_law(
        consistent_steps(sigmas, kappa=kappa, order=order),
        mean=0.4,
        std=std,
        start_mean=0.4,
        start_std=math.hypot(std, 20.0),
    )
    w = std**2 / (std**2 + 0.05**2)
    assert law.denoised_variance == pytest.approx(w**2 * (std**2 + 0.05**2), rel=5e-3)
    assert law.denoised_mean == pytest.approx(0.4, rel=1e-12)
