"""Prepared sets: what is written is what was read, in one step, and goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import repeat

import numpy as np
import pytest
from PIL import Image

from cascore.data import ImageSet, load, load_images
from cascore.data.catalogue import find_originals
from cascore.data.images import DataRecord, array_digest
from cascore.data.originals import Original, Originals
from cascore.data.prepared import prepare, read_record
from cascore.errors import InputError
from cascore.preprocessing import FolderOptions

GENERATOR = np.random.default_rng(41)
COUNTS = {"train": 30, "test": 7}


class Source:
    """Originals of random images, which note what was asked and may break."""

    def __init__(self, name="pictures", *, labels=True, files=()):
        self.starts, self.break_at, self.error = [], None, KeyboardInterrupt
        self.pixels = {
            split: GENERATOR.integers(0, 256, (count, 3, 5, 4), dtype=np.uint8)
            for split, count in COUNTS.items()
        }
        self.labels = {
            split: np.arange(count) % 3 if labels else None for split, count in COUNTS.items()
        }
        self.originals = Originals(
            name=name,
            splits={split: self._original(split) for split in COUNTS},
            record=DataRecord(source="drawn", split="as drawn", preparation=("none", "at all")),
            classes=("a", "b", "c") if labels else (),
            files=files,
        )

    def _original(self, split):
        def items(start):
            self.starts.append((split, start))
            for number in range(start, COUNTS[split]):
                if self.break_at == (split, number):
                    raise self.error
                yield self.pixels[split][number]

        return Original(COUNTS[split], (3, 5, 4), items, self.labels[split])


@pytest.mark.parametrize("labels", [True, False])
def test_a_prepared_set_loads_as_it_was_read(labels, tmp_path):
    source, seen = Source(labels=labels), []
    assert prepare(source.originals, root=tmp_path, progress=seen.append) == tmp_path / "pictures"
    assert sum(seen) == 37
    for split in COUNTS:
        loaded = load("pictures", split, root=tmp_path)
        assert isinstance(loaded, ImageSet)
        assert np.array_equal(loaded.images.numpy(), source.pixels[split])
        assert loaded.digest == array_digest(source.pixels[split], source.labels[split])
        assert loaded.record == source.originals.record
        assert loaded.classes == source.originals.classes
        if labels:
            assert loaded.labels.tolist() == source.labels[split].tolist()
        else:
            assert loaded.labels is None
        record = read_record(tmp_path / "pictures")
        assert record.splits[split].digest == loaded.digest
        assert record.splits[split].count == COUNTS[split]
        assert record.cascore
        loaded.images.zero_()  # the map is private
        again = load_images("pictures", split, root=tmp_path)
        assert np.array_equal(again.images.numpy(), source.pixels[split])
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match="there is no data set"):
        load("../pictures", "train", root=tmp_path / "root")


def test_loading_a_large_set_takes_no_memory(tmp_path):
    """150 MB of pixels: loading them must not touch them."""
    image = np.zeros((3, 32, 32), dtype=np.uint8)
    splits = {
        split: Original(count, image.shape, lambda start, count=count: repeat(image, count))
        for split, count in (("train", 49_000), ("test", 1000))
    }
    record = DataRecord(source="zeros", split="none")
    prepare(Originals("zeros", splits, record, files=()), root=tmp_path)

    def resident():
        with open("/proc/self/statm") as stream:  # noqa: PTH123
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):  # noqa: PTH110
        pytest.skip("no /proc here")
    before = resident()
    loaded = load_images("zeros", "train", root=tmp_path)
    assert resident() - before < 20 * 2**20
    assert int(loaded.images[::7000].sum()) == 0


def interrupted(source, root, *, at, error=KeyboardInterrupt):
    source.break_at, source.error = at, error
    with pytest.raises(error):
        prepare(source.originals, root=root)
    source.break_at, source.starts = None, []


@pytest.mark.parametrize("at", [("train", 0), ("train", 12), ("test", 0), ("test", 4)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_an_interrupted_preparation_goes_on_where_it_was(at, error, tmp_path):
    source, notes = Source(), []
    interrupted(source, tmp_path, at=at, error=error)
    assert not (tmp_path / "pictures").exists()  # nothing that could be taken for a whole set
    with pytest.raises(InputError, match="there is no data set 'pictures'"):
        load("pictures", "train", root=tmp_path)
    seen = []
    prepare(source.originals, root=tmp_path, progress=seen.append, notify=notes.append)
    split, first = at
    expected = [("train", first), ("test", 0)] if split == "train" else [("train", 30), at]
    assert source.starts == expected
    assert sum(seen) == 37
    done = first if split == "train" else 30 + first
    message = f"going on after {done} images of an interrupted preparation"
    assert notes == ([message] if done else [])
    for name in COUNTS:
        loaded = load_images("pictures", name, root=tmp_path)
        assert np.array_equal(loaded.images.numpy(), source.pixels[name])
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    source.starts = []
    prepare(source.originals, root=tmp_path, notify=notes.append)  # it is left as it is
    assert source.starts == []
    assert "was prepared before" in notes[-1]


@pytest.mark.parametrize("change", ["other files", "lost", "garbled"])
def test_pixels_that_are_not_those_of_the_files_and_the_note_are_read_anew(change, tmp_path):
    """A machine that lost power may have kept less of the file than of the note, or garbled."""
    source = Source(files=(("a", 1, 1),))
    interrupted(source, tmp_path, at=("train", 16))
    part = tmp_path / ".pictures.partial" / "train.npy"
    if change == "other files":
        source = Source(files=(("a", 1, 2),))
    else:
        content = part.read_bytes()
        part.write_bytes(content[:200] if change == "lost" else content + bytes(10_000))
    prepare(source.originals, root=tmp_path)
    assert source.starts[0] == ("train", 16 if change == "garbled" else 0)
    whole = (tmp_path / "pictures" / "train.npy").stat().st_size
    assert whole == 128 + source.pixels["train"].nbytes  # an .npy header has 128 bytes here
    loaded = load_images("pictures", "train", root=tmp_path)
    assert np.array_equal(loaded.images.numpy(), source.pixels["train"])


def test_a_killed_process_goes_on(tmp_path):
    """SIGKILL in the middle, in a process of its own; then the same set as without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(400):
        Image.fromarray(GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            folder / f"{number:03d}.png"
        )
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cascore.data import prepared\n"
        "from cascore.data.catalogue import find_originals\n"
        "prepared._NOTE_SECONDS = 0.0\n"
        "def slowly(more):\n"
        "    time.sleep(0.01)\n"
        "prepared.prepare(find_originals('photos', Path(sys.argv[1])), root=Path(sys.argv[2]),"
        " progress=slowly)\n"
    )
    note = tmp_path / "root" / ".photos.partial" / "progress.json"
    arguments = [sys.executable, "-c", script, str(folder), str(tmp_path / "root")]
    with subprocess.Popen(arguments) as process:
        deadline = time.monotonic() + 60
        while not (note.is_file() and json.loads(note.read_text())["done"]["train"] > 20):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    notes = []
    originals = find_originals("photos", folder)
    prepare(originals, root=tmp_path / "root", notify=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("going on after")
    for split in COUNTS:
        result = load_images("photos", split, root=tmp_path / "root")
        assert result.digest == load_images(f"folder:{folder}", split).digest


def test_a_set_of_other_files_and_a_folder_of_something_else_are_not_overwritten(tmp_path):
    prepare(Source(files=(("a", 1, 1),)).originals, root=tmp_path)
    with pytest.raises(InputError, match="prepared from other files or in another way"):
        prepare(Source(files=(("a", 2, 1),)).originals, root=tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds no prepared set"):
        prepare(Source("mine").originals, root=tmp_path)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def changed(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def saved(name, array):
    return lambda folder: np.save(folder / name, array)


DAMAGE = {
    "truncated pixels": lambda f: (f / "train.npy").write_bytes(
        (f / "train.npy").read_bytes()[:-1]
    ),
    "no pixels": lambda f: (f / "train.npy").unlink(),
    "pixels of another shape": saved("train.npy", np.zeros((30, 3, 4, 5), dtype=np.uint8)),
    "pixels of another kind": saved("train.npy", np.zeros((30, 3, 5, 4), dtype=np.float32)),
    "pixels that are a pickle": saved("train.npy", np.array([object], dtype=object)),
    "labels beyond the classes": saved("train-labels.npy", np.full(30, 3)),
    "labels below zero": saved("train-labels.npy", np.full(30, -1)),
    "no labels": lambda f: (f / "train-labels.npy").unlink(),
    "a record of text": lambda f: (f / "record.json").write_text("hello"),
    "a record of a list": lambda f: (f / "record.json").write_text("[]"),
    "a record of bytes": lambda f: (f / "record.json").write_bytes(b"\xff\xfe"),
    "a record of no images": changed("record.json", '"count": 30', '"count": 0'),
    "a record of no digest": changed("record.json", '"digest"', '"sum"'),
    "a record of no source": changed("record.json", '"source": "drawn"', '"source": 3'),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_set_is_an_error_that_says_what_to_do(case, tmp_path):
    folder = prepare(Source().originals, root=tmp_path)
    DAMAGE[case](folder)
    with pytest.raises(InputError, match=f"delete {folder} and prepare it anew"):
        load("pictures", "train", root=tmp_path)


def test_a_folder_prepares_as_it_loads(tmp_path):
    folder = tmp_path / "animals"
    for number in range(60):
        (folder / ("cat" if number % 2 else "dog")).mkdir(parents=True, exist_ok=True)
        pixels = GENERATOR.integers(0, 256, (9, 12 + number % 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("cat" if number % 2 else "dog") / f"{number}.png")
    options = FolderOptions(size=8, filter="box", mode="grey")
    prepare(find_originals("animals", folder, folder=options), root=tmp_path / "root")
    for split in COUNTS:
        direct = load_images(f"folder:{folder}", split, folder=options)
        prepared = load_images("animals", split, root=tmp_path / "root")
        assert prepared.digest == direct.digest
        assert prepared.classes == direct.classes == ("cat", "dog")
        assert prepared.record.preparation[-1] == direct.record.preparation[-1]
    with pytest.raises(InputError, match="'animals' has one fixed form"):
        load_images("animals", "train", root=tmp_path / "root", folder=options)
    prepare(find_originals("digits", None), root=tmp_path)  # a set of the package needs no files
    prepared = load_images("digits", "test", root=tmp_path)
    assert prepared.digest == load_images("digits", "test").digest
    with pytest.raises(InputError, match="leave --source out"):
        find_originals("digits", folder)


def test_a_set_that_is_not_prepared_says_how_to(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=rf"prepare celeba --source PATH --root {tmp_path}, .* from"
    ):
        load("celeba", "train", root=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"not prepared in data; .*prepare celeba --source PATH,"):
        load("celeba", "train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../up", "cannot name a prepared set"),
        ("a/b", "cannot name a prepared set"),
        (".hidden", "cannot name a prepared set"),
        ("folder:x", "cannot name a prepared set"),
        ("", "cannot name a prepared set"),
        ("swiss-roll", "drawn when it is loaded"),
        ("cifar10", "reads like 'cifar-10'"),
        ("lsun_church", "reads like 'lsun-church'"),
        ("mnist", "say where they are with --source"),
        ("photos", "say where they are with --source"),
    ],
)
def test_names_and_sources_that_cannot_be_are_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        find_originals(name, None if "say" in message else tmp_path)
    with pytest.raises(InputError, match=r"there is no .*nowhere; give --source"):
        find_originals("photos", tmp_path / "nowhere")
    with pytest.raises(InputError, match="'celeba' has one fixed form"):
        find_originals("celeba", tmp_path, folder=FolderOptions(size=8))
