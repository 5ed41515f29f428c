"""Denoisers of k-diffusion, EDM and azula: their call written out, and H in closed form."""

import math

import pytest
import torch

import cascore
from cascore.errors import InputError
from cascore.theory import GaussianMixtureDenoiser

MEANS = torch.tensor([[[[-0.5]]], [[[0.4]]]], dtype=torch.float64)
EXACT = GaussianMixtureDenoiser(
    MEANS, torch.tensor([0.1, 0.3]).double(), torch.tensor([0.5, 0.5]).double()
)


class EDM(torch.nn.Module):
    """Called as EDM's EDMPrecond and k-diffusion's denoisers are: sigma [N], further arguments."""

    sigma_min, sigma_max = torch.tensor(0.02), torch.tensor(80.0)

    def forward(self, x, sigma, class_labels=None):
        assert sigma.shape == (len(x),)
        shift = 0 if class_labels is None else class_labels.reshape(-1, 1, 1, 1)
        return EXACT(x, sigma) + shift


class Azula(torch.nn.Module):
    """Called as azula's denoisers are: a time, a state that it scales, a posterior."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, x_t, t, shift=0):
        assert t.shape == (len(x_t),)
        alpha, sigma = self.schedule(t)
        alpha, sigma = (v.reshape(-1, 1, 1, 1) for v in (alpha, sigma))
        mean = EXACT(x_t / alpha, (sigma / alpha).flatten()) + shift
        return type("Posterior", (), {"mean": mean})()


def cosine(t):
    alpha = (t * math.acos(1e-3)).cos()
    return alpha, (1 - alpha**2 + 1e-6).sqrt()


def rectified(t):
    return (1 - t) + 1e-3 * t, t + 1e-3 * (1 - t)


def exploding(t):
    return torch.ones_like(t), 1e-3 ** (1 - t) * 1e3**t


@pytest.mark.parametrize(
    "denoiser",
    [
        cascore.from_k_diffusion(EDM(), pixels=None),
        *(cascore.from_azula(Azula(s), pixels=None) for s in (cosine, rectified, exploding)),
    ],
    ids=["EDM", "cosine", "rectified", "exploding"],
)
def test_they_are_the_denoiser_that_they_wrap(denoiser):
    x = torch.randn(4, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    for sigma in (0.03, 1.0, 50.0, [0.05, 0.5, 5, 70]):
        level = torch.tensor(sigma, dtype=torch.float64)
        noisy = x * (1 + level.reshape(-1, 1, 1, 1))
        assert torch.allclose(denoiser(noisy, level), EXACT(noisy, level), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", [cascore.from_k_diffusion, cascore.from_azula])
def test_pixels_are_seen_in_0_to_1_and_float32_stays(kind):
    theirs = EDM() if kind is cascore.from_k_diffusion else Azula(cosine)
    x, sigma = torch.rand(3, 1, 1, 1), torch.tensor(0.4)
    for given, ends in (({}, (-1, 1)), ({"pixels": (0, 2)}, (0, 2))):
        found = kind(theirs, **given)(x, sigma)
        expected = cascore.rescaled(EXACT, *ends)(x.double(), sigma.double())
        assert found.dtype == torch.float32
        assert torch.allclose(found.double(), expected, atol=1e-5)


def test_conditioning_is_handed_on():
    x, sigma = torch.zeros(2, 1, 1, 1).double(), torch.tensor(1.0).double()
    labels = torch.tensor([1.0, 2.0]).double()
    shifted = cascore.from_k_diffusion(EDM(), conditioning={"class_labels": labels}, pixels=None)
    expected = EXACT(x, sigma) + labels.reshape(2, 1, 1, 1)
    assert torch.allclose(shifted(x, sigma), expected)
    shifted = cascore.from_azula(Azula(cosine), conditioning={"shift": 3.0}, pixels=None)
    assert torch.allclose(shifted(x, sigma), EXACT(x, sigma) + 3)


def test_a_sigma_beyond_their_range_is_refused_with_it():
    x = torch.zeros(2, 1, 1, 1)
    with pytest.raises(InputError, match=r"0\.02 to 80"):
        cascore.from_k_diffusion(EDM())(x, torch.tensor(50.0))  # 100 of theirs
    with pytest.raises(InputError, match="own range"):
        cascore.from_azula(Azula(exploding))(x, torch.tensor(1e-4))


def test_they_are_sampled():
    samples = []
    for denoiser in (
        cascore.from_k_diffusion(EDM()), cascore.from_azula(Azula(rectified)),
    ):  # fmt: skip
        sigmas = cascore.geometric_sigmas(20.0, 0.02, 10)
        x = cascore.initial_noise((64, 1, 1, 1), 20.0).double()
        samples.append(cascore.consistent_annealed(denoiser, x, sigmas).denoised)
    assert torch.allclose(*samples, atol=1e-6)
    assert samples[0].mean() == pytest.approx(0.475, abs=0.1)  # (-0.05 + 1) / 2; 64 draws
