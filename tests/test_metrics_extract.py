import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics import (
    ExtractorIdentity,
    FeatureMoments,
    extract_features,
    feature_moments,
    frechet_distance,
    random_convolution,
    save_features,
)


def uint8(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator).to(torch.uint8)


class Sums:
    """Row sums of an image, exact; remembers the batches, and breaks before image `limit`."""

    identity = ExtractorIdentity(name="sums", digest="3" * 64)
    dimension = 4

    def __init__(self, limit: int = 10**9) -> None:
        self.batches: list[int] = []
        self.limit = limit

    def __call__(self, images: Tensor) -> Tensor:
        if sum(self.batches) + len(images) > self.limit:
            raise KeyboardInterrupt
        self.batches.append(len(images))
        return images.to(torch.float32).sum(dim=(1, 3))


def sums(images: Tensor) -> Tensor:
    return torch.from_numpy(images.numpy().astype(np.float32).sum(axis=(1, 3)))


@given(cuts=st.lists(st.integers(0, 23), max_size=6), batch_size=st.integers(1, 30))
def test_images_may_come_in_any_parts(cuts: list[int], batch_size: int) -> None:
    images = uint8(23, 1, 4, 3, seed=0)
    parts = list(images.tensor_split(sorted(cuts)))
    whole, streamed = Sums(), Sums()
    expected = extract_features(whole, images, batch_size=batch_size)
    assert torch.equal(expected, sums(images))
    assert torch.equal(extract_features(streamed, iter(parts), batch_size=batch_size), expected)
    assert streamed.batches == whole.batches
    full, rest = divmod(23, batch_size)
    assert whole.batches == [batch_size] * full + [rest] * (rest > 0)


