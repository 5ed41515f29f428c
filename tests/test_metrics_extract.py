import numpy as np
import pytest
import torch
from features import uint8

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
    images, extractor, counts = uint8(600, 1, 4, 3, seed=1), Sums(), []
    moments = feature_moments(extractor, images, progress=counts.append)
    assert extractor.batches == [256, 256, 88]
    assert counts == [256, 256, 88]
    assert (moments.count, moments.extractor) == (600, Sums.identity)
    features = sums(images).double().numpy()  # whole numbers, so the sums are exact in float64
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(features, rowvar=False), rtol=1e-12)


def test_features_are_those_of_all_images_of_a_memory_map(tmp_path):
    images = uint8(600, 1, 4, 3, seed=17)
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    assert torch.equal(extract_features(Sums(), mapped), sums(images))


def test_no_image():
    nothing = uint8(0, 1, 4, 3, seed=15)
    assert feature_moments(Sums(), nothing).count == 0
    assert extract_features(Sums(), nothing).shape == (0, 4)


@pytest.mark.parametrize("extract", [feature_moments, extract_features])
def test_a_bad_extractor(extract):
    with pytest.raises(InputError, match=r"returned shape \(4, 5\) for 4 images.*\(4, 4\)"):
        extract(Sums(), uint8(4, 1, 5, 3, seed=16))
