"""Folders of images: shapes, modes, labels, the split, the mapped cache, and hostile files."""

import dataclasses
import hashlib
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cascore.data import load_images
from cascore.errors import InputError
from cascore.preprocessing import FolderOptions

GENERATOR = np.random.default_rng(11)


def pixels(height, width, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


def in_test(path):
    return int(hashlib.sha256(path.encode()).hexdigest()[:16], 16) % 10 == 0


TRAIN_NAME = next(f"{i}.png" for i in range(99) if not in_test(f"{i}.png"))


def save(folder, name, array, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def only(folder, **options):
    """The one image of a folder, as an array [H, W, C]."""
    loaded = load_images(f"folder:{folder}", "train", folder=FolderOptions(**options))
    assert loaded.count == 1
    return loaded.images[0].permute(1, 2, 0).numpy()


@pytest.fixture
def animals(tmp_path):
    """Sixty 4 x 6 colour images in cat/, and dog/young/; relative path -> pixels."""
    content = {f"{'cat' if i % 2 else 'dog/young'}/{i:02d}.png": pixels(4, 6) for i in range(60)}
    for name, array in content.items():
        save(tmp_path / "animals", name, array)
    return content


def test_both_splits_together_are_the_folder_in_the_order_of_paths(animals, tmp_path):
    (tmp_path / "animals" / "notes.txt").write_text("no image")
    (tmp_path / "animals" / ".hidden.png").write_bytes(b"no image")
    sets = {
        split: load_images(f"folder:{tmp_path / 'animals'}", split) for split in ("train", "test")
    }
    for split, loaded in sets.items():
        expected = [name for name in sorted(animals) if in_test(name) == (split == "test")]
        stacked = np.stack([animals[name].transpose(2, 0, 1) for name in expected])
        assert np.array_equal(loaded.images.numpy(), stacked)
        assert loaded.classes == ("cat", "dog")
        assert loaded.labels.tolist() == [int(name.startswith("dog")) for name in expected]
        assert loaded.labels.dtype == torch.int64
        assert loaded.record.preparation == ()
        json.dumps(dataclasses.asdict(loaded.record))
    assert 1 <= sets["test"].count <= 15  # 6 expected, deviation 2.3
    assert sets["train"].count + sets["test"].count == 60
    save(tmp_path / "animals", "stray.png", pixels(4, 6))  # outside of the subfolders
    loaded = load_images(f"folder:{tmp_path / 'animals'}", "train")
    assert (loaded.labels, loaded.classes) == (None, ())


def test_adding_images_moves_no_other_between_the_splits(animals, tmp_path):
    def test_images():
        loaded = load_images(f"folder:{tmp_path / 'animals'}", "test")
        return {image.numpy().tobytes() for image in loaded.images}

    before = test_images()
    for i in range(40):
        save(tmp_path / "animals", f"bird/{i}.png", pixels(4, 6))
    assert before < test_images()


@pytest.mark.parametrize(
    "suffix", ["png", "BMP", "gif", "webp", "jpg", "jpeg", "jpe", "JFIF", "tif", "tiff"]
)
def test_every_format_is_read(suffix, tmp_path):
    flat = np.full((16, 16, 3), (255, 0, 0), dtype=np.uint8)  # JPEG and WebP move it by a little
    names = (f"{i}.{suffix}" for i in range(99))
    save(tmp_path, next(name for name in names if not in_test(name)), flat)
    assert np.abs(only(tmp_path).astype(int) - flat).max() <= 2


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 13)])
def test_the_middle_square_is_cut_out_then_averaged(shape, tmp_path):
    array = pixels(*shape, channels=1)
    save(tmp_path, TRAIN_NAME, array)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = array[top : top + side, left : left + side].astype(float)
    means = square.reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3))
    options = FolderOptions(size=side // 2, filter="box")
    loaded = load_images(f"folder:{tmp_path}", "train", folder=options)
    # Pillow resizes along one axis, then along the other, and rounds to a byte each time.
    assert np.abs(loaded.images[0, 0].numpy() - means).max() <= 1
    assert loaded.record.preparation == (
        "centre crop to a square",
        f"box to {side // 2} x {side // 2}",
    )


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box", "nearest"])
def test_each_filter_is_the_one_of_its_name(name, tmp_path):
    array = pixels(12, 15)
    save(tmp_path, TRAIN_NAME, array)
    expected = Image.fromarray(array).resize((5, 5), getattr(Image, name.upper()))
    found = only(tmp_path, size=5, filter=name, crop="none")  # so it is stretched
    assert np.array_equal(found, np.asarray(expected))


def test_modes_convert_grey_to_colour_and_colour_to_grey_by_its_luma(tmp_path):
    grey, colour = pixels(4, 4, channels=1), pixels(6, 6)
    save(tmp_path, TRAIN_NAME, grey)
    assert np.array_equal(only(tmp_path), grey[..., None])
    assert np.array_equal(only(tmp_path, mode="rgb"), np.stack([grey] * 3, axis=-1))
    save(tmp_path, TRAIN_NAME, colour)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(only(tmp_path, mode="grey")[..., 0] - luma).max() < 0.51


def test_grey_among_colour_is_named_with_what_to_do(tmp_path):
    for i in range(30):
        save(tmp_path, f"{i:02d}.png", pixels(4, 4, channels=1 if i == 17 else 3))
    with pytest.raises(InputError, match=r'17\.png is grey, 00\.png is not; .* mode="rgb"'):
        load_images(f"folder:{tmp_path}", "train")
    loaded = load_images(f"folder:{tmp_path}", "train", folder=FolderOptions(mode="rgb"))
    assert loaded.shape == (3, 4, 4)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_laid_over_white_and_recorded(channels, tmp_path):
    array = pixels(8, 8, channels)
    save(tmp_path, TRAIN_NAME, array)
    alpha = array[..., -1:] / 255
    over_white = array[..., :-1] * alpha + 255 * (1 - alpha)
    assert np.abs(only(tmp_path) - over_white).max() <= 1  # Pillow composites in integers
    record = load_images(f"folder:{tmp_path}", "train").record
    assert record.preparation == ("transparency laid over white: 1 images",)


def test_a_photo_on_its_side_is_turned_upright(tmp_path):
    array = pixels(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that a quarter turn clockwise sets it right
    save(tmp_path, TRAIN_NAME, array, exif=exif)
    assert np.array_equal(only(tmp_path), np.rot90(array, -1))


def test_a_palette_with_a_transparent_colour_and_the_first_frame_of_a_moving_picture(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / TRAIN_NAME, transparency=0)
    assert only(tmp_path).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / TRAIN_NAME, save_all=True, append_images=frames[1:])
    assert (only(tmp_path) == (255, 0, 0)).all()


def png_header(width, height):
    """A PNG file that claims a size and holds a byte of it."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


HOSTILE = {
    "zero bytes": (lambda whole: b"", "cannot be read as an image"),
    "text": (lambda whole: b"hello, I am text\n" * 9, "cannot be read as an image"),
    "truncated": (lambda whole: whole[: len(whole) // 2], "cannot be read as an image"),
    "header alone": (lambda whole: whole[:20], "cannot be read as an image"),
    "damaged": (
        lambda whole: whole[:60] + b"\xff" * 40 + whole[100:],
        "cannot be read as an image",
    ),
    "a format not on the list": (lambda whole: b"P6 1 1 255\n\0\0\0", "cannot be read as an image"),
    "bomb, warned of": (lambda whole: png_header(10_000, 10_000), "exceeds limit of"),
    "bomb": (lambda whole: png_header(60_000, 60_000), "exceeds limit of"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_image_is_an_error_that_names_it(case, tmp_path):
    change, message = HOSTILE[case]
    path = save(tmp_path, TRAIN_NAME, pixels(16, 16))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        load_images(f"folder:{tmp_path}", "train")
    assert str(path) in str(caught.value)


def test_folders_that_make_no_set_are_refused(tmp_path):
    path = save(tmp_path / "one", TRAIN_NAME, pixels(4, 4))
    save(tmp_path / "deep", "a.tif", np.full((4, 4), 40_000, dtype=np.int32))
    for name, shape in (("a.png", (4, 6)), ("b.png", (4, 6)), ("c.png", (6, 4))):
        save(tmp_path / "sizes", name, pixels(*shape))
    (tmp_path / "empty").mkdir()
    for folder, split, message in (
        (tmp_path / "missing", "train", "there is no folder"),
        (path, "train", "there is no folder"),
        (tmp_path / "empty", "train", "there is no image"),
        (tmp_path / "one", "test", r"none of the 1 images .* falls into the test split"),
        (tmp_path / "sizes", "train", r"a\.png is 6 x 4, c\.png is 4 x 6; .* --size"),
        (tmp_path / "deep", "train", "convert it to 8-bit"),
    ):
        with pytest.raises(InputError, match=message):
            load_images(f"folder:{folder}", split)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"crop": "top"}, {"filter": "cubic"}, {"mode": "L"}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=r"size must be at least 1|is .*; expected"):
        FolderOptions(**wrong)
