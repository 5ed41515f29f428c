"""Figure 1: how far the noise of annealed Langevin sampling lies above the schedule."""

import pytest

from cascore.sampling import langevin_steps
from cascore.schedule import geometric_sigmas
from cascore.theory import noise_std


@pytest.mark.parametrize(
    ("n_sigma", "excess", "level", "rounding"),
    [
        (1, 19.53, 33, 0.005),
        (2, 12.65, 22, 0.005),
        (5, 6.17, 12, 0.005),
        (20, 1.54, 5, 0.005),
        (100, 0.275, 2, 0.0005),
    ],
)
def test_largest_excess_of_the_standard_deviation(n_sigma, excess, level, rounding):
    sigmas = geometric_sigmas(50.0, 0.01, 232)
    steps = langevin_steps(sigmas, epsilon=2e-6, n_sigma=n_sigma)
    std = noise_std(steps, start=50.0)
    over = std.after[n_sigma - 1 :: n_sigma] - sigmas
    assert len(std.after) == 232 * n_sigma
    assert float(over.max()) == pytest.approx(excess, abs=rounding)
    assert int(over.argmax()) + 1 == level
