"""The probability-flow ODE against closed forms: Gaussian data, a mixture, the sampler itself."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import integrate

from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.flow import decode, dequantised, encode, interpolated, log_likelihood
from cascore.guidance import guided
from cascore.noise import KeyedNoise
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas
from cascore.theory import GaussianMixtureDenoiser

FIRST, LAST = 20.0, 0.05
VARIANCES = torch.tensor([1.0, 0.25, 0.01], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)


def gaussian(x, sigma):
    """The exact denoiser of N(MEAN, diag(VARIANCES))."""
    weight = VARIANCES / (VARIANCES + sigma**2)
    return MEAN + weight * (x - MEAN)


def factors():
    """By which the exact flow stretches each component around the mean on its way up."""
    return ((VARIANCES + FIRST**2) / (VARIANCES + LAST**2)).sqrt()


def pictures(count):
    z = KeyedNoise(range(count)).normal((count, 3), purpose=0, dtype=torch.float64)
    return MEAN + (VARIANCES + LAST**2).sqrt() * z


def sigmas(levels):
    return geometric_sigmas(FIRST, LAST, levels)


def test_codes_of_gaussian_data_are_those_of_the_exact_flow_at_second_order():
    x = pictures(20)
    exact = MEAN + factors() * (x - MEAN)
    errors = [(encode(gaussian, x, sigmas(n)) - exact).abs().max() for n in (51, 101, 201)]
    assert errors[-1] < 2e-3 * exact.abs().max()
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.25)


def test_decoding_undoes_encoding_and_agrees_with_the_sampler_of_kappa_1():
    x, levels = pictures(20), sigmas(201)
    code = encode(gaussian, x, levels)
    back = decode(gaussian, code, levels)
    assert back.nfe == 401
    torch.testing.assert_close(back.raw, x, rtol=0, atol=2e-4)
    torch.testing.assert_close(back.denoised, gaussian(back.raw, LAST))
    chain = consistent_annealed(gaussian, code, sigmas(2001), kappa=1, order=2)
    torch.testing.assert_close(back.denoised, chain.denoised, rtol=0, atol=2e-3)


def exact_density(x):
    """Of the exact flow's law, which maps N(0, FIRST^2) to MEAN + (x - MEAN) / factors."""
    mean, deviation = MEAN - MEAN / factors(), FIRST / factors()
    return torch.distributions.Normal(mean, deviation).log_prob(x).sum(1)


def test_log_densities_of_gaussian_data_are_exact_at_second_order():
    x, errors = pictures(10), []
    for levels in (26, 51, 101):
        found = log_likelihood(gaussian, x, sigmas(levels), probes=None)
        errors.append(float((found.nats - exact_density(x)).abs().max()))
        assert found.error.tolist() == [0.0] * 10
    assert found.nfe == 201
    assert errors[-1] < 4e-3
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.3)
    bits = -found.nats / (3 * math.log(2)) + math.log2(255)
    torch.testing.assert_close(found.bits, bits)


def known(denoiser):
    """A denoiser that says the mean of its data."""

    def same(x, sigma):
        return denoiser(x, sigma)

    same.data_mean = MEAN
    return same


def test_codes_lie_around_the_mean_where_it_is_known():
    """N(MEAN, FIRST^2) is mapped to N(MEAN, (FIRST / factors)^2), the data but for sigma_1."""
    x = pictures(10)
    found = log_likelihood(known(gaussian), x, sigmas(101), probes=None).nats
    exact = torch.distributions.Normal(MEAN, FIRST / factors()).log_prob(x).sum(1)
    torch.testing.assert_close(found, exact, rtol=0, atol=4e-3)
    at_zero = log_likelihood(gaussian, x, sigmas(101), probes=None).nats
    assert float((found - at_zero).abs().max()) > 0.05
    # Half of the way between pictures opposite each other around the mean, but for a little.
    first, second = MEAN + torch.eye(3).double(), MEAN - torch.eye(3).double().roll(1, 0)
    halves = interpolated(known(gaussian), first, second, sigmas(51), count=3)[1]
    a, b = (factors() * (end - MEAN) for end in (first, second))
    cosine = torch.cosine_similarity(a, b)[:, None]
    between = (a + b) / (2 * (1 + cosine)).sqrt() / factors()
    weight = VARIANCES / (VARIANCES + LAST**2)
    torch.testing.assert_close(halves, MEAN + weight * between, rtol=0, atol=5e-3)


def test_probes_are_right_to_their_error():
    """A matrix with off-diagonal parts, of which random signs know the trace to an error."""
    turn, _ = torch.linalg.qr(torch.tensor([[1.0, 2, 0], [0, 1, 3], [1, 0, 1]]).double())

    def turned(x, sigma):
        return gaussian(x @ turn, sigma) @ turn.T

    x = pictures(200) @ turn.T
    exact = log_likelihood(turned, x, sigmas(26), probes=None)
    assert torch.allclose(
        exact.nats, log_likelihood(gaussian, x @ turn, sigmas(26), probes=None).nats
    )
    found = log_likelihood(turned, x, sigmas(26), probes=16, noise=KeyedNoise(range(200)))
    apart, said = found.nats - exact.nats, float(found.error.square().mean().sqrt())
    assert abs(float(apart.mean())) < 4 * said / math.sqrt(200)
    assert float(apart.std()) == pytest.approx(said, rel=0.2)  # 1 / sqrt(400), four times
    one = log_likelihood(turned, x[:3], sigmas(26), noise=KeyedNoise(range(3)))
    assert one.error.isnan().all()
    two = log_likelihood(turned, x[:3], sigmas(26), probes=2, noise=KeyedNoise(range(3)))
    # The error of a mean of two is half of their difference, so how far each is from the mean.
    torch.testing.assert_close(two.error, (one.nats - two.nats).abs())


