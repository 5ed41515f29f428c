"""A fixed random convolutional network: features for images that nobody has a classifier for.

It was never trained, so it knows nothing of what images show. Its features are means, over the
four quarters of an image, of what random filters find at three scales: brightness, contrast,
colour, texture and coarse layout. A distance of such features notices noise, blur, a wrong palette
or a missing kind of texture; it cannot tell a face from a scrambled face of the same texture. Use
it for tests, to see training go forward, and beside another extractor; do not report it alone.

The weights are integers of a keyed Philox draw, scaled: the same on every machine and for every
version of PyTorch. Raw, the features vary most with brightness, and half of their variance lies in
three directions, so a distance would be one of those. They are therefore whitened, by a map fixed
from random images whose spectrum falls off as one over frequency, as that of photographs does
(Field, 1987), so that directions count alike down to a hundredth of the largest variance.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.measurement import ExtractorIdentity
from cascore.metrics.extractors.common import Extractor, as_colour, usable_device
from cascore.noise import philox
from cascore.pixels import to_float

_NAME = "random-convolution"
_SEED = 20210503  # any number will do, but it may never change
_WIDTHS = (3, 16, 24, 24)
_KERNELS = (5, 3, 3)
_QUARTERS = 2  # a side
_DIMENSION = _QUARTERS**2 * sum(_WIDTHS[1:])  # 256
_SMALLEST = 8  # so that each quarter holds a pixel after two halvings
_BATCH = 64
_CALIBRATION = (2048, 32)  # images and their side
_OFFSET = 0.25  # the largest offset of a filter
_RIDGE = 0.01


def random_convolution(device: torch.device | str = "cpu") -> Extractor:
    """The network, always the same one, for images [N, 1 or 3, H, W] with sides from 8."""
    network, device = fixed_network(), usable_device(device)
    filters = [(kernel.to(device), offset.to(device)) for kernel, offset in network.filters]
    mean, whitening = network.mean.to(device), network.whitening.to(device)

    def compute(images: Tensor) -> Tensor:
        return (_raw_features(to_float(images), filters) - mean) @ whitening

    return Extractor(
        identity=ExtractorIdentity(name=_NAME, digest=network.digest),
        dimension=_DIMENSION,
        compute=compute,
        device=device,
        batch_size=_BATCH,
        smallest=_SMALLEST,
    )


class Network(NamedTuple):
    """The numbers of the network, and a digest of what decides them.

    Each stage filters with a kernel [outputs, inputs, k, k] and offsets [outputs]; `mean` [256] is
    that of the raw features of the random images, `whitening` [256, 256] is symmetric.
    """

    digest: str
    filters: tuple[tuple[Tensor, Tensor], ...]
    mean: Tensor
    whitening: Tensor


@cache
def fixed_network() -> Network:
    """The network on the CPU."""
    definition = (
        f"{_NAME} 1: stages {_WIDTHS}, kernels {_KERNELS} times √(6 / fan-in), offsets times"
        f" {_OFFSET}, replicated borders, ReLU, means over {_QUARTERS}×{_QUARTERS} parts, halving;"
        f" whitened with ridge {_RIDGE} on {_CALIBRATION} images of spectrum 1/f; seed {_SEED}"
    )
    digest = hashlib.sha256(definition.encode())
    filters = []
    for stage, side in enumerate(_KERNELS):
        inputs, outputs = _WIDTHS[stage : stage + 2]
        fan_in = inputs * side**2
        uniform = _uniform(outputs * (fan_in + 1), stream=stage)
        digest.update(uniform.numpy().astype("<f4").tobytes())
        # Variance 2 / fan_in keeps the size of activations through a ReLU (He et al., 2015).
        kernel = uniform[: outputs * fan_in].reshape(outputs, inputs, side, side)
        filters.append((kernel * math.sqrt(6 / fan_in), uniform[outputs * fan_in :] * _OFFSET))
    raw = _raw_features(_calibration_images(), filters).double()
    mean, covariance = raw.mean(dim=0), raw.T.cov()
    values, vectors = torch.linalg.eigh(covariance)
    # Directions that hardly vary are not blown up; the symmetric root has no free signs.
    whitening = (vectors / (values + _RIDGE * values[-1]).sqrt()) @ vectors.T
    return Network(digest.hexdigest(), tuple(filters), mean.float(), whitening.float())


def _raw_features(pixels: Tensor, filters: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Means [N, 256] over quarters of the filters' answers to pixels [N, 1 or 3, H, W]."""
    x = 2 * as_colour(pixels) - 1
    means = []
    for stage, (kernel, offset) in enumerate(filters):
        if stage:
            x = F.avg_pool2d(x, 2)
        x = F.pad(x, (kernel.shape[-1] // 2,) * 4, mode="replicate")
        x = F.conv2d(x, kernel, offset).relu_()
        means.append(F.adaptive_avg_pool2d(x, _QUARTERS).flatten(start_dim=1))
    return torch.cat(means, dim=1)


def _calibration_images() -> Tensor:
    """Random images [2048, 3, 32, 32] in [0, 1] with amplitudes of one over frequency."""
    count, side = _CALIBRATION
    white = _uniform(count * 3 * side**2, stream=len(_KERNELS)).reshape(count, 3, side, side)
    rows, columns = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    frequency = (rows.square() + columns.square()).sqrt().clamp(min=1 / side)
    image = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(side, side))
    image = image + 2 * image.mean(dim=1, keepdim=True)  # colours of photographs go together
    pixels: Tensor = (0.5 + 0.25 * image / image.std()).clamp(0, 1)
    return pixels


def _uniform(count: int, *, stream: int) -> Tensor:
    """Numbers in (-1, 1), exact in float32: 17 bits of Philox words."""
    blocks = torch.arange(-(-count // 4))
    zeros = torch.zeros_like(blocks)
    counter = torch.stack([blocks, zeros + stream, zeros, zeros])
    words = torch.stack(philox(counter, torch.tensor([_SEED, 0])[:, None]), -1).flatten()[:count]
    return ((words >> 16).float() + 0.5) / 2**15 - 1
