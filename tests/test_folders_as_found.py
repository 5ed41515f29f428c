"""Folders as people have them: splits, links, names, depths, broken images, small, moved."""

import json
import os
import shutil
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image
from running import run

from cascore.data import load_image_splits, load_images
from cascore.data.catalogue import find_originals
from cascore.data.folder import decode_one, load_folder
from cascore.data.prepared import prepare
from cascore.errors import InputError
from cascore.experiment.run_folder import read_experiment
from cascore.measurement import read_measurements
from cascore.preprocessing import FolderOptions

GENERATOR = np.random.default_rng(5)
TINY = ("--network.width", 4, "--train.batch-size", 4, "--device", "cpu", "--threads", 1)
HELD_IN = "2.png"  # by the hash of its name
HELD_OUT = "1.png"


def save(path, shape=(8, 8, 3)):
    """Random pixels, as [C, H, W]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = GENERATOR.integers(256, size=shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def loaded(folder, **options):
    """The splits of a folder."""
    return load_image_splits(f"folder:{folder}", folder=FolderOptions(**options))


def whole(folder, **options):
    """All images of a folder, [N, C, H, W]."""
    return np.concatenate([part.images.numpy() for part in loaded(folder, **options).values()])


def remarks(folder, **options):
    return loaded(folder, **options)["train"].record.remarks


def test_home_is_found_and_a_name_without_a_path_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pixels = save(tmp_path / "photos" / HELD_IN)
    save(tmp_path / "photos" / HELD_OUT)
    assert np.array_equal(load_images("folder:~/photos", "train").images[0], pixels)
    with pytest.raises(InputError, match="give the path in full"):
        load_images("folder:~nobody-of-that-name/x", "train")
    for name in ("folder:", "folder: "):
        with pytest.raises(InputError, match="names no folder"):
            load_images(name, "train")
    for command in (
        ("train", "folder:"),
        ("data", "show", "folder:"),
        ("reference", "folder:", "out.npz"),
        ("evaluate", "photos", "--data", "folder:"),
    ):
        assert run(*command) == 2
        assert "names no folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("held_out", ["test", "val", "valid", "validation", "Test"])
def test_train_and_another_folder_are_splits_with_classes(held_out, tmp_path):
    names = [
        f"{top}/{kind}/{i}.png" for top in ("train", held_out) for kind in "ab" for i in (1, 2)
    ]
    pixels = {name: save(tmp_path / name) for name in names}
    save(tmp_path / "cover.png")
    save(tmp_path / "more" / "a" / "1.png")
    parts = loaded(tmp_path)
    for split, top in (("train", "train"), ("test", held_out)):
        expected = [name for name in names if name.startswith(top)]
        assert np.array_equal(parts[split].images, [pixels[name] for name in expected])
        assert parts[split].classes == ("a", "b")
        assert parts[split].labels.tolist() == [0, 0, 1, 1]
    assert parts["train"].record.split == f"as found: the folders train and {held_out}"
    assert f"2 beside train and {held_out}" in parts["train"].record.remarks[0]
    assert loaded(tmp_path, labels=False)["train"].labels is None


def test_several_held_out_folders_are_one_split_and_train_alone_is_split_by_names(tmp_path):
    for top in ("train", "val", "test"):
        save(tmp_path / top / "a" / "1.png")
    assert {split: part.count for split, part in loaded(tmp_path).items()} == {
        "train": 1,
        "test": 2,
    }
    for i in range(40):
        save(tmp_path / "alone" / "train" / "ab"[i % 2] / f"{i}.png")
    parts = loaded(tmp_path / "alone")
    assert parts["train"].classes == ("a", "b")
    assert parts["train"].count + parts["test"].count == 40
    assert parts["test"].count < 15  # 4 expected


def test_a_folder_without_an_image_to_train_on_is_refused(tmp_path, capsys):
    one, half = tmp_path / "one", tmp_path / "half"
    for path in (one / HELD_OUT, half / "train" / HELD_IN, half / "test" / HELD_IN):
        save(path)
    (half / "train" / HELD_IN).write_text("")
    for folder, rule in ((one, "test where SHA-256 of"), (half, "as found: the folders train and")):
        command = ("train", f"folder:{folder}", "--data.skip-broken", *TINY)
        assert run(*command, "--out", tmp_path / "run") == 2
        assert f"none of the 1 images in {folder} falls into the train split ({rule}" in told(
            capsys, "err"
        )
        with pytest.raises(InputError, match="falls into the train split"):
            loaded(folder, skip_broken=True)


def test_linked_folders_are_followed_once_and_what_is_passed_over_is_named(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "set"
    cat, dog = save(elsewhere / "cats" / HELD_IN), save(folder / "dog" / HELD_IN)
    (folder / "cat").symlink_to(elsewhere / "cats")
    (elsewhere / "cats" / "loop").symlink_to(elsewhere / "cats")
    (folder / "hound").symlink_to(folder / "dog")
    (folder / "dog" / "up").symlink_to(tmp_path)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("a.heic", "b.HEIC", "c.txt", "README", ".hidden.heic"):
        (folder / name).write_text("")
    part = loaded(folder)["train"]
    assert part.classes == ("cat", "dog")
    assert np.array_equal(part.images, [cat, dog])
    (passed,) = (remark for remark in part.record.remarks if "passed over" in remark)
    assert passed.startswith("passed over 8 other files: 2 .heic, 2 link to a folder that is there")
    for kind in ("1 link to a folder above", "1 broken link", "1 .txt", "1 without a suffix"):
        assert kind in passed or "of other kinds" in passed
    (elsewhere / "cats" / "loop").unlink()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cats").symlink_to(elsewhere / "cats")
    (tmp_path / "links" / "whole").symlink_to(elsewhere)
    assert not any("link" in remark for remark in remarks(tmp_path / "links"))
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_text("")
    with pytest.raises(InputError, match=r"no image in .*passed over 1 other file: 1 \.heic"):
        loaded(tmp_path / "phone")


def deep_png(path, values, kind):
    """A PNG of 16 bits a channel, by its specification."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width, _ = values.shape
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "channels", "alpha"), [(0, 1, 0), (2, 3, 0), (4, 1, 1), (6, 3, 1)]
)
def test_sixteen_bits_become_the_high_byte_alike_and_are_said(kind, channels, alpha, tmp_path):
    values = GENERATOR.integers(65536, size=(5, 7, channels + alpha), dtype=np.uint16)
    deep_png(tmp_path / HELD_IN, values, kind)
    high = (values >> 8).transpose(2, 0, 1)
    shown = high
    if alpha:
        cover = high[-1] / 255
        shown = high[:-1] * cover + 255 * (1 - cover)
    part = loaded(tmp_path)["train"]
    assert part.shape == (channels, 5, 7)
    assert np.abs(part.images[0].numpy() - shown).max() <= (1 if alpha else 0)
    assert "high byte of 16 bits taken: 1 of 1 images" in part.record.remarks
    assert "high byte of 16 bits taken: 1 images" in part.record.preparation


