"""Proposition 4: a noise-blind network does not see that x carries the wrong amount of noise."""

import math

import pytest
import scipy.stats
import torch

from cascore.sampling import (
    annealed_langevin,
    consistent_annealed,
    consistent_steps,
    langevin_steps,
)
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import (
    UnitNoiseDenoiser,
    blind_basin,
    blind_noise_std,
    noise_std,
    unconditional_optimum,
)

TWELVE = geometric_sigmas(20.0, 0.01, 12)
SCHEDULES = {
    "geometric": TWELVE,
    "karras": karras_sigmas(20.0, 0.05, 9),
    "centred": centred_sigmas(20.0, 0.05, 9),
}


def noise_at_calls(denoiser, start, count, dimension, *, sampler=consistent_annealed, **settings):
    """|x - x0| / sqrt(D) of each chain at each call, [calls, N]."""
    generator = torch.Generator().manual_seed(4)
    x = start * torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    if count == 1:  # of the very length that the recursion starts from
        x *= start * math.sqrt(dimension) / x.norm()
    levels = []
    sampler(
        denoiser,
        x,
        noise=generator,
        callback=lambda i, sigma, x, H: levels.append(x.norm(dim=1) / math.sqrt(dimension)),
        **settings,
    )
    return torch.stack(levels)


def unit_noise(dimension):
    return UnitNoiseDenoiser(torch.zeros(dimension, dtype=torch.float64))


@pytest.mark.parametrize("dimension", [8, 64])
@pytest.mark.parametrize("kappa", [1.3, 2.0, 3.0])
@pytest.mark.parametrize("tau", [0.8, 1.0, 1.3])
def test_one_step_is_noncentral_chi_squared(dimension, kappa, tau):
    """From x at exactly tau: D tau'^2 / b^2 has D degrees of freedom and parameter D a^2 / b^2."""
    sigma, gamma, count = 2.0, 0.6, 4000
    ladder = torch.tensor([sigma, gamma * sigma], dtype=torch.float64)
    x = torch.zeros(count, dimension, dtype=torch.float64)
    x[:, 0] = tau * sigma * math.sqrt(dimension)
    levels = []
    consistent_annealed(
        unit_noise(dimension),
        x,
        ladder,
        kappa=kappa,
        order=1,
        noise=torch.Generator().manual_seed(1),
        callback=lambda i, sigma, x, H: levels.append(x.square().mean(dim=1)),
    )
    a = sigma * (tau - 1 + gamma**kappa)
    b = sigma * gamma * math.sqrt(1 - gamma ** (2 * kappa - 2))
    law = scipy.stats.ncx2(dimension, dimension * a**2 / b**2, scale=b**2 / dimension)
    # 1.95 / sqrt(n) is passed by chance in 1 of 1,000.
    assert scipy.stats.kstest(levels[1].numpy(), law.cdf).statistic < 1.95 / math.sqrt(count)
    step = consistent_steps(ladder, kappa=kappa, order=1)[0]
    after = float(blind_noise_std([step], start=tau * sigma).after[0])
    assert after**2 == pytest.approx(float(law.mean()), rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0, 2.5, math.inf])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_recursion_is_the_limit_of_many_dimensions(schedule, order, kappa, share):
    """One chain of 300,000 numbers: a step moves tau by 0.13 % (1 / sqrt(2 D)), and that grows."""
    sigmas = SCHEDULES[schedule][:6]
    settings = {"sigmas": sigmas, "kappa": kappa, "order": order}
    levels = noise_at_calls(unit_noise(300_000), share * 20.0, 1, 300_000, **settings)[:, 0]
    recursion = blind_noise_std(consistent_steps(**settings), start=share * 20.0)
    assert torch.allclose(levels, recursion.before, rtol=0.03)


# kappa: noise / sigma at the last call by the recursion, then mean and median of 200,000 draws of
# the law of a step, one after the other: noncentral chi-squared, without a chain
AT_THE_LAST_CALL = {
    1.0: (101.0, 100.8, 100.9),
    1.5: (15.8, 16.83, 15.73),
    2.0: (1.157, 1.291, 1.161),
    2.5: (1.002, 1.004, 1.003),
}


