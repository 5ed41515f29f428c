import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from features import tool as load_tool

from cascore.data import load_images
from cascore.errors import InputError
from cascore.metrics import (
    feature_moments,
    frechet_distance,
    load_classifier,
    mode_coverage,
    real_floor,
)
from cascore.metrics.extractors import classifier
from cascore.metrics.extractors.classifier import ConvNet
from cascore.pixels import to_float, to_uint8

WEIGHTS = Path(classifier.__file__).parent / "weights"
ENOUGH = {"cifar-10-jpeg": 0.9, "digits": 0.98, "fashion-mnist": 0.91, "mnist": 0.99}
LARGEST = {"cifar-10-jpeg": 3_000_000}  # bytes; of the others 1,000,000


@pytest.fixture(scope="module")
def tool():
    return load_tool("train_classifier")


@pytest.mark.parametrize("name", sorted(ENOUGH))
def test_what_ships_is_what_its_card_says(name, tool):
    weights = (WEIGHTS / f"{name}.safetensors").read_bytes()
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    extractor = load_classifier(name)
    assert len(weights) < LARGEST.get(name, 1_000_000)
    assert tuple(card["widths"]) == tool.RECIPES[name].widths
    assert (card["dimension"], card["seed"]) == (tool.DIMENSION, 0)
    assert extractor.identity.name == name
    assert extractor.identity.digest == card["digest"] == hashlib.sha256(weights).hexdigest()
    assert extractor.accuracy == card["accuracy"] >= ENOUGH[name]
    assert all(len(card[f"{split}_digest"]) == 64 for split in ("train", "test"))
    images = torch.zeros(2, *card["image_shape"], dtype=torch.uint8)
    features = extractor(images)
    assert features.shape == (2, extractor.dimension)
    assert features.dtype == torch.float32
    assert extractor.classify(images[:0]).shape == (0,)
    with pytest.raises(InputError, match=r"takes torch.uint8 of shape \[N, [13], "):
        extractor.classify(images.float())
    with pytest.raises(
        InputError, match="those with one are cifar-10-jpeg, digits, fashion-mnist, mnist"
    ):
        load_classifier(f"../weights/{name}")


def test_the_digits_are_classified_as_the_card_says():
    card = json.loads((WEIGHTS / "digits.json").read_text())
    train, test = load_images("digits", "train"), load_images("digits", "test")
    assert (train.digest, test.digest) == (card["train_digest"], card["test_digest"])
    labels = load_classifier("digits").classify(test.images)
    assert labels.dtype == torch.int64
    correct = int((labels == test.labels).sum())
    # Another processor may round one image across a boundary.
    assert correct == pytest.approx(card["accuracy"] * test.count, abs=1)
    assert mode_coverage(labels, 10).covered == 10


def test_a_mirrored_network_sees_the_mean_of_both_ways():
    torch.manual_seed(0)
    how = {"image_shape": (3, 8, 8), "widths": (4, 5), "dimension": 6, "classes": 2}
    one_way, both = ConvNet(**how).eval(), ConvNet(**how, mirrored=True).eval()
    both.load_state_dict(one_way.state_dict())
    pixels = torch.rand(3, 3, 8, 8)
    seen, mirrored = one_way.penultimate(pixels), one_way.penultimate(pixels.flip(-1))
    assert not torch.allclose(seen, mirrored)
    torch.testing.assert_close(both.penultimate(pixels), (seen + mirrored) / 2)
    torch.testing.assert_close(both(pixels), both(pixels.flip(-1)))


def test_a_hidden_square_is_grey_and_lies_anywhere(tool):
    torch.manual_seed(0)
    hidden = tool.partly_hidden(torch.ones(2000, 1, 12, 12), 4) != 1
    assert set(tool.partly_hidden(torch.ones(9, 1, 12, 12), 4).unique().tolist()) == {0.5, 1.0}
    rows, columns = hidden.any(dim=3)[:, 0].sum(dim=1), hidden.any(dim=2)[:, 0].sum(dim=1)
    assert torch.equal(hidden.sum(dim=(1, 2, 3)), rows * columns)  # a rectangle
    assert (int(rows.min()), int(rows.max())) == (2, 4)  # half of it at a border
    share = hidden.float().mean(dim=0)[0]  # a centre of 12 by 12 covers the middle in 4 of 12
    middle = share[2:-2, 2:-2].mean()
    assert float(middle) == pytest.approx(1 / 9, abs=4 * (1 / 9 * 8 / 9 / 2000) ** 0.5)


