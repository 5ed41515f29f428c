"""Schedules against the paper's figures, other formulas and brute force."""

import math

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.stats import norm

from cascore.errors import InputError
from cascore.schedule import (
    centred_sigmas,
    check_sigmas,
    geometric_sigmas,
    karras_sigmas,
    level_count,
    nearest_sigmas,
    stretch,
)

CIFAR = geometric_sigmas(50, 0.01, 232)
NAN, INF = math.nan, math.inf


# --- Eq. 2 and other schedules


@pytest.mark.parametrize("count", [2, 3, 10, 232, 1000])
def test_geometric_levels_are_sigma_1_times_a_power_of_gamma(count):
    sigmas = geometric_sigmas(50, 0.01, count)
    gamma = (0.01 / 50) ** (1 / (count - 1))
    assert sigmas.dtype == torch.float64
    assert (float(sigmas[0]), float(sigmas[-1])) == (50, 0.01)
    # A power of 10 near the ends and a product of up to 1000 ratios: 1e-12 is 1000 ulp or so.
    np.testing.assert_allclose(sigmas, 50 * gamma ** np.arange(count), rtol=1e-12)


def test_one_level_is_a_schedule():
    for make in (geometric_sigmas, karras_sigmas, centred_sigmas):
        assert make(0.1, 0.1, 1).tolist() == [0.1]
    assert stretch(torch.tensor([0.5]), 4).tolist() == [0.5]


@pytest.mark.parametrize(("rho", "count"), [(7, 2), (7, 18), (3.5, 10), (1, 5)])
def test_karras_levels_are_equation_5_of_karras_et_al(rho, count):
    i = np.arange(count)
    top, bottom = 80 ** (1 / rho), 0.002 ** (1 / rho)
    expected = (top + i / (count - 1) * (bottom - top)) ** rho
    sigmas = karras_sigmas(80, 0.002, count, rho=rho)
    assert (float(sigmas[0]), float(sigmas[-1])) == (80, 0.002)
    # The oracle ends with 80 - 79.998, which cancels five digits of its sixteen.
    np.testing.assert_allclose(sigmas, expected, rtol=1e-11)


@pytest.mark.parametrize("rho", [1e-3, 0.01])
def test_karras_levels_of_a_small_rho_do_not_overflow(rho):
    """Next to 50^(1 / rho), itself beyond all numbers, 0.01^(1 / rho) is 0: 50 (1 - t)^rho."""
    sigmas = karras_sigmas(50, 0.01, 6, rho=rho)
    expected = 50 * np.exp(rho * np.log1p(-np.arange(5) / 5))
    np.testing.assert_allclose(sigmas[:-1], expected, rtol=1e-12)


def test_karras_levels_with_the_default_rho_are_those_of_diffusers():
    theirs = EDMEulerScheduler(sigma_min=0.002, sigma_max=80, sigma_schedule="karras")
    theirs.set_timesteps(12)
    # Theirs are float32, which loses digits in the 7th power, and end with a 0.
    np.testing.assert_allclose(karras_sigmas(80, 0.002, 12), theirs.sigmas[:-1], rtol=1e-5)


@given(
    steps=st.lists(st.floats(0.01, 2), min_size=1, max_size=8), spare=st.integers(0, 20),
    last=st.floats(0.005, 2),
)  # fmt: skip
def test_nearest_levels_are_different_ones_of_those_offered(steps, spare, last):
    """And each is the nearest, wherever the nearest ones differ: brute force."""
    wanted = last * torch.tensor([0.0, *steps], dtype=torch.float64).cumsum(0).flip(0).exp()
    offered = geometric_sigmas(20.0, 0.001, len(wanted) + spare)
    found = nearest_sigmas(wanted, offered)
    assert found.shape == wanted.shape
    assert set(found.tolist()) <= set(offered.tolist())
    assert bool((found[1:] < found[:-1]).all())
    alone = [min(offered.tolist(), key=lambda s: abs(math.log(s / float(w)))) for w in wanted]
    if len(set(alone)) == len(alone):
        assert found.tolist() == alone


def test_nearest_levels_by_hand_and_more_than_there_are():
    offered = torch.tensor([8.0, 4.0, 2.0, 1.0])
    for wanted, expected in (
        ([8, 4, 1], [8, 4, 1]), ([5, 4.5], [4, 2]), ([1.2, 1.1], [2, 1]),
        ([9, 8.5, 8.1, 0.9], [8, 4, 2, 1]),
    ):  # fmt: skip
        assert nearest_sigmas(torch.tensor(wanted), offered).tolist() == expected
    with pytest.raises(InputError, match="5 levels among the 4"):
        nearest_sigmas(geometric_sigmas(8, 1, 5), offered)


@pytest.mark.parametrize(
    ("first", "last", "count"), [(25, 0.01, 12), (5, 0.01, 2), (50, 0.002, 1000), (0.2, 0.1, 5)]
)
def test_centred_levels_are_quantiles_of_a_uniform_and_a_normal_part(first, last, count):
    """By scipy's distributions of log sigma; the bisection ends at rounding, 1e-15 of the range."""
    top, bottom, centre = math.log(first), math.log(last), math.log(first / 20)
    sigmas = centred_sigmas(first, last, count)
    assert (float(sigmas[0]), float(sigmas[-1])) == (first, last)
    logs = sigmas.log().numpy()
    uniform = stats.uniform(bottom, top - bottom)
    normal = stats.truncnorm((bottom - centre) / 1.5, (top - centre) / 1.5, centre, 1.5)
    above = 1 - (2 * uniform.cdf(logs) + normal.cdf(logs)) / 3
    np.testing.assert_allclose(above, np.arange(count) / (count - 1), atol=1e-12)


