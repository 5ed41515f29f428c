"""The spectrum of pictures, and the denoiser that is made of it: numpy, scipy, exact posteriors."""

import math

import numpy as np
import pytest
import torch
from scipy import fft
from torch import nn

from cascore.denoiser import PreconditionedDenoiser, SpectralDenoiser
from cascore.errors import InputError
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


def pictures(spectrum, count, height, width, scale=1.0):
    """Of a Gaussian with that spectrum, [N, C, H, W]."""
    root = np.linalg.cholesky(
        covariance(spectrum, height, width) + 1e-12 * np.eye(3 * height * width)
    )
    drawn = GENERATOR.standard_normal((count, len(root))) @ root.T
    return np.array(MEAN)[:, None, None] + scale * drawn.reshape(count, 3, height, width)


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
    monkeypatch.setattr("cascore.spectrum._AT_ONCE", 4)
    images = torch.from_numpy(GENERATOR.integers(0, 256, (19, 1, 4, 4), dtype=np.uint8))
    assert Spectrum.of(images) == Spectrum.of(images[::2])


@pytest.mark.parametrize("sigma", [0.01, 0.2, 0.6, 3.0, 50.0])
def test_without_a_network_it_is_the_posterior_mean_of_a_gaussian(sigma):
    """The deviation is 0.3: below it W is computed as 1 - (1 - W), above it as it is."""
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flat(shape=(3, 8, 8)), "11 bands, and pictures of 8×8 have 15"),
        (lambda: flat(shape=(1, 6, 6)), "3 channels"),
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