def test_moments_are_those_of_the_features() -> None:
    images = uint8(30, 3, 12, 9, seed=1)
    extractor = random_convolution()
    moments = feature_moments(extractor, images, batch_size=7)
    expected = FeatureMoments.of(extractor(images), extractor=extractor.identity)
    assert (moments.count, moments.extractor) == (30, extractor.identity)
    # Features to 1e-6 by their batches, of size at most 5; moments in float64.
    torch.testing.assert_close(moments.mean, expected.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(moments.covariance, expected.covariance, rtol=0, atol=1e-4)


def test_the_lengths_of_parts_move_no_bit() -> None:
    images, extractor = uint8(50, 1, 16, 16, seed=2), random_convolution()
    whole = feature_moments(extractor, images, batch_size=20)
    for size in (1, 3, 50):
        parts = feature_moments(extractor, images.split(size), batch_size=20)
        assert torch.equal(parts.mean, whole.mean)
        assert torch.equal(parts.scatter, whole.scatter)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def stream(count: int) -> Iterator[Tensor]:
        nonlocal most
        for i in range(count):
            batch = uint8(3, 1, 4, 4, seed=i)
            alive.add(batch)
            most = max(most, len(alive))
            yield batch

    extractor = Sums()
    moments = feature_moments(extractor, stream(200), batch_size=10)
    assert moments.count == 600
    assert most <= 6  # the four parts of a batch, the one under way and the one before


def test_progress_is_told() -> None:
    images, told = uint8(10, 1, 4, 4, seed=3), []
    feature_moments(Sums(), images, batch_size=4, progress=told.append)
    extract_features(Sums(), images, batch_size=4, progress=told.append)
    assert told == [4, 8, 10, 4, 8, 10]


def test_saved_features_are_an_array_file(tmp_path: Path) -> None:
    images, told = uint8(10, 1, 4, 3, seed=4), []
    path = tmp_path / "new" / "features.npy"
    found = save_features(Sums(), images, path, batch_size=4, progress=told.append)
    assert torch.equal(found, sums(images))
    assert told == [4, 8, 10]
    np.testing.assert_array_equal(np.load(path), sums(images))
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "features.npy",
        "features.npy.json",
    ]
    record = json.loads((path.parent / "features.npy.json").read_text())
    assert record["extractor"] == {"name": "sums", "digest": "3" * 64}
    assert record["count"] == record["done"] == 10
    found[0] = 0  # the map is private
    np.testing.assert_array_equal(np.load(path), sums(images))


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    images, path = uint8(10, 1, 4, 3, seed=5), tmp_path / "features.npy"
    save_features(Sums(), images, path, batch_size=4)
    again = Sums()
    assert torch.equal(save_features(again, images.split(3), path, count=10), sums(images))
    assert again.batches == []
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("limit", [3, 4, 9, 23])
@pytest.mark.parametrize("as_parts", [False, True])
def test_an_interrupted_extraction_goes_on(limit: int, as_parts: bool, tmp_path: Path) -> None:
    images, path = uint8(24, 1, 4, 3, seed=6), tmp_path / "features.npy"
    with pytest.raises(KeyboardInterrupt):
        save_features(Sums(limit), images, path, batch_size=4)
    assert not path.exists()
    done = limit - limit % 4
    assert json.loads((tmp_path / "features.npy.json").read_text())["done"] == done
    second, told = Sums(), []
    shown = iter(images.split(5)) if as_parts else images
    found = save_features(second, shown, path, count=24, batch_size=4, progress=told.append)
    assert torch.equal(found, sums(images))
    assert second.batches == [4] * ((24 - done) // 4)
    assert told[0] == done + 4
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_extraction_goes_on_at_another_batch_size(tmp_path: Path) -> None:
    images, path = uint8(24, 1, 4, 3, seed=20), tmp_path / "features.npy"
    with pytest.raises(KeyboardInterrupt):
        save_features(Sums(8), images, path, batch_size=4)
    second = Sums()
    assert torch.equal(save_features(second, images, path, batch_size=5), sums(images))
    assert second.batches == [5, 5, 5, 1]


def test_a_resumed_extraction_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    images, extractor = uint8(40, 3, 10, 10, seed=7), random_convolution()

    class Interrupted(Sums):
        identity, dimension = extractor.identity, extractor.dimension

        def __call__(self, batch: Tensor) -> Tensor:
            super().__call__(batch)
            return extractor(batch)

    whole = save_features(extractor, images, tmp_path / "whole.npy", batch_size=7)
    with pytest.raises(KeyboardInterrupt):
        save_features(Interrupted(20), images, tmp_path / "parts.npy", batch_size=7)
    save_features(extractor, images, tmp_path / "parts.npy", batch_size=7)
    contents = [(tmp_path / f"{name}.npy").read_bytes() for name in ("whole", "parts")]
    assert contents[0] == contents[1]
    other = save_features(extractor, images, tmp_path / "other.npy", batch_size=16)
    torch.testing.assert_close(other, whole, rtol=0, atol=1e-5)


KILLED = """
import os, sys
import torch
from cascore.metrics import extract, ExtractorIdentity, save_features
extract._SAVE_EVERY = -1.0
class Killed:
    identity, dimension, seen = ExtractorIdentity(name="sums", digest="3" * 64), 4, 0
    def __call__(self, images):
        self.seen += len(images)
        if self.seen > 12:
            os._exit(9)
        return images.to(torch.float32).sum(dim=(1, 3))
save_features(Killed(), torch.load(sys.argv[1], weights_only=True), sys.argv[2], batch_size=4)
"""


def test_a_killed_process_leaves_what_it_saved(tmp_path: Path) -> None:
    images, path = uint8(24, 1, 4, 3, seed=8), tmp_path / "features.npy"
    torch.save(images, tmp_path / "images.pt")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "images.pt"), str(path)]
    assert subprocess.run(command, timeout=120).returncode == 9
    second = Sums()
    assert torch.equal(save_features(second, images, path, batch_size=4), sums(images))
    assert second.batches == [4, 4, 4]


def test_a_process_killed_before_its_first_record_begins_anew(tmp_path: Path) -> None:
    images, path = uint8(8, 1, 4, 3, seed=9), tmp_path / "features.npy"
    (tmp_path / "features.npy.part").write_bytes(b"half a header")
    assert torch.equal(save_features(Sums(), images, path), sums(images))


