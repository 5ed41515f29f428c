"""EDM's form, weight and noise levels against their own formulas, which live in [-1, 1] pixels."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from cascore.denoiser import PreconditionedDenoiser, rescaled
from cascore.errors import InputError
from cascore.experiment.chain import generate
from cascore.experiment.settings import Sampler, Schedule
from cascore.losses import Corrupted, LogNormal, LogUniform, corrupt, dsm_loss
from cascore.networks import ConditionalUNet
from cascore.noise import KeyedNoise
from cascore.sampling import initial_noise
from cascore.theory import GaussianMixtureDenoiser

SIGMAS = torch.tensor([0.002, 0.05, 0.4, 3.0, 40.0], dtype=torch.float64)


class Linear(nn.Module):
    """A network whose answer depends on both of its arguments; remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.classes = 0

    def forward(self, x, c_noise):
        self.seen, self.c_noise = x, c_noise
        return x.flip(-1) * 0.7 + c_noise.reshape(-1, *(1,) * (x.ndim - 1)).sin()


def edm(network, *, sigma_data):
    """Karras et al. (2022), Eq. 7 and Table 1, line by line, for pixels in [-1, 1]."""

    def denoiser(x, sigma):
        sigma = sigma.reshape(-1, *(1,) * (x.ndim - 1))
        c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
        c_out = sigma * sigma_data / (sigma_data**2 + sigma**2).sqrt()
        c_in = 1 / (sigma_data**2 + sigma**2).sqrt()
        c_noise = sigma.flatten().log() / 4
        return c_skip * x + c_out * network(c_in * x, c_noise)

    return denoiser


def test_it_is_edm_seen_in_our_pixels():
    """Mean 0 and deviation 0.5 there are 0.5 and 0.25 here; log sigma moves by log 2."""
    x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = Linear()
    shifted = lambda x, c_noise: network(x, c_noise - math.log(2) / 4)  # noqa: E731
    theirs = rescaled(edm(shifted, sigma_data=0.5), -1, 1)
    ours = PreconditionedDenoiser(network, mean=0.5, deviation=0.25).double()
    # 1e-13: a few operations of float64 on numbers up to 100.
    torch.testing.assert_close(ours(x, SIGMAS), theirs(x, SIGMAS), rtol=1e-13, atol=1e-13)


def test_input_and_target_of_the_network_have_unit_variance_at_every_sigma():
    """On Gaussian data of that mean and deviation; 200,000 numbers, 5 standard errors each."""
    count, m, s = 200_000, 0.375, 0.3125
    clean = m + s * torch.randn(count, 1, generator=torch.Generator().manual_seed(1)).double()
    network = Zero()
    denoiser = PreconditionedDenoiser(network, mean=m, deviation=s).double()
    for sigma in SIGMAS.tolist():
        drawn = corrupt(
            clean,
            torch.tensor([sigma], dtype=torch.float64),
            noise=KeyedNoise(3, indices=range(count)),
        )
        # With F = 0 the error of H is c_out times the network's target.
        target = dsm_loss(denoiser(drawn.noisy, drawn.sigma), drawn, deviation=s) * 2
        spread = 5 * math.sqrt(2 / count)
        assert abs(float(network.seen.var()) - 1) < spread
        assert abs(float(network.seen.mean())) < 5 / math.sqrt(count)
        assert abs(float(target.mean()) - 1) < spread


class Zero(Linear):
    def forward(self, x, c_noise):
        return super().forward(x, c_noise) * 0


