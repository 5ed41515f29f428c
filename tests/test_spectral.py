"""The spectrum of pictures, and the denoiser that is made of it: numpy, scipy, exact posteriors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import fft
from torch import nn

from cascore.data import load_images
from cascore.denoiser import PreconditionedDenoiser, SpectralDenoiser
from cascore.errors import InputError
from cascore.experiment.build import Subject
from cascore.experiment.chain import generate
from cascore.experiment.settings import Network, Sampler, Schedule
from cascore.pixels import to_float
from cascore.spectrum import Spectrum, cosines, in_cosines

GENERATOR = np.random.default_rng(7)
AXES = np.linalg.qr(GENERATOR.standard_normal((3, 3)))[0]
MEAN = (0.5, 0.4, 0.45)


class Answer(nn.Module):
    """A network that returns what it is given, and keeps what it saw."""

    def __init__(self, answer=0.0):
        super().__init__()
        self.answer = answer

    def forward(self, seen, c_noise):
        self.seen, self.c_noise = seen, c_noise
        return torch.full_like(seen[:, :3], self.answer)


def falling(channels, count):
    """Variances as of photographs: they fall as a power of the frequency."""
    return tuple(
        tuple(0.5 / (1 + c) / (1 + b) ** 2.5 for b in range(count)) for c in range(channels)
    )


def colourful(count=11):
    return Spectrum(mean=MEAN, axes=tuple(map(tuple, AXES.tolist())), bands=falling(3, count))


def covariance(spectrum, height, width):
    """[C H W, C H W], of the basis in full."""
    rows, columns = (fft.dct(np.eye(n), axis=0, norm="ortho") for n in (height, width))
    basis = np.kron(np.array(spectrum.axes), np.kron(rows, columns))  # a coefficient to a row
    variances = spectrum.variances(height, width).double().numpy().reshape(-1)
    return basis.T @ (variances[:, None] * basis)


def pictures(spectrum, count, height, width):
    """Of a Gaussian with that spectrum, [N, C, H, W]."""
    root = np.linalg.cholesky(
        covariance(spectrum, height, width) + 1e-12 * np.eye(3 * height * width)
    )
    drawn = GENERATOR.standard_normal((count, len(root))) @ root.T
    return np.array(MEAN)[:, None, None] + drawn.reshape(count, 3, height, width)


@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_the_basis_is_the_orthonormal_cosine_transform(size):
    theirs = fft.dct(np.eye(size), axis=0, norm="ortho")
    np.testing.assert_allclose(cosines(size).numpy(), theirs, atol=1e-14)


def test_coefficients_and_the_way_back_are_scipys():
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    axes, rows, columns = torch.tensor(AXES), cosines(4), cosines(6)
    found = in_cosines(x, axes, rows, columns)
    theirs = fft.dctn(np.einsum("dc,nchw->ndhw", AXES, x.numpy()), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-12)
    back = in_cosines(found, axes.T, rows.T, columns.T)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 3, 6, 6), (9, 1, 8, 8), (12, 3, 4, 8), (1, 3, 8, 5)])
def test_mean_axes_and_bands_are_those_of_the_pictures(shape):
    """By numpy: the colours are uncorrelated along the axes; scipy's transform, band by band."""
    pixels = GENERATOR.integers(0, 256, shape, dtype=np.uint8)
    pixels[:, -1] //= 3
    found = Spectrum.of(torch.from_numpy(pixels))
    x = pixels / 255
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3)), atol=1e-6)
    axes = np.array(found.axes)
    colours = np.moveaxis(x, 1, 0).reshape(shape[1], -1)
    turned = axes @ np.cov(colours, bias=True).reshape(shape[1], shape[1]) @ axes.T
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-7)
    away = x - x.mean(axis=(0, 2, 3))[:, None, None]
    squares = (
        fft.dctn(np.einsum("dc,nchw->ndhw", axes, away), axes=(2, 3), norm="ortho") ** 2
    ).mean(0)
    height, width = shape[2:]
    side, bands = max(height, width), {}
    for u in range(height):
        for v in range(width):
            bands.setdefault(u * side // height + v * side // width, []).append(squares[:, u, v])
    for band, members in bands.items():
        ours = [variances[band] for variances in found.bands]
        np.testing.assert_allclose(ours, np.mean(members, axis=0), rtol=1e-4, atol=1e-7)
    variances = found.variances(height, width)
    assert variances.shape == shape[1:]
    last = [of[-1] for of in found.bands]
    torch.testing.assert_close(variances[:, -1, -1], torch.tensor(last))


def test_of_many_pictures_some_are_read(monkeypatch):
    """Every other one of twenty, more than fit into a part."""
    monkeypatch.setattr("cascore.spectrum._ENOUGH", 10)
    monkeypatch.setattr("cascore.spectrum._AT_ONCE", 4 * 16)
    images = torch.from_numpy(GENERATOR.integers(0, 256, (19, 1, 4, 4), dtype=np.uint8))
    assert Spectrum.of(images) == Spectrum.of(images[::2])


def test_a_set_beyond_the_whole_numbers_of_float32_is_read_to_its_last():
    """Of 2^24 + 4 pictures the last is number 2^24 + 3, which float32 rounds to one too many."""
    images = torch.full((1, 1, 1, 1), 51, dtype=torch.uint8).expand(2**24 + 4, 1, 1, 1)
    assert Spectrum.of(images).mean == pytest.approx((0.2,))


def test_large_pictures_are_read_a_few_at_once(monkeypatch):
    """A thousand of 256 x 256 in colour would take gigabytes, of 1024 x 1024 a hundred."""
    sizes = []

    def counted(part):
        sizes.append(part.numel())
        return to_float(part)

    monkeypatch.setattr("cascore.spectrum.to_float", counted)
    images = torch.zeros(1030, 3, 40, 40, dtype=torch.uint8)
    Spectrum.of(images)
    assert max(sizes) <= 2**22
    assert sum(sizes) == 2 * images.numel()


def test_the_spectrum_of_a_set_is_measured_once(monkeypatch):
    """The choice of a network asks for it at every trial, within the minutes of the training."""
    images = torch.from_numpy(GENERATOR.integers(0, 256, (8, 1, 4, 4), dtype=np.uint8))
    data = replace(load_images("digits", "train"), images=images, labels=None)
    known, calls = Spectrum.of(images), []
    monkeypatch.setattr(Spectrum, "of", lambda given: calls.append(given) or known)
    network = Network(conditional=True, preconditioned=True, spectral=True)
    assert [Subject.of(data, network).spectrum for _ in range(2)] == [known, known]
    assert len(calls) == 1


@pytest.mark.parametrize("sigma", [0.01, 0.2, 0.6, 3.0, 50.0])
def test_without_a_network_it_is_the_posterior_mean_of_a_gaussian(sigma):
    spectrum, height, width = colourful(), 6, 6
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, shape=(3, 6, 6), deviation=0.3)
    x = torch.randn(4, 3, height, width, dtype=torch.float64) * sigma + 0.5
    c, m = covariance(spectrum, height, width), np.repeat(MEAN, height * width)
    gain = c @ np.linalg.inv(c + sigma**2 * np.eye(len(c)))
    posterior = m + (x.numpy().reshape(4, -1) - m) @ gain.T
    found = denoiser.double()(x, sigma).numpy().reshape(4, -1)
    np.testing.assert_allclose(found, posterior, rtol=0, atol=2e-6 * (1 + sigma))  # float32 buffers


