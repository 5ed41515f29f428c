import weakref

import numpy as np
import pytest
import torch
from features import uint8
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics import ExtractorIdentity, extract_features, feature_moments


class Sums:
    """Row sums of an image, exact; remembers the batches."""

    identity = ExtractorIdentity(name="sums", digest="3" * 64)
    dimension = 4

    def __init__(self):
        self.batches: list[int] = []

    def __call__(self, images):
        self.batches.append(len(images))
        return images.to(torch.float32).sum(dim=(1, 3))


def sums(images):
    return torch.from_numpy(images.numpy().astype(np.float32).sum(axis=(1, 3)))


def test_moments_are_those_of_the_features():
    images, extractor = uint8(25, 1, 4, 3, seed=1), Sums()
    moments = feature_moments(extractor, images, batch_size=10)
    assert extractor.batches == [10, 10, 5]
    assert (moments.count, moments.extractor) == (25, Sums.identity)
    features = sums(images).double().numpy()  # whole numbers, so the sums are exact in float64
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(features, rowvar=False), rtol=1e-12)


@given(cuts=st.lists(st.integers(0, 23), max_size=6), batch_size=st.integers(1, 30))
def test_images_may_come_in_any_parts(cuts, batch_size):
    images = uint8(23, 1, 4, 3, seed=0)
    parts = list(images.tensor_split(sorted(cuts)))
    whole, streamed = Sums(), Sums()
    expected = extract_features(whole, images, batch_size=batch_size)
    assert torch.equal(expected, sums(images))
    assert torch.equal(extract_features(streamed, iter(parts), batch_size=batch_size), expected)
    assert streamed.batches == whole.batches
    full, rest = divmod(23, batch_size)
    assert whole.batches == [batch_size] * full + [rest] * (rest > 0)


def test_memory_does_not_grow_with_the_number_of_images():
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def stream(count):
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


def test_progress_counts_images():
    images, counts = uint8(10, 1, 4, 4, seed=3), []
    feature_moments(Sums(), images, batch_size=4, progress=counts.append)
    extract_features(Sums(), images, batch_size=4, progress=counts.append)
    assert counts == [4, 8, 10, 4, 8, 10]


def test_no_image():
    nothing = uint8(0, 1, 4, 3, seed=15)
    assert feature_moments(Sums(), iter([])).count == 0
    assert extract_features(Sums(), nothing).shape == (0, 4)


def test_bad_batches_and_bad_extractors():
    images = uint8(4, 1, 4, 3, seed=16)
    for extract in (feature_moments, extract_features):
        with pytest.raises(InputError, match="batch_size is 0"):
            extract(Sums(), images, batch_size=0)
        with pytest.raises(InputError, match=r"returned shape \(4, 5\) for 4 images.*\(4, 4\)"):
            extract(Sums(), images[:, :, [0, 1, 2, 3, 3]])
        with pytest.raises(InputError, match=r"mixed sizes: \[1, 4, 3\], then \[1, 3, 4\]"):
            extract(Sums(), [images, images.transpose(2, 3)])


def test_memory_maps_are_read_as_they_are(tmp_path):
    images = uint8(20, 1, 4, 3, seed=17)
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    assert torch.equal(extract_features(Sums(), mapped, batch_size=6), sums(images))