def test_sixteen_bits_of_a_tiff_and_a_transparent_colour(tmp_path):
    values = GENERATOR.integers(65536, size=(5, 7), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "1.tif")
    assert np.array_equal(whole(tmp_path)[0, 0], values >> 8)
    Image.fromarray(values).save(tmp_path / "1.tif", compression="tiff_lzw")
    assert np.array_equal(whole(tmp_path)[0, 0], values >> 8)
    (tmp_path / "1.tif").unlink()
    Image.fromarray(values).save(tmp_path / HELD_IN, transparency=int(values[0, 0]))
    with pytest.raises(InputError, match="16 bits and a transparent colour"):
        loaded(tmp_path)


def grey_tiff(path, bits, photometric):
    """A TIFF of 4 x 4 pixels whose bits are all set, by its specification."""
    size = 2 * bits
    tags = {
        256: 4,
        257: 4,
        258: bits,
        259: 1,
        262: photometric,
        273: 122,
        277: 1,
        278: 4,
        279: size,
    }
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, 9) + entries + bytes(4) + b"\xff" * size)


def test_grey_tiffs_of_12_bits_and_of_16_where_white_is_zero_are_refused(tmp_path):
    """Pillow leaves the one in the low bits and the other a negative."""
    path = tmp_path / HELD_IN
    for bits, photometric, grey in ((8, 1, 255), (8, 0, 0), (16, 1, 255)):
        grey_tiff(path, bits, photometric)
        assert (whole(tmp_path) == grey).all()
    for bits, photometric in ((12, 1), (16, 0)):
        grey_tiff(path, bits, photometric)
        with pytest.raises(InputError, match="convert it to 8-bit grey"):
            loaded(tmp_path)


