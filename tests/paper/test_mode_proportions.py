"""docs/modes.md: what score matching sees of the proportions of two modes, and where chains do.

Numbers at -1 and +1 with deviation 0.05, four fifths of them at +1; beside them a denoiser that
believes in halves. Everything is exact: Eq. 1 by quadrature, chains by one per quantile.
"""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from cascore.sampling import consistent_annealed
from cascore.schedule import geometric_sigmas
from cascore.theory import GaussianMixtureDenoiser

MEANS, STD, SHARE = torch.tensor([-1.0, 1.0], dtype=torch.float64), 0.05, 0.8


def weights(share):
    return torch.tensor([1 - share, share], dtype=torch.float64)


def denoiser(share):
    return GaussianMixtureDenoiser(MEANS, torch.full((2,), STD), weights(share))


RIGHT, HALVES = denoiser(SHARE), denoiser(0.5)


def price_of_halves(sigma):
    """By how much Eq. 1 at one level is larger for HALVES: E (H - H')^2 / (2 sigma^2)."""
    spread = math.hypot(STD, sigma)
    x = torch.linspace(-1 - 9 * spread, 1 + 9 * spread, 200_001, dtype=torch.float64)
    law = MixtureSameFamily(Categorical(weights(SHARE)), Normal(MEANS, spread))
    gap = (RIGHT(x, sigma) - HALVES(x, sigma)).square() / (2 * sigma**2)
    return float(torch.trapezoid(law.log_prob(x).exp() * gap, x))


@pytest.mark.parametrize(
    ("sigma", "price"),
    [
        (10, 1.8e-3), (3, 1.7e-2), (1, 6.1e-2), (0.5, 3.2e-2), (0.3, 1.8e-3), (0.2, 4.4e-6),
        (0.1, 3.8e-18),
    ],
)  # fmt: skip
def test_only_levels_as_large_as_the_gap_see_the_proportions(sigma, price):
    """The table of the page, to its two digits."""
    assert price_of_halves(sigma) == pytest.approx(price, rel=0.03)


def test_the_price_is_that_of_eq_1():
    """A wrong H costs what it is off, squared: Pythagoras of the posterior mean, by Monte Carlo."""
    generator = torch.Generator().manual_seed(0)
    count, sigma = 200_000, 1.0
    sides = 2 * (torch.rand(count, generator=generator, dtype=torch.float64) < SHARE) - 1
    x = sides + STD * torch.randn(count, generator=generator, dtype=torch.float64)
    noisy = x + sigma * torch.randn(count, generator=generator, dtype=torch.float64)
    loss = [(h(noisy, sigma) - x).square() / (2 * sigma**2) for h in (HALVES, RIGHT)]
    gap = loss[0] - loss[1]
    assert float(gap.mean()) == pytest.approx(
        price_of_halves(sigma), abs=5 * float(gap.std()) / math.sqrt(count)
    )


def share_of_chains(above, below, *, cut):
    """At +1, of the probability flow from N(0.6, 200^2): it keeps order, so quantiles suffice."""
    count = 2001
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)

    def mixed(x, sigma):
        return (above if float(sigma) > cut else below)(x, sigma)

    start = 2 * SHARE - 1 + 200 * quantiles
    chains = consistent_annealed(mixed, start, geometric_sigmas(200, 0.01, 400), kappa=1, order=2)
    return float((chains.denoised > 0).double().mean())


@pytest.mark.parametrize(
    ("cut", "share"), [(0.2, 0.80), (0.5, 0.79), (1, 0.70), (3, 0.57)],
)  # fmt: skip
def test_chains_take_their_proportions_from_the_levels_that_see_them(cut, share):
    """Right above the cut and halves below: below 0.2 halves do no harm. And the other way round.

    One chain in 2,001 is a step of 5e-4; 400 steps move a share by less than 1e-3.
    """
    assert share_of_chains(RIGHT, HALVES, cut=cut) == pytest.approx(share, abs=0.01)
    if cut == 0.2:
        assert share_of_chains(RIGHT, HALVES, cut=cut) == pytest.approx(SHARE, abs=2e-3)
        assert share_of_chains(HALVES, RIGHT, cut=cut) == pytest.approx(0.5, abs=2e-3)