def test_with_f_zero_it_is_the_optimum_of_gaussian_data():
    m, s = 0.375, 0.3125  # buffers are float32
    denoiser = PreconditionedDenoiser(Zero(), mean=m, deviation=s).double()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    one = torch.ones(1, dtype=torch.float64)
    optimum = GaussianMixtureDenoiser(m * torch.ones(1, 6, dtype=torch.float64), s * one, one)
    torch.testing.assert_close(denoiser(x, SIGMAS), optimum(x, SIGMAS), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kappa", [1.0, 2.0])
def test_a_chain_starts_at_the_mean_of_the_data_and_ends_there(kappa):
    """Exact for Gaussian data; from a start at 0, kappa 1 would end m s / sqrt(1 + s^2) too low."""
    m, s, seeds = 0.8, 0.3, range(500)
    given = {
        "shape": (1, 4, 4),
        "seeds": seeds,
        "schedule": Schedule(first=1.0, last=0.01, levels=10),
        "device": torch.device("cpu"),
    }
    denoiser = PreconditionedDenoiser(Zero(), mean=m, deviation=s)
    samples = generate(denoiser, sampler=Sampler(calls=60, kappa=kappa), **given)
    found = samples.denoised.double()
    # 8,000 numbers of deviation s or less, and 60 steps of second order.
    assert abs(float(found.mean()) - m) < 4 * s / math.sqrt(found.numel()) + 1e-3
    start = torch.zeros(len(seeds), 1, 4, 4)
    noise = initial_noise(start.shape, 1.0, noise=KeyedNoise(seeds))
    from_there = generate(
        denoiser, sampler=Sampler(calls=60, kappa=kappa), start=m + noise, **given
    )
    assert torch.equal(from_there.denoised, samples.denoised)


def test_without_noise_it_returns_its_input():
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    denoiser = PreconditionedDenoiser(Linear(), mean=0.47, deviation=0.25).double()
    for sigma in (1e-4, 1e-8, 1e-30):
        # c_out = sigma to first order, and |F| is below 0.7 max |x| / s + 1.
        bound = 5 * sigma + 1e-15
        assert float((denoiser(x, torch.tensor(sigma, dtype=x.dtype)) - x).abs().max()) < bound


def test_the_weight_of_infinite_deviation_is_the_papers_to_the_bit():
    generator = torch.Generator().manual_seed(4)
    clean, denoised = (torch.rand(5, 7, generator=generator) for _ in range(2))
    drawn = Corrupted(clean, clean, SIGMAS.float())
    s = 0.25
    weight = (SIGMAS**2 + s**2) / (SIGMAS * s) ** 2  # EDM, Table 1
    expected = weight * (denoised - clean).double().square().sum(1) / 2
    torch.testing.assert_close(
        dsm_loss(denoised, drawn, deviation=s).double(), expected, rtol=1e-5, atol=0
    )
    plain = ((denoised - clean) / drawn.sigma[:, None]).square().sum(1) / 2
    assert torch.equal(dsm_loss(denoised, drawn), plain)
    torch.testing.assert_close(dsm_loss(denoised, drawn, deviation=1e9), plain)


@pytest.mark.parametrize(
    ("law", "theirs"),
    [
        (LogNormal(), stats.lognorm(s=1.2, scale=math.exp(-1.2) / 2)),
        (LogNormal(0.3, 0.1), stats.lognorm(s=0.1, scale=math.exp(0.3))),
        (LogUniform(50, 0.01), stats.loguniform(0.01, 50)),
    ],
)
def test_levels_have_their_law_and_follow_from_their_key(law, theirs):
    x = torch.zeros(20_000, 1, dtype=torch.float64)
    noise = KeyedNoise(5, indices=range(20_000))
    drawn = corrupt(x, law, noise=noise.at(7))
    assert stats.kstest(drawn.sigma.numpy(), theirs.cdf).pvalue > 1e-4
    part = corrupt(x[30:40], law, noise=KeyedNoise(5, indices=range(30, 40)).at(7))
    assert torch.equal(part.sigma, drawn.sigma[30:40])
    assert torch.equal(part.noisy, drawn.noisy[30:40])
    assert not torch.equal(corrupt(x, law, noise=noise.at(8)).sigma, drawn.sigma)


def test_its_two_numbers_are_saved_with_the_weights_and_loaded_by_name():
    def new(mean, deviation):
        unet = ConditionalUNet(channels=1, width=4, multipliers=(1,), attention=(False,), blocks=1)
        return PreconditionedDenoiser(unet, mean=mean, deviation=deviation)

    trained, loaded = new(0.3, 0.2), new(0.0, 1.0)
    assert {"mean", "deviation"} <= trained.state_dict().keys()
    loaded.load_state_dict(trained.state_dict())
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(loaded(x, torch.tensor(0.5)), trained(x, torch.tensor(0.5)))


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_refused(deviation):
    with pytest.raises(InputError, match="deviation of the data must be positive"):
        PreconditionedDenoiser(nn.Identity(), mean=0.0, deviation=deviation)