def test_a_name_is_the_same_composed_and_decomposed(tmp_path):
    """As a copy through a Mac leaves it; "e" with an accent sorts elsewhere decomposed."""
    names = [f"{kind}/{i}é.png" for kind in ("café", "caff") for i in range(20)]
    for name in names:
        save(tmp_path / "NFC" / name)
        copy = tmp_path / "NFD" / unicodedata.normalize("NFD", name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "NFC" / name, copy)
    composed, decomposed = loaded(tmp_path / "NFC"), loaded(tmp_path / "NFD")
    assert composed["train"].classes == decomposed["train"].classes == ("caff", "café")
    assert composed.keys() == decomposed.keys() == {"train", "test"}
    for split, part in composed.items():
        assert part.digest == decomposed[split].digest


def test_a_name_that_is_no_text_is_refused_of_a_folder_and_written_as_an_escape_of_a_file(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    for name in (HELD_IN, "3.png"):
        save(tmp_path / "files" / name)
        save(tmp_path / "classes" / odd / name)
    (tmp_path / "files" / f"{odd}.png").write_text("")
    options, root = FolderOptions(skip_broken=True), tmp_path / "root"
    prepare(find_originals("mine", tmp_path / "files", folder=options), root=root)
    remark = r"1 images cannot be read and are left out: caf\udce9.png"
    assert remark in load_images("mine", "train", root=root).record.remarks
    for folder in (tmp_path / "classes", tmp_path / "classes" / odd):
        with pytest.raises(InputError, match=f"the folder .*{odd} is not text in UTF-8.*rename"):
            loaded(folder)


def test_all_broken_images_are_found_in_one_pass_or_left_out(tmp_path, capsys):
    folder = tmp_path / "photos"
    for i in range(40):
        save(folder / f"{i:02d}.png")
    shutil.copytree(folder, tmp_path / "good")
    broken = [f"{i:02d}.png" for i in range(5, 17)]
    for i, name in enumerate(broken):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(b"" if i in (4, 7) else content[: len(content) // 2])
        (tmp_path / "good" / name).unlink()
    with pytest.raises(InputError) as caught:
        load_images(f"folder:{folder}", "train")
    told = str(caught.value)
    assert (
        f"12 of 40 images in {folder} cannot be read: {', '.join(broken[:10])} and 2 more" in told
    )
    for name in broken[4], broken[7]:  # then with no header among them
        (folder / name).unlink()
    with pytest.raises(InputError, match="10 of 38 images"):
        load_images(f"folder:{folder}", "train")
    with pytest.raises(InputError, match="10 of 38 images"):
        prepare(find_originals("mine", folder), root=tmp_path / "root")
    parts = loaded(folder, skip_broken=True)
    for split, part in loaded(tmp_path / "good").items():
        assert parts[split].digest == part.digest
    record = parts["train"].record
    assert record.preparation == ("left out because they cannot be read: 10 images",)
    assert record.remarks[0].startswith("10 images cannot be read and are left out: 05.png, ")
    assert (
        run("data", "show", f"folder:{folder}", "--skip-broken", "--out", tmp_path / "sheet") == 0
    )
    assert "note: 10 images cannot be read" in capsys.readouterr().out
    for path in folder.iterdir():
        path.write_text("")
    with pytest.raises(InputError, match="none of the 38 images"):
        loaded(folder, skip_broken=True)


def test_an_image_is_never_enlarged_without_a_word(tmp_path):
    for i, side in enumerate((8, 16, 32, 32)):
        save(tmp_path / "photos" / f"{i}.png", (side, 40, 3))
    enlarged = "enlarged to 20 pixels: 2 of 4 images"
    assert enlarged in remarks(tmp_path / "photos", size=20)
    assert not any("enlarged" in text for text in remarks(tmp_path / "photos", size=8))


def test_classes_that_are_many_or_small_are_named(tmp_path):
    for i in range(12):
        save(tmp_path / "a" / f"{i}.png", (1, 1))
    for name in ("b", "c"):
        save(tmp_path / name / HELD_IN, (1, 1))
    assert remarks(tmp_path) == ("2 of 3 classes have fewer than 10 images: b, c",)
    assert remarks(tmp_path, labels=False) == ()
    for i in range(998):
        (tmp_path / f"user{i}").mkdir()
        shutil.copy(tmp_path / "a" / "0.png", tmp_path / f"user{i}")
    assert remarks(tmp_path)[0].startswith("1,001 subfolders are 1,001 classes")
    assert "user103, user104 and 990 more" in remarks(tmp_path)[1]


def test_classes_without_an_image_to_train_on_are_named(tmp_path):
    for name in ("train/cats", "train/dogs", "test/cat", "test/dogs"):
        for i in range(10):
            save(tmp_path / name / f"{i}.png", (1, 1))
    assert remarks(tmp_path) == ("1 of 3 classes have no image to train on: cat",)
    assert load_folder(tmp_path, "all", options=FolderOptions()).record.remarks == ()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Eight 16 x 16 photos of which none is held out; the working directory is above them."""
    monkeypatch.chdir(tmp_path)
    for name in range(2, 10):
        save(tmp_path / "photos" / f"{name}.png", (16, 16, 3))
    assert loaded("photos").keys() == {"train"}
    return tmp_path


def test_a_folder_that_holds_nothing_out_works_everywhere(small, capsys):
    nothing = "none of the 8 images is held out"
    assert (
        run("train", "folder:photos", *TINY, "--train.steps", 1, "--train.evaluate-every", 1) == 0
    )
    assert nothing in capsys.readouterr().err
    assert run("data", "show", "folder:photos") == 0
    told = capsys.readouterr().out
    assert nothing in told
    assert "test:" not in told
    asked = ("--calls", 2, "--count", 8, "--device", "cpu")
    assert run("evaluate", "runs/folder-photos", *asked) == 0
    told = capsys.readouterr().out
    assert "memorisation left out: it needs the training images and held-out ones" in told
    assert "held-out |" not in told
    assert run("tune", "runs/folder-photos", *asked, "--blocks", 2) == 0
    assert run("data", "prepare", "mine", "--source", "photos") == 0
    prepared = load_image_splits("mine", root="data")
    assert prepared["train"].digest == loaded("photos")["train"].digest
    assert prepared.keys() == {"train"}
    assert nothing in prepared["train"].record.remarks[0]
    assert run("data", "verify", "mine") == 0
    with pytest.raises(InputError, match="holds no test images"):
        load_images("mine", "test", root="data")


def test_a_run_is_tied_to_its_images_and_not_to_their_path(small, capsys, monkeypatch):
    for name in (2, 3, 4, 5):
        save(small / "photos" / f"{name}.png", (24, 20, 3))
    save(small / "photos" / HELD_OUT, (16, 16))
    options = ("--data.size", 8, "--data.crop", "none", "--data.filter", "box")
    command = ("--out", small / "run", *TINY)
    assert run("train", "folder:photos", *command, *options, "--train.steps", 1) == 0
    before = read_experiment(small / "run")
    assert run("train", f"folder:{small / 'photos'}", *command, "--train.steps", 2) == 0
    (small / "elsewhere").mkdir()
    (small / "photos").rename(small / "elsewhere" / "moved")
    monkeypatch.chdir(small / "elsewhere")
    assert run("train", "folder:moved", *command, "--train.steps", 3) == 0
    after = read_experiment(small / "run")
    assert after.data.name == "folder:moved"
    assert (after.data.options, after.network) == (before.data.options, before.network)
    assert after.data.options == FolderOptions(size=8, crop="none", filter="box", mode="rgb")
    monkeypatch.chdir(small)
    capsys.readouterr()
    asked = ("--calls", 2, "--count", 8, "--device", "cpu")
    assert run("evaluate", "run", *asked) == 2
    assert "say where they are now with --data folder:PATH" in capsys.readouterr().err
    there = ("--data", "folder:elsewhere/moved")
    assert run("evaluate", "run", *asked, *there, "--out", "a.json") == 0
    assert "not what the model was trained on" not in capsys.readouterr().out
    record = read_measurements(small / "a.json")[0]
    assert (
        record.references[0].digest
        == json.loads((small / "run" / "data.json").read_text())["digest"]
    )
    assert run("tune", "run", *asked, *there, "--blocks", 2) == 0
    save(small / "elsewhere" / "moved" / "2.png", (24, 20, 3))
    capsys.readouterr()
    assert run("evaluate", "run", *asked, *there) == 0
    assert "is not what the model was trained on" in capsys.readouterr().out
    assert run("train", there[1], *command, "--train.steps", 4) == 2
    assert "was trained on other data: 8 items of folder:moved" in capsys.readouterr().err


def test_subfolders_are_classes_that_a_training_learns_and_a_sampling_asks_for(small):
    for kind in ("café", "tea"):
        for name in range(2, 10):
            save(small / "drinks" / unicodedata.normalize("NFD", kind) / f"{name}.png", (16, 16))
    train = ("train", "folder:drinks", *TINY, "--train.steps", 1, "--out")
    assert run(*train, "told") == 0
    assert read_experiment(small / "told").network.labels
    assert json.loads((small / "told" / "data.json").read_text())["classes"] == ["café", "tea"]
    assert run("sample", "told", "--label", "café", "--count", 2, "--calls", 2, "--out", "a") == 0
    for ignored in ("--data.no-labels", "--network.no-labels"):
        assert run(*train, ignored[2:], ignored) == 0
        assert not read_experiment(small / ignored[2:]).network.labels
    assert json.loads((small / "data.no-labels" / "data.json").read_text())["classes"] == []
    assert run("sample", "network.no-labels", "--label", "tea", "--count", 2, "--calls", 2) == 2


def test_a_folder_is_decoded_once_by_a_training(small, monkeypatch):
    decoded = []

    def counted(folder, header, *, target):
        decoded.append(str(header.path))
        return decode_one(folder, header, target=target)

    monkeypatch.setattr("cascore.data.folder.decode_one", counted)
    assert run("train", "folder:photos", *TINY, "--train.steps", 1) == 0
    assert sorted(decoded) == [f"{name}.png" for name in range(2, 10)]


def test_a_set_against_its_own_reference_scores_nothing(small, capsys):
    """And few images are said to be few: the blotches of an untrained model have a precision."""
    for name in range(20, 80):
        save(small / "photos" / f"{name}.png", (16, 16, 3))
    assert run("reference", "folder:photos", "photos.npz", "--device", "cpu") == 0
    assert "68 images of folder:photos (all)" in capsys.readouterr().out
    asked = ("--device", "cpu", "--extractor", "random-convolution", "--out")
    assert run("evaluate", "photos", "--data", "photos.npz", *asked, "a.json") == 0
    assert "68 judged, 68 real images are no more than the 256 dimensions" in told(capsys)
    assert run("evaluate", "photos", "--data", "folder:photos", *asked, "b.json") == 0
    shown = told(capsys)
    assert "no column of real images: 68 are too few" in shown
    assert "precision-recall: among 68 images the nearest neighbours are far away" in shown
    for name in ("a.json", "b.json"):
        distance = next(m for m in read_measurements(small / name) if m.metric == "frechet")
        assert abs(distance.value) < 1e-6
    digests = {
        read_measurements(small / name)[0].references[0].digest for name in ("a.json", "b.json")
    }
    assert len(digests) == 1


def told(capsys, stream="out"):
    """What was printed, without the breaks of lines."""
    return " ".join(getattr(capsys.readouterr(), stream).split())
