"""What is kept of large image folders: made once, and never stale or damaged."""

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import cascore.data.contents
import cascore.data.folder
from cascore.data import load_image_splits, load_images
from cascore.errors import InputError
from cascore.preprocessing import FolderOptions

GENERATOR = np.random.default_rng(12)


@pytest.fixture
def animals(tmp_path):
    """Forty images of 4 x 6 pixels in the folders cat and dog."""
    folder = tmp_path / "animals"
    for number in range(40):
        path = folder / ("cat", "dog")[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GENERATOR.integers(0, 256, (4, 6, 3), np.uint8)).save(path)
    return folder


@pytest.fixture
def large(monkeypatch):
    """Every folder counts as a large one."""
    monkeypatch.setattr("cascore.data.kept._SECOND", 100)


@contextmanager
def unread(monkeypatch):
    """Within, whoever opens an image fails."""
    with monkeypatch.context() as within:
        within.setattr(cascore.data.folder, "decode_one", None)
        within.setattr(cascore.data.contents, "read_header", None)
        within.setattr(cascore.data.contents, "fault", None)
        yield


def kept(root):
    return sorted(path.name for path in root.iterdir())


@pytest.mark.parametrize("skip_broken", [False, True])
def test_a_second_start_opens_no_image_and_gives_the_same(
    skip_broken, animals, tmp_path, large, monkeypatch
):
    name, options = f"folder:{animals}", FolderOptions(skip_broken=skip_broken)
    if skip_broken:
        (animals / "cat" / "00.png").write_bytes(b"no image")
    first = load_image_splits(name, root=tmp_path / "root", folder=options)
    with unread(monkeypatch):
        again = load_image_splits(name, root=tmp_path / "root", folder=options)
    monkeypatch.setattr("cascore.data.kept._SECOND", 2**40)
    alone = load_image_splits(name, root=tmp_path / "other", folder=options)
    assert not (tmp_path / "other").exists()
    for split in ("train", "test"):
        assert first[split].digest == again[split].digest == alone[split].digest
        assert first[split].record == again[split].record == alone[split].record
        assert torch.equal(again[split].labels, alone[split].labels)
    again["train"].images.zero_()  # the map is private
    monkeypatch.setattr("cascore.data.kept._SECOND", 100)
    after = load_images(name, "train", root=tmp_path / "root", folder=options)
    assert after.digest == alone["train"].digest


def test_other_preprocessing_is_kept_beside_and_a_changed_image_replaces(animals, tmp_path, large):
    name, root = f"folder:{animals}", tmp_path / "root"
    before = load_images(name, "train", root=root)
    load_images(name, "train", root=root, folder=FolderOptions(size=2))
    small = load_images(name, "train", root=root, folder=FolderOptions(size=2))
    assert small.shape == (3, 2, 2)
    assert load_images(name, "train", root=root).digest == before.digest
    bare = load_images(name, "train", root=root, folder=FolderOptions(labels=False))
    assert bare.labels is None
    assert bare.digest != before.digest
    number = len(kept(root))
    files = sorted(animals.rglob("*.png"))
    changed = next(path for path in files if int(path.stem) in range(8, 40))
    Image.fromarray(GENERATOR.integers(0, 256, (4, 6, 3), np.uint8)).save(changed)
    parts = load_image_splits(name, root=root)
    old = {split: load_images(name, split, root=root) for split in parts}
    assert sum(part.count for part in old.values()) == 40
    expected = np.asarray(Image.open(changed)).transpose(2, 0, 1)
    held = [part.images for part in parts.values()]
    assert any((images.numpy() == expected).all((1, 2, 3)).any() for images in held)
    assert len(kept(root)) <= number + 2  # of the split test, which was not asked for before


