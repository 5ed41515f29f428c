"""CelebA from its folder and its zip archive, whole and hostile, and the crop of Song & Ermon."""

import io
import shutil
import stat
import zipfile

import numpy as np
import pytest
from originals import everything
from PIL import Image

from cascore.data.celeba import find_celeba
from cascore.errors import InputError

GENERATOR = np.random.default_rng(29)
PARTS = [0, 0, 2, 1, 0, 2]


def face():
    """A JPEG file of the size of the aligned images."""
    noise = GENERATOR.integers(0, 256, (22, 18, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((178, 218)).save(stream, format="JPEG")
    return stream.getvalue()


def partition(parts):
    return "".join(f"{number:06d}.jpg {part}\n" for number, part in enumerate(parts, start=1))


@pytest.fixture
def faces(tmp_path):
    """Six faces in tmp_path / folder: content by name."""
    content = {f"{number:06d}.jpg": face() for number in range(1, 7)}
    folder = tmp_path / "folder"
    (folder / "img_align_celeba").mkdir(parents=True)
    for name, item in content.items():
        (folder / "img_align_celeba" / name).write_bytes(item)
    (folder / "list_eval_partition.txt").write_text(partition(PARTS))
    return content


def zipped(tmp_path, members):
    folder = tmp_path / "zipped"
    folder.mkdir()
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    (folder / "list_eval_partition.txt").write_text(partition(PARTS))
    return folder


def expected(faces, part):
    """CenterCrop(140): rows 39 to 178 and columns 19 to 158 of 218 x 178; then 64 x 64."""
    images = []
    for number, item in enumerate(PARTS, start=1):
        if item == part:
            pixels = np.asarray(Image.open(io.BytesIO(faces[f"{number:06d}.jpg"])))
            square = Image.fromarray(pixels[39:179, 19:159])
            images.append(np.asarray(square.resize((64, 64), Image.BILINEAR)).transpose(2, 0, 1))
    return np.stack(images)


def test_folder_and_archive_hold_the_official_parts_cropped_and_resized(faces, tmp_path):
    members = {f"img_align_celeba/{name}": content for name, content in faces.items()}
    archive = zipped(tmp_path, {"img_align_celeba/": b"", "__MACOSX/a.jpg": b"x", **members})
    deeper = shutil.copytree(tmp_path / "folder", tmp_path / "deeper")
    (deeper / "img_align_celeba").rename(tmp_path / "moved")
    (deeper / "img_align_celeba").mkdir()  # a folder within a folder
    (tmp_path / "moved").rename(deeper / "img_align_celeba" / "img_align_celeba")
    for source in (tmp_path / "folder", deeper, archive, archive / "img_align_celeba.zip"):
        result = find_celeba(source)
        assert (result.splits["train"].count, result.splits["test"].count) == (3, 2)
        assert np.array_equal(everything(result.splits["train"]), expected(faces, 0))
        assert np.array_equal(everything(result.splits["test"]), expected(faces, 2))
        assert np.array_equal(everything(result.splits["train"], 2), expected(faces, 0)[2:])
        assert "3 + 2 images, where the official set has 162,770 + 19,962" in result.record.source
    assert sorted(path.name for path in archive.iterdir()) == [
        *("img_align_celeba.zip", "list_eval_partition.txt")
    ]  # nothing was unpacked


def test_an_archive_with_a_name_that_leads_out_or_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("l.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for number, name in enumerate(("../evil.jpg", "/evil.jpg", "a/../../evil.jpg", link)):
        (tmp_path / str(number)).mkdir()
        message = "leads out of the archive" if isinstance(name, str) else r"'l\.jpg', a link"
        with pytest.raises(InputError, match=message):
            find_celeba(zipped(tmp_path / str(number), {name: b"/etc/passwd"}))


def test_a_damaged_archive_is_named(faces, tmp_path):
    members = {f"img_align_celeba/{name}": content for name, content in faces.items()}
    folder = zipped(tmp_path, members)
    path = folder / "img_align_celeba.zip"
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:-30], b"text" * 99):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"img_align_celeba\.zip cannot be read as \.zip"):
            find_celeba(folder)
    at = whole.index(b"\xff\xd8\xff") + 300  # inside the first JPEG: its sum no longer fits
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(InputError, match=r"000001\.jpg .* cannot be read"):
        everything(find_celeba(folder).splits["train"])


def listing(text):
    return lambda folder: (folder / "list_eval_partition.txt").write_text(text)


BROKEN = {
    "no partition": (
        lambda f: (f / "list_eval_partition.txt").unlink(),
        "cannot be read as a list of names: .*--source is",
    ),
    "no images": (lambda f: shutil.rmtree(f / "img_align_celeba"), "needs img_align_celeba or"),
    "a missing image": (
        lambda f: (f / "img_align_celeba" / "000005.jpg").unlink(),
        r"1 images that .* lists are not in .*, the first is 000005\.jpg",
    ),
    "another partition": (
        listing("000001.jpg 3\n"),
        "line 1 of .* expected a file name and 0, 1 or 2",
    ),
    "a path in the partition": (
        listing("../../x.jpg 0\n"),
        r"line 1 of .* is '\.\./\.\./x\.jpg 0'",
    ),
    "a partition without test": (listing("000001.jpg 0\n"), "lists no image of the test part"),
    "a binary partition": (
        lambda f: (f / "list_eval_partition.txt").write_bytes(b"\xff\xfe\x00"),
        "cannot be read",
    ),
    "a broken image": (
        lambda f: (f / "img_align_celeba" / "000005.jpg").write_bytes(b"\xff\xd8\xff"),
        r"000005\.jpg of .* cannot be read as an image",
    ),
    "a small image": (
        lambda f: Image.new("RGB", (178, 100)).save(f / "img_align_celeba" / "000005.jpg"),
        r"000005\.jpg of .* is 178 x 100, too small for the centre crop of 140",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_errors_that_name_them(case, faces, tmp_path):
    change, message = BROKEN[case]
    change(tmp_path / "folder")
    with pytest.raises(InputError, match=message):
        everything(find_celeba(tmp_path / "folder").splits["train"])
