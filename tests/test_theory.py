"""Closed-form optima against gradients of the log density, brute force and enumeration."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.utils._python_dispatch import TorchDispatchMode

from cascore.errors import InputError
from cascore.losses import Corrupted, dsm_loss
from cascore.sampling import Step, consistent_steps, langevin_steps
from cascore.schedule import geometric_sigmas, karras_sigmas
from cascore.theory import (
    EmpiricalDenoiser,
    GaussianMixtureDenoiser,
    UnitNoiseDenoiser,
    gaussian_law,
    noise_std,
    unconditional_optimum,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smoothed_log_density(x, means, stds, weights, sigma):
    """log p_sigma by torch.distributions: a mixture of N(mean_k, (std_k^2 + sigma^2) I)."""
    dimension = means.shape[1]
    covariance = (stds**2 + sigma**2)[:, None, None] * torch.eye(dimension, dtype=x.dtype)
    components = MultivariateNormal(means, covariance_matrix=covariance)
    return MixtureSameFamily(Categorical(weights), components).log_prob(x)


def eds(x, means, stds, weights, sigma):
    """Eq. 3 with the score by automatic differentiation: x + sigma^2 grad log p_sigma(x)."""
    x = x.clone().requires_grad_()
    smoothed_log_density(x, means, stds, weights, sigma).sum().backward()
    return x.detach() + sigma**2 * x.grad


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 20.0])
def test_the_optimum_is_the_gradient_of_the_log_density(sigma):
    """Of a finite set, and of a mixture, whose weights need not add up to 1."""
    means, x = normal(5, 3), 2 * normal(8, 3, seed=1)
    points, flat = torch.zeros(5, dtype=torch.float64), torch.full((5,), 0.2, dtype=torch.float64)
    expected = eds(x, means, points, flat, sigma)
    torch.testing.assert_close(EmpiricalDenoiser(means)(x, sigma), expected, rtol=1e-9, atol=1e-9)
    stds = torch.tensor([0.0, 0.05, 0.5, 1.0, 3.0], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.1, 0.25, 0.3, 0.05], dtype=torch.float64)
    expected = eds(x, means, stds, weights, sigma)
    for scale in (1, 7):
        found = GaussianMixtureDenoiser(means, stds, scale * weights)(x, sigma)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_mixture_of_one_component_is_the_gaussian_formula():
    mean, x, sigma = normal(1, 2, 3, 3), normal(5, 2, 3, 3, seed=1), 0.8
    one = torch.ones(1, dtype=torch.float64)
    w = 0.6**2 / (0.6**2 + sigma**2)
    found = GaussianMixtureDenoiser(mean, 0.6 * one, one)(x, sigma)
    torch.testing.assert_close(found, mean + w * (x - mean))


def test_the_data_follow_x_to_its_device():
    data, x = normal(5, 3), torch.empty(4, 3, dtype=torch.float64, device="meta")
    flat = torch.full((5,), 0.1), torch.ones(5)
    for denoiser in (
        EmpiricalDenoiser(data),
        GaussianMixtureDenoiser(data, *flat),
        UnitNoiseDenoiser(data[0]),
    ):
        assert denoiser(x, 0.4).device == x.device, denoiser


def test_data_may_be_numbers():
    """[N] is [N, 1] without the second axis, for each closed form and Eq. 1."""
    data, x, sigmas = normal(5), normal(4, seed=1), geometric_sigmas(3.0, 0.1, 4)
    flat = torch.full((5,), 0.1), torch.ones(5)
    pairs = [
        (EmpiricalDenoiser(data)(x, 0.4), EmpiricalDenoiser(data[:, None])(x[:, None], 0.4)),
        (
            GaussianMixtureDenoiser(data, *flat)(x, sigmas),
            GaussianMixtureDenoiser(data[:, None], *flat)(x[:, None], sigmas),
        ),
        (
            unconditional_optimum(x, data, sigmas),
            unconditional_optimum(x[:, None], data[:, None], sigmas),
        ),
        (
            dsm_loss(x + 1, Corrupted(x, x, sigmas)),
            dsm_loss(x[:, None] + 1, Corrupted(x[:, None], x[:, None], sigmas)),
        ),
    ]
    for found, expected in pairs:
        assert found.shape == (4,)
        assert torch.equal(found, expected.reshape(4))


def denoisers():
    data = normal(5, 2, 3)
    return [
        EmpiricalDenoiser(data),
        GaussianMixtureDenoiser(data, torch.full((5,), 0.1), torch.ones(5)),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_each_sample_has_its_own_level(which):
    denoiser, x = denoisers()[which], normal(4, 2, 3, seed=1)
    sigma = torch.tensor([0.1, 0.5, 2.0, 30.0], dtype=torch.float64)
    together = denoiser(x, sigma)
    for i in range(4):
        for level in (float(sigma[i]), sigma[i], sigma[i : i + 1]):
            torch.testing.assert_close(
                denoiser(x[i : i + 1], level)[0], together[i], rtol=1e-12, atol=1e-14
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("which", [0, 1])
def test_the_answer_has_the_dtype_of_x_whatever_the_schedule_has(which, dtype):
    x = normal(4, 2, 3, seed=1).to(dtype)
    for sigma in geometric_sigmas(1e3, 1e-3, 7):
        found = denoisers()[which](x, sigma)
        # All is computed in float64, so only the result is rounded.
        exact = denoisers()[which](x.double(), sigma)
        assert found.dtype == dtype
        assert torch.equal(found, exact.to(dtype))
        assert bool(found.isfinite().all())


@pytest.mark.parametrize("sigma", [1e-8, 1e-3, 1e3, 1e8])
def test_the_limits_are_the_nearest_point_and_the_mean(sigma):
    data, x = normal(5, 2), 3 * normal(4, 2, seed=1)
    found = EmpiricalDenoiser(data)(x, sigma)
    nearest = data[torch.cdist(x, data).argmin(1)]
    expected = nearest if sigma < 1 else data.mean(0).expand(4, 2)
    torch.testing.assert_close(found, expected, atol=20 / max(sigma, 1) ** 2, rtol=0)


def test_far_away_points_do_not_cancel():
    """Two data 2e-6 apart at 1000: |a|^2 + |b|^2 - 2ab has no digit of their distance left."""
    data = torch.tensor([[1000.0], [1000.000002]], dtype=torch.float64)
    x, sigma = torch.tensor([[1000.0000005]], dtype=torch.float64), 1e-6
    gap = (0.5e-6**2 - 1.5e-6**2) / (2 * sigma**2)
    share = 1 / (1 + math.exp(-gap))  # of the further one
    found = float(EmpiricalDenoiser(data)(x, sigma)) - 1000
    assert found == pytest.approx(2e-6 * share, rel=1e-5)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any tensor of a computation had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().size():
                self.numbers = max(self.numbers, tensor.untyped_storage().size() // 8)
        return result


def test_memory_grows_with_samples_times_points_and_not_times_pixels():
    x, data = normal(30, 50), normal(40, 50, seed=1)
    spread = torch.ones(40, dtype=torch.float64)
    for denoiser in (EmpiricalDenoiser(data), GaussianMixtureDenoiser(data, spread, spread)):
        with Largest() as largest:
            denoiser(x, 1.0)
        assert 30 * 40 <= largest.numbers <= 40 * 50
    with Largest() as largest:
        unconditional_optimum(x, data, geometric_sigmas(1, 0.1, 3))
    assert 3 * 30 * 40 <= largest.numbers < 30 * 40 * 50


# --- Appendix E


def enumerated_optimum(x, data, sigmas):
    """E[(x0 - x) / sigma | x] by a double loop over data and levels."""
    result = []
    for point in x.numpy():
        total, weight = 0.0, 0.0
        for datum in data.numpy():
            for sigma in sigmas.tolist():
                d = point.size
                density = np.exp(-((point - datum) ** 2).sum() / (2 * sigma**2)) / sigma**d
                total = total + density * (datum - point) / sigma
                weight += density
        result.append(total / weight)
    return torch.from_numpy(np.stack(result))


@pytest.mark.parametrize("sigmas", [geometric_sigmas(3, 0.3, 4), karras_sigmas(2, 0.5, 3)])
def test_the_optimum_without_sigma_is_the_posterior_mean_over_data_and_levels(sigmas):
    data, x = normal(5, 2, 1), normal(6, 2, 1, seed=1)
    found = unconditional_optimum(x, data, sigmas)
    torch.testing.assert_close(found, enumerated_optimum(x, data, sigmas), rtol=1e-11, atol=1e-12)


def test_the_optimum_without_sigma_stays_finite_over_the_levels_of_cifar_10():
    data = torch.rand(6, 3072, generator=torch.Generator().manual_seed(0))
    levels = geometric_sigmas(50, 0.01, 50)
    for sigma in (0.01, 1.0, 50.0):
        x = data + sigma * normal(6, 3072, dtype=torch.float32)
        f = unconditional_optimum(x, data, levels)
        assert f.dtype == torch.float32
        # The network finds the level out: -f is the noise, of unit variance but for the grid.
        assert float(f.square().mean()) == pytest.approx(1, abs=0.2)


# --- what samplers do to known laws


def chains():
    sigmas = geometric_sigmas(5, 0.1, 12)
    return {
        "langevin": langevin_steps(sigmas, eta=0.2, n_sigma=3),
        "kappa 1.5": consistent_steps(sigmas, kappa=1.5, order=1),
        "second order": consistent_steps(karras_sigmas(5, 0.1, 9), kappa=2, order=2),
        "one level": consistent_steps(torch.tensor([2.0])),
    }


def test_the_noise_of_a_single_datum_is_the_law_of_zero_width():
    """The law itself is proved in tests/paper/test_gaussian.py, by impulses."""
    for steps in chains().values():
        law = gaussian_law(steps, mean=0.0, std=0.0, start_mean=0.0, start_std=5.0)
        noise = noise_std(steps, start=5.0)
        assert float(noise.after[-1]) ** 2 == pytest.approx(law.raw_variance, rel=1e-12, abs=1e-20)
        assert law.denoised_variance == 0


def test_noise_std_by_hand():
    steps = [Step(2.0, 0.5, 0.0, 1.0), Step(1.0, 1.0, 0.0, 0.25)]
    noise = noise_std(steps, start=4.0)
    assert noise.before.tolist() == [4.0, math.sqrt(5)]
    assert noise.after.tolist() == [math.sqrt(5), 0.25]
    assert noise.before.dtype == torch.float64


@pytest.mark.parametrize(("stds", "weights"), [(2, 3), (3, 2), (3, 4), (4, 3), (2, 2)])
def test_a_mixture_needs_one_deviation_and_one_weight_for_each_mean(stds, weights):
    with pytest.raises(InputError, match="one entry per component"):
        GaussianMixtureDenoiser(torch.zeros(3, 2), torch.ones(stds), torch.ones(weights))
