"""The only way between uint8 pixels (disk, feature extractors) and float pixels in [0, 1] (inside).

Also image sheets and PNG files, which take uint8.
"""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.files import replaced_file


def to_float(image: Tensor) -> Tensor:
    """Pixels x / 255: float32 in [0, 1] from uint8, on its device; InputError from others."""
    _require_uint8(image, "to_float")
    return image.to(torch.float32).div_(255)


def to_uint8(image: Tensor) -> Tensor:
    """Pixels floor(255 x + 1/2): uint8 from float, clamped to [0, 1], the half rounded up.

    Inverts `to_float` exactly. Half precisions are converted to float32 first. Other types, and NaN
    or infinity among the pixels, raise InputError.
    """
    if not image.is_floating_point():
        raise InputError(
            f"to_uint8 takes float pixels in [0, 1], not {image.dtype};"
            " uint8 pixels are ready as they are"
        )
    broken = image.numel() - int(image.isfinite().sum())
    if broken:
        raise InputError(
            f"{broken} of {image.numel()} pixels are NaN or infinite;"
            " the chain or the network that made them has diverged"
        )
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    return wide.clamp(0, 1).mul_(255).add_(0.5).floor_().to(torch.uint8)


def grid(
    images: Tensor, *, columns: int, padding: int = 2, background: int = 255, scale: int = 1
) -> Tensor:
    """An image sheet: images row by row, with lines of background around and between them.

    uint8 [C, rows (scale H + padding) + padding, columns (scale W + padding) + padding]; no image,
    another type or shape, and a number out of its range raise InputError.

    Args:
        images: uint8 [N, C, H, W], N at least 1.
        columns: Images in a row; a sheet of fewer images is as wide as they are.
        padding: Width of the lines, in pixels of the sheet.
        background: Value of the lines and of cells left empty, 0 to 255.
        scale: Each pixel of an image becomes scale x scale pixels of the sheet.
    """
    _require_uint8(images, "grid")
    if images.ndim != 4 or images.numel() == 0:
        raise InputError(
            f"grid takes at least one image, [N, C, H, W], not a shape of {tuple(images.shape)}"
        )
    if columns < 1 or scale < 1 or padding < 0 or not 0 <= background <= 255:
        raise InputError(
            f"got columns={columns}, scale={scale}, padding={padding}, background={background};"
            " expected columns and scale of at least 1, padding of at least 0 and background"
            " from 0 to 255"
        )
    count, channels = images.shape[:2]
    columns = min(columns, count)
    rows = -(-count // columns)
    tiles = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = F.pad(tiles, (0, padding, 0, padding), value=background)
    height, width = tiles.shape[2:]
    empty = tiles.new_full((rows * columns - count, channels, height, width), background)
    tiles = torch.cat([tiles, empty]).view(rows, columns, channels, height, width)
    sheet = tiles.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)
    return F.pad(sheet, (padding, 0, padding, 0), value=background)


def sheet(images: Tensor, *, columns: int | None = None) -> Tensor:
    """Images [N, C, H, W], uint8, as one sheet, square by default; small ones are enlarged."""
    columns = columns or max(1, round(len(images) ** 0.5))
    return grid(images, columns=columns, scale=max(1, 32 // images.shape[-1]))


def encode_png(image: Tensor) -> bytes:
    """The bytes of a PNG file: grey for uint8 [1, H, W], RGB for [3, H, W]; else InputError."""
    _require_uint8(image, "encode_png")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise InputError(
            f"a PNG takes one image, [1, H, W] or [3, H, W], not a shape of {tuple(image.shape)};"
            " cascore.pixels.grid makes one image of a batch"
        )
    content = image.cpu().movedim(0, -1).squeeze(-1).numpy()  # grey has no channels in Pillow
    stream = io.BytesIO()
    Image.fromarray(content).save(stream, format="PNG")
    return stream.getvalue()


def save_png(image: Tensor, path: Path | str) -> None:
    """Write uint8 [1, H, W] or [3, H, W] as a PNG file, whole or not at all.

    Others, a name that does not end in .png, and a folder that is not there raise InputError.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"save_png writes PNG files; give {path.name!r} a name that ends in .png")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file to write: choose another name")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to save {path.name} in; make it first")
    content = encode_png(image)
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)


def _require_uint8(image: Tensor, function: str) -> None:
    if image.dtype != torch.uint8:
        raise InputError(
            f"{function} takes uint8 pixels, not {image.dtype};"
            " cascore.pixels.to_uint8 converts float pixels in [0, 1]"
        )