@pytest.mark.parametrize("make", [geometric_sigmas, karras_sigmas, centred_sigmas])
@pytest.mark.parametrize(
    ("first", "last", "count", "message"),
    [
        (NAN, 0.01, 5, "finite"), (1, NAN, 5, "finite"), (INF, 0.01, 5, "not inf"),
        (1, 0, 5, "positive"), (0, 0, 1, "positive"), (1, -1, 5, "positive"),
        (-1, -2, 5, "positive"), (1, 1, 2, "above"), (1, 2, 5, "above"), (1, INF, 5, "above"),
        (1, 0.1, 0, "at least 1"), (1, 0.1, -3, "at least 1"), (1, 0.1, 1, "both"),
    ],
)  # fmt: skip
def test_impossible_ranges_are_input_errors(make, first, last, count, message):
    with pytest.raises(InputError, match=message):
        make(first, last, count)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([], r"\[0\]"), (1.0, r"\[\]"), ([[1.0, 0.5]], r"\[1, 2\]"),
        ([1.0, NAN], "finite"), ([INF, 1.0], "finite"), ([1.0, 0.0], "positive"),
        ([1.0, -0.5], "positive"), ([1.0, 1.0], "sigma_2 = 1 follows 1"),
        ([3.0, 2.0, 2.5], "sigma_3 = 2.5 follows 2"), ([0.1, 1.0], "decrease"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_an_input_error(sigmas, message):
    with pytest.raises(InputError, match=message):
        check_sigmas(torch.tensor(sigmas))


def test_a_checked_schedule_is_float64_without_gradient():
    levels = check_sigmas(torch.tensor([2.0, 1.0], dtype=torch.float32, requires_grad=True))
    assert levels.dtype == torch.float64
    assert not levels.requires_grad
    assert levels.tolist() == [2, 1]


# --- n_sigma


@pytest.mark.parametrize("n", [1, 2, 5, 15])
@pytest.mark.parametrize("sigmas", [CIFAR, karras_sigmas(80, 0.002, 18), torch.tensor([3.0, 1.0])])
def test_stretching_keeps_the_levels_and_fills_in_between(sigmas, n):
    sigmas = sigmas.double()
    longer = stretch(sigmas, n)
    assert len(longer) == (len(sigmas) - 1) * n + 1
    assert torch.equal(longer[::n], sigmas)
    logs = longer.log().numpy()
    knots = np.arange(len(sigmas)) * n
    np.testing.assert_allclose(
        logs, np.interp(np.arange(len(longer)), knots, sigmas.log().numpy()), atol=1e-13
    )


# --- Technique 2


@pytest.mark.parametrize(
    ("dimension", "first", "exact", "gamma"),
    [(3072, 50, 227.77, 0.963138), (12288, 140, 504.63, None), (2352, 50, 199.95, None)],
)
def test_technique_2_gives_the_noted_level_counts(dimension, first, exact, gamma):
    def gap(g):
        shift = math.sqrt(2 * dimension) * (g - 1)
        return norm.cdf(shift + 3 * g) - norm.cdf(shift - 3 * g) - 0.5

    root = optimize.brentq(gap, 0.5, 1, xtol=1e-14)
    if gamma is not None:
        assert root == pytest.approx(gamma, abs=5e-7)
    levels = 1 + math.log(0.01 / first) / math.log(root)
    assert levels == pytest.approx(exact, abs=5e-3)
    assert level_count(dimension, first, 0.01) == math.ceil(exact)


@pytest.mark.parametrize("coverage", [0.1, 0.3, 0.7, 0.9, 0.99])
def test_the_level_count_reaches_the_coverage_and_one_level_fewer_does_not(coverage):
    dimension, count = 784, level_count(784, 20, 0.01, coverage=coverage)

    def covered(levels):
        g = (0.01 / 20) ** (1 / (levels - 1))
        shift = math.sqrt(2 * dimension) * (g - 1)
        return norm.cdf(shift + 3 * g) - norm.cdf(shift - 3 * g)

    assert covered(count) >= coverage > covered(count - 1)


@pytest.mark.parametrize(
    ("dimension", "first", "last", "coverage"),
    [
        (0, 50, 0.01, 0.5), (3072, 0.01, 50, 0.5), (3072, 50, 50, 0.5), (3072, 50, 0, 0.5),
        (3072, NAN, 0.01, 0.5), (3072, 50, 0.01, 0), (3072, 50, 0.01, 1), (3072, 50, 0.01, NAN),
        (3072, 50, 0.01, 0.9974),
    ],
)  # fmt: skip
def test_misused_technique_2_is_an_input_error(dimension, first, last, coverage):
    with pytest.raises(InputError):
        level_count(dimension, first, last, coverage=coverage)


def test_rho_must_be_positive_and_n_sigma_at_least_1():
    for rho in (0, -1, NAN):
        with pytest.raises(InputError, match="rho"):
            karras_sigmas(1, 0.1, 3, rho=rho)
    for n_sigma in (0, -1):
        with pytest.raises(InputError, match=f"not {n_sigma}"):
            stretch(CIFAR, n_sigma)
