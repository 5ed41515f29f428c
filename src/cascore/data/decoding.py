"""One image file to uint8 pixels: as a folder's options say, or as the authors prepare theirs."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from cascore.data.images import Pixels
from cascore.data.listing import ListedImage
from cascore.errors import InputError
from cascore.foreign import parsing
from cascore.preprocessing import Crop, Filter

# Named, because Pillow also knows formats that start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_GREY = ("1", "L", "LA")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # grey of 16 bits
_COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
_OPENING = Lock()  # Python's filters of warnings are those of all threads


class Header(NamedTuple):
    """What an image file says of itself before its pixels are decoded; size as seen upright.

    `path` is its name, `file` where it is; both are relative to the folder of the set.
    """

    file: Path
    path: PurePosixPath
    width: int
    height: int
    grey: bool
    transparent: bool
    turned: bool
    deep: bool
    """Of 16 bits a channel, of which the high byte is taken."""


class Target(NamedTuple):
    """The shape that every image is brought to, and how; no crop and filter leaves sizes alone."""

    channels: int
    height: int
    width: int
    crop: Crop | None
    filter: Filter | None


def read_header(folder: Path, image_file: ListedImage) -> Header:
    """The header of a file; no image, or one of more than 16 bits a channel, raises InputError."""
    name = str(folder / image_file.file)
    with opened_image(folder / image_file.file, name=name) as image:
        return _header(image, image_file, name=name)


def _header(image: ImageFile.ImageFile, image_file: ListedImage, *, name: str) -> Header:
    deep = _stored_deep(image)
    transparent_colour = "transparency" in image.info
    if not deep or image.mode not in _DEEP:
        require_8_bits(image, name=name)
    if deep and transparent_colour:
        raise InputError(f"{name} has 16 bits and a transparent colour; convert it to 8 bits")
    orientation = _orientation(image)
    width, height = image.size
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Header(
        *image_file,
        width=width,
        height=height,
        grey=image.mode in (*_GREY, *_DEEP) or _raw_mode(image).startswith("LA;16"),
        transparent=image.mode in ("LA", "PA", "RGBA") or transparent_colour,
        turned=orientation != 1,
        deep=deep,
    )


def fault(folder: Path, image_file: ListedImage) -> InputError | None:
    """Why a file cannot be read as an image, known by decoding all of it; None if it can."""
    try:
        read_header(folder, image_file)
        name = str(folder / image_file.file)
        with opened_image(folder / image_file.file, name=name) as image:
            image.load()
    except InputError as error:
        return error
    return None


def decode_one(folder: Path, header: Header, *, target: Target) -> Pixels:
    """Pixels [C, H, W] of one image; a broken one raises an InputError that names it."""
    path = folder / header.file
    with opened_image(path, name=str(path)) as stored:
        return _fitted(stored, header, target)


def decode_content(content: bytes, *, name: str, target: Target) -> Pixels:
    """`decode_one` of the bytes of an image file, under a name."""
    with opened_image(content, name=name) as stored:
        header = _header(stored, ListedImage(Path(name), PurePosixPath(name)), name=name)
        return _fitted(stored, header, target)


def _fitted(stored: ImageFile.ImageFile, header: Header, target: Target) -> Pixels:
    image: Image.Image = ImageOps.exif_transpose(stored) if header.turned else stored
    if image.mode in _DEEP:  # as Pillow itself does where there is colour
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
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
def opened_image(content: Path | bytes, *, name: str) -> Iterator[ImageFile.ImageFile]:
    """An open image; whatever goes wrong with it becomes an InputError that gives its name."""
    with parsing(name, "an image", "repair it, or take it out of the set"):
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(stream, formats=_FORMATS)
        with opened as image:
            yield image


def _stored_deep(image: ImageFile.ImageFile) -> bool:
    """Whether the file holds 16 bits a channel, of which Pillow's mode tells for grey alone.

    Not where white is zero, which Pillow turns round for 8 bits only.
    """
    white_is_zero = (
        isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    )
    return image.format in ("PNG", "TIFF") and ";16" in _raw_mode(image) and not white_is_zero


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How channels lie in the file, in Pillow's words: RGB, RGB;16B, ..."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


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
