"""The orders of convergence of consistent annealing, by the exact law on Gaussian data."""

import math
from itertools import pairwise

import pytest

from cascore.sampling import consistent_steps
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import gaussian_law


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