def test_of_a_flat_spectrum_it_is_edms_form():
    m, s, sigma = 0.45, 0.25, torch.tensor([0.01, 0.2, 1.0, 30.0], dtype=torch.float64)
    spectrum = Spectrum.flat((3, 8, 8), mean=m, deviation=s)
    ours = SpectralDenoiser(Answer(0.7), spectrum=spectrum, shape=(3, 8, 8), deviation=s).double()
    theirs = PreconditionedDenoiser(Answer(0.7), mean=m, deviation=s).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x, sigma), theirs(x, sigma), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.network.c_noise, sigma.log() / 4)


@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_what_the_network_sees_has_variance_1_at_every_level(sigma):
    """Of 4,000 Gaussian pictures: 432,000 numbers, of which the most alike vary as 4,000 do."""
    spectrum = colourful()
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, shape=(3, 6, 6), deviation=0.3)
    x = torch.from_numpy(pictures(spectrum, 4000, 6, 6)).float()
    denoiser(x + sigma * torch.randn_like(x), torch.full((4000,), sigma))
    kept, taken = denoiser.network.seen.square().chunk(2, dim=1)
    assert float(kept.mean()) == pytest.approx(1, abs=0.1)
    assert float(taken.mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("variance", [0.0, 1e-32])
@pytest.mark.parametrize("sigma", [0.01, 0.5, 50.0])
def test_pictures_of_one_colour_are_denoised_to_it(variance, sigma):
    """Red ones alone: all pixels together vary, the pixels of a channel do not, or by rounding."""
    spectrum = Spectrum.flat((3, 6, 6), mean=0.5, deviation=variance**0.5)
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, shape=(3, 6, 6), deviation=0.47)
    found = denoiser(0.5 + sigma * torch.randn(2, 3, 6, 6), sigma)
    torch.testing.assert_close(found, torch.full_like(found, 0.5), rtol=0, atol=1e-5)
    kept, taken = denoiser.network.seen.chunk(2, dim=1)
    assert float(kept.abs().max()) < 0.02  # what rounds, 2^-24 sigma, over the least deviation
    assert float(taken.square().mean()) == pytest.approx(1, abs=0.5)


