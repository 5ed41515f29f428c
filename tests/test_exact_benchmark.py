"""The peers of the exact benchmark: their orders, and levels that are least by brute force."""

import itertools

import pytest
import torch

from benchmarks import samplers
from cascore.schedule import geometric_sigmas

VARIANCE = 0.3


def error(sampler, count):
    """Of the path of one component, whose exact end is known: x / sqrt(v + sigma^2) stays."""
    sigmas = geometric_sigmas(5.0, 0.05, count)
    x = torch.full((1, 1), 2.0, dtype=torch.float64)
    share = lambda x, sigma: VARIANCE / (VARIANCE + sigma**2) * x  # noqa: E731
    found = sampler(share, x, sigmas, None)
    ratio = ((VARIANCE + sigmas[-1] ** 2) / (VARIANCE + sigmas[0] ** 2)).sqrt()
    return float((found - share(x * ratio, sigmas[-1])).abs())


@pytest.mark.parametrize("sampler", [samplers.heun, samplers.ORDER_2[1.0], samplers.deis])
def test_errors_fall_by_four_where_steps_are_halved(sampler):
    """DEIS of order 3 begins with one step of Euler's, which leaves an error of order 2."""
    assert error(sampler, 201) / error(sampler, 401) == pytest.approx(4, rel=0.03)


def test_deis_of_order_3_is_exact_where_the_slope_is_a_square_of_log_sigma():
    sigmas = torch.tensor([5.0, 2.0, 0.7, 0.1], dtype=torch.float64)
    answer = lambda x, sigma: x - sigma * (1 + sigma.log()) ** 2  # noqa: E731
    integral = lambda s: s * (s.log() ** 2 + 1)  # noqa: E731, of (1 + log s)^2
    start = torch.zeros(1, 1, dtype=torch.float64)
    before, after = (
        samplers.deis(answer, start, sigmas[:count], None)
        + sigmas[count - 1] * (1 + sigmas[count - 1].log()) ** 2
        for count in (3, 4)
    )
    torch.testing.assert_close(
        after - before, (integral(sigmas[3]) - integral(sigmas[2])).view(1, 1)
    )


def test_deis_through_one_call_is_eulers_step():
    generator = torch.Generator().manual_seed(0)
    x = 5 * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    sigmas, answer = geometric_sigmas(5.0, 0.01, 6), lambda x, sigma: torch.tanh(x / (1 + sigma))
    torch.testing.assert_close(
        samplers.deis(answer, x, sigmas, None, order=1), samplers.EULER(answer, x, sigmas, None)
    )


def test_the_least_path_is_the_least_of_all():
    cost = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)).double().numpy()
    grid = geometric_sigmas(10.0, 0.1, 9).numpy()
    ways = ((0, *middle, 8) for middle in itertools.combinations(range(1, 8), 3))
    best = min(ways, key=lambda way: sum(cost[a, b] for a, b in itertools.pairwise(way)))
    assert samplers.least_path(grid, cost, 5).tolist() == grid[list(best)].tolist()


def test_the_errors_of_gits_are_those_of_eulers_step_on_the_exact_path(monkeypatch):
    variances = samplers.SPECTRUM[:20]
    monkeypatch.setattr(samplers, "SPECTRUM", variances)
    grid, cost = samplers.euler_errors.__wrapped__(50.0, 0.01)
    share = lambda x, sigma: variances / (variances + sigma**2) * x  # noqa: E731
    before, exact = (torch.sqrt(variances + grid[i] ** 2) for i in (100, 160))
    stepped = before + (grid[160] - grid[100]) * (before - share(before, grid[100])) / grid[100]
    assert cost[100, 160] == pytest.approx(float((stepped - exact).norm()), rel=1e-9)


def test_the_denoiser_of_a_mixture_takes_a_level_for_each_sample():
    law = samplers.Mixture(samplers.DATA / "mixture-em.npz")
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.02, 0.5, 20.0])
    each = torch.cat([law(row[None], level) for row, level in zip(x, levels, strict=True)])
    torch.testing.assert_close(law(x, levels), each)


def test_a_blind_optimum_of_64_dimensions_is_no_worse_at_levels_made_for_it(monkeypatch):
    """Of 20 calls, where levels that the law left uneven were four times worse; 1,000 chains."""
    monkeypatch.setattr(samplers, "CHAINS", 1000)
    monkeypatch.setattr(samplers, "SEEDS", (0,))
    law = samplers.Mixture(samplers.DATA / "mixture-em.npz")
    blind = samplers.BlindOptimum(law, geometric_sigmas(50.0, 0.01, 100))
    geometric, made = (
        law.measure(samplers.ORDER_2[2.5], levels(50.0, 0.01, 20), blind)[0]
        for levels in list(samplers.BLIND_ROWS.values())[:2]
    )
    assert made < geometric
