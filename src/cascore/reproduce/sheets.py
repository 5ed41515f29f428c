"""Sheets of pictures: PNGs within records, and how a figure shows them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cascore.pixels import encode_png, grid

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["picture_of", "sheet_of", "show_sheet"]


def sheet_of(images: Tensor, *, shown: int = 24, columns: int = 12) -> str:
    """The first of images uint8 [N, C, H, W], row by row, as a PNG in base64."""
    return base64.b64encode(encode_png(grid(images[:shown], columns=columns, padding=1))).decode()


def picture_of(sheet: str) -> npt.NDArray[np.uint8]:
    """The pixels of a sheet: uint8 [H, W] of grey images, [H, W, 3] of colour."""
    with Image.open(io.BytesIO(base64.b64decode(sheet))) as image:
        return np.asarray(image)


def show_sheet(panel: Axes, sheet: str, *, title: str, label: str) -> None:
    """Draw a sheet without axes, a title above it and a label at its left."""
    panel.imshow(picture_of(sheet), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