@pytest.mark.parametrize("kappa", AT_THE_LAST_CALL)
def test_five_per_cent_too_noisy_at_the_size_of_cifar_10(kappa):
    """3,072 numbers, 12 geometric calls from 20 to 0.01, the first x at 1.05 * 20."""
    settings = {"sigmas": TWELVE, "kappa": kappa, "order": 1}
    last = noise_at_calls(unit_noise(3072), 21.0, 256, 3072, **settings)[-1] / 0.01
    recursion, mean, median = AT_THE_LAST_CALL[kappa]
    of_steps = blind_noise_std(consistent_steps(**settings), start=21.0).before[-1] / 0.01
    assert float(of_steps) == pytest.approx(recursion, rel=5e-3)
    error = float(last.std()) / math.sqrt(len(last))
    assert float(last.mean()) == pytest.approx(mean, abs=4 * error + 5e-3 * mean)
    assert float(last.median()) == pytest.approx(median, abs=5 * error + 5e-3 * median)


@pytest.mark.parametrize(
    ("kappa", "mean", "median"),
    [(1.0, 129.2, 90.7), (1.5, 46.9, 12.1), (2.0, 13.3, 1.43), (2.5, 3.46, 1.087)],
)
def test_in_64_dimensions_a_few_chains_are_far_off(kappa, mean, median):
    """The length of z alone fluctuates by 9 %: means and medians part."""
    last = (
        noise_at_calls(unit_noise(64), 21.0, 8192, 64, sigmas=TWELVE, kappa=kappa, order=1)[-1]
        / 0.01
    )
    error = float(last.std()) / math.sqrt(len(last))
    assert float(last.mean()) == pytest.approx(mean, abs=4 * error)
    assert float(last.median()) == pytest.approx(median, abs=4 * error)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0, 2.5, 4.0])
def test_a_small_error_is_multiplied_by_gamma_to_the_kappa_minus_2(kappa, order):
    """Of the second order too: its other multiplier is lead (1 - gamma^kappa) times this one."""
    sigmas = geometric_sigmas(1.0, 1e-3, 21)
    gamma = float(sigmas[1] / sigmas[0])
    steps = consistent_steps(sigmas, kappa=kappa, order=order)
    excess = blind_noise_std(steps, start=1 + 1e-7).before / sigmas - 1
    assert excess[11] / excess[10] == pytest.approx(gamma ** (kappa - 2), rel=2e-2)


@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0, 3.0])
def test_a_network_that_sees_sigma_never_enlarges_the_error(kappa):
    gammas = TWELVE[1:] / TWELVE[:-1]
    std = noise_std(consistent_steps(TWELVE, kappa=kappa, order=1), start=21.0).before
    excess = (std / TWELVE) ** 2 - 1
    assert torch.allclose(excess[1:], gammas ** (2 * kappa - 2) * excess[:-1], atol=1e-12)


@pytest.mark.parametrize("eta", [0.05, 0.5, 1.5])
def test_annealed_langevin_returns_to_sigma_1_plus_half_eta(eta):
    """By (1 - eta / 2) / (1 + eta / 2) a step, from far above and from below."""
    steps = langevin_steps(torch.tensor([2.0]), eta=eta, n_sigma=800)
    for start in (0.5, 10.0):
        after = blind_noise_std(steps, start=start).after
        assert float(after[-1]) == pytest.approx(2 * (1 + eta / 2), rel=1e-7)
    near = blind_noise_std(steps, start=2 * (1 + eta / 2) + 1e-6).after - 2 * (1 + eta / 2)
    assert float(near[1] / near[0]) == pytest.approx((1 - eta / 2) / (1 + eta / 2), rel=1e-4)


def fixed_points(eta, gamma):
    """Of r -> sqrt((r - eta)^2 + 2 eta) / gamma, a level of Algorithm 1 in units of its sigma."""
    root = math.sqrt(eta**2 - (1 - gamma**2) * (eta**2 + 2 * eta))
    return (eta - root) / (1 - gamma**2), (eta + root) / (1 - gamma**2)


@pytest.mark.parametrize("eta", [0.18, 0.3, 0.5, 1.5])
def test_annealed_langevin_on_falling_levels_has_a_fixed_point_and_an_edge(eta):
    """232 levels from 50 to 0.01; beyond the larger fixed point the noise never comes back."""
    levels = geometric_sigmas(50, 0.01, 232)
    inner, outer = fixed_points(eta, float(levels[1] / levels[0]))
    steps = langevin_steps(levels, eta=eta)

    def left(start):
        return float(blind_noise_std(steps, start=50 * start).after[-1] / levels[-1])

    settled = inner * float(levels[1] / levels[0])
    assert left(inner) == pytest.approx(settled, rel=1e-9)
    assert left(inner + 0.9 * (outer - inner)) == pytest.approx(settled, rel=0.01)
    assert left(1.2 * outer) > outer


