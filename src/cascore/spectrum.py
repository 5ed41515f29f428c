"""The spectrum of pictures: how much they vary by colour and frequency.

Neighbouring pixels are alike, and so are the channels of one. Cosines (DCT-II) along the axes of
colour come close to what makes the coefficients of photographs uncorrelated (Ahmed, Natarajan &
Rao 1974), and their variances depend, within a few per cent, on u + v of the frequencies u and v
alone. So a few numbers say what the best linear denoiser of the pictures has to know.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.pixels import to_float

_ENOUGH = 10_000  # pictures, for variances to 2 %
_AT_ONCE = 2**22  # numbers: a thousand small pictures, or one of 1024 x 1024
_RIGHT = 1e-6  # of products of axes


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Of pictures [C, H, W], in pixels of [0, 1].

    Args:
        mean: Of each channel, [C].
        axes: The axes of colour, [C, C], of length 1 and at right angles, one to a row.
        bands: The variance of a coefficient by axis and by the sum of its two frequencies, [C, B].

    Raises:
        InputError: Numbers of which none of this can be said.
    """

    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    bands: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        channels = len(self.mean)
        numbers = [*self.mean, *(x for row in (*self.axes, *self.bands) for x in row)]
        fitting = (
            channels == len(self.axes) == len(self.bands) > 0
            and all(len(axis) == channels for axis in self.axes)
            and len(set(map(len, self.bands))) == 1
            and all(map(math.isfinite, numbers))
            and all(variance >= 0 for band in self.bands for variance in band)
        )
        if not fitting:
            raise InputError(
                "a spectrum has a mean, an axis of colour and the variances of as many bands for"
                f" each channel, not {self.mean!r:.60}, {self.axes!r:.60}, {self.bands!r:.60}"
            )
        if any(
            abs(sum(x * y for x, y in zip(a, b, strict=True)) - (i == j)) > _RIGHT
            for i, a in enumerate(self.axes)
            for j, b in enumerate(self.axes)
        ):
            raise InputError(f"the axes of colour are not at right angles: {self.axes!r:.90}")

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """Of pictures, uint8 [N, C, H, W]: of 10,000 of them, evenly spread, where there are more.

        Raises:
            InputError: No picture, or no uint8.
        """
        count, channels, height, width = images.shape
        if not count:
            raise InputError("no picture has no spectrum")
        read = min(count, _ENOUGH)
        some = torch.arange(read) * (count - 1) // max(1, read - 1)
        sums, products = torch.zeros(channels).double(), torch.zeros(channels, channels).double()
        for pixels in _parts(images, some):
            colours = pixels.transpose(0, 1).flatten(1).double()
            sums, products = sums + colours.sum(1), products + colours @ colours.T
        pixels_in_all = len(some) * height * width
        mean = sums / pixels_in_all
        axes = torch.linalg.eigh(products / pixels_in_all - mean.outer(mean)).eigenvectors.T
        squares = torch.zeros(channels, height, width).double()
        away, turned = mean.float()[:, None, None], axes.float()
        basis = cosines(height).float(), cosines(width).float()
        for pixels in _parts(images, some):
            squares += in_cosines(pixels - away, turned, *basis).double().square().sum(0)
        band, many = _band_of(height, width)
        bands = torch.zeros(channels, many).double()
        bands.index_add_(1, band.flatten(), squares.flatten(1) / len(some))
        bands /= band.flatten().bincount().clamp(min=1)
        return cls(
            mean=tuple(mean.tolist()),
            axes=tuple(map(tuple, axes.tolist())),
            bands=tuple(map(tuple, bands.tolist())),
        )

    @classmethod
    def flat(cls, shape: Sequence[int], *, mean: float = 0.0, deviation: float = 1.0) -> Self:
        """Of pictures [C, H, W] whose pixels are independent: EDM's form knows no more."""
        channels, height, width = shape
        _, many = _band_of(height, width)
        bands = (deviation**2,) * many
        axes = tuple(tuple(float(i == j) for j in range(channels)) for i in range(channels))
        return cls(mean=(mean,) * channels, axes=axes, bands=(bands,) * channels)

    def variances(self, height: int, width: int) -> Tensor:
        """The variance of each coefficient, float32 [C, H, W].

        Raises:
            InputError: Pictures of another size than those whose spectrum it is.
        """
        band, many = _band_of(height, width)
        if len(self.bands[0]) != many:
            raise InputError(
                f"this spectrum has {len(self.bands[0])} bands, and pictures of {height}×{width}"
                f" have {many}"
            )
        return torch.tensor(self.bands)[:, band]


def cosines(size: int) -> Tensor:
    """The orthonormal DCT-II, float64 [size, size]: a cosine to a row, from frequency 0 on."""
    places = torch.arange(size, dtype=torch.float64)
    waves = (math.pi / size * places[:, None] * (places + 0.5)).cos() * (2 / size) ** 0.5
    return torch.cat([waves[:1] / 2**0.5, waves[1:]])


def in_cosines(x: Tensor, axes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The coefficients of pictures [N, C, H, W] along axes of colour, in cosines of both sides.

    With each of the three transposed it is the way back.
    """
    turned: Tensor = torch.einsum("dc,nchw->ndhw", axes, rows @ x @ columns.T)
    return turned


def _band_of(height: int, width: int) -> tuple[Tensor, int]:
    """Which band each coefficient is in, int64 [H, W], u + v of a square picture; and how many."""
    side, sides = max(height, width), (height, width)
    u, v = (torch.arange(n) * side // n for n in sides)
    # Of numbers and not of the tensor, which may be on the meta device.
    return u[:, None] + v, sum((n - 1) * side // n for n in sides) + 1


def _parts(images: Tensor, places: Tensor) -> Iterator[Tensor]:
    pictures = max(1, _AT_ONCE // math.prod(images.shape[1:]))
    for first in range(0, len(places), pictures):
        yield to_float(images[places[first : first + pictures]])
