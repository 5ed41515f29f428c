"""CIFAR-10 in each of its forms, made small here by other libraries, and hostile ones."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from originals import everything, write_tar
from PIL import Image
from pyarrow import parquet

from cascore.data.cifar import CLASSES, find_cifar10, find_cifar10_jpeg
from cascore.errors import InputError, MissingExtraError

EACH = 4  # images of a batch; 60,000 / 6 in the real set
GENERATOR = np.random.default_rng(17)
PIXELS = GENERATOR.integers(0, 256, (6 * EACH, 3, 32, 32), dtype=np.uint8)
LABELS = GENERATOR.integers(0, 10, 6 * EACH)
PARTS = {"train": range(5 * EACH), "test": range(5 * EACH, 6 * EACH)}
STEMS = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def batch(number):
    part = slice(EACH * number, EACH * (number + 1))
    return PIXELS[part], LABELS[part]


def binary(number):
    """Records of a label, then the red, the green and the blue values row by row."""
    records = []
    for image, label in zip(*batch(number), strict=True):
        records.append(
            bytes([label]) + image[0].tobytes() + image[1].tobytes() + image[2].tobytes()
        )
    return b"".join(records)


def pickled(number):
    images, labels = batch(number)
    rows = images.reshape(EACH, 3072)
    return pickle.dumps({b"data": rows, b"labels": labels.tolist()}, protocol=2)


BINARY = {f"cifar-10-batches-bin/{stem}.bin": binary(n) for n, stem in enumerate(STEMS)}
PYTHON = {f"cifar-10-batches-py/{stem}": pickled(n) for n, stem in enumerate(STEMS)}


def write_folder(path, members):
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def png(image, form="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, format=form)
    return stream.getvalue()


def write_parquet(path, images, labels, *, column="img"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": "x.png"} for content in images]
    parquet.write_table(pa.table({column: rows, "label": labels}), path, row_group_size=3)


def hub(root, form="PNG", **options):
    """The hub's two files, in its folder; three rows a group, so that groups are crossed."""
    for split, part in PARTS.items():
        path = root / "plain_text" / f"{split}-00000-of-00001.parquet"
        encoded = [png(PIXELS[number], form) for number in part]
        write_parquet(path, encoded, LABELS[part].tolist(), **options)
    return root


def image_folders(root, form="PNG"):
    """Labels by subfolder; names so that the order of paths is that of PIXELS within a class."""
    for split, part in PARTS.items():
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
        for number in part:
            name = f"{CLASSES[LABELS[number]]}/{number:02d}.{form.lower()}"
            (root / split / name).write_bytes(png(PIXELS[number], form))
    return root


