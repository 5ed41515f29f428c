"""Archives, arrays and tables of pictures, unpacked: the same pixels, classes and splits."""

import io
import json
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pyarrow
import pytest
from originals import write_tar
from PIL import Image
from pyarrow import parquet
from running import run

from cascore.data.catalogue import load_image_splits
from cascore.data.listing import find_images
from cascore.data.packed import find_packed
from cascore.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, size=(24, 8, 8, 3), dtype=np.uint8)
LABELS = [number % 12 for number in range(24)]


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


def moving(kind):
    """Two pictures in one file, as cameras write them."""
    stream = io.BytesIO()
    first, second = map(Image.fromarray, PIXELS[:2])
    first.save(stream, format=kind, save_all=True, append_images=[second])
    return stream.getvalue()


def unpacked(source, tmp_path, name="out"):
    """The images of a folder by name, once the command has written it."""
    out = tmp_path / name
    assert run("data", "unpack", source, out) == 0
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def pixels_of(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_an_archive_keeps_its_folders_and_its_bytes(tmp_path):
    images = {f"{'ab'[i % 2]}/{i}.png": encoded(pixels) for i, pixels in enumerate(PIXELS[:6])}
    others = {"readme.txt": b"x", ".hidden.png": b"x", "__MACOSX/a/._0.png": b"x"}
    path = write_zip(tmp_path / "x.ZIP", images | others)
    assert unpacked(path, tmp_path) == images
    loaded = load_image_splits(f"folder:{tmp_path / 'out'}")["train"]
    assert loaded.classes == ("a", "b")


def test_what_an_archive_holds_beside_images_is_said(tmp_path, capsys):
    others = {"b.heic": b"x", "c.HEIC": b"x", "d/e.jxl": b"x", ".f.heic": b"x", "d/": b""}
    path = write_zip(tmp_path / "x.zip", {"shot 12:30.png": encoded(PIXELS[0])} | others)
    assert [*unpacked(path, tmp_path)] == ["shot 12:30.png"]
    assert "passed over 3 other files: 2 .heic, 1 .jxl\n" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no image file; passed over 3 other files: 2 \.heic"):
        find_packed(write_zip(tmp_path / "y.zip", others))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.png", "a.png/b.png"), "holds a.png/b.png twice, or as a file and a folder"),
        (("a.png/b.png", "a.png"), "holds a.png twice, or as a file and a folder"),
        (("a.png", "a.png/b/c.png"), "holds a.png/b/c.png twice, or as a file and a folder"),
        (("a.png", "./a.png"), "holds a.png twice"),
        ((f"{'x' * 300}.png",), f"holds {'x' * 300}.png, a name too long for a file"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused_as_the_archive_has_it(
    names, told, tmp_path, capsys
):
    write_zip(tmp_path / "x.zip", dict.fromkeys(names, encoded(PIXELS[0])))
    assert run("data", "unpack", tmp_path / "x.zip", tmp_path / "out") == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_the_labels_of_edm_become_classes_in_the_order_of_their_numbers(tmp_path):
    names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(24)]
    images = dict(zip(names, map(encoded, PIXELS), strict=True))
    labels = json.dumps({"labels": [[n, k] for n, k in zip(names, LABELS, strict=True)]})
    found = unpacked(write_zip(tmp_path / "x.zip", images | {"dataset.json": labels}), tmp_path)
    assert found == {f"{k:02d}/{name}": images[name] for name, k in zip(names, LABELS, strict=True)}
    sets = load_image_splits(f"folder:{tmp_path / 'out'}").values()
    assert {part.classes for part in sets} == {tuple(f"{k:02d}" for k in range(12))}
    none = write_zip(tmp_path / "y.zip", images | {"dataset.json": '{"labels": null}'})
    assert unpacked(none, tmp_path, "none") == images


@pytest.mark.parametrize("form", ["NHWC", "NCHW", "NHW", "NHW1"])
def test_arrays_become_pictures(tmp_path, form):
    grey = PIXELS[..., 0]
    array = {
        "NHWC": PIXELS, "NCHW": PIXELS.transpose(0, 3, 1, 2), "NHW": grey, "NHW1": grey[..., None]
    }[form]  # fmt: skip
    np.save(tmp_path / "x.npy", array)
    found = unpacked(tmp_path / "x.npy", tmp_path)
    assert list(found) == [f"{i:08d}.png" for i in range(24)]
    for pixels, content in zip(PIXELS if "C" in form else grey, found.values(), strict=True):
        assert np.array_equal(pixels_of(content), pixels)


@pytest.mark.parametrize("names", [("arr_0", "arr_1"), ("images", "labels")])
def test_arrays_with_labels_become_classes(tmp_path, names):
    np.savez(tmp_path / "x.npz", **dict(zip(names, (PIXELS, np.array(LABELS)), strict=True)))
    found = unpacked(tmp_path / "x.npz", tmp_path)
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        assert np.array_equal(pixels_of(found[f"{label:02d}/{number:08d}.png"]), pixels)


def table(labels=True, *, names=None, kind="PNG"):
    """As the library `datasets` writes a column of images and one of classes."""
    files = [{"bytes": encoded(pixels, kind), "path": None} for pixels in PIXELS]
    columns = {"image": files} | ({"label": LABELS} if labels else {})
    made = pyarrow.table(columns)
    if names is not None:
        label = {"names": names, "_type": "ClassLabel"}
        features = {"image": {"_type": "Image"}, "label": label}
        known = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({b"huggingface": known.encode()})
    return made


def test_tables_of_the_hub_keep_bytes_classes_and_splits(tmp_path):
    names, folder = [f"kind {k}/{k}" for k in range(12)], tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        parquet.write_table(
            table(names=names), folder / f"{split}-00000-of-00001.parquet", row_group_size=5
        )
    found = unpacked(folder, tmp_path)
    assert len(found) == 48
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        for split in ("train", "test"):
            stem = f"{split}-00000-of-00001-{number:08d}.png"
            assert found[f"{split}/kind {label}-{label}/{stem}"] == encoded(pixels)
    sets = load_image_splits(f"folder:{tmp_path / 'out'}")
    assert [part.count for part in sets.values()] == [24, 24]


def write_tables(folder, *names, labels=(0, 1)):
    """Tables with two rows each, of the classes cat and dog; the bytes of the images."""
    known = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    images = [encoded(pixels) for pixels in PIXELS[: len(labels)]]
    for name in names:
        made = pyarrow.table({"image": images, "label": [*labels]})
        made = made.replace_schema_metadata({b"huggingface": json.dumps(known).encode()})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(made, folder / name)
    return images


def test_folders_say_splits_and_what_is_of_none_is_left_out_beside_them(tmp_path, capsys):
    """As the hub lays out tables that it converts, and what SVHN and STL-10 have beside."""
    folder = tmp_path / "data"
    write_tables(
        folder, "default/train/0000.parquet", "default/test/0000.parquet", "extra-0.parquet"
    )
    assert [*unpacked(folder, tmp_path)] == [
        f"{split}/{name}/default-{split}-0000-{number:08d}.png"
        for split in ("test", "train")
        for number, name in enumerate(("cat", "dog"))
    ]
    told = capsys.readouterr().err
    assert "left out files that are neither of train nor held out: extra-0.parquet\n" in told
    for path in ("a/train/00000.tar", "a/val/00000.tar", "a/more.tar", "a/.hidden/val/1.tar"):
        write_tar(tmp_path / "tars" / path, {"x.png": encoded(PIXELS[0])})
    names = [f"{split}/a-{split}-00000-00000000.png" for split in ("train", "val")]
    assert [*unpacked(tmp_path / "tars", tmp_path, "two")] == names
    assert "held out: a/more.tar\n" in capsys.readouterr().err


def test_files_of_no_split_keep_their_places_in_the_names(tmp_path):
    write_tables(tmp_path / "data", "train/0.parquet", "more/0.parquet")
    assert len(unpacked(tmp_path / "data", tmp_path)) == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cat", "dog"}


@pytest.mark.parametrize("none", [None, -1])
def test_a_row_without_a_label_has_no_class(none, tmp_path, capsys):
    images = write_tables(tmp_path, "some.parquet", labels=(0, none, 1))
    found = unpacked(tmp_path / "some.parquet", tmp_path, "one")
    assert found == {"cat/some-00000000.png": images[0], "dog/some-00000002.png": images[2]}
    told = capsys.readouterr().err
    assert "left out 1 of 3 images, which have no label (null or -1)\n" in told
    assert "2/2" in told
    write_tables(tmp_path, "all.parquet", labels=(none, none))
    assert [*unpacked(tmp_path / "all.parquet", tmp_path, "two")] == [
        "all-00000000.png", "all-00000001.png"
    ]  # fmt: skip
    assert "left out" not in capsys.readouterr().err


def test_what_is_unpacked_out_of_one_of_many_has_a_suffix_that_a_folder_reads(tmp_path):
    kinds = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
    files = [encoded(PIXELS[0], kind) for kind in kinds] + [moving("MPO"), moving("PNG")]
    parquet.write_table(pyarrow.table({"image": files}), tmp_path / "x.parquet")
    found = unpacked(tmp_path / "x.parquet", tmp_path)
    assert [name.rpartition(".")[2] for name in found] == [
        "png", "jpg", "webp", "bmp", "gif", "tif", "jpg", "png"
    ]  # fmt: skip
    assert len(find_images(tmp_path / "out").images) == len(files)


def test_a_table_without_names_has_numbers_and_one_without_labels_no_classes(tmp_path):
    parquet.write_table(table(), tmp_path / "a.parquet")
    parquet.write_table(table(labels=False, kind="JPEG"), tmp_path / "b.parquet")
    numbered = unpacked(tmp_path / "a.parquet", tmp_path, "one")
    assert {PurePosixPath(name).parts[0] for name in numbered} == {f"{k:02d}" for k in range(12)}
    plain = unpacked(tmp_path / "b.parquet", tmp_path, "two")
    assert list(plain) == [f"b-{i:08d}.jpg" for i in range(24)]
    assert [*plain.values()] == [encoded(pixels, "JPEG") for pixels in PIXELS]


def test_a_class_is_one_in_all_files_whatever_its_number(tmp_path):
    """The files are scanned together, and a number is no count of names."""
    folder, rows = tmp_path / "data", {"image": [encoded(PIXELS[0])] * 2}
    folder.mkdir()
    for split, labels in (("train", [3, 2**40]), ("test", [3, 3])):
        parquet.write_table(pyarrow.table(rows | {"label": labels}), folder / f"{split}-0.parquet")
    found = unpacked(folder, tmp_path)
    three = f"{3:0{len(str(2**40))}d}"
    assert {name.rpartition("/")[0] for name in found} == {
        f"train/{three}", f"train/{2**40}", f"test/{three}"
    }  # fmt: skip


def test_shards_become_a_folder_with_their_classes_and_splits(tmp_path):
    expected = {}
    for split, numbers in (("train", range(16)), ("test", range(16, 24))):
        members = {}
        for place, number in enumerate(numbers):
            key, label, image = f"{number:03d}", LABELS[number], encoded(PIXELS[number])
            members |= {f"{key}.cls": b"%d" % label, f"{key}.json": b"{}", f"{key}.img.PNG": b"x"}
            members[f"{key}.PNG"] = image
            expected[f"{split}/{label:02d}/deeper-{split}-7-{place:08d}.png"] = image
        write_tar(tmp_path / "in" / "deeper" / f"{split}-7.tar", members)
    assert unpacked(tmp_path / "in", tmp_path) == expected


def test_a_shard_without_labels_has_no_classes(tmp_path):
    images = [encoded(pixels, "JPEG") for pixels in PIXELS[:3]]
    names = {f"{letter}.jpg": image for letter, image in zip("abc", images, strict=True)}
    found = unpacked(write_tar(tmp_path / "x.tar", names), tmp_path)
    assert found == {f"x-{i:08d}.jpg": image for i, image in enumerate(images)}


def write_foreign(folder):
    """Files that cannot be unpacked, with a word of what is said."""
    good = {"a.png": encoded(PIXELS[0])}
    pair = {"dataset.json": '{"labels": [["b.png", 1]]}'}
    twice = {"dataset.json": '{"labels": [["a.png", 1], ["a.png", 2]]}'}
    np.save(folder / "float.npy", np.zeros((2, 8, 8)))
    np.savez(folder / "few.npz", images=PIXELS, labels=np.zeros(3, dtype=int))
    parquet.write_table(pyarrow.table({"text": ["a"]}), folder / "text.parquet")
    parquet.write_table(pyarrow.table({"image": [b"text"]}), folder / "junk.parquet")
    (folder / "cut.parquet").write_bytes(b"PAR1")
    (folder / "x.rar").touch()
    (folder / "empty").mkdir()
    return {
        write_zip(folder / "out.zip", {"../a.png": good["a.png"]}): "leads out",
        write_zip(folder / "none.zip", {"a.txt": b"x"}): "no image file",
        write_zip(folder / "junk.zip", {"a.png": b"junk"}): "a.png",
        write_zip(folder / "label.zip", good | pair): "no label for a.png",
        write_zip(folder / "twice.zip", good | twice): "names a.png twice",
        write_zip(folder / "drive.zip", {"C:a.png": good["a.png"]}): "leads out",
        write_tar(folder / "none.tar", {"a.txt": b"x"}): "no shard .* holds an image",
        write_tar(folder / "few.tar", good | {"a.cls": b"1", "b.png": b"x"}): "1 of 2 images",
        write_tar(folder / "junk.tar", {"a.png": b"junk"}): r"byte 512 of .*junk\.tar",
        write_zip(folder / "words.zip", good | {"dataset.json": '{"labels": [1]}'}): "no list",
        folder / "float.npy": "float64",
        folder / "few.npz": "no class for each",
        folder / "text.parquet": "columns text",
        folder / "junk.parquet": "row 0",
        folder / "cut.parquet": "parquet",
        folder / "x.rar": "none of",
        folder / "empty": "needs no unpacking",
        folder / "absent.zip": "there is no",
    }


def test_what_cannot_be_unpacked_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    for source, word in write_foreign(tmp_path / "in").items():
        with pytest.raises(InputError, match=word):
            list(find_packed(source).images)
        assert run("data", "unpack", source, tmp_path / "out") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_set_that_is_unpacked_trains(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    unpacked(tmp_path / "x.npy", tmp_path)
    small = ("--train.steps", "1", "--train.batch-size", "2", "--network.width", "8")
    assert run("train", f"folder:{tmp_path / 'out'}", "--out", tmp_path / "run", *small) == 0
