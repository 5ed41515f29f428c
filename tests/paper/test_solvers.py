"""kappa and order against the field's solvers, and their orders of convergence."""

import math
from itertools import pairwise

import diffusers
import pytest
import torch
from reference import Replay, mixture_score, multistep_sde, normals

from cascore.sampling import consistent_annealed, consistent_steps
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import GaussianMixtureDenoiser, gaussian_law

MEANS = torch.tensor([[0.0, 0.0], [2.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)
STDS = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
DENOISER = GaussianMixtureDenoiser(MEANS, STDS, SHARES)
SCORE = mixture_score(MEANS, STDS, SHARES)
SCHEDULES = {
    "geometric": geometric_sigmas(10.0, 0.05, 14),
    "karras": karras_sigmas(10.0, 0.05, 9),
    "centred": centred_sigmas(10.0, 0.05, 9),
    "irregular": torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64),
}


def path_of(x, sigmas, *, noise, **step):
    """x at every network call of our sampler: where the last step's convention does not enter."""
    seen = []
    consistent_annealed(
        DENOISER, x, sigmas, noise=noise, callback=lambda step, sigma, x, H: seen.append(x), **step
    )
    return torch.stack(seen)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kappa", [1.0, 1.25, 1.5, 2.0, 3.0, 8.0])
def test_second_order_is_the_2m_sde(schedule, kappa):
    sigmas = SCHEDULES[schedule]
    start, *noises = normals(len(sigmas), (6, 2), seed=11)
    x = float(sigmas[0]) * start
    expected = multistep_sde(
        lambda x, sigma: x + sigma**2 * SCORE(x, sigma),
        x,
        sigmas.tolist(),
        eta=kappa - 1,
        noises=noises,
    )
    got = path_of(x, sigmas, kappa=kappa, order=2, noise=Replay(noises))
    # The mixture's posterior is stiff at small sigma: rounding grows to a few 1e-12.
    assert torch.allclose(got, torch.stack(expected), rtol=1e-10, atol=1e-10)


class Drawn:
    """The float64 numbers that diffusers' randn_tensor draws from a generator, call by call."""

    def __init__(self, seed, dtype):
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        return torch.randn(tuple(shape), generator=self.generator, dtype=self.dtype).to(dtype)

    def integers(self, count, *, high, purpose, step=0, device="cpu"):
        raise AssertionError("a sampler draws no integers")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("kappa", "algorithm"), [(1.0, "dpmsolver++"), (2.0, "sde-dpmsolver++")])
@pytest.mark.parametrize("order", [1, 2])
def test_dpm_solver_of_diffusers(schedule, kappa, algorithm, order):
    sigmas = SCHEDULES[schedule]
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        sigma_data=0.5, solver_order=order, algorithm_type=algorithm, solver_type="midpoint"
    )
    scheduler.set_timesteps(len(sigmas))
    scheduler.sigmas = torch.cat([sigmas, torch.zeros(1)])  # our levels instead of its own
    scheduler.set_begin_index(0)
    (start,) = normals(1, (6, 2), seed=12)
    x, generator, expected = float(sigmas[0]) * start, torch.Generator().manual_seed(13), []
    ours = path_of(x, sigmas, kappa=kappa, order=order, noise=Drawn(13, torch.float64))
    for sigma, timestep in zip(sigmas, scheduler.timesteps, strict=True):
        expected.append(x)
        c_skip = 0.25 / (sigma**2 + 0.25)
        c_out = sigma * 0.5 / (sigma**2 + 0.25) ** 0.5
        network = (DENOISER(x, sigma) - c_skip * x) / c_out
        x = scheduler.step(network, timestep, x, generator=generator).prev_sample
    assert torch.allclose(ours, torch.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers'
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kappa", "name"), [(1.0, "EulerDiscreteScheduler"), (2.0, "EulerAncestralDiscreteScheduler")]
)
def test_first_order_is_euler_of_diffusers(schedule, kappa, name):
    sigmas = SCHEDULES[schedule]
    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(len(sigmas))
    scheduler.sigmas = torch.cat([sigmas, torch.zeros(1)])
    scheduler.set_begin_index(0)
    scheduler.is_scale_input_called = True
    (start,) = normals(1, (6, 2), seed=14)
    x, generator, expected = float(sigmas[0]) * start, torch.Generator().manual_seed(15), []
    ours = path_of(x, sigmas, kappa=kappa, order=1, noise=Drawn(15, torch.float64))
    for sigma, timestep in zip(sigmas, scheduler.timesteps, strict=True):
        expected.append(x)
        slope = (x - DENOISER(x, sigma)) / sigma
        x = scheduler.step(slope, timestep, x, generator=generator).prev_sample
    # These two schedulers compute in float32.
    assert torch.allclose(ours, torch.stack(expected), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("family", [centred_sigmas, geometric_sigmas, karras_sigmas])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("order", [1, 2])
def test_order_of_convergence_in_the_variance(family, kappa, order):
    """Slope of log error against log steps, for x ~ N(0, std^2 + sigma^2) just before the end.

    The last step has no noise and is first order at every setting, and its law does not converge to
    that of the data. So the variance is taken at the last call: var H = w^2 var x, w exact.
    """
    first, last, std, counts = 20.0, 0.05, 0.5, (200, 400, 800, 1600)
    w = std**2 / (std**2 + last**2)
    errors = []
    for count in counts:
        law = gaussian_law(
            consistent_steps(family(first, last, count), kappa=kappa, order=order),
            mean=0.0,
            std=std,
            start_mean=0.0,
            start_std=math.hypot(std, first),
        )
        errors.append(abs(law.denoised_variance / w**2 - (std**2 + last**2)))
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([order] * 3, abs=0.03)
