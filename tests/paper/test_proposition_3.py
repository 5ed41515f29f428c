"""Proposition 3: the algorithms in the score and in the expected denoised sample are the same."""

import pytest
import torch
from reference import Replay, algorithm_1, algorithm_2, normals
from torch import nn

from cascore.denoiser import ConditionalDenoiser, UnconditionalDenoiser, score
from cascore.sampling import annealed_langevin, consistent_annealed
from cascore.schedule import eta_from_epsilon, geometric_sigmas

SIGMAS = geometric_sigmas(5.0, 0.1, 9)
GAMMA = (0.1 / 5.0) ** (1 / 8)


class SeesSigma(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x, log_sigma):
        return torch.tanh(self.linear(torch.cat([x, log_sigma[:, None]], dim=1)))


@pytest.fixture(params=["unconditional", "conditional"])
def pair(request):
    """A denoiser of the package, and the score f(x) / sigma of the same network by hand."""
    torch.manual_seed(3)
    if request.param == "unconditional":
        network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        return UnconditionalDenoiser(network), lambda x, sigma: network(x) / sigma
    network = SeesSigma().double()

    def conditional_score(x, sigma):
        return network(x, torch.full((len(x),), sigma, dtype=x.dtype).log()) / sigma

    return ConditionalDenoiser(network), conditional_score


@torch.no_grad()
def test_expected_denoised_sample_and_score_are_one_another(pair):
    denoiser, by_hand = pair
    (x,) = normals(1, (5, 3), seed=4)
    for sigma in (0.1, 1.0, 5.0):
        level = torch.tensor(sigma, dtype=torch.float64)
        assert torch.allclose(denoiser(x, level), x + sigma**2 * by_hand(x, sigma), rtol=1e-13)
        assert torch.allclose(score(denoiser, x, level), by_hand(x, sigma), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n_sigma", [1, 3])
@torch.no_grad()
def test_two_forms_of_algorithm_1_agree(pair, n_sigma):
    denoiser, by_hand = pair
    start, *noises = normals(1 + 9 * n_sigma, (5, 3), seed=5)
    epsilon = 0.2 * 0.1**2
    raw, denoised = algorithm_1(
        by_hand, 5 * start, SIGMAS.tolist(), epsilon=epsilon, n_sigma=n_sigma, noises=noises
    )
    for size in ({"epsilon": epsilon}, {"eta": 0.2}):
        samples = annealed_langevin(
            denoiser, 5 * start, SIGMAS, **size, n_sigma=n_sigma, noise=Replay(noises)
        )
        assert torch.allclose(samples.raw, raw, rtol=1e-10, atol=1e-11)
        assert torch.allclose(samples.denoised, denoised, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kappa", [1.0, 1.25, 1.5, 2.0])
@torch.no_grad()
def test_two_forms_of_algorithm_2_agree(pair, kappa):
    denoiser, by_hand = pair
    start, *noises = normals(9, (5, 3), seed=6)
    eta = 1 - GAMMA**kappa
    raw, denoised = algorithm_2(
        by_hand, 5 * start, SIGMAS.tolist(), epsilon=eta * 0.1**2, noises=noises
    )
    for size in ({"kappa": kappa}, {"eta": eta}, {"epsilon": eta * 0.1**2}):
        samples = consistent_annealed(
            denoiser, 5 * start, SIGMAS, **size, order=1, noise=Replay(noises)
        )
        # At kappa 1 the paper's beta is 0 up to the square root of rounding, 1e-8 a step.
        close = 1e-6 if kappa == 1 else 1e-10
        assert torch.allclose(samples.raw, raw, rtol=close, atol=close)
        assert torch.allclose(samples.denoised, denoised, rtol=close, atol=close)


def test_step_size_has_two_names():
    assert eta_from_epsilon(5.6e-6, 0.01) == pytest.approx(0.056)
    assert eta_from_epsilon(5.6e-6, 0.01) == pytest.approx(0.056)
