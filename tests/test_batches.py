"""Batches by step: keyed, whole epochs, shared by ranks."""

import pytest
import torch

from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose
from cascore.training import KeyedBatches, Workers
from cascore.training.batches import batch_rows


def numbered_images(count):
    """Image i holds i in its left column and i + 100 in its right one."""
    values = torch.arange(count, dtype=torch.uint8)
    left = values[:, None, None, None].expand(count, 1, 2, 1)
    return torch.cat([left, left + 100], dim=3)


@pytest.mark.parametrize(("count", "batch_size"), [(7, 3), (6, 3), (5, 5), (4, 11), (1, 3)])
def test_every_epoch_is_a_permutation_though_batches_span_epochs(count, batch_size):
    rows = torch.cat([batch_rows(count, batch_size, step, seed=3) for step in range(4 * count)])
    epochs = rows.reshape(-1, count)  # 4 * batch_size epochs, of which batches need not take heed
    assert epochs.sort(dim=1).values.tolist() == [list(range(count))] * (4 * batch_size)


@pytest.mark.parametrize(("count", "batch_size"), [(7, 3), (5, 5), (4, 11)])
def test_the_rows_are_cut_in_order_from_one_row_of_sorted_keys(count, batch_size):
    """What a resumed run relies on: the rows of a step, in their order, are for ever."""
    epochs = []
    for epoch in range(40):
        keys = KeyedNoise(9, indices=range(count)).at(epoch)
        drawn = keys.integers(count, high=2**31, purpose=Purpose.ORDER).tolist()
        epochs += sorted(range(count), key=lambda item, drawn=drawn: drawn[item])
    for step in range(40 * count // batch_size):
        expected = epochs[step * batch_size : (step + 1) * batch_size]
        assert batch_rows(count, batch_size, step, seed=9).tolist() == expected


def test_of_more_than_a_million_items_the_rows_of_an_epoch_are_a_keyed_permutation():
    count, size = 2**20 + 1, 2**16 + 3
    rows = torch.cat([batch_rows(count, size, step, seed=3) for step in range(count // size + 2)])
    assert torch.equal(rows[:count].sort().values, torch.arange(count))
    for epoch in range(2):
        source = KeyedNoise(3, indices=range(9)).at(epoch)
        expected = source.permuted(count, purpose=Purpose.ORDER)
        assert torch.equal(rows[epoch * count :][:9], expected)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_of_many_items_too_the_ranks_share_the_global_batch(count):
    points = torch.arange(2**20 + 5.0)[:, None]
    ranks = [Workers(rank=rank, count=count) for rank in range(count)]
    for step in (0, 7, len(points) // 6):  # the last spans two epochs
        shares = [KeyedBatches(points, 6, seed=2, workers=each).batch(step) for each in ranks]
        assert torch.equal(
            torch.cat(shares)[:, 0], batch_rows(len(points), 6, step, seed=2).float()
        )


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_shares_of_the_ranks_join_to_the_global_batch(count):
    images = numbered_images(13)
    points = torch.arange(26.0).reshape(13, 2)
    whole = KeyedBatches(images, 6, seed=2, flip=True)
    for step in range(9):
        ranks = [Workers(rank=rank, count=count) for rank in range(count)]
        shares = [
            KeyedBatches(images, 6, seed=2, flip=True, workers=each).batch(step) for each in ranks
        ]
        assert torch.equal(torch.cat(shares), whole.batch(step))
        parts = [KeyedBatches(points, 6, seed=2, workers=each).batch(step) for each in ranks]
        assert torch.equal(torch.cat(parts), points[batch_rows(13, 6, step, seed=2)])


def test_pixels_and_flips_are_those_of_the_chosen_images():
    images = numbered_images(10)
    plain = KeyedBatches(images, 4, seed=8)
    flipping = KeyedBatches(images, 4, seed=8, flip=True)
    sides = []
    for step in range(100):
        rows = batch_rows(10, 4, step, seed=8)
        expected = images[rows].double() / 255
        # 1e-7: float32 pixels.
        assert plain.batch(step).dtype == torch.float32
        assert torch.allclose(plain.batch(step).double(), expected, atol=1e-7, rtol=0)
        drawn = KeyedNoise(8, indices=range(4)).at(step)
        mirrored = drawn.integers(4, high=2, purpose=Purpose.FLIP).bool()
        batch = flipping.batch(step)
        for image, source, side in zip(batch, expected, mirrored, strict=True):
            shown = source[..., [1, 0]] if side else source
            assert torch.allclose(image.double(), shown, atol=1e-7, rtol=0)
        sides.append(batch[:, 0, 0, 0] > batch[:, 0, 0, 1])
    share = float(torch.cat(sides).float().mean())
    assert 0.4 < share < 0.6  # of 400 fair coins; 4 standard deviations


def test_batches_that_cannot_be_are_refused():
    for count, batch_size in ((0, 1), (3, 0)):
        with pytest.raises(InputError, match="at least one item and one row"):
            batch_rows(count, batch_size, 0, seed=0)
    with pytest.raises(InputError, match=r"batch of 7 .* 2 processes.*multiple of 2"):
        Workers(rank=0, count=2).rows(7)
