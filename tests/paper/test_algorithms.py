"""The samplers against Algorithms 1 and 2 in float64, on the exact score of a mixture."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import Replay, algorithm_1, algorithm_2, kappa_form, mixture_score, normals

from cascore.sampling import annealed_langevin, consistent_annealed
from cascore.schedule import (
    allowed_interval,
    centred_sigmas,
    geometric_sigmas,
    karras_sigmas,
    stretch,
)
from cascore.theory import GaussianMixtureDenoiser

MEANS = torch.tensor([[0.0, 0.0], [2.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)
STDS = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
DENOISER = GaussianMixtureDenoiser(MEANS, STDS, SHARES)
SCORE = mixture_score(MEANS, STDS, SHARES)
SCHEDULES = {
    "geometric": geometric_sigmas(10.0, 0.05, 14),
    "stretched": stretch(geometric_sigmas(10.0, 0.05, 5), 3),
    "karras": karras_sigmas(10.0, 0.05, 9),
    "centred": centred_sigmas(10.0, 0.05, 9),
    "irregular": torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_sigma", [1, 2, 5])
def test_algorithm_1(schedule, n_sigma):
    sigmas = SCHEDULES[schedule]
    start, *noises = normals(1 + len(sigmas) * n_sigma, (6, 2), seed=7)
    x, epsilon = float(sigmas[0]) * start, 0.15 * float(sigmas[-1]) ** 2
    raw, denoised = algorithm_1(
        SCORE, x, sigmas.tolist(), epsilon=epsilon, n_sigma=n_sigma, noises=noises
    )
    samples = annealed_langevin(
        DENOISER, x, sigmas, epsilon=epsilon, n_sigma=n_sigma, noise=Replay(noises)
    )
    assert torch.allclose(samples.raw, raw, rtol=1e-9, atol=1e-10)
    assert torch.allclose(samples.denoised, denoised, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.8])
def test_algorithm_2(schedule, share):
    sigmas = SCHEDULES[schedule]
    start, *noises = normals(len(sigmas), (6, 2), seed=8)
    low, high = allowed_interval(sigmas).eta
    epsilon = (low + share * (high - low)) * float(sigmas[-1]) ** 2
    x = float(sigmas[0]) * start
    raw, denoised = algorithm_2(SCORE, x, sigmas.tolist(), epsilon=epsilon, noises=noises)
    samples = consistent_annealed(DENOISER, x, sigmas, epsilon=epsilon, noise=Replay(noises))
    assert torch.allclose(samples.raw, raw, rtol=1e-9, atol=1e-10)
    assert torch.allclose(samples.denoised, denoised, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kappa", [1.0, 1.25, 1.5, 2.0, 4.0, math.inf])
def test_algorithm_2_in_kappa(schedule, kappa):
    sigmas = SCHEDULES[schedule]
    start, *noises = normals(len(sigmas), (6, 2), seed=9)
    x = float(sigmas[0]) * start

    def expected(x, sigma):
        return x + sigma**2 * SCORE(x, sigma)

    path = kappa_form(expected, x, sigmas.tolist(), kappa=kappa, noises=noises)
    seen = []
    samples = consistent_annealed(
        DENOISER,
        x,
        sigmas,
        kappa=kappa,
        order=1,
        noise=Replay(noises),
        callback=lambda step, sigma, x, H: seen.append(x),
    )
    assert torch.allclose(torch.stack(seen), torch.stack(path), rtol=1e-9, atol=1e-10)
    last = expected(path[-1], float(sigmas[-1]))
    weight = float(sigmas[-1] / sigmas[-2]) ** kappa  # gamma_L is gamma_{L-1}
    assert torch.allclose(samples.denoised, last, rtol=1e-9, atol=1e-10)
    assert torch.allclose(
        samples.raw, weight * path[-1] + (1 - weight) * last, rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("outside", [-0.01, 1.01, -20.0, 30.0, math.nan])
@pytest.mark.parametrize("name", ["eta", "epsilon"])
def test_step_size_outside_its_interval_is_an_error_that_states_it(schedule, outside, name):
    sigmas = SCHEDULES[schedule]
    gamma, last = float((sigmas[1:] / sigmas[:-1]).min()), float(sigmas[-1])
    eta = 1 - gamma + outside * 2 * gamma  # shares below 0 and above 1 lie outside
    size = eta if name == "eta" else eta * last**2
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="eta") as caught:
        consistent_annealed(DENOISER, x, sigmas, **{name: size}, noise=torch.Generator())
    found = re.search(
        r"eta in \[(\S+), (\S+)\].*epsilon in \[(\S+), (\S+)\].*kappa in \[(\S+), (\S+)\]",
        str(caught.value),
    )
    stated = [float(number) for number in found.groups()]
    bounds = [1 - gamma, 1 + gamma]
    expected = [*bounds, *(bound * last**2 for bound in bounds), 1, math.inf]
    assert stated == pytest.approx(expected, rel=1e-5)  # six digits are printed


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("edge", [0, 1])
def test_edges_of_the_interval_are_inside(schedule, edge):
    sigmas = SCHEDULES[schedule]
    start, *noises = normals(len(sigmas), (3, 2), seed=10)
    eta = allowed_interval(sigmas).eta[edge]
    samples = consistent_annealed(DENOISER, 9 * start, sigmas, eta=eta, noise=Replay(noises))
    assert bool(torch.isfinite(samples.raw).all())


TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 8e-3}


@st.composite
def settings_of_a_chain(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    shape[0] = draw(st.integers(0, 3))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    ratios = draw(st.lists(st.floats(0.05, 0.98), min_size=0, max_size=8))
    last = draw(st.floats(0.01, 1))
    sigmas = [last]
    for ratio in ratios:
        sigmas.insert(0, sigmas[0] / ratio)
    return tuple(shape), dtype, sigmas, draw(st.integers(0, 2**31))


def smooth(x, sigma):
    """A nonlinear denoiser, bounded, with slopes below 1: rounding does not grow."""
    return 0.5 * torch.tanh(x / (1 + sigma)) + 0.1


def smooth_score(x, sigma):
    return (smooth(x, sigma) - x) / sigma**2


def check_close(got, expected, dtype, scale):
    assert got.dtype == dtype
    assert got.shape == expected.shape
    bound = TOLERANCE[dtype] * (expected.abs() + (0 if dtype == torch.bfloat16 else scale) + 1)
    assert bool(((got.double() - expected).abs() <= bound).all())


@given(settings_of_a_chain(), st.floats(0.01, 0.99))
def test_algorithm_1_for_every_shape_dtype_and_schedule(chain, eta):
    shape, dtype, sigmas, seed = chain
    start, *noises = normals(1 + 2 * len(sigmas), shape, seed=seed)
    x = (sigmas[0] * start).to(dtype)
    raw, denoised = algorithm_1(
        smooth_score, x.double(), sigmas, epsilon=eta * sigmas[-1] ** 2, n_sigma=2, noises=noises
    )
    samples = annealed_langevin(
        smooth,
        x,
        torch.tensor(sigmas, dtype=torch.float64),
        eta=eta,
        n_sigma=2,
        noise=Replay(noises),
    )
    assert samples.nfe == 2 * len(sigmas)
    check_close(samples.raw, raw, dtype, sigmas[0])
    check_close(samples.denoised, denoised, dtype, sigmas[0])


@given(settings_of_a_chain(), st.floats(0.01, 0.99))
def test_algorithm_2_for_every_shape_dtype_and_schedule(chain, share):
    shape, dtype, sigmas, seed = chain
    start, *noises = normals(len(sigmas), shape, seed=seed)
    x = (sigmas[0] * start).to(dtype)
    levels = torch.tensor(sigmas, dtype=torch.float64)
    if len(sigmas) == 1:
        eta = 1.0  # one level: x <- H
    else:
        low, high = allowed_interval(levels).eta
        eta = low + share * (high - low)
    raw, denoised = algorithm_2(
        smooth_score, x.double(), sigmas, epsilon=eta * sigmas[-1] ** 2, noises=noises
    )
    samples = consistent_annealed(smooth, x, levels, eta=eta, noise=Replay(noises))
    assert samples.nfe == len(sigmas)
    check_close(samples.raw, raw, dtype, sigmas[0])
    check_close(samples.denoised, denoised, dtype, sigmas[0])
