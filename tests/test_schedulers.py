"""The schedulers of diffusers on our denoisers. Twins: tests/paper/test_named_samplers.py."""

import sys
from types import SimpleNamespace

import pytest
import torch

from cascore.errors import InputError, MissingExtraError
from cascore.noise import KeyedNoise
from cascore.sampling import initial_noise
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser, GaussianMixtureDenoiser
from paper.schedulers import SCHEDULERS, generate_by_scheduler, run_scheduler

SHAPE = (2, 3, 3)
NAMES = list(SCHEDULERS)


def generator():
    return torch.Generator().manual_seed(5)


def mixture():
    """Smooth in x, so that rounding does not grow."""
    means = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))
    return GaussianMixtureDenoiser(means, torch.full((6,), 0.1), torch.full((6,), 1 / 6))


def start(count=7, sigma=5.0):
    return initial_noise((count, *SHAPE), sigma, noise=KeyedNoise(range(count)))


def model_of(denoiser):
    return SimpleNamespace(
        denoiser=denoiser, shape=SHAPE, data_mean=0.0, device=torch.device("cpu")
    )


def by_scheduler(name, denoiser, sigmas, x):
    return run_scheduler(SCHEDULERS[name], denoiser, x, sigmas, generator=generator())


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_reaches_the_only_datum(name):
    datum = torch.rand(1, *SHAPE, generator=generator())
    found = by_scheduler(name, EmpiricalDenoiser(datum), geometric_sigmas(5.0, 0.01, 9), start())
    assert (found.denoised - datum).abs().max() < 1e-5
    # DEIS ends at sigma_L, where the noise has a deviation of 0.01 and 126 numbers lie within 5.
    allowed = 0.05 if SCHEDULERS[name].ends_at == "last" else 1e-5
    assert (found.raw - datum).abs().max() < allowed


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_is_asked_at_our_levels_and_its_noise_is_theirs(name):
    """With the perfect score of one datum, x - datum has deviation sigma at every call.

    126 pictures of 18 numbers: 2,268 numbers, standard error 1.5 %, times 4.5.
    """
    datum, seen = torch.full((1, *SHAPE), 0.5), []
    exact = EmpiricalDenoiser(datum)

    def watched(x, sigma):
        seen.append((float(sigma), float((x - datum).square().mean().sqrt())))
        return exact(x, sigma)

    sigmas = geometric_sigmas(5.0, 0.01, 6)
    found = by_scheduler(name, watched, sigmas, start(count=126))
    assert found.nfe == len(seen)
    expected = sigmas.tolist()
    if SCHEDULERS[name].calls_per_level == 2:
        expected = [expected[0], *(each for sigma in expected[1:] for each in (sigma, sigma))]
    assert [sigma for sigma, _ in seen] == pytest.approx(expected, rel=1e-6)
    for sigma, deviation in seen:
        assert deviation == pytest.approx(sigma, rel=4.5 * 0.015)


@pytest.mark.parametrize(
    ("name", "order"),
    [("heun", 2), ("dpm-3m", 2), ("unipc", 2), ("unipc-3", 2), ("deis", 2), ("ddim", 1)],
)
def test_the_error_falls_with_the_order(name, order):
    """Against 200 of Heun's steps down to sigma = 0.5, where the ODE is smooth.

    Twice the levels: the error of order p falls 2^p times in the limit; half a power is allowed.
    """
    denoiser, x = mixture(), start(sigma=5.0)
    exact = by_scheduler("heun", denoiser, geometric_sigmas(5.0, 0.5, 200), x).denoised
    errors = [
        (by_scheduler(name, denoiser, geometric_sigmas(5.0, 0.5, levels), x).denoised - exact)
        .abs()
        .mean()
        for levels in (21, 41)
    ]
    assert errors[0] / errors[1] > 2 ** (order - 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_that_of_our_samplers_and_batches_do_not_matter_without_noise(name):
    sigmas = geometric_sigmas(5.0, 0.01, 4)

    def drawn(batch_size):
        model = model_of(mixture())
        return generate_by_scheduler(SCHEDULERS[name], model, range(10, 16), sigmas, batch_size)

    together, apart = drawn(6), drawn(4)
    assert together.denoised.shape == (6, *SHAPE)
    same = torch.allclose(together.denoised, apart.denoised, atol=1e-5)
    assert same != SCHEDULERS[name].stochastic
    assert torch.equal(drawn(4).denoised, apart.denoised)
    assert (
        torch.allclose(together.denoised[:4], apart.denoised[:4], atol=1e-5)
        != SCHEDULERS[name].stochastic
    )


def test_each_batch_has_noise_of_its_own():
    """With H = 0 Euler ancestral takes x to gamma² x + noise: both pictures' noise is at hand."""
    seen = []

    def zero(x, sigma):
        seen.append(x.clone())
        return torch.zeros_like(x)

    scheduler, sigmas = SCHEDULERS["euler-ancestral"], geometric_sigmas(4.0, 1.0, 2)
    generate_by_scheduler(scheduler, model_of(zero), (10, 11), sigmas, batch_size=1)
    first, second = (after - before / 16 for before, after in (seen[:2], seen[2:]))
    assert first.std() > 0.5
    assert (first - second).abs().max() > 0.5


def test_deis_ends_where_its_last_call_was_made():
    """Its two last levels are both sigma_L; what it leaves is x again, not x / sqrt(1 + sigma²)."""
    seen = []
    denoiser = mixture()

    def watched(x, sigma):
        seen.append(x.clone())
        return denoiser(x, sigma)

    found = by_scheduler("deis", watched, geometric_sigmas(5.0, 0.01, 9), start())
    assert (found.raw - seen[-1]).abs().max() < 2e-6


def test_one_level_is_refused_and_without_diffusers_the_extra_is_named(monkeypatch):
    with pytest.raises(InputError, match="at least 2 levels"):
        by_scheduler("ddim", mixture(), geometric_sigmas(5.0, 5.0, 1), start())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"cascore\[diffusers\]"):
        by_scheduler("ddim", mixture(), geometric_sigmas(5.0, 0.01, 4), start())
