"""Stacked digits: what a stack is made of, counted and compared with the grey set."""

import pytest
import torch
from originals import write_mnist
from scipy import stats

from cascore.data import load_images
from cascore.data.catalogue import find_originals
from cascore.data.prepared import prepare
from cascore.data.stacked import SEED, stack
from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose


@pytest.fixture(scope="module")
def stacked():
    return {split: load_images("stacked-digits", split) for split in ("train", "test")}


def sources(stacked, split):
    """Which grey images each channel of each stack is, found by comparing pixels; [N, 3]."""
    grey = load_images("digits", split)
    number = {image.numpy().tobytes(): i for i, image in enumerate(grey.images[:, 0])}
    assert len(number) == grey.count  # no two digits are equal, so the search is unambiguous
    chosen = [[number[x.numpy().tobytes()] for x in image] for image in stacked[split].images]
    return grey, torch.tensor(chosen)


@pytest.mark.parametrize(("split", "count"), [("train", 20_000), ("test", 5_000)])
def test_channels_are_digits_of_the_same_split_and_the_label_is_theirs(stacked, split, count):
    grey, chosen = sources(stacked, split)
    assert chosen.shape == (count, 3)
    r, g, b = grey.labels[chosen].T
    assert torch.equal(stacked[split].labels, 100 * r + 10 * g + b)
    assert stacked[split].classes[407] == "4, 0, 7"
    assert len(stacked[split].classes) == 1000
    # 20,000 draws miss one of 1,000 modes of about equal weight with probability 2e-6.
    assert split == "test" or len(stacked[split].labels.unique()) == 1000


def test_the_draws_are_uniform_and_independent(stacked):
    grey, chosen = sources(stacked, "train")
    for channel in range(3):
        counts = torch.bincount(chosen[:, channel], minlength=grey.count)
        assert stats.chisquare(counts).pvalue > 1e-3
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = torch.zeros(10, 10)
        labels = grey.labels[chosen]
        table.view(-1).scatter_add_(
            0, 10 * labels[:, first] + labels[:, second], torch.ones(len(labels))
        )
        assert stats.chi2_contingency(table).pvalue > 1e-3
        # Two of 1,437 images are the same one time in 1,437: 13.9 of 20,000, deviation 3.7.
        assert int((chosen[:, first] == chosen[:, second]).sum()) < 14 + 5 * 3.7


def test_a_stack_is_a_function_of_the_recorded_seed(stacked):
    """Stack 123 of each split, from the key alone: no other stack need be drawn."""
    for split, part in (("train", 0), ("test", 1)):
        grey, chosen = sources(stacked, split)
        assert f"seed {SEED}" in stacked[split].record.preparation[-1]
        for channel in range(3):
            drawn = KeyedNoise(SEED, indices=[123]).integers(
                1, high=grey.count, purpose=Purpose.DATA, step=3 * part + channel
            )
            assert int(drawn) == int(chosen[123, channel])


def test_the_digests_of_the_stacked_digits_are_for_ever(stacked):
    digests = [stacked[split].digest[:16] for split in ("train", "test")]
    assert digests == ["2845fd8e7a809ec5", "ebf6efc7ce6628b2"]


@pytest.fixture
def idx_files(tmp_path):
    folder = tmp_path / "idx"
    folder.mkdir()
    write_mnist(folder, train=40, test=15)
    return folder


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_and_fashion_mnist_stack_from_their_files_or_prepared(name, idx_files, tmp_path):
    from_files = load_images(f"stacked-{name}", "test", root=idx_files)
    assert (from_files.count, from_files.shape) == (10_000, (3, 28, 28))
    grey = load_images(name, "test", root=idx_files)
    assert torch.isin(from_files.images.flatten(2).sum(2), grey.images.flatten(1).sum(1)).all()
    prepare(find_originals(name, idx_files), root=tmp_path)  # the grey set
    assert load_images(f"stacked-{name}", "test", root=tmp_path).digest == from_files.digest


def test_a_stacked_set_can_itself_be_prepared(idx_files, tmp_path, monkeypatch):
    monkeypatch.setattr("cascore.data.stacked._COUNT", {"train": 50, "test": 20})
    expected = load_images("stacked-mnist", "train", root=idx_files)
    prepare(find_originals("stacked-mnist", idx_files), root=tmp_path)
    result = load_images("stacked-mnist", "train", root=tmp_path)
    assert result.digest == expected.digest
    assert result.record.preparation == expected.record.preparation


def test_without_the_grey_set_the_error_is_its_own():
    with pytest.raises(InputError, match=r"mnist needs train-images.* root is not given"):
        load_images("stacked-mnist", "train")


def test_colour_images_cannot_be_stacked(stacked):
    with pytest.raises(InputError, match="stacked-digits has 3 channels and 1000 classes"):
        stack("stacked-digits", stacked["test"])
