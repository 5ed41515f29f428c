"""uint8 <-> [0, 1], image sheets, PNG files. Oracles: exact fractions, loops, Pillow's reader."""

import io
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from cascore.errors import InputError
from cascore.pixels import encode_png, grid, save_png, to_float, to_uint8

BYTES = torch.arange(256, dtype=torch.uint8)


def noise(*shape):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_to_float_is_the_float32_nearest_to_x_over_255():
    expected = [np.float32(float(Fraction(k, 255))) for k in range(256)]
    assert to_float(BYTES).dtype == torch.float32
    assert to_float(BYTES).tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_byte_survives_the_way_through_float(dtype):
    # bfloat16 keeps 8 bits: near 1 its spacing, 1/256, is just below a byte's 1/255.
    there = to_float(BYTES).to(dtype)
    tolerance = 1 if dtype == torch.bfloat16 else 0
    assert (to_uint8(there).int() - BYTES.int()).abs().max() <= tolerance


def test_to_uint8_rounds_the_half_up_and_clamps():
    # (k + 1/2) / 255 in float64, nudged, so that the side of the half is certain.
    half = (torch.arange(255, dtype=torch.float64) + 0.5) / 255
    assert torch.equal(to_uint8(half + 1e-12), BYTES[1:])
    assert torch.equal(to_uint8(half - 1e-12), BYTES[:-1])
    assert to_uint8(torch.tensor([0.5])).item() == 128  # 127.5, where half to even agrees
    assert to_uint8(torch.tensor([0.1], dtype=torch.float64)).item() == 26  # 25.5: up, as said
    assert to_uint8(torch.tensor([0.3], dtype=torch.float64)).item() == 77  # 76.5: even is 76
    assert to_uint8(torch.tensor([-3.0, -0.0, 1.0, 1.7])).tolist() == [0, 0, 255, 255]


def test_conversions_leave_their_argument_alone_and_keep_its_shape():
    image = torch.full((2, 3, 1), 2.0)
    assert to_uint8(image).shape == image.shape
    assert (image == 2.0).all()
    assert to_uint8(torch.empty(0, 1, 2, 2)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize(
    ("count", "columns", "padding", "scale"),
    [(5, 3, 2, 1), (6, 3, 0, 2), (2, 7, 1, 3), (1, 1, 4, 1)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grid_puts_every_pixel_where_a_loop_does(count, columns, padding, scale, channels):
    images = noise(count, channels, 4, 5)
    sheet = grid(images, columns=columns, padding=padding, background=7, scale=scale)
    wide = min(columns, count)
    rows = -(-count // wide)
    tall_cell, wide_cell = 4 * scale + padding, 5 * scale + padding
    expected = np.full((channels, rows * tall_cell + padding, wide * wide_cell + padding), 7)
    for index in range(count):
        for y in range(4 * scale):
            for x in range(5 * scale):
                row, column = divmod(index, wide)
                place = (padding + row * tall_cell + y, padding + column * wide_cell + x)
                expected[:, *place] = images[index, :, y // scale, x // scale]
    assert sheet.dtype == torch.uint8
    assert np.array_equal(sheet.numpy(), expected)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_png_reads_back_as_it_was(channels, mode, tmp_path):
    image = noise(channels, 5, 7)
    save_png(image, tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    assert content == encode_png(image)
    with Image.open(io.BytesIO(content)) as read:
        assert (read.format, read.mode) == ("PNG", mode)
        pixels = np.asarray(read)
    assert np.array_equal(pixels.reshape(5, 7, channels).transpose(2, 0, 1), image.numpy())


def test_a_png_of_a_strided_view_is_that_of_its_copy():
    view = noise(3, 8, 8)[:, ::2, 1:6].flip(2)
    assert encode_png(view) == encode_png(view.contiguous())


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    save_png(noise(1, 2, 2), path)
    before = path.read_bytes()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("cascore.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_png(noise(3, 9, 9), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


NUMBERS = [("columns", 0), ("scale", 0), ("padding", -1), ("background", 256), ("background", -1)]
REFUSED = [
    *((to_uint8, torch.tensor([0.1, x, 0.2]), "1 of 3 pixels are NaN") for x in (math.nan, -1e999)),
    *((to_uint8, torch.ones(2, dtype=x), "float pixels") for x in (torch.int64, torch.bool)),
    *((f, torch.zeros(1, 2, 2), r"not torch\.float32") for f in (to_float, encode_png)),
    (partial(grid, columns=1), torch.zeros(1, 1, 2, 2), r"not torch\.float32"),
    *(
        (partial(grid, **{"columns": 2} | {name: value}), noise(2, 1, 2, 2), f"{name}={value}")
        for name, value in NUMBERS
    ),
    *((partial(grid, columns=2), noise(*x), "at least one") for x in ((0, 1, 2, 2), (1, 2, 2))),
    *((encode_png, noise(*x), "one image") for x in ((2, 4, 4), (4, 4), (1, 1, 4, 4), (3, 0, 4))),
    (partial(save_png, path="image.jpg"), noise(1, 2, 2), r"ends in \.png"),
    (partial(save_png, path="missing/image.png"), noise(1, 2, 2), "there is no folder"),
]


@pytest.mark.parametrize(("function", "image", "message"), REFUSED)
def test_what_is_no_image_or_out_of_range_is_refused(function, image, message):
    with pytest.raises(InputError, match=message):
        function(image)