FORMS = {
    "binary archive": lambda root: write_tar(root / "cifar-10-binary.tar.gz", BINARY),
    "binary folder": lambda root: write_folder(root, BINARY),
    "inner binary folder": lambda root: write_folder(root, BINARY) / "cifar-10-batches-bin",
    "python archive": lambda root: write_tar(root / "cifar-10-python.tar.gz", PYTHON),
    "python folder": lambda root: write_folder(root, PYTHON),
    "parquet folder": hub,
    "parquet file": lambda root: hub(root) / "plain_text" / "train-00000-of-00001.parquet",
    "parquet, image": lambda root: hub(root, column="image"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_images_and_labels(form, tmp_path):
    result = find_cifar10(FORMS[form](tmp_path))
    assert (result.name, result.classes) == ("cifar-10", CLASSES)
    for split, part in PARTS.items():
        original = result.splits[split]
        assert original.count == len(LABELS[part])
        assert np.array_equal(original.labels, LABELS[part])
        assert np.array_equal(everything(original), PIXELS[part])
        assert np.array_equal(everything(original, 3), PIXELS[part][3:])
    assert "20 + 4 images, where the official set has 50,000 + 10,000" in result.record.source


def test_jpeg_is_a_set_of_its_own_name(tmp_path):
    result = find_cifar10_jpeg(hub(tmp_path, "JPEG"))
    assert result.name == "cifar-10-jpeg"
    assert "JPEG, not the original pixels" in result.record.source
    for split, part in PARTS.items():
        decoded = []
        for image in PIXELS[part]:
            with Image.open(io.BytesIO(png(image, "JPEG"))) as stored:
                decoded.append(np.asarray(stored).transpose(2, 0, 1))
        assert np.array_equal(everything(result.splits[split]), np.stack(decoded))
        assert np.array_equal(result.splits[split].labels, LABELS[part])


@pytest.mark.parametrize("form", [hub, image_folders])
def test_jpeg_is_never_taken_for_the_original_nor_the_original_for_jpeg(form, tmp_path):
    lossy, original = form(tmp_path / "lossy", "JPEG"), form(tmp_path / "original")
    for root in (lossy, original) if form is image_folders else ():
        for split in ("train", "test"):  # every class in both
            for name in CLASSES:
                suffix, kind = ("jpeg", "JPEG") if root is lossy else ("png", "PNG")
                (root / split / name / f"99.{suffix}").write_bytes(png(PIXELS[0], kind))
    with pytest.raises(InputError, match=r"is a JPEG.* prepare these images as cifar-10-jpeg"):
        everything(find_cifar10(lossy).splits["train"])
    with pytest.raises(InputError, match=r"is no JPEG.* prepare these images as cifar-10,"):
        everything(find_cifar10_jpeg(original).splits["train"])


def test_folders_of_images_hold_them_in_the_order_of_paths(tmp_path):
    names = [*CLASSES]
    assert names == sorted(names)  # so that alphabetical labels are the official ones
    root = image_folders(tmp_path)
    (root / "train" / "notes.txt").write_text("no image")
    for split in ("train", "test"):  # every class in both, as in the real set
        for name in CLASSES:
            (root / split / name / "99.png").write_bytes(png(PIXELS[0]))
    result = find_cifar10(root)
    assert result.classes == CLASSES
    for split, part in PARTS.items():
        original = result.splits[split]
        expected = []
        for label in range(10):
            expected += [(label, PIXELS[i]) for i in part if LABELS[i] == label]
            expected.append((label, PIXELS[0]))
        assert original.labels.tolist() == [label for label, _ in expected]
        stacked = np.stack([pixels for _, pixels in expected])
        assert np.array_equal(everything(original), stacked)
        assert np.array_equal(everything(original, 5), stacked[5:])
    for split in ("train", "test"):  # an image beside the classes takes the labels away
        (root / split / "stray.png").write_bytes(png(PIXELS[1]))
    result = find_cifar10(root)
    assert result.classes == ()
    assert result.splits["test"].labels is None


def member(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def without(members, part):
    return {name: content for name, content in members.items() if part not in name}


FIRST, ROWS = "cifar-10-batches-bin/data_batch_1.bin", PIXELS.reshape(-1, 3072)
HOSTILE_ARCHIVES = {
    **{
        name: ({name: b"x", **BINARY}, "a name that leads out of the archive")
        for name in ("../evil.bin", "a/../../evil", "/etc/evil", "..\\evil", "C:/evil")
    },
    "a link": ({"l": member("l", tarfile.SYMTYPE, "/etc/passwd"), **BINARY}, "'l', a link"),
    "a hard link": ({"h": member("h", tarfile.LNKTYPE, FIRST), **BINARY}, "'h', a link"),
    "a device": ({"d": member("d", tarfile.CHRTYPE), **BINARY}, "'d', a link or a device"),
    "a batch too few": (without(BINARY, "data_batch_3"), "lacks data_batch_3.bin"),
    "nothing of cifar-10": ({"a.txt": b"hello"}, "no batches of cifar-10; --source is"),
    "a batch twice": ({**BINARY, "b/test_batch.bin": b"x"}, "test_batch.bin twice"),
    "half a record": (BINARY | {FIRST: BINARY[FIRST][:-1]}, "no multiple of 3073"),
    "an empty batch": (BINARY | {FIRST: b""}, "has 0 bytes"),
    "a label of ten": (BINARY | {FIRST: b"\x0a" + BINARY[FIRST][1:]}, "label 10; expected 0 to 9"),
    "a pickle with code": (
        PYTHON | {"cifar-10-batches-py/data_batch_2": b"cos\nsystem\n(S'touch evil'\ntR."},
        r"data_batch_2 of .* asks for \w+\.system, .* refused",
    ),
    "a pickle of nothing": (
        PYTHON | {"cifar-10-batches-py/data_batch_2": pickle.dumps([1, 2])},
        "holds as data no array",
    ),
    "a pickle of other rows": (
        PYTHON | {"cifar-10-batches-py/test_batch": pickle.dumps({"data": PIXELS[0, 0]})},
        r"holds as data \(32, 32\); expected uint8 \[N, 3072\]",
    ),
    "a pickle without labels": (
        PYTHON | {"cifar-10-batches-py/test_batch": pickle.dumps({"data": ROWS})},
        "no list of labels",
    ),
    "a pickle of fewer labels": (
        PYTHON | {"cifar-10-batches-py/test_batch": pickle.dumps({"data": ROWS, "labels": [1]})},
        "24 images but 1 labels",
    ),
}


@pytest.mark.parametrize("case", HOSTILE_ARCHIVES)
def test_a_hostile_archive_is_an_error_that_names_it(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members, message = HOSTILE_ARCHIVES[case]
    path = write_tar(tmp_path / "cifar.tar.gz", members)
    with pytest.raises(InputError, match=message) as caught:
        find_cifar10(path)
    assert str(path) in str(caught.value)
    assert [*tmp_path.iterdir()] == [path]  # nothing was extracted and nothing was run


def test_an_archive_that_ends_too_early_is_truncated(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", BINARY)
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:40], b"", b"\x1f\x8b", b"not gzip at all" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as \.tar\.gz"):
            find_cifar10(path)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:2000]))  # whole gzip, half a tar
    with pytest.raises(InputError, match=r"truncated|cannot be read|no batches"):
        find_cifar10(path)


def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path, monkeypatch):
    """A long name of 3 GB: tarfile would read it whole, and gzip makes it cheap to send."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3 * 2**30
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"a" * 2**20))
    with pytest.raises(InputError, match="claims a header of 3221225472 bytes"):
        find_cifar10(path)
    monkeypatch.setattr("cascore.data.cifar._LARGEST", 1000)  # nor is a member that is too large
    with pytest.raises(InputError, match=r"more than [12]000"):
        find_cifar10(write_tar(path, BINARY))


def two_hub_files(root, images, labels, **options):
    for split in ("train", "test"):
        write_parquet(root / f"{split}-0.parquet", images, labels, **options)


def cut_hub(root):
    path = hub(root) / "plain_text" / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-8])


FACE, FLAT = png(PIXELS[0]), png(np.zeros((3, 31, 32), dtype=np.uint8))
HOSTILE_IMAGES = {
    "classes that differ": (
        lambda root: write_folder(root, {"train/cat/a.png": FACE, "test/dog/a.png": FACE}),
        "cat, dog is in one only",
    ),
    "another size": (
        lambda root: write_folder(root, {"train/a.png": FLAT, "test/a.png": FACE}),
        "are 32 x 31; those of cifar-10 are 32 x 32",
    ),
    "no test": (
        lambda root: write_parquet(root / "train-0.parquet", [FACE], [1]),
        r"no file test-\*\.parquet",
    ),
    "a label of eleven": (
        lambda root: two_hub_files(root, [FACE], [11]),
        "label 11; expected 0 to",
    ),
    "a missing label": (lambda root: two_hub_files(root, [FACE], [None]), "label None; expected 0"),
    "text": (lambda root: two_hub_files(root, [b"hello"], [1]), "cannot be read as an image"),
    "a missing image": (lambda root: two_hub_files(root, [None], [1]), "no bytes of images"),
    "another column": (
        lambda root: two_hub_files(root, [FACE], [1], column="photo"),
        "columns photo, label; expected img and label",
    ),
    "no parquet": (
        lambda root: write_folder(root, {"train-0.parquet": b"x" * 99, "test-0.parquet": b"PAR1"}),
        "cannot be read as parquet",
    ),
    "a truncated parquet": (cut_hub, r"test-0.*-of-00001\.parquet cannot be read as parquet"),
    "nothing": (lambda root: None, "no form of cifar-10; --source is"),
}


@pytest.mark.parametrize("case", HOSTILE_IMAGES)
def test_broken_image_forms_are_errors_that_name_the_file(case, tmp_path):
    make, message = HOSTILE_IMAGES[case]
    make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        everything(find_cifar10(tmp_path).splits["train"])
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match="cifar-10 cannot be read from"):
        find_cifar10(tmp_path / "missing")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pyarrow.*cascore\[data\]"):
        find_cifar10(hub(tmp_path))
