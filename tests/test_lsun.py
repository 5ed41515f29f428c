"""LSUN's databases, written here by the lmdb package, whole and hostile, and the resizing."""

import io
import struct
import sys

import lmdb
import numpy as np
import pytest
from originals import everything
from PIL import Image

from cascore.data.lsun import find_lsun_church, require_whole
from cascore.errors import InputError, MissingExtraError

FOLDERS = {"train": "church_outdoor_train_lmdb", "test": "church_outdoor_val_lmdb"}
GENERATOR = np.random.default_rng(23)


def encoded(image, *, form="WEBP"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format=form, lossless=True)
    return stream.getvalue()


def photo(height, width):
    return GENERATOR.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(folder, items):
    folder.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(folder), map_size=2**26)
    with environment.begin(write=True) as transaction:
        for key, value in items.items():
            transaction.put(key, value)
    environment.close()
    return folder / "data.mdb"


@pytest.fixture
def photos(tmp_path):
    """Images by key, in no order: 256 x 256 and smaller, so that values fill several pages."""
    content = {}
    for split, count in (("train", 9), ("test", 3)):
        keys = GENERATOR.permutation(count)
        content[split] = {b"%08x" % key: photo(64, 64) for key in keys}
        write(
            tmp_path / FOLDERS[split],
            {
                key: encoded(image, form="PNG" if number % 2 else "WEBP")
                for number, (key, image) in enumerate(content[split].items())
            },
        )
    return content


def test_both_databases_are_read_in_the_order_of_their_keys(photos, tmp_path):
    result = find_lsun_church(tmp_path)
    for split, original in result.splits.items():
        expected = np.stack(
            [photos[split][key].transpose(2, 0, 1) for key in sorted(photos[split])]
        )
        assert original.count == len(expected)
        assert original.shape == (3, 64, 64)
        assert original.labels is None
        assert np.array_equal(everything(original), expected)  # 64 x 64 stays as it is
        assert np.array_equal(everything(original, 2), expected[2:])
    assert "9 + 3 images, where the official set has 126,227 + 300" in result.record.source


@pytest.mark.parametrize(
    ("height", "width"), [(256, 341), (341, 256), (256, 257), (257, 256), (100, 256), (64, 300)]
)
def test_the_shorter_side_becomes_64_and_the_middle_is_cut_out(height, width, tmp_path):
    """Transcribed from torchvision's description: Resize(64), then CenterCrop(64), on PIL images.

    Resize: the shorter side is 64, the longer int(64 * long / short). CenterCrop: the offset is
    int(round((side - 64) / 2)).
    """
    image = photo(height, width)
    for folder in FOLDERS.values():
        write(tmp_path / folder, {b"a": encoded(image)})
    new_height = 64 if height <= width else int(64 * height / width)
    new_width = 64 if width <= height else int(64 * width / height)
    resized = Image.fromarray(image).resize((new_width, new_height), Image.BILINEAR)
    top, left = round((new_height - 64) / 2.0), round((new_width - 64) / 2.0)
    expected = np.asarray(resized)[top : top + 64, left : left + 64]
    result = everything(find_lsun_church(tmp_path).splits["train"])[0].transpose(1, 2, 0)
    assert np.array_equal(result, expected)


def test_a_missing_database_is_named_with_what_to_do(photos, tmp_path):
    (tmp_path / FOLDERS["test"] / "data.mdb").unlink()
    with pytest.raises(InputError, match=r"needs church_outdoor_val_lmdb/data\.mdb .* unpack"):
        find_lsun_church(tmp_path)
    with pytest.raises(InputError, match=r"needs church_outdoor_train_lmdb/data\.mdb"):
        find_lsun_church(tmp_path / "nowhere")


def test_a_truncated_database_is_refused_before_it_is_mapped(photos, tmp_path):
    file = tmp_path / FOLDERS["train"] / "data.mdb"
    whole = file.read_bytes()
    require_whole(file)
    # Whatever the length, mapping such a file and reading on would end the process.
    for length in (len(whole) - 1, len(whole) // 2, 3 * 4096, 2 * 4096, 4096 + 10, 4096, 200):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"data\.mdb is truncated: {length} bytes"):
            find_lsun_church(tmp_path)


def test_the_newer_of_the_two_meta_pages_counts(tmp_path):
    """Each commit writes the older one anew; a file cut to the older one's length is truncated."""
    folder = tmp_path / "db"
    sizes = []
    for count in (1, 40, 80, 81):
        file = write(folder, {b"%03d" % n: bytes(3000) for n in range(count)})
        require_whole(file)
        last = [
            struct.unpack_from("<Q", file.read_bytes(), page * 4096 + 136)[0] for page in (0, 1)
        ]
        sizes.append(last)
        file_bytes = file.read_bytes()
        file.write_bytes(file_bytes[: (max(last) + 1) * 4096 - 1])
        with pytest.raises(InputError, match="truncated"):
            require_whole(file)
        file.write_bytes(file_bytes)
    assert any(first > second for first, second in sizes)  # both orders came up
    assert any(first < second for first, second in sizes)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        (0, b"hello, I am text" * 20, "0x6c6c6568 where its magic number, 0xbeefc0de"),
        (20, struct.pack("<I", 7), "format 7"),
        (40, struct.pack("<I", 0), "pages of 0 bytes"),
    ],
    ids=["text", "another version", "pages of no size"],
)
def test_what_is_no_database_is_refused(place, content, message, photos, tmp_path):
    file = tmp_path / FOLDERS["test"] / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[:place] + content + whole[place + len(content) :])
    with pytest.raises(InputError, match=message):
        find_lsun_church(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="0x0 where its magic number"):
        find_lsun_church(tmp_path)
    file.unlink()
    write(file.parent, {})
    with pytest.raises(InputError, match="holds no images"):
        find_lsun_church(tmp_path)


def test_a_grey_value_becomes_colour_and_one_that_is_no_image_is_named_by_its_key(photos, tmp_path):
    grey = photo(64, 64)[..., 0]
    write(tmp_path / FOLDERS["test"], {b"/": encoded(grey, form="PNG")})
    image, *_ = everything(find_lsun_church(tmp_path).splits["test"])
    assert np.array_equal(image, np.stack([grey] * 3))
    write(tmp_path / FOLDERS["train"], {b"0000zzzz": b"cos\nsystem\n(S'touch evil'\ntR."})
    with pytest.raises(InputError, match=r"image 0000zzzz of .* cannot be read as an image"):
        everything(find_lsun_church(tmp_path).splits["train"])


def test_without_lmdb_the_extra_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match=r"lmdb.*cascore\[data\]"):
        find_lsun_church(tmp_path)