def test_features_are_whitened_over_the_training_images():
    moments = feature_moments(load_classifier("digits"), load_images("digits", "train").images)
    # λ / (λ + λ_max / 100): 1 / 1.01 at most, and the directions stay uncorrelated.
    values = moments.covariance.diagonal()
    assert float(values.max()) == pytest.approx(1 / 1.01, rel=1e-4)
    torch.testing.assert_close(moments.covariance, values.diag(), rtol=0, atol=1e-4)
    assert float(moments.mean.abs().max()) < 1e-4


def test_whitening_by_hand(tool):
    torch.manual_seed(0)
    network = ConvNet(image_shape=(1, 4, 4), widths=(3,), dimension=2, classes=2).eval()
    mean = torch.tensor([1.0, 2.0]).double()
    tool.whiten(network, mean, torch.tensor([[0.0, 0.0], [0.0, 4.0]]).double())
    pixels = torch.rand(5, 1, 4, 4)
    expected = (network.penultimate(pixels) - mean) / torch.tensor([0.04, 4.04]).sqrt()
    # The signs of principal directions are free.
    torch.testing.assert_close(network.features(pixels).abs(), expected.abs().float())


def test_the_distance_grows_with_noise_and_starts_at_the_floor():
    extractor = load_classifier("digits")
    train, test = (load_images("digits", split).images for split in ("train", "test"))
    reference = feature_moments(extractor, train)
    floor = real_floor(
        extractor(torch.cat([train, test])),
        count=len(test),
        reference_count=len(train),
        repeats=10,
        seed=0,
        extractor=extractor.identity,
    )
    noise = torch.randn(test.shape, generator=torch.Generator().manual_seed(0))
    distances = [
        frechet_distance(
            feature_moments(extractor, to_uint8((to_float(test) + sigma * noise).clamp(0, 1))),
            reference,
        )
        for sigma in (0, 0.05, 0.1, 0.2, 0.4)
    ]
    assert distances == sorted(distances)
    assert distances[0] < floor.mean < distances[2]


def test_damaged_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "_WEIGHTS", tmp_path)
    weights = (WEIGHTS / "digits.safetensors").read_bytes()
    card = json.loads((WEIGHTS / "digits.json").read_text())
    tensors = safetensors.torch.load(weights)

    def refused(weights, card):
        (tmp_path / "digits.safetensors").write_bytes(weights)
        (tmp_path / "digits.json").write_bytes(card)
        with pytest.raises(InputError, match=r"as a classifier.*again|json is not"):
            load_classifier("digits")

    def vouched(weights, **changes):
        """A card with changes that has the weights' own digest."""
        digest = hashlib.sha256(weights).hexdigest()
        refused(weights, json.dumps(card | changes | {"digest": digest}).encode())

    refused(weights[:-1] + bytes([weights[-1] ^ 1]), json.dumps(card).encode())
    for text in (b"{}", b"[]", b"{", b"\xff\xfe\x00"):
        refused(weights, text)
    vouched(b"not safetensors")
    vouched(safetensors.torch.save({"head.weight": tensors["head.weight"]}))
    for change in ({"widths": [32, 65]}, {"widths": []}, {"image_shape": [1, 8]}):
        vouched(weights, **change)


def test_random_shifts_move_whole_images(tool):
    torch.manual_seed(0)
    images = torch.rand(200, 2, 5, 4)
    moved = tool.randomly_shifted(images, 1)
    seen = set()
    for before, after in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(before, (1, 1, 1, 1))
        shifts = [
            (top, left)
            for top in range(3)
            for left in range(3)
            if torch.equal(after, padded[:, top : top + 5, left : left + 4])
        ]
        assert len(shifts) == 1
        seen.update(shifts)
    assert len(seen) == 9