def test_annealed_langevin_on_falling_levels_needs_a_large_enough_step():
    """eta >= 2 (1 - gamma^2) / gamma^2, which is 0.153 here: in the limit 4 log(1 / gamma)."""
    levels = geometric_sigmas(50, 0.01, 232)
    gamma = float(levels[1] / levels[0])
    least = 2 * (1 - gamma**2) / gamma**2
    assert least == pytest.approx(0.153, abs=5e-4)
    inner, outer = fixed_points(least + 1e-12, gamma)
    assert inner == pytest.approx(outer, rel=1e-4)
    found = {
        eta: float(blind_noise_std(langevin_steps(levels, eta=eta), start=50).after[-1] / 0.01)
        for eta in (0.1, 0.18, 0.3, 0.5, 1.0)
    }
    printed = {0.1: 364, 0.18: 1.53, 0.3: 1.32, 0.5: 1.34, 1.0: 1.53}
    assert found == pytest.approx(printed, rel=5e-3)


def test_annealed_langevin_by_chains():
    levels = noise_at_calls(
        unit_noise(100_000),
        3.0,
        1,
        100_000,
        sampler=annealed_langevin,
        sigmas=torch.tensor([2.0], dtype=torch.float64),
        eta=0.5,
        n_sigma=12,
    )[:, 0]
    steps = langevin_steps(torch.tensor([2.0]), eta=0.5, n_sigma=12)
    assert torch.allclose(levels, blind_noise_std(steps, start=3.0).before, rtol=0.02)
    assert float(levels[-1]) == pytest.approx(2.5, rel=0.02)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("calls", [8, 12, 24])
@pytest.mark.parametrize("kappa", [2.5, 4.0])
def test_the_basin_is_where_noise_returns(order, calls, kappa):
    gamma = (0.01 / 20) ** (1 / (calls - 1))
    edge = blind_basin(gamma, kappa, order=order)
    ladder = geometric_sigmas(1.0, gamma**200, 201)
    steps = consistent_steps(ladder, kappa=kappa, order=order)
    inside, outside = (
        blind_noise_std(steps, start=1 + share * (edge - 1)).before / ladder
        for share in (0.999, 1.001)
    )
    assert float(inside[-1]) == pytest.approx(1, abs=1e-3)
    assert float(outside[-1]) > 5


@pytest.mark.parametrize("calls", [8, 12, 16])
def test_the_basin_has_an_edge_below(calls):
    """Of order 1 tau and 2 (1 - gamma^kappa) sigma - tau have the same next level."""
    gamma = (0.01 / 20) ** (1 / (calls - 1))
    levels = geometric_sigmas(20, 20 * gamma**300, 301)
    steps = consistent_steps(levels, kappa=2.5, order=1)
    lower = 2 * (1 - gamma**2.5) - blind_basin(gamma, 2.5)
    for start, returns in ((lower + 0.01, True), (lower - 0.01, False)):
        after = blind_noise_std(steps, start=20 * start).before / levels
        assert (abs(float(after[-1]) - 1) < 1e-3) is returns


def test_the_basin_by_hand():
    """Order 2 has the smaller basin on coarse ladders and the larger one on fine ones."""
    assert blind_basin(0.5, 3.0) == pytest.approx(1 + 2 * 0.25 * 0.5 / 0.75)
    assert blind_basin(0.5, 2.0) == blind_basin(0.5, 1.5, order=2) == 1.0
    assert blind_basin(0.5, 3.0, order=2) < blind_basin(0.5, 3.0)
    assert blind_basin(0.8, 3.0, order=2) > blind_basin(0.8, 3.0)
    assert blind_basin(0.999, 3.0) == pytest.approx(2, abs=2e-3)  # kappa - 1


@pytest.mark.parametrize(("kappa", "low", "high"), [(1.0, 80, 130), (1.5, 8, 40), (2.5, 0.95, 1.1)])
def test_the_optimum_over_the_training_levels_does_the_same(kappa, low, high):
    """Appendix E with the paper's 232 levels, D = 3,072: f snaps to levels 3.7 % apart."""
    datum, training = torch.zeros(1, 3072).double(), geometric_sigmas(50.0, 0.01, 232)

    def denoiser(x, sigma):
        return x + sigma * unconditional_optimum(x, datum, training)

    last = noise_at_calls(denoiser, 21.0, 64, 3072, sigmas=TWELVE, kappa=kappa, order=1)[-1] / 0.01
    assert low < float(last.mean()) < high
