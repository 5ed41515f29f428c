"""The training objectives against the paper's other forms, hand values and literal formulas."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cascore.denoiser import UnconditionalDenoiser, score
from cascore.errors import InputError
from cascore.losses import (
    GAN_LOSSES,
    Corrupted,
    corrupt,
    discriminator_loss,
    dsm_loss,
    hybrid_loss,
    lsgan,
)
from cascore.noise import KeyedNoise, Purpose
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser

LEVELS = geometric_sigmas(10, 0.01, 8)


def clean(count, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, *shape, generator=generator, dtype=dtype)


# --- the draw


def test_levels_are_uniform_and_the_noise_has_their_size():
    """40,000 samples of 4 numbers over 8 levels, about 20,000 numbers each."""
    x = clean(40_000, 4)
    drawn = corrupt(x, LEVELS, noise=KeyedNoise(1, indices=range(40_000)))
    which = (drawn.sigma[:, None] == LEVELS).int().argmax(1)
    assert torch.equal(LEVELS[which], drawn.sigma)
    assert drawn.clean is x
    assert stats.chisquare(torch.bincount(which, minlength=8).numpy()).pvalue > 1e-4
    z = ((drawn.noisy - x) / drawn.sigma[:, None]).numpy()
    for level in range(8):
        own = z[which.numpy() == level].ravel()
        assert abs(own.mean()) < 5 / math.sqrt(own.size)
        assert abs(own.var() - 1) < 5 * math.sqrt(2 / own.size)
        assert stats.kstest(own, "norm").pvalue > 1e-4


def test_level_and_noise_have_the_purposes_of_their_own():
    x, noise = clean(6, 2), KeyedNoise(1, indices=range(6)).at(3)
    drawn = corrupt(x, LEVELS, noise=noise)
    level = noise.integers(6, high=8, purpose=Purpose.LEVEL)
    z = noise.normal((6, 2), purpose=Purpose.CORRUPTION, dtype=torch.float64)
    assert torch.equal(drawn.sigma, LEVELS[level])
    assert torch.equal(drawn.noisy, x + LEVELS[level][:, None] * z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_draw_keeps_the_dtype_of_the_data_and_leaves_it_alone(dtype):
    x = clean(5, 2, dtype=dtype)
    before = x.clone()
    drawn = corrupt(x, LEVELS, noise=torch.Generator().manual_seed(0))
    assert drawn.noisy.dtype == drawn.sigma.dtype == dtype
    assert drawn.sigma.shape == (5,)
    assert torch.equal(x, before)


def test_a_bad_schedule_and_an_h_of_another_shape_are_refused():
    with pytest.raises(InputError, match="decrease"):
        corrupt(clean(2, 2), torch.tensor([1.0, 2.0]), noise=torch.Generator())
    with pytest.raises(InputError, match=r"\[2, 1\].*\[2, 3\]"):
        dsm_loss(clean(2, 1), Corrupted(clean(2, 3), clean(2, 3), torch.ones(2)))


# --- Eq. 1


class Bent(torch.nn.Module):
    """Any nonlinear network."""

    def forward(self, x):
        return torch.sin(3 * x) - 0.2 * x


def test_equation_1_in_its_three_forms():
    x = clean(7, 2, 3, 3)
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    sigma = geometric_sigmas(20, 0.01, 7)
    wide = sigma[:, None, None, None]
    drawn = Corrupted(clean=x, noisy=x + wide * z, sigma=sigma)
    denoiser = UnconditionalDenoiser(Bent())
    found = dsm_loss(denoiser(drawn.noisy, sigma), drawn)
    s = score(denoiser, drawn.noisy, sigma)
    by_score = 0.5 * (wide * s + (drawn.noisy - x) / wide).square().sum(dim=(1, 2, 3))
    by_network = 0.5 * (Bent()(drawn.noisy) + z).square().sum(dim=(1, 2, 3))
    assert found.shape == (7,)
    # At sigma = 0.01 the difference x~ - x has lost two digits.
    torch.testing.assert_close(found, by_score, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, by_network, rtol=1e-10, atol=0)


def test_equation_1_by_hand():
    drawn = Corrupted(
        clean=torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        noisy=torch.zeros(2, 2),
        sigma=torch.tensor([0.5, 2.0]),
    )
    denoised = torch.tensor([[2.0, 4.0], [4.0, 0.0]])
    assert dsm_loss(denoised, drawn).tolist() == [(1 + 4) / (2 * 0.25), 16 / (2 * 4)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_but_not_a_network_in_it(dtype):
    """bfloat16 near 0.7 has spacing 0.004: rounded H alone makes a loss at sigma = 0.01 wrong."""
    x, sigma = clean(50, 4, dtype=torch.float32), torch.full((50,), 0.01)
    drawn = Corrupted(x, x + 0.01, sigma)
    with pytest.raises(InputError, match=f"H is {dtype}"):
        dsm_loss(x.to(dtype), drawn)
    with pytest.raises(InputError, match=f"the data is {dtype}"):
        dsm_loss(x, Corrupted(x.to(dtype), drawn.noisy, sigma))

    class Half(torch.nn.Module):
        def forward(self, noisy):
            return -torch.full_like(noisy, 0.9, dtype=dtype)

    h = UnconditionalDenoiser(Half())(drawn.noisy, sigma)
    # f + z is 0.1, off by at most 2^-9 of 0.9, and 2e-5 from the cancellation of pixels in float32.
    expected = torch.full((50,), 4 * 0.1**2 / 2)
    torch.testing.assert_close(dsm_loss(h, drawn), expected, rtol=0.04, atol=0)


def test_the_minimiser_on_two_points_is_the_optimal_denoiser():
    """E over the posterior of the datum, by enumeration: the gradient is zero at the optimum."""
    data, sigma = torch.tensor([[-1.0, 0.2], [0.5, 1.0]], dtype=torch.float64), 0.8
    x = torch.tensor([[0.1, 0.3], [-2.0, 1.0], [0.6, 0.6]], dtype=torch.float64)

    def gradient(h):
        h = h.clone().requires_grad_()
        for datum in data:
            density = torch.exp(-(x - datum).square().sum(1) / (2 * sigma**2))
            drawn = Corrupted(datum.expand(3, 2), x, torch.full((3,), sigma, dtype=x.dtype))
            (density * dsm_loss(h, drawn)).sum().backward()
        return h.grad

    best = EmpiricalDenoiser(data)(x, sigma)
    assert float(gradient(best).abs().max()) < 1e-15
    assert float(gradient(best + 0.01).min()) > 0
    assert float(gradient(best - 0.01).max()) < 0


# --- Eq. 4 and Eq. 5


def pair(real, fake):
    return (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (real, fake))


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [(1, -1, 0), (-1, 1, 8), (0, 0, 2), (1, 0, 1), (0, -1, 1), (2, -3, 1 + 4)],
)
def test_equation_4_by_hand(real, fake, expected):
    assert discriminator_loss(*pair(real, fake)).item() == expected


def test_equation_4_averages_each_side_over_its_own_batch():
    loss = discriminator_loss(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    assert float(loss) == (0 + 4) / 2 + (0 + 4 + 0 + 4) / 4


def one_error(sigma=0.5):
    """A draw and an H whose DSM losses are 2 and 6."""
    drawn = Corrupted(
        torch.zeros(2, 3, dtype=torch.float64),
        torch.zeros(2, 3, dtype=torch.float64),
        torch.full((2,), sigma, dtype=torch.float64),
    )
    h = torch.tensor([[1.0, 0, 0], [1, 1, 1]], dtype=torch.float64, requires_grad=True)
    return h, drawn


@pytest.mark.parametrize(("fake", "adversarial"), [(1, 0), (-1, 4), (0, 1), (3, 4)])
@pytest.mark.parametrize("weight", [0, 1, 0.25])
def test_equation_5_by_hand(fake, adversarial, weight):
    h, drawn = one_error()
    real, fake = pair(9, fake)
    loss = hybrid_loss(real, fake, dsm_loss(h, drawn), weight=weight)
    assert float(loss.detach()) == adversarial + weight * 4
    loss.backward()
    assert real.grad is None
    torch.testing.assert_close(h.grad, weight * h.detach() / 0.25 / 2)
    assert float(fake.grad) == 2 * (float(fake.detach()) - 1)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_hybrid_is_the_generator_term_plus_lambda_dsm_for_every_gan(name):
    h, drawn = one_error()
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([0.1, 1.5])
    gan = GAN_LOSSES[name]
    found = hybrid_loss(real, fake, dsm_loss(h, drawn), weight=3.0, gan=gan)
    torch.testing.assert_close(found, gan.generator(real, fake) + 3 * 4.0, check_dtype=False)
    assert torch.equal(discriminator_loss(real, fake, gan=gan), gan.discriminator(real, fake))


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def relu(v):
    return np.maximum(v, 0)


def bce(logits, target):
    return -np.mean(target * np.log(sigmoid(logits)) + (1 - target) * np.log(1 - sigmoid(logits)))


# losses/adversarial.py of the authors, of a batch's D(x) and D(H): D's loss, the score network's.
PUBLISHED = {
    "standard": (  # GAN
        lambda r, f: bce(r, 1) + bce(f, 0),
        lambda r, f: bce(f, 1),
    ),
    "wgan": (  # WGAN
        lambda r, f: f.mean() - r.mean(),
        lambda r, f: -f.mean(),
    ),
    "hinge": (  # HingeGAN
        lambda r, f: relu(1 - r).mean() + relu(1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    "relativistic-standard": (  # RpGAN
        lambda r, f: 2 * bce(r - f, 1),
        lambda r, f: 2 * bce(f - r, 1),
    ),
    "relativistic-average-standard": (  # RaGAN
        lambda r, f: bce(r - f.mean(), 1) + bce(f - r.mean(), 0),
        lambda r, f: bce(r - f.mean(), 0) + bce(f - r.mean(), 1),
    ),
    "lsgan": (  # LSGAN
        lambda r, f: ((r - 1) ** 2).mean() + ((f + 1) ** 2).mean(),
        lambda r, f: ((f - 1) ** 2).mean(),
    ),
    "lsgan-saturating": (  # LSGAN_sat
        lambda r, f: ((r - 1) ** 2).mean() + ((f + 1) ** 2).mean(),
        lambda r, f: ((f + 1) ** 2).mean(),
    ),
    "relativistic-lsgan": (  # RpLSGAN
        lambda r, f: 2 * ((r - f - 1) ** 2).mean(),
        lambda r, f: 2 * ((f - r - 1) ** 2).mean(),
    ),
    "relativistic-average-lsgan": (  # RaLSGAN
        lambda r, f: ((r - f.mean() - 1) ** 2).mean() + ((f - r.mean() + 1) ** 2).mean(),
        lambda r, f: ((r - f.mean() + 1) ** 2).mean() + ((f - r.mean() - 1) ** 2).mean(),
    ),
    "relativistic-average-hinge": (  # RaHingeGAN
        lambda r, f: relu(1 - (r - f.mean())).mean() + relu(1 + (f - r.mean())).mean(),
        lambda r, f: relu(1 + (r - f.mean())).mean() + relu(1 - (f - r.mean())).mean(),
    ),
}
OURS = {
    "relativistic-hinge": (
        lambda r, f: 2 * relu(1 - (r - f)).mean(),
        lambda r, f: 2 * relu(1 - (f - r)).mean(),
    )
}
LITERAL = {**PUBLISHED, **OURS}


def test_every_gan_loss_has_an_oracle():
    assert set(GAN_LOSSES) == set(LITERAL)
    assert len(PUBLISHED) == 10
    assert GAN_LOSSES["lsgan"] is lsgan
    with pytest.raises(TypeError):
        GAN_LOSSES["mine"] = lsgan


@pytest.mark.parametrize("name", GAN_LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_gan_losses_are_their_literal_formulas(name, seed):
    real, fake = np.random.default_rng(seed).normal(scale=2, size=(2, 9))
    tensors = torch.from_numpy(real), torch.from_numpy(fake)
    for found, literal in zip(GAN_LOSSES[name][:2], LITERAL[name], strict=True):
        assert found(*tensors).ndim == 0
        assert float(found(*tensors)) == pytest.approx(literal(real, fake), rel=1e-10)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_gan_losses_are_finite_with_useful_gradients_at_large_logits(name):
    """float32 sigmoids of 100 are exactly 0 and 1; the losses and gradients must survive that."""
    for real, fake in ((100.0, -100.0), (-100.0, 100.0)):
        for side, loss in enumerate(GAN_LOSSES[name][:2]):
            r, f = (torch.tensor([v, v], requires_grad=True) for v in (real, fake))
            value = loss(r, f)
            value.backward()
            for gradient in (r.grad, f.grad):
                assert gradient is None or bool(gradient.isfinite().all())
            assert math.isfinite(value.item())
            losing = real < fake if side == 0 else fake < real
            if losing:  # the side that is wrong must still be told so
                assert float(f.grad.abs().min()) > 0.1