def test_a_class_that_comes_or_goes_in_the_other_split_replaces_what_was_kept(tmp_path, large):
    folder, root = tmp_path / "set", tmp_path / "root"
    for name in ("train/cat", "train/dog", "test/cat", "test/dog", "test/ant"):
        (folder / name).mkdir(parents=True)
        pixels = GENERATOR.integers(0, 256, (4, 6, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name / "a.png")

    def found(labels):
        part = load_images(f"folder:{folder}", "train", root=root)
        assert part.labels.tolist() == labels
        return part.digest  # which compares it with the one that was noted

    whole, number = found([1, 2]), len(kept(root))
    (folder / "test" / "ant").rename(tmp_path / "ant")
    assert found([0, 1]) != whole
    (tmp_path / "ant").rename(folder / "test" / "ant")
    assert found([1, 2]) == whole
    assert len(kept(root)) == number


def test_a_broken_image_leaves_nothing_behind(animals, tmp_path, large):
    path = next(iter(sorted(animals.rglob("*.png"))))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=path.name):
        load_images(f"folder:{animals}", "train", root=tmp_path / "root")
    assert not [name for name in kept(tmp_path / "root") if name.startswith(".")]
    with pytest.raises(InputError, match=path.name):
        load_images(f"folder:{animals}", "train", root=tmp_path / "root")


def other(content):
    stream = io.BytesIO()
    np.save(stream, [1])
    return stream.getvalue()


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], flipped, other])
def test_damage_is_told_and_what_to_delete(damage, animals, tmp_path, large):
    name, root = f"folder:{animals}", tmp_path / "root"
    whole = load_images(name, "train", root=root).digest
    for path in [root / name for name in kept(root)]:
        content = path.read_bytes()
        path.unlink()  # what is mapped stays what it is
        path.write_bytes(damage(content))
        with pytest.raises(InputError, match=f"delete .*{path.stem}"):
            assert load_images(name, "train", root=root).digest == whole
        path.unlink()
        path.write_bytes(content)
    assert load_images(name, "train", root=root).digest == whole


def test_what_killed_writers_left_goes_and_no_note_is_no_array(animals, tmp_path, large):
    name, root = f"folder:{animals}", tmp_path / "root"
    whole = load_images(name, "train", root=root).digest
    names = kept(root)
    for path in [root / name for name in names]:
        if path.suffix == ".json":  # killed between the array and its note
            path.unlink()
        else:
            (root / f".{path.name}.{'0' * 32}").write_bytes(b"half")
    assert load_images(name, "train", root=root).digest == whole
    assert kept(root) == names


def test_several_processes_at_once_make_it_once(animals, tmp_path, large, monkeypatch):
    made, decode = [], cascore.data.folder.decode_one

    def counted(*arguments, **options):
        made.append(arguments)
        return decode(*arguments, **options)

    monkeypatch.setattr(cascore.data.folder, "decode_one", counted)
    with ThreadPoolExecutor(4) as pool:  # the lock is that of files, not of processes
        sets = [
            pool.submit(load_images, f"folder:{animals}", "train", root=tmp_path / "root")
            for _ in range(4)
        ]
        digests = {part.result().digest for part in sets}
    assert len(digests) == 1
    assert len(made) == sets[0].result().count


def test_a_root_that_cannot_be_written_is_refused_and_the_default_done_without(
    animals, tmp_path, large, monkeypatch
):
    (tmp_path / "root").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        load_images(f"folder:{animals}", "train", root=tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_text("a file")
    assert load_images(f"folder:{animals}", "train").recorded is None
    (tmp_path / "data").unlink()
    assert load_images(f"folder:{animals}", "train").recorded is not None
    assert kept(tmp_path / "data")


def test_more_than_fits_on_the_disk_or_in_memory_is_refused_before_it_is_read(
    animals, tmp_path, large, monkeypatch
):
    name, root = f"folder:{animals}", tmp_path / "root"
    load_images(name, "train", root=root)  # headers are kept from now on
    before = kept(root)
    sizes = FolderOptions(size=16_384)
    monkeypatch.setattr(cascore.data.folder, "decode_one", None)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(InputError, match=r"26\.6 GB, and 1\.0 GB are free"):
        load_images(name, "train", root=root, folder=sizes)
    assert kept(root) == before
    monkeypatch.setattr("cascore.data.kept._SECOND", 2**80)
    monkeypatch.setattr("os.sysconf", lambda word: 2**15)
    with pytest.raises(InputError, match=r"GB of memory, and this machine has 1\.1 GB"):
        load_images(name, "train", folder=sizes)
