"""Image files to uint8 pixels of one shape, in memory or in a mapped file."""

import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from cascore.errors import InputError
from cascore.files import replaced_file

__all__ = [
    "Crop",
    "Filter",
    "Header",
    "Target",
    "decode",
    "decode_mapped",
    "decode_one",
    "decoded_bytes",
    "opened_image",
    "read_header",
    "require_8_bits",
]

Crop = Literal["center", "none"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
Pixels = npt.NDArray[np.uint8]

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
    """The header of folder / path.

    Raises:
        InputError: Not an image, too many pixels, or pixels of more than 8 bits.
    """
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
            transparent=_is_transparent(image),
            turned=orientation != 1,
        )


def decoded_bytes(count: int, target: Target) -> int:
    """How many bytes `count` decoded images take."""
    return count * target.channels * target.height * target.width


def decode(folder: Path, headers: Sequence[Header], *, target: Target) -> Pixels:
    """Pixels [N, C, H, W] of the images, in memory.

    Raises:
        InputError: An image is broken; the message names it.
    """
    pixels = np.empty((len(headers), *target[:3]), dtype=np.uint8)
    _fill(pixels, folder, headers, target=target)
    return pixels


def decode_mapped(
    folder: Path, headers: Sequence[Header], *, target: Target, cache: Path
) -> Pixels:
    """Pixels [N, C, H, W] mapped from a file in `cache`, which is decoded only when new.

    The file's name holds a digest of each image's path, size and time of change, and of the
    target. The map is private: a write to it does not reach the disk.

    Raises:
        InputError: An image is broken, or `cache` cannot be a folder, or its file is damaged.
    """
    stored = cache / f"folder-{_cache_key(folder, headers, target=target)}.npy"
    shape = (len(headers), *target[:3])
    if not stored.is_file():
        _write_mapped(stored, folder, headers, target=target)
    try:
        pixels: Pixels = np.load(stored, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{stored} is damaged ({error}); delete it and load again") from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise InputError(
            f"{stored} holds {pixels.dtype} of shape {pixels.shape}, expected uint8 of {shape};"
            " delete it and load again"
        )
    return pixels


def _cache_key(folder: Path, headers: Sequence[Header], *, target: Target) -> str:
    facts = [(folder / header.path).stat() for header in headers]
    rows = [
        (str(header.path), fact.st_size, fact.st_mtime_ns)
        for header, fact in zip(headers, facts, strict=True)
    ]
    return hashlib.sha256(json.dumps([target, rows]).encode()).hexdigest()[:32]


def _write_mapped(stored: Path, folder: Path, headers: Sequence[Header], *, target: Target) -> None:
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"root {stored.parent} cannot be a folder for pixels: {error}") from error
    shape = (len(headers), *target[:3])
    with replaced_file(stored) as temporary:
        pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _fill(pixels, folder, headers, target=target)
        pixels.flush()
        del pixels


def _fill(pixels: Pixels, folder: Path, headers: Sequence[Header], *, target: Target) -> None:
    for slot, header in zip(pixels, headers, strict=True):
        slot[:] = decode_one(folder, header, target=target)


def decode_one(folder: Path, header: Header, *, target: Target) -> Pixels:
    """Pixels [C, H, W] of one image.

    Raises:
        InputError: The image is broken; the message names it.
    """
    path = folder / header.path
    with opened_image(path, name=str(path)) as image:
        return _to_pixels(image, header, target=target)


def _to_pixels(image: Image.Image, header: Header, *, target: Target) -> Pixels:
    """One image brought to the target, uint8 [C, H, W]."""
    if header.turned:
        image = ImageOps.exif_transpose(image)
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
        raise ValueError(f"its header says {target.width} x {target.height}, it is {image.size}")
    pixels = np.asarray(image)
    return pixels[None] if target.channels == 1 else pixels.transpose(2, 0, 1)


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            stream = io.BytesIO(content) if isinstance(content, bytes) else content
            with Image.open(stream, formats=_FORMATS) as image:
                yield image
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{name} claims more pixels than are safe to decode: {error};"
            " make it smaller, or take it out of the set"
        ) from error
    except Exception as error:  # Pillow's decoders raise anything at all on damaged bytes.
        raise InputError(
            f"{name} cannot be read as an image: {error}; repair it, or take it out of the set"
        ) from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright. Asked before the pixels are decoded."""
    if "exif" not in image.info:
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