def test_files_of_something_else_are_kept(tmp_path: Path) -> None:
    images, path = uint8(8, 1, 4, 3, seed=10), tmp_path / "features.npy"
    save_features(Sums(), images, path, batch_size=3)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    changed = images.clone()
    changed[7, 0, 3, 2] ^= 1
    other = Sums()
    other.identity = ExtractorIdentity(name="sums", digest="4" * 64)
    for extractor, shown, match in (
        (Sums(), changed, "of other images; name another file, or delete it"),
        (Sums(), images.reshape(8, 1, 3, 4), "of other images"),
        (Sums(), images[:7], "'count': 8.*'count': 7"),
        (other, images, "'333.*'444"),
    ):
        with pytest.raises(InputError, match=match):
            save_features(extractor, shown, path, batch_size=3)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_other_images_after_an_interruption(tmp_path: Path) -> None:
    images, path = uint8(12, 1, 4, 3, seed=11), tmp_path / "features.npy"
    with pytest.raises(KeyboardInterrupt):
        save_features(Sums(8), images, path, batch_size=4)
    changed = images.clone()
    changed[5] = 0
    with pytest.raises(InputError, match="of other images"):
        save_features(Sums(), changed, path, batch_size=4)
    assert torch.equal(save_features(Sums(), images, path, batch_size=4), sums(images))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"done": "x", "extractor": 1, "count": 8}'])
def test_a_damaged_record(content: str, tmp_path: Path) -> None:
    images, path = uint8(8, 1, 4, 3, seed=12), tmp_path / "features.npy"
    save_features(Sums(), images, path)
    (tmp_path / "features.npy.json").write_text(content)
    with pytest.raises(InputError, match="with a record that cannot be read"):
        save_features(Sums(), images, path)


def test_a_damaged_or_missing_array(tmp_path: Path) -> None:
    images, path = uint8(8, 1, 4, 3, seed=13), tmp_path / "features.npy"
    save_features(Sums(), images, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="that cannot be read"):
        save_features(Sums(), images, path)
    np.save(path, np.zeros((8, 4)))
    with pytest.raises(InputError, match="float64 of shape"):
        save_features(Sums(), images, path)
    path.unlink()
    with pytest.raises(InputError, match="that cannot be read"):
        save_features(Sums(), images, path)
    (tmp_path / "features.npy.json").unlink()
    np.save(path, np.zeros((8, 4), dtype=np.float32))
    with pytest.raises(InputError, match="without a record"):
        save_features(Sums(), images, path)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    images = uint8(8, 1, 4, 3, seed=14)
    with pytest.raises(InputError, match=r"ends in .npy.*'features.txt'"):
        save_features(Sums(), images, tmp_path / "features.txt")
    with pytest.raises(InputError, match=r"known number of images.*count None"):
        save_features(Sums(), iter([images]), tmp_path / "a.npy")
    with pytest.raises(InputError, match="fewer than the 9"):
        save_features(Sums(), iter([images]), tmp_path / "b.npy", count=9)
    with pytest.raises(InputError, match="more images than the 7"):
        save_features(Sums(), iter([images]), tmp_path / "c.npy", count=7)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot keep features in"):
        save_features(Sums(), images, tmp_path / "file" / "d.npy")
    assert not any((tmp_path / f"{name}.npy").exists() for name in "abcd")


def test_no_image(tmp_path: Path) -> None:
    nothing = uint8(0, 1, 4, 3, seed=15)
    assert feature_moments(Sums(), iter([])).count == 0
    assert extract_features(Sums(), nothing).shape == (0, 4)
    assert save_features(Sums(), nothing, tmp_path / "none.npy").shape == (0, 4)


def test_bad_batches_and_bad_extractors() -> None:
    images = uint8(4, 1, 4, 3, seed=16)
    for extract in (feature_moments, extract_features):
        with pytest.raises(InputError, match="batch_size is 0"):
            extract(Sums(), images, batch_size=0)
        with pytest.raises(InputError, match=r"returned shape \(4, 5\) for 4 images.*\(4, 4\)"):
            extract(Sums(), images[:, :, [0, 1, 2, 3, 3]])


def test_memory_maps_are_read_as_they_are(tmp_path: Path) -> None:
    images = uint8(20, 1, 4, 3, seed=17)
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    assert torch.equal(extract_features(Sums(), mapped, batch_size=6), sums(images))


def test_two_runs_give_one_distance() -> None:
    extractor = random_convolution()
    sets = [uint8(60, 1, 8, 8, seed=seed) for seed in (18, 19)]
    distances = [
        frechet_distance(*(feature_moments(extractor, s, batch_size=size) for s in sets))
        for size in (16, 16, 1, 100)
    ]
    assert distances[0] == distances[1]
    assert distances == pytest.approx([distances[0]] * 4, rel=1e-4)
