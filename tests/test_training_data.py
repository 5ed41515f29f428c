"""What `train` takes for data: tensors and sets in keyed batches, iterables in their own."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cascore.data import load_images, load_points
from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.networks import MLP, MLPDiscriminator
from cascore.training import KeyedBatches, TrainState, adam, train

SIGMAS = torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64)
POINTS = torch.rand(11, 2, generator=torch.Generator().manual_seed(4))


class Shift(torch.nn.Module):
    """H(x, sigma) = x + b, whatever the shape of x."""

    def __init__(self, *shape):
        super().__init__()
        self.b = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, x, sigma):
        return x + self.b


def new_state(seed=0):
    torch.manual_seed(1)
    return TrainState(UnconditionalDenoiser(MLP(width=6, depth=2)), seed=seed)


def losses(state, data, *, steps=7, **settings):
    return [metrics.dsm for metrics in train(state, data, SIGMAS, steps=steps, **settings)]


def test_a_tensor_is_trained_on_in_keyed_batches():
    keyed = losses(new_state(), KeyedBatches(POINTS, 4, seed=0))
    assert losses(new_state(), POINTS, batch_size=4) == keyed
    assert losses(new_state(), POINTS.double(), batch_size=4) == keyed  # the network's own type
    assert losses(new_state(seed=1), POINTS, batch_size=4) != keyed
    assert losses(new_state(), POINTS) == losses(new_state(), KeyedBatches(POINTS, 128, seed=0))


def batches_of(points, seed=0):
    """The keyed batches of steps 0 to 2, in a list."""
    keyed = KeyedBatches(points, 4, seed=seed)
    return [keyed.batch(step) for step in range(3)]


def test_an_iterable_gives_its_batches_again_and_again():
    first, second, third = batches = batches_of(POINTS)

    class Repeated:
        def batch(self, step):
            return batches[step % 3]

    expected = losses(new_state(), Repeated())
    assert losses(new_state(), batches) == expected
    assert losses(new_state(), [(first, 0), [second, 1], (third, "label")]) == expected
    assert losses(new_state(), [batch.double() for batch in batches]) == expected


def test_sets_and_a_data_loader_of_pixels_with_labels_and_a_short_last_batch():
    images = load_images("digits", "train")
    by_set = losses(TrainState(Shift(1, 8, 8)), images)  # which is trained on as its pixels are
    assert by_set == losses(TrainState(Shift(1, 8, 8)), images.images)
    assert by_set == losses(TrainState(Shift(1, 8, 8)), images.images / 255)
    points = load_points("swiss-roll", "train")
    assert losses(new_state(), points) == losses(new_state(), points.points)
    rows = TensorDataset(images.images[:10], images.labels[:10])
    state = TrainState(Shift(1, 8, 8))
    loader = losses(state, DataLoader(rows, batch_size=4))
    parts = [images.images[:4], images.images[4:8], images.images[8:10]]
    assert loader == losses(TrainState(Shift(1, 8, 8)), parts)
    assert len(loader) == state.step == 7


def test_a_state_of_a_denoiser_alone_has_adam_and_an_average():
    state = new_state()
    by_hand = TrainState(state.denoiser, adam(state.denoiser.parameters()), 0)
    assert state.optimizer.defaults == by_hand.optimizer.defaults
    assert state.optimizer.param_groups[0]["lr"] == 1e-3
    assert state.optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    opponent = TrainState(state.denoiser, discriminator=MLPDiscriminator(width=4, depth=1))
    assert opponent.discriminator_optimizer.param_groups[0]["lr"] == 1e-4
    assert opponent.discriminator_optimizer.param_groups[0]["betas"] == (-0.5, 0.9)
    start = [weight.clone() for weight in state.average.parameters()]
    losses(state, POINTS)
    assert not any(weight.requires_grad for weight in state.average.parameters())
    moved = zip(state.average.parameters(), start, strict=True)
    assert not any(torch.equal(now, then) for now, then in moved)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (3, {}, "must be a tensor .* not int"),
        (torch.zeros(4, 2, dtype=torch.int64), {}, "float, or uint8 for pixels, not torch.int64"),
        (TensorDataset(POINTS), {}, "give torch's DataLoader"),
        (POINTS, {"batch_size": 0}, "batch_size must be at least 1"),
        ([POINTS], {"batch_size": 4}, "batch_size is for a tensor"),
        (KeyedBatches(POINTS, 4, seed=0), {"batch_size": 4}, "batch_size is for a tensor"),
    ],
    ids=["number", "integers", "data set", "no row", "list with a size", "batches with a size"],
)
def test_what_is_no_data_is_refused_at_once(data, settings, message):
    with pytest.raises(InputError, match=message):
        train(new_state(), data, SIGMAS, steps=1, **settings)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"image": POINTS}], "not dict"),
        ([(1, POINTS)], "not int"),
        ([torch.tensor(1.0)], "begins with one"),
        ([torch.zeros(4, 2, dtype=torch.int64)], "not torch.int64"),
        ([], r"ended before update 1 "),
        (iter([]), r"ended before update 1 "),
    ],
    ids=["mapping", "integer", "no item", "integers", "empty", "ended"],
)
def test_what_is_no_batch_is_refused_when_it_comes(data, message):
    with pytest.raises(InputError, match=message):
        losses(new_state(), data)


def test_levels_may_be_a_list_or_an_array_as_samplers_take_them():
    expected = losses(new_state(), POINTS)
    for levels in (SIGMAS.tolist(), SIGMAS.numpy()):
        assert [update.dsm for update in train(new_state(), POINTS, levels, steps=7)] == expected


def test_batches_that_cannot_start_again_say_so():
    state = new_state()
    with pytest.raises(InputError, match=r"ended before update 4 and do not start again"):
        losses(state, iter(batches_of(POINTS)))
    assert state.step == 3
    assert losses(new_state(), iter(batches_of(POINTS)), steps=3)  # as many as there are
