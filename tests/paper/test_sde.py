"""docs/sde.md: the limit of many levels, by its moment equations solved numerically.

On data N(0, s^2) the equation dx = -kappa (x - H) dt + sqrt(2 (kappa - 1)) sigma dW is linear, with
x - H = x sigma^2 / (s^2 + sigma^2). Its mean and variance obey ordinary equations, which scipy
solves here in t = log(sigma_1 / sigma); the sampler's law at each number of levels is exact.
"""

import math
import re
from pathlib import Path

import pytest
from scipy.integrate import solve_ivp

from cascore.sampling import consistent_steps, langevin_steps
from cascore.schedule import geometric_sigmas, karras_sigmas
from cascore.theory import blind_noise_std, gaussian_law, noise_std

PAGE = Path(__file__).parents[2] / "docs/sde.md"
FIRST, LAST, STD = 20.0, 0.05, 0.5
START_MEAN, START_STD = 50.0, 30.0


def solved(drift, diffusion, *, std, mean, variance, first=FIRST, last=LAST):
    """Mean and variance at the last level of dx = -drift (x - H) dt + sqrt(diffusion) sigma dW."""

    def slope(t, moments):
        squared = (first * math.exp(-t)) ** 2
        pull = drift * squared / (std**2 + squared)
        return [-pull * moments[0], -2 * pull * moments[1] + diffusion * squared]

    span = (0.0, math.log(first / last))
    path = solve_ivp(slope, span, [mean, variance], method="DOP853", rtol=1e-12, atol=1e-14)
    return path.y[:, -1]


def limit(kappa, **start):
    return solved(kappa, 2 * (kappa - 1), **start)


def errors(levels, **step):
    """Relative errors of mean and variance of x before the last call, denoised, to the limit."""
    steps = consistent_steps(levels, **step)
    law = gaussian_law(steps, mean=0.0, std=STD, start_mean=START_MEAN, start_std=START_STD)
    mean, variance = limit(step["kappa"], std=STD, mean=START_MEAN, variance=START_STD**2)
    w = STD**2 / (STD**2 + LAST**2)
    return law.denoised_mean / (w * mean) - 1, law.denoised_variance / (w**2 * variance) - 1


@pytest.mark.parametrize("kappa", [1.0, 1.25, 2.0, 4.0])
def test_the_closed_moments_solve_the_equation(kappa):
    """The page's q; and data with noise sigma_1 end as data with noise sigma_L, whatever kappa."""
    top, bottom = STD**2 + FIRST**2, STD**2 + LAST**2
    mean, variance = limit(kappa, std=STD, mean=3.0, variance=7.0)
    assert mean == pytest.approx(3 * (bottom / top) ** (kappa / 2), rel=1e-9)
    assert variance == pytest.approx(bottom + (7 - top) * (bottom / top) ** kappa, rel=1e-9)
    assert limit(kappa, std=STD, mean=0.0, variance=top)[1] == pytest.approx(bottom, rel=1e-9)


@pytest.mark.parametrize("spaced", [geometric_sigmas, karras_sigmas])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.0, 2.5])
def test_the_moments_converge_at_the_order_of_the_sampler(spaced, order, kappa):
    """Halving the step divides the error by 2^order, up to a term that halves as well.

    An error C h^p (1 + c h) has the slope p + c h / (2 log 2) between h and h / 2: at 800 steps
    h is 0.0075 (0.012 at most for Karras levels), and c of these chains is below 5.
    """
    coarse, fine = (
        errors(spaced(FIRST, LAST, steps + 1), kappa=kappa, order=order) for steps in (800, 1600)
    )
    for moment, (rough, better) in enumerate(zip(coarse, fine, strict=True)):
        if kappa == 2 and moment == 0:
            assert max(abs(rough), abs(better)) < 1e-8  # exact, at either order
        else:
            assert math.log2(rough / better) == pytest.approx(order, abs=0.03)


def test_the_page_prints_these_errors_of_the_variance():
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [count for count, _ in rows] == ["101", "201", "401"]
    for count, cells in rows:
        sigmas = geometric_sigmas(FIRST, LAST, int(count))
        found = [
            abs(errors(sigmas, kappa=kappa, order=order)[1])
            for order in (1, 2)
            for kappa in (1.0, 1.5, 2.0, 2.5)
        ]
        assert [f"{error:.1e}".replace("e-0", "e-") for error in found] == cells.split(" | ")


@pytest.mark.parametrize("kappa", [1.0, 1.5, 3.0])
def test_few_steps_are_exact_where_h_is_constant(kappa):
    """Around one datum, from any start: beta is the noise of the equation and no estimate of it."""
    steps = consistent_steps(geometric_sigmas(FIRST, LAST, 4), kappa=kappa, order=1)
    found = float(noise_std(steps, start=START_STD).before[-1])
    _, variance = limit(kappa, std=0.0, mean=0.0, variance=START_STD**2)
    assert found**2 == pytest.approx(variance, rel=1e-7)


@pytest.mark.parametrize("c", [0.5, 2.0, 5.0])
def test_annealed_langevin_has_an_equation_of_its_own(c):
    """eta = c h: the variance of the limit at first order, and sigma^2 c / (c - 1) if c > 1."""
    _, variance = solved(c, 2 * c, std=0.0, mean=0.0, variance=FIRST**2)
    if c > 1:
        assert variance == pytest.approx(LAST**2 * c / (c - 1), rel=1e-4)
    gaps = []
    for count in (800, 1600):
        h = math.log(FIRST / LAST) / (count - 1)
        steps = langevin_steps(geometric_sigmas(FIRST, LAST, count), eta=c * h)
        gaps.append(float(noise_std(steps, start=FIRST).after[-1]) ** 2 / variance - 1)
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("first", "count", "n_sigma", "epsilon", "kappa"),
    [
        (50, 232, 1, 5.6e-6, 1.56), (50, 232, 5, 1.1e-6, 1.50), (50, 232, 1, 5.45e-6, 1.52),
        (50, 232, 5, 1.05e-6, 1.43), (140, 788, 1, 2.8e-6, 2.34), (140, 788, 5, 4.5e-7, 1.86),
    ],
)  # fmt: skip
def test_the_authors_step_sizes_in_kappa(first, count, n_sigma, epsilon, kappa):
    gamma = (0.01 / first) ** (1 / ((count - 1) * n_sigma))
    eta = epsilon / 0.01**2  # = 1 - gamma^kappa
    assert math.log1p(-eta) / math.log(gamma) == pytest.approx(kappa, abs=0.005)


@pytest.mark.parametrize(
    ("epsilon", "n_sigma", "excess", "blind"), [(1.8e-5, 1, 1.14, 1.53), (3.6e-6, 5, 1.11, 1.41)]
)
def test_the_noise_that_the_authors_langevin_chains_leave(epsilon, n_sigma, excess, blind):
    levels = geometric_sigmas(50, 0.01, 232)
    steps = langevin_steps(levels, epsilon=epsilon, n_sigma=n_sigma)
    assert float(noise_std(steps, start=50.0).after[-1]) / 0.01 == pytest.approx(excess, abs=0.005)
    left = blind_noise_std(steps, start=50.0).after[-1] / 0.01
    assert float(left) == pytest.approx(blind, abs=0.005)
    c = epsilon / 0.01**2 / (math.log(5000) / (231 * n_sigma))
    assert (c, math.sqrt(c / (c - 1))) == pytest.approx((4.88, 1.12), abs=0.005)
    assert (c - math.sqrt(c**2 - 4 * c)) / 2 == pytest.approx(1.40, abs=0.005)  # blind networks
