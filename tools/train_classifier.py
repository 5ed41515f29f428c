"""Train the classifier whose features and labels judge samples of one data set.

    python tools/train_classifier.py digits
    python tools/train_classifier.py fashion-mnist
    python tools/train_classifier.py mnist --root FOLDER_OF_IDX_FILES
    python tools/train_classifier.py cifar-10-jpeg --root FOLDER_OF_PREPARED_SETS

Trains on the train split, never chooses anything by the test split, and writes NAME.safetensors
and NAME.json to the weights of `cascore.metrics.extractors`. One thread and one seed: the same
machine and the same version of torch give the same bytes. Another `--seed` and `--out` make a
second judge, which may choose what the first one is to measure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.data import ImageSet, load_images
from cascore.files import replaced_file, write_text
from cascore.metrics import ExtractorIdentity, FeatureMoments
from cascore.metrics.extractors import classifier
from cascore.metrics.extractors.classifier import ConvNet
from cascore.pixels import to_float

DIMENSION = 64
CLASSES = 10
BATCH = 128
PEAK_RATE, PEAK_RATE_SGD = 3e-3, 0.1
LARGE = 50_000
"""Numbers of a weight from which on it is kept in float16."""


@dataclass(frozen=True)
class Recipe:
    """What differs between data sets.

    Largest shift in pixels; whether images are mirrored, in training by chance and later always,
    for the mean of both ways; side of a square of each image that is hidden. With a momentum it is
    Nesterov's, at a rate of its own, which on photographs generalises better than Adam. bfloat16
    takes half of the time where the processor has it, of convolutions whose channels come last in
    memory.
    """

    widths: tuple[int, ...]
    epochs: int
    shift: int
    flip: bool = False
    hidden: int = 0
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    momentum: float = 0.0
    bfloat16: bool = False


RECIPES = {
    "digits": Recipe(widths=(32, 64), epochs=20, shift=1),
    "fashion-mnist": Recipe(widths=(16, 32, 64), epochs=8, shift=1),
    "mnist": Recipe(widths=(16, 32, 64), epochs=6, shift=2),
    "cifar-10-jpeg": Recipe(
        widths=(48, 96, 192, 192),
        epochs=40,
        shift=3,
        flip=True,
        hidden=8,
        weight_decay=5e-4,
        label_smoothing=0.1,
        momentum=0.9,
        bfloat16=True,
    ),
}


def main() -> None:
    """Train, measure on the test split, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--root", type=Path, help="folder of the data set's files")
    weights_folder = Path(classifier.__file__).parent / "weights"
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of a quicker second judge")
    parser.add_argument("--out", type=Path, default=weights_folder)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    recipe, command = RECIPES[arguments.name], f"python tools/train_classifier.py {arguments.name}"
    if arguments.epochs is not None:
        recipe = replace(recipe, epochs=arguments.epochs)
        command += f" --epochs {arguments.epochs}"
    train_set = load_images(arguments.name, "train", root=arguments.root)
    test_set = load_images(arguments.name, "test", root=arguments.root)
    network = train(train_set, recipe, seed=arguments.seed)
    network.mirrored = recipe.flip
    round_large(network)
    activations = penultimate_moments(network, train_set)
    whiten(network, activations.mean, activations.covariance)
    correct = count_correct(network, test_set)
    print(f"{arguments.name}: {correct} of {len(test_set.labels)} held-out images are correct")

    weights = safetensors.torch.save(
        {
            name: (value.half() if is_large(value) else value).contiguous()
            for name, value in network.state_dict().items()
        }
    )
    card = {
        "name": arguments.name,
        "digest": hashlib.sha256(weights).hexdigest(),
        "image_shape": list(train_set.images.shape[1:]),
        "widths": list(recipe.widths),
        "dimension": DIMENSION,
        "classes": CLASSES,
        "mirrored": recipe.flip,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "accuracy": correct / len(test_set.labels),
        "held_out": len(test_set.labels),
        "train_digest": train_set.digest,
        "test_digest": test_set.digest,
        "command": command,
        "seed": arguments.seed,
        "torch": torch.__version__,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    with replaced_file(arguments.out / f"{arguments.name}.safetensors") as path:
        path.write_bytes(weights)
    write_text(arguments.out / f"{arguments.name}.json", json.dumps(card, indent=2) + "\n")


def train(data: ImageSet, recipe: Recipe, *, seed: int) -> ConvNet:
    """A network trained by cross-entropy, AdamW and a one-cycle rate on randomly moved images."""
    torch.manual_seed(seed)
    channels, height, width = data.images.shape[1:]
    network = ConvNet(
        image_shape=(channels, height, width),
        widths=recipe.widths,
        dimension=DIMENSION,
        classes=CLASSES,
    )
    if recipe.bfloat16:
        network = network.to(memory_format=torch.channels_last)
    steps = len(data.labels) // BATCH
    optimizer, peak = optimizer_of(network, recipe)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=peak,
        total_steps=recipe.epochs * steps,
        cycle_momentum=not recipe.momentum,
    )
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in torch.randperm(len(data.labels))[: steps * BATCH].split(BATCH):
            pixels = randomly_shifted(to_float(data.images[rows]), recipe.shift)
            if recipe.flip:
                mirrored = torch.rand(len(rows)) < 0.5
                pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
            if recipe.hidden:
                pixels = partly_hidden(pixels, recipe.hidden)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
                logits = network(pixels)
            loss = F.cross_entropy(
                logits.float(), data.labels[rows], label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {recipe.epochs}: loss {total / steps:.4f}", flush=True)
    return network.eval()


def optimizer_of(network: ConvNet, recipe: Recipe) -> tuple[torch.optim.Optimizer, float]:
    """The optimizer of a recipe, and its largest learning rate."""
    weights, decay = network.parameters(), recipe.weight_decay
    if not recipe.momentum:
        return torch.optim.AdamW(weights, lr=PEAK_RATE, weight_decay=decay), PEAK_RATE
    sgd = torch.optim.SGD(
        weights, lr=PEAK_RATE_SGD, momentum=recipe.momentum, nesterov=True, weight_decay=decay
    )
    return sgd, PEAK_RATE_SGD


def randomly_shifted(pixels: Tensor, largest: int) -> Tensor:
    """Every image of [N, C, H, W] moved by up to `largest` pixels each way, black moving in."""
    count, _, height, width = pixels.shape
    padded = F.pad(pixels, (largest,) * 4)
    top, left = torch.randint(2 * largest + 1, (2, count, 1))
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    image = torch.arange(count)[:, None, None, None]
    channel = torch.arange(pixels.shape[1])[None, :, None, None]
    return padded[image, channel, rows, columns]


def partly_hidden(pixels: Tensor, side: int) -> Tensor:
    """Every image of [N, C, H, W] with a square made grey, cut off where it reaches the border.

    Cutout of DeVries and Taylor (arXiv 1708.04552): centres are uniform over the image.
    """
    count, _, height, width = pixels.shape
    top, left = (torch.randint(n, (count, 1)) - side // 2 for n in (height, width))
    rows, columns = torch.arange(height) - top, torch.arange(width) - left
    inside_rows, inside_columns = ((at >= 0) & (at < side) for at in (rows, columns))
    square = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return pixels.masked_fill(square, 0.5)


def is_large(weight: Tensor) -> bool:
    """Whether a weight is kept in float16."""
    return weight.numel() >= LARGE


@torch.no_grad()
def round_large(network: ConvNet) -> None:
    """Round to float16 what will be kept in it, so that what is measured is what is kept."""
    for weight in filter(is_large, network.parameters()):
        weight.copy_(weight.half())


@torch.no_grad()
def penultimate_moments(network: ConvNet, data: ImageSet) -> FeatureMoments:
    """Moments of the layer before the logits, over the images as they are."""
    unnamed = ExtractorIdentity(name="penultimate", digest="")
    moments = FeatureMoments.of(torch.empty(0, DIMENSION), extractor=unnamed)
    for images in data.images.split(256):
        moments = moments.update(network.penultimate(to_float(images)))
    return moments


@torch.no_grad()
def whiten(network: ConvNet, mean: Tensor, covariance: Tensor) -> None:
    """Fix the features' map from the moments of penultimate activations.

    Each principal direction is centred and divided by √(λ + λ_max / 100). The addition keeps
    directions that hardly vary, such as units that are almost always off, from being blown up.

    Args:
        network: Its whitening layer is set.
        mean: [dimension] float64.
        covariance: [dimension, dimension] float64.
    """
    values, vectors = torch.linalg.eigh(covariance)
    matrix = (vectors / (values + values[-1] / 100).sqrt()).T
    network.whitening.weight.copy_(matrix)
    network.whitening.bias.copy_(-matrix @ mean)


@torch.no_grad()
def count_correct(network: ConvNet, data: ImageSet) -> int:
    """How many images of a labelled set the network classifies correctly."""
    hits = 0
    for images, labels in zip(data.images.split(256), data.labels.split(256), strict=True):
        hits += int((network(to_float(images)).argmax(dim=1) == labels).sum())
    return hits


if __name__ == "__main__":
    main()