def test_evaluations_of_a_network_that_guidance_asks_twice_count_twice():
    both = guided(gaussian, gaussian, 2.0)
    assert decode(both, pictures(1), sigmas(4)).nfe == 14
    assert log_likelihood(both, pictures(1), sigmas(4)).nfe == 14


def test_the_density_of_a_mixture_integrates_to_one():
    """In one dimension, of two modes of unequal weight; by quadrature."""
    mixture = GaussianMixtureDenoiser(
        means=torch.tensor([[0.2], [0.8]]).double(),
        stds=torch.tensor([0.05, 0.05]).double(),
        weights=torch.tensor([0.7, 0.3]).double(),
    )
    x = torch.linspace(-0.4, 1.4, 721, dtype=torch.float64)[:, None]
    found = log_likelihood(mixture, x, geometric_sigmas(20, 0.02, 201), probes=None)
    density = found.nats.exp().numpy()
    assert integrate.simpson(density, x=x[:, 0].numpy()) == pytest.approx(1, abs=2e-3)
    left = x[:, 0] < 0.5
    mass = integrate.simpson(density[left.numpy()], x=x[left, 0].numpy())
    assert mass == pytest.approx(0.7, abs=0.01)


def test_pictures_between_pictures_start_and_end_with_them():
    x, y = pictures(4), pictures(8)[4:]
    between = interpolated(gaussian, x, y, sigmas(201), count=5)
    assert between.shape == (5, 4, 3)
    torch.testing.assert_close(between[0], gaussian(x, LAST), rtol=0, atol=1e-3)
    torch.testing.assert_close(between[-1], gaussian(y, LAST), rtol=0, atol=1e-3)
    a, b = (encode(gaussian, v, sigmas(201)) for v in (x, y))
    cosine = torch.cosine_similarity(a, b)
    middle = (a + b) / (2 * (1 + cosine)).sqrt()[:, None]  # half the angle
    torch.testing.assert_close(between[2], decode(gaussian, middle, sigmas(201)).denoised)


def test_between_a_picture_and_itself_is_the_picture():
    x = pictures(20)  # of some the cosine is 1 to the bit, of others above or below
    between = interpolated(gaussian, x, x, sigmas(51), count=3)
    torch.testing.assert_close(between[1], between[0], rtol=0, atol=1e-6)


def test_pixels_are_spread_over_a_step_around_themselves():
    images = torch.arange(256, dtype=torch.uint8).repeat(400).reshape(100, 1, 32, 32)
    spread = 255 * dequantised(images, noise=KeyedNoise(range(100))) - images
    assert float(spread.abs().max()) <= 0.5 + 1e-4
    assert abs(float(spread.mean())) < 4 / math.sqrt(12 * spread.numel())
    assert float(spread.var()) == pytest.approx(1 / 12, rel=0.01)


def test_a_network_keeps_its_mode_its_gradients_and_its_input():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5))
    denoiser, x = UnconditionalDenoiser(network), pictures(2).float()
    before = x.clone()
    found = log_likelihood(denoiser, x, sigmas(5), noise=KeyedNoise(range(2)))
    same = log_likelihood(denoiser, x, sigmas(5), noise=KeyedNoise(range(2)))
    assert torch.equal(found.nats, same.nats)  # without dropout
    assert torch.equal(*(encode(denoiser, x, sigmas(5)) for _ in range(2)))
    assert torch.equal(*(decode(denoiser, x, sigmas(5)).raw for _ in range(2)))
    assert network[1].training
    assert network[0].weight.grad is None
    assert torch.equal(x, before)
    alone = encode(denoiser, x, torch.tensor([1.0]))  # no step: a copy all the same
    assert torch.equal(alone, x)
    assert alone.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: encode(gaussian, torch.zeros(3, 3, dtype=torch.uint8), sigmas(3)),
        lambda: decode(gaussian, torch.zeros(3), sigmas(3)),
        lambda: encode(gaussian, pictures(2), sigmas(3).flip(0)),
        lambda: log_likelihood(gaussian, pictures(2), sigmas(3), probes=0),
        lambda: interpolated(gaussian, pictures(2), pictures(3), sigmas(3), count=3),
        lambda: interpolated(gaussian, pictures(2), pictures(2), sigmas(3), count=1),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_codes_of_drawn_pictures_look_like_noise():
    """Encoded samples of the law have about the deviation that chains start with."""
    start = initial_noise((500, 3), FIRST, noise=KeyedNoise(range(500))).double()
    samples = decode(gaussian, start, sigmas(101))
    code = encode(gaussian, samples.raw, sigmas(101))
    torch.testing.assert_close(code, start, rtol=0, atol=0.02)
