"""The two ways in which the authors bring photographs to 64 x 64, step by step as they do it.

Both are those of torchvision on Pillow images: sizes and offsets are rounded as it rounds them,
and the filter is Pillow's bilinear, which averages when it shrinks.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascore.errors import InputError

__all__ = ["crop_then_resize", "resize_then_crop"]

Pixels = npt.NDArray[np.uint8]


def resize_then_crop(image: Image.Image, *, size: int) -> Pixels:
    """LSUN: the shorter side to `size`, then the centre square; uint8 [3, size, size]."""
    image = image.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(size * long / short)
    scaled = (size, longer) if width <= height else (longer, size)
    resized = image.resize(scaled, Image.Resampling.BILINEAR)
    return _channels_first(_center_crop(resized, size))


def crop_then_resize(image: Image.Image, *, crop: int, size: int) -> Pixels:
    """CelebA as Song & Ermon: the centre square of `crop`, then to `size`; uint8 [3, size, size].

    Raises:
        InputError: The image is smaller than the crop.
    """
    image = image.convert("RGB")
    if min(image.size) < crop:
        raise InputError(
            f"it is {image.width} x {image.height}, too small for the centre crop of {crop};"
            " use the aligned images as they are distributed, 178 x 218"
        )
    square = _center_crop(image, crop)
    return _channels_first(square.resize((size, size), Image.Resampling.BILINEAR))


def _center_crop(image: Image.Image, side: int) -> Image.Image:
    # round() takes halves to the even neighbour, as in torchvision.
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def _channels_first(image: Image.Image) -> Pixels:
    return np.asarray(image).transpose(2, 0, 1)
