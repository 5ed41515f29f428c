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


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = batch_rows(50, 50, 0, seed=0), batch_rows(50, 50, 1, seed=0)
    other = batch_rows(50, 50, 0, seed=1)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, torch.arange(50))


def test_the_first_row_is_uniform_over_the_items():
    """4,000 seeds, 8 items: chi-squared with 7 degrees of freedom stays below 24.3 in 99.9 %."""
    first = torch.stack([batch_rows(8, 1, 0, seed=seed) for seed in range(4000)])
    counts = torch.bincount(first.flatten(), minlength=8).double()
    assert float(((counts - 500) ** 2 / 500).sum()) < 24.3


def test_a_step_does_not_depend_on_what_was_asked_before():
    images = numbered_images(13)
    fresh = KeyedBatches(images, 4, seed=5, flip=True)
    asked = KeyedBatches(images, 4, seed=5, flip=True)
    for step in (90, 3, 1, 50, 49):
        asked.batch(step)
    for step in (7, 0, 7):
        assert torch.equal(asked.batch(step), fresh.batch(step))
    assert not torch.equal(fresh.batch(7), fresh.batch(8))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_shares_of_the_ranks_join_to_the_global_batch(count):
    images = numbered_images(13)
    points = torch.arange(26.0).reshape(13, 2)
    whole = KeyedBatches(images, 6, seed=2, flip=True)
    whole_points = KeyedBatches(points, 6, seed=2)
    for step in range(9):
        ranks = [Workers(rank=rank, count=count) for rank in range(count)]
        shares = [
            KeyedBatches(images, 6, seed=2, flip=True, workers=each).batch(step) for each in ranks
        ]
        assert torch.equal(torch.cat(shares), whole.batch(step))
        parts = [KeyedBatches(points, 6, seed=2, workers=each).batch(step) for each in ranks]
        assert torch.equal(torch.cat(parts), whole_points.batch(step))


def test_pixels_and_flips_are_those_of_the_chosen_images():
    images = numbered_images(10)
    plain = KeyedBatches(images, 4, seed=8)
    flipping = KeyedBatches(images, 4, seed=8, flip=True)
    sides = []
    for step in range(100):
        rows = batch_rows(10, 4, step, seed=8)
        expected = images[rows].double() / 255
        # 1e-7: float32 pixels.
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


def test_points_are_the_rows_of_the_order():
    points = torch.arange(20.0).reshape(10, 2)
    batches = KeyedBatches(points, 7, seed=1)
    assert torch.equal(batches.batch(3), points[batch_rows(10, 7, 3, seed=1)])


def test_float64_batches_hold_whole_pixels():
    batch = KeyedBatches(numbered_images(4), 4, seed=0, dtype=torch.float64).batch(0)
    assert batch.dtype == torch.float64
    assert KeyedBatches(numbered_images(4), 4, seed=0).batch(0).dtype == torch.float32


@pytest.mark.parametrize(("count", "batch_size"), [(0, 1), (3, 0)])
def test_nothing_to_draw_is_refused(count, batch_size):
    with pytest.raises(InputError, match="at least one item and one row"):
        batch_rows(count, batch_size, 0, seed=0)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match=r"batch of 7 .* 2 processes.*multiple of 2"):
        Workers(rank=0, count=2).rows(7)
    assert Workers(rank=1, count=3).rows(6).tolist() == [2, 3]
