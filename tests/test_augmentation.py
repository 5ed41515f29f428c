"""Mirrored and moved training images: which, and that a network that is told draws none of them."""

import json

import numpy as np
import pytest
import torch
from running import run
from scipy import stats

from cascore.denoiser import PreconditionedDenoiser
from cascore.errors import InputError
from cascore.losses import LogUniform
from cascore.model.loading import load
from cascore.networks import ConditionalUNet, UNet
from cascore.training import KeyedBatches, TrainState, Workers, adam, train
from cascore.training.batches import batch_rows

IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(256, size=(40, 3, 6, 8)).astype(np.uint8)
)


def undone(image, original, right, down):
    """Whether an image is the original, moved: cut out of it after numpy mirrored its edges."""
    height, width = original.shape[-2:]
    wide = np.pad(original, ((0, 0), (5, 5), (5, 5)), mode="reflect")
    cut = wide[:, 5 - down : 5 - down + height, 5 - right : 5 - right + width]
    return np.array_equal(image, cut)


def test_images_are_moved_as_they_are_said_to_be():
    batches = KeyedBatches(IMAGES, 16, seed=3, flip=True, shift=2, told=True)
    seen = []
    for step in range(60):
        clean, labels, done = batches.batch(step)
        assert labels is None
        originals = IMAGES[batch_rows(40, 16, step, seed=3)].numpy()
        for image, original, (flipped, right, down) in zip(clean, originals, done, strict=True):
            right, down = float(right * 8 / 8), float(down * 6 / 8)
            assert right == int(right)
            assert down == int(down)
            source = original[..., ::-1] if flipped else original
            pixels = (image * 255).round().to(torch.uint8).numpy()
            assert undone(pixels, source, int(right), int(down))
            seen.append((int(right), int(down)))
    counts = {place: seen.count(place) for place in seen}
    assert set(counts) == {(x, y) for x in range(-2, 3) for y in range(-2, 3)}
    # Half of 960 stay, the others fall on 25 places alike: 24 degrees of freedom.
    expected = [960 / 50 + 480 * (place == (0, 0)) for place in counts]
    assert stats.chisquare(list(counts.values()), expected).pvalue > 1e-4


def test_shares_of_ranks_are_those_of_the_whole_and_labels_stay():
    settings = {"flip": True, "shift": 1, "told": True, "labels": torch.arange(40)}
    whole = KeyedBatches(IMAGES, 6, seed=2, **settings).batch(5)
    ranks = [Workers(rank=rank, count=2) for rank in range(2)]
    parts = [KeyedBatches(IMAGES, 6, seed=2, workers=each, **settings).batch(5) for each in ranks]
    for joined, column in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(joined), column)
    bare = KeyedBatches(IMAGES, 6, seed=2, told=True).batch(5)
    assert not bool(bare.augmentation.any())
    with pytest.raises(InputError, match="cannot be shifted by 6"):
        KeyedBatches(IMAGES, 6, seed=2, shift=6)


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("kind", [UNet, ConditionalUNet])
def test_a_network_is_told_and_nothing_is_told_by_zeros(kind, classes):
    settings = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (False, False)}
    torch.manual_seed(0)
    network = kind(channels=1, classes=classes, augmented=True, **settings)
    torch.manual_seed(0)
    without = kind(channels=1, classes=classes or 2 * (kind is UNet), **settings)
    weights = network.state_dict()
    assert weights.pop("augmentation.weight").shape == (32, 3)
    seen = (torch.rand(2, 1, 8, 8), *([torch.zeros(2)] if kind is ConditionalUNet else []))
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    nothing = network(*seen)
    assert torch.equal(network(*seen, None, torch.zeros(2, 3)), nothing)
    for number in range(3):
        told = torch.zeros(2, 3)
        told[0, number] = 1
        different = network(*seen, None, told) != nothing
        assert bool(different[0].any())
        assert not bool(different[1].any())
    if kind is ConditionalUNet or classes:  # else its blocks would see no embedding
        known = {name: network.state_dict()[name] for name in without.state_dict()}
        without.load_state_dict(known)
        assert torch.equal(without(*seen), nothing)
    with pytest.raises(InputError, match="built without augmentation"):
        without(*seen, None, torch.zeros(2, 3))


def lopsided():
    """One picture, dark on its left."""
    return torch.tensor([40, 80, 120, 160, 180, 200, 220, 240], dtype=torch.uint8).expand(
        1, 1, 8, 8
    )


class Guess(torch.nn.Module):
    """F of no more than what it is told: a picture, and another that is added for each number."""

    def __init__(self):
        super().__init__()
        self.pictures = torch.nn.Parameter(torch.zeros(4, 8, 8))

    def forward(self, x, log_sigma, label=None, augmentation=None):
        told = x.new_zeros(len(x), 3) if augmentation is None else augmentation
        return (self.pictures[0] + torch.tensordot(told, self.pictures[1:], dims=1))[:, None]


def test_what_it_learned_from_mirrored_pictures_does_not_leak():
    """At large sigma H is the mean of what was learned: the picture, or it and its mirror alike."""
    clean = lopsided().float() / 255
    mean, sigma, ends = float(clean.mean()), torch.tensor(20.0), {}
    for told in (True, False):
        denoiser = PreconditionedDenoiser(Guess(), mean=mean, deviation=0.25)
        state = TrainState(denoiser, adam(denoiser.parameters(), learning_rate=0.1))
        batches = KeyedBatches(lopsided(), 16, seed=0, flip=True, told=told)
        for _ in train(state, batches, LogUniform(20.0, 10.0), steps=100, deviation=0.25):
            pass
        ends[told] = state.average(clean, sigma)[0, 0, 0].detach()
    picture = clean[0, 0, 0]
    between = (picture + picture.flip(0)) / 2
    # c_skip x is 1e-4; the noise of 100 batches of 16 coins is 0.03 of the half difference.
    assert float((ends[True] - picture).abs().max()) < 0.02
    assert float((ends[False] - between).abs().max()) < 0.1
    assert float((picture - between).abs().max()) > 0.35


OPTIONS = (
    *("--network.augmented", "--data.shift", "1", "--data.flip", "--network.width", "8"),
    *("--train.batch-size", "8", "--threads", "1", "--device", "cpu"),
)


def test_a_run_goes_on_to_the_bit_and_draws(tmp_path):
    for out, steps in (("whole", "4"), ("run", "2"), ("run", "4")):
        assert (
            run("train", "digits", *OPTIONS, "--train.steps", steps, "--out", tmp_path / out) == 0
        )
    whole, resumed = (load(tmp_path / name) for name in ("whole", "run"))
    expected = whole.denoiser.state_dict()
    assert any("augmentation" in name for name in expected)
    for name, value in resumed.denoiser.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert whole.sample(range(2), calls=2).denoised.shape == (2, 1, 8, 8)
    record = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert (record["data"]["shift"], record["network"]["augmented"]) == (1, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--data.shift", "1"), "give --network.augmented"),
        (("--data.shift", "8", "--network.augmented"), "cannot be shifted by 8"),
        (("--data.shift", "-1"), "--data.shift must be at least 0"),
        (("--network.kind", "ncsnv2", "--network.augmented"), "is for --network.kind unet"),
    ],
)
def test_what_cannot_be_is_refused(options, words, tmp_path, capsys):
    out = ("--train.steps", "1", "--out", tmp_path / "run")
    assert run("train", "digits", *options, *out) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