def test_what_the_network_sees_is_finite_in_bfloat16():
    """Of independent pixels, where 1 - W is below the spacing of bfloat16 at 1."""
    spectrum = Spectrum.flat((3, 6, 6), mean=0.5, deviation=0.3)
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, shape=(3, 6, 6), deviation=0.3)
    denoiser(torch.rand(2, 3, 6, 6, dtype=torch.bfloat16), 0.01)
    assert bool(denoiser.network.seen.isfinite().all())


def test_what_is_kept_comes_first_and_what_is_taken_away_after_it():
    """Far below all variances W keeps x as it is: the order is part of what weights mean."""
    spectrum = Spectrum.flat((3, 6, 6), mean=0.5, deviation=0.3)
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, shape=(3, 6, 6), deviation=0.3)
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    denoiser(x, 1e-3)
    torch.testing.assert_close(denoiser.network.seen[:, :3], (x - 0.5) / 0.3, rtol=1e-4, atol=1e-5)


def test_autocast_leaves_the_filter_alone():
    denoiser = SpectralDenoiser(Answer(), spectrum=colourful(), shape=(3, 6, 6), deviation=0.3)
    x = torch.rand(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        low = denoiser(x, 0.05)
    assert torch.equal(low, denoiser(x, 0.05))
    assert low.dtype == torch.float32


def flat(**changes):
    return SpectralDenoiser(
        Answer(), **{"spectrum": colourful(), "shape": (3, 6, 6), "deviation": 0.3, **changes}
    )


def test_a_chain_starts_at_the_mean_colours_and_ends_there():
    """Exact for Gaussian pictures; from 0, kappa 1 would leave sqrt(v / (v + 1)) of each mean."""
    spectrum, count = colourful(7), 500
    denoiser = SpectralDenoiser(Answer(), spectrum=spectrum, deviation=0.25, shape=(3, 4, 4))
    samples = generate(
        denoiser,
        shape=(3, 4, 4),
        seeds=range(count),
        schedule=Schedule(first=1.0, last=0.01, levels=10),
        sampler=Sampler(calls=60, kappa=1.0),
        device=torch.device("cpu"),
    )
    # The mean of a picture's colour varies by the constant coefficients alone, of variance < 0.5.
    found, bound = samples.denoised.mean(dim=(0, 2, 3)), 4 * math.sqrt(0.5 / 16 / count)
    assert found.numpy() == pytest.approx(MEAN, abs=bound + 1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flat(shape=(3, 8, 8)), "11 bands, and pictures of 8×8 have 15"),
        (lambda: flat(shape=(1, 6, 6)), "3 channels"),
        (lambda: flat()(torch.rand(2, 3, 8, 8), 0.3), r"\[3, 6, 6\], not \[3, 8, 8\]"),
        (lambda: flat()(torch.rand(2, 1, 6, 6), 0.3), r"\[3, 6, 6\], not \[1, 6, 6\]"),
        (lambda: flat(deviation=0.0), "positive"),
        (lambda: flat(deviation=math.inf), "positive"),
        (lambda: Spectrum.of(torch.zeros(0, 3, 4, 4, dtype=torch.uint8)), "no picture"),
        (lambda: Spectrum.of(torch.zeros(2, 3, 4, 4)), "uint8"),
        (lambda: Spectrum(mean=(), axes=(), bands=()), "a mean"),
        (lambda: Spectrum(mean=(0.5,), axes=((1.0,),), bands=((-1.0,),)), "variances"),
        (lambda: Spectrum(mean=(math.nan,), axes=((1.0,),), bands=((1.0,),)), "nan"),
        (lambda: Spectrum(mean=(0.5,), axes=((1.0, 0.0),), bands=((1.0,),)), "axis"),
        (lambda: Spectrum(mean=(0.5,), axes=((1.1,),), bands=((1.0,),)), "right angles"),
        (
            lambda: Spectrum(
                mean=(0.5, 0.5), axes=((1.0, 0.0), (0.6, 0.8)), bands=((1.0,), (1.0,))
            ),
            "right angles",
        ),
    ],
)
def test_misuse_is_an_input_error(make, message):
    with pytest.raises(InputError, match=message):
        make()
