"""Technique 4 and the three names of a step size, against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from cascore.errors import InputError
from cascore.schedule import (
    allowed_interval,
    eta_from_epsilon,
    eta_from_kappa,
    geometric_sigmas,
    karras_sigmas,
    langevin_step_size,
    stretch,
)

CIFAR = geometric_sigmas(50, 0.01, 232)
CHURCH = geometric_sigmas(140, 0.01, 788)
NAN, INF = math.nan, math.inf


# --- Technique 4


def remaining_variance(eta, g, n):
    """Technique 4 in the paper's own epsilon, at sigma_L = 1."""
    c = 2 * eta / (1 - (1 - eta) ** 2)
    return (1 - eta) ** (2 * n) * (g**2 - c) + c


def test_technique_4_on_cifar_10():
    epsilon = langevin_step_size(CIFAR, 5)
    assert epsilon == pytest.approx(6.184e-6, rel=1e-4)
    g = 5000 ** (1 / 231)
    assert remaining_variance(epsilon / 1e-4, g, 5) == pytest.approx(1.0555, abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("sigmas", [CIFAR, CHURCH, geometric_sigmas(1, 0.01, 10)])
def test_technique_4_is_the_global_minimum(sigmas, n):
    g = float(sigmas[0] / sigmas[-1]) ** (1 / (len(sigmas) - 1))
    grid = np.geomspace(1e-6, 1 - 1e-9, 4000)
    start = int(remaining_variance(grid, g, n).argmin())
    best = optimize.minimize_scalar(
        remaining_variance,
        args=(g, n),
        bounds=(grid[max(start - 1, 0)], grid[min(start + 1, 3999)]),
        method="bounded",
        options={"xatol": 1e-13},
    )
    eta = langevin_step_size(sigmas, n) / float(sigmas[-1]) ** 2
    assert 0 < eta < 1
    # A minimiser by values alone resolves about sqrt(1e-16) of the argument.
    assert eta == pytest.approx(best.x, rel=1e-4)
    assert remaining_variance(eta, g, n) <= best.fun + 1e-14


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *((langevin_step_size, (torch.tensor(levels), n)) for levels, n in (
            ([1.0], 5), ([2.0, 1.0], 0), ([1.0, 2.0], 1),
        )),
        *((eta_from_kappa, (kappa, 0.9)) for kappa in (0.999, 0, -1, -INF, NAN)),
        (allowed_interval, (torch.tensor([1.0]),)),
    ],
)  # fmt: skip
def test_what_is_no_step_size_is_an_input_error(function, arguments):
    with pytest.raises(InputError):
        function(*arguments)


# --- epsilon, eta, kappa


@pytest.mark.parametrize(
    ("epsilon", "n_sigma"), [(5.6e-6, 1), (5.45e-6, 1), (1.1e-6, 5), (1.05e-6, 5)]
)
def test_the_tuned_epsilons_of_cifar_10_are_kappas_from_1_43_to_1_56(epsilon, n_sigma):
    gamma = 5000 ** (-1 / (231 * n_sigma))
    found = math.log(1 - epsilon / 1e-4) / math.log(gamma)
    assert 1.43 <= round(found, 2) <= 1.57
    assert eta_from_kappa(found, gamma) == pytest.approx(eta_from_epsilon(epsilon, 0.01), rel=1e-12)


@given(kappa=st.floats(1, 30), gamma=st.floats(0.05, 0.9999))
def test_kappa_to_eta_and_back(kappa, gamma):
    assert eta_from_kappa(INF, gamma) == 1
    eta = eta_from_kappa(kappa, gamma)
    assert 0 < eta <= 1
    if eta < 1 - 1e-6:  # nearer to 1 the logarithm of 1 - eta has lost its digits
        assert math.log1p(-eta) / math.log(gamma) == pytest.approx(kappa, rel=1e-8)
        assert eta == pytest.approx(1 - gamma**kappa, abs=1e-12)


@given(epsilon=st.floats(1e-9, 1e3), last=st.floats(1e-4, 10))
def test_epsilon_to_eta(epsilon, last):
    eta = eta_from_epsilon(epsilon, last)
    assert eta == pytest.approx(epsilon / (last * last), rel=1e-12)


# --- the allowed interval


@pytest.mark.parametrize(
    "sigmas", [CIFAR, stretch(CIFAR, 5), karras_sigmas(80, 0.002, 18), torch.tensor([4.0, 3, 1])]
)
def test_the_interval_is_where_every_noise_is_real(sigmas):
    allowed = allowed_interval(sigmas)
    gammas = (sigmas.double()[1:] / sigmas.double()[:-1]).numpy()

    def smallest(eta):
        return (1 - (1 - eta) ** 2 / gammas**2).min()

    for bound, inside in ((allowed.eta.low, 1), (allowed.eta.high, -1)):
        assert smallest(bound) == pytest.approx(0, abs=1e-9)
        assert smallest(bound + inside * 1e-6) > 0
        assert smallest(bound - inside * 1e-6) < 0
    last = float(sigmas[-1])
    assert allowed.epsilon == pytest.approx([bound * last**2 for bound in allowed.eta])
    assert str(allowed.eta._replace(low=1.0, high=INF)) == "[1, inf]"
