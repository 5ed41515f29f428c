"""One image file to uint8 pixels: as a folder's options say, or as the authors prepare theirs."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from cascore.data.images import Pixels
from cascore.errors import InputError
from cascore.foreign import parsing
from cascore.preprocessing import Crop, Filter

# Named, because Pillow also knows formats that start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


class Header(NamedTuple):
    """What an image file says of itself before its pixels are decoded; size as seen upright."""

    path: PurePosixPath
    width: int
    height: int
    grey: bool
    transparent: bool
    turned: bool


class Target(NamedTuple):
    """The shape that every image is brought to, and how; no crop and filter leaves sizes alone."""

    channels: int
    height: int
    width: int
    crop: Crop | None
    filter: Filter | None


def read_header(folder: Path, path: PurePosixPath) -> Header:
    """The header of folder / path; no image, or one of more than 8 bits, raises InputError."""
    with opened_image(folder / path, name=str(folder / path)) as image:
        require_8_bits(image, name=str(folder / path))
        orientation = _orientation(image)
        width, height = image.size
        if orientation in _SIDEWAYS:
            width, height = height, width
        return Header(
            path=path,
            width=width,
            height=height,
            grey=image.mode in _GREY,
            transparent=image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info,
            turned=orientation != 1,
        )


def decode_one(folder: Path, header: Header, *, target: Target) -> Pixels:
    """Pixels [C, H, W] of one image; a broken one raises an InputError that names it."""
    path = folder / header.path
    with opened_image(path, name=str(path)) as stored:
        image: Image.Image = ImageOps.exif_transpose(stored) if header.turned else stored
        if header.transparent:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if target.channels == 1 else "RGB")
        if target.crop == "center":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if target.filter is not None:
            resample = Image.Resampling[target.filter.upper()]
            image = image.resize((target.width, target.height), resample)
        if image.size != (target.width, target.height):
            expected = f"{target.width} x {target.height}"
            raise ValueError(f"its header says {expected}, it is {image.size}")
        return channels_first(image)


def require_8_bits(image: Image.Image, *, name: str) -> None:
    """Raise InputError for pixels of more than 8 bits a channel, or of no colour known here."""
    if image.mode not in _GREY + _COLOUR:
        raise InputError(
            f"{name} has pixels of Pillow's mode {image.mode}; expected 8 bits a"
            " channel: convert it to 8-bit grey or RGB"
        )


@contextmanager
def opened_image(content: Path | bytes, *, name: str) -> Iterator[Image.Image]:
    """An open image; whatever goes wrong with it becomes an InputError that gives its name."""
    with (
        parsing(name, "an image", "repair it, or take it out of the set"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(stream, formats=_FORMATS) as image:
            yield image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright. Asked before the pixels are decoded."""
    if "exif" not in image.info:
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def resize_then_crop(image: Image.Image, *, size: int) -> Pixels:
    """LSUN: the shorter side to `size`, then the centre square; uint8 [3, size, size].

    Step by step as torchvision does it on Pillow images: sizes and offsets are rounded as it rounds
    them, and the filter is Pillow's bilinear, which averages when it shrinks.
    """
    image = image.convert("RGB")
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return channels_first(_center_crop(resized, size))


def crop_then_resize(image: Image.Image, *, crop: int, size: int, name: str) -> Pixels:
    """CelebA, as Song & Ermon: the centre square of `crop`, then to `size`; [3, size, size]."""
    image = image.convert("RGB")
    if min(image.size) < crop:
        raise InputError(
            f"{name} is {image.width} x {image.height}, too small for the centre crop of {crop};"
            " use the aligned images as they are distributed, 178 x 218"
        )
    square = _center_crop(image, crop)
    return channels_first(square.resize((size, size), Image.Resampling.BILINEAR))


def _center_crop(image: Image.Image, side: int) -> Image.Image:
    # round() takes halves to the even neighbour, as in torchvision.
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def channels_first(image: Image.Image) -> Pixels:
    """Pixels [C, H, W] of a grey or an RGB image."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
