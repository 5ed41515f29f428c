"""Small image classifiers: their penultimate layer is a feature space, their labels find modes.

Inception features mean little on 8×8 digits and its weights are a large download. These
classifiers weigh under 1 MB, travel with the package and are trained by `tools/train_classifier.py`
on the data set whose name they bear. The JSON file beside the weights says how well they classify,
from which data they come, and pins the weights by digest.

The penultimate layer of a trained classifier spends most of its variance on telling classes apart,
so in a distance between finite sets the chance of how many images of each class were drawn would
drown everything else. Features are therefore whitened, by a linear map that is fixed once from the
training images and stored with the weights: flaws inside a class then count too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from cascore.errors import InputError
from cascore.metrics.features import in_batches, require_images, usable_device
from cascore.metrics.moments import ExtractorIdentity
from cascore.pixels import to_float

__all__ = ["Classifier", "ConvNet", "classifier_names", "load_classifier", "read_classifier"]

_WEIGHTS = Path(__file__).parent / "weights"
_BATCH = 256  # fixed: a convolution's rounding may depend on the batch size


class ConvNet(nn.Module):
    """Convolutional classifier of square images: stages of two convolutions and a halving.

    Args:
        image_shape: Channels, height and width; the sides are equal.
        widths: Channels of each stage; every stage halves the side, rounding down.
        dimension: Length of the feature vector, the layer before the logits.
        classes: Number of logits.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        widths: tuple[int, ...],
        dimension: int,
        classes: int,
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        self.stages = nn.Sequential(*(_stage(a, b) for a, b in pairwise((channels, *widths))))
        final_side = side >> len(widths)
        self.embed = nn.Linear(widths[-1] * final_side**2, dimension)
        self.head = nn.Linear(dimension, classes)
        self.whitening = nn.Linear(dimension, dimension)  # set after training, by `whiten`

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [N, classes] of float pixels [N, C, H, W] in [0, 1]."""
        logits: Tensor = self.head(self.penultimate(pixels))
        return logits

    def penultimate(self, pixels: Tensor) -> Tensor:
        """Activations [N, dimension] before the logits, of float pixels [N, C, H, W] in [0, 1]."""
        hidden: Tensor = self.stages(2 * pixels - 1)
        return torch.relu(self.embed(hidden.flatten(start_dim=1)))

    def features(self, pixels: Tensor) -> Tensor:
        """Whitened penultimate activations [N, dimension] of float pixels in [0, 1]."""
        whitened: Tensor = self.whitening(self.penultimate(pixels))
        return whitened

    @torch.no_grad()
    def whiten(self, mean: Tensor, covariance: Tensor) -> None:
        """Fix the features' map from the moments of penultimate activations.

        Each principal direction is centred and divided by √(λ + λ_max / 100). The addition keeps
        directions that hardly vary, such as units that are almost always off, from being blown up.

        Args:
            mean: [dimension] float64.
            covariance: [dimension, dimension] float64.
        """
        values, vectors = torch.linalg.eigh(covariance)
        matrix = (vectors / (values + values[-1] / 100).sqrt()).T
        self.whitening.weight.copy_(matrix)
        self.whitening.bias.copy_(-matrix @ mean)


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    # A convolution is followed by BatchNorm, whose offset makes a bias of its own pointless.
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained `ConvNet` as a `FeatureExtractor`, and as a classifier.

    Attributes:
        identity: Name, and sha256 of the weights file.
        image_shape: Channels, height, width of the images it takes.
        dimension: Length of a feature vector.
        accuracy: Share of held-out images that it classifies correctly.
        network: The network, in evaluation mode; where it lives, the work is done.
    """

    identity: ExtractorIdentity
    image_shape: tuple[int, int, int]
    dimension: int
    accuracy: float
    network: ConvNet

    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, dimension], on the CPU, of images uint8 [N, C, H, W].

        Raises:
            InputError: Images of another type or shape.
        """
        return self._applied(self.network.features, images, dimension=self.dimension)

    def classify(self, images: Tensor) -> Tensor:
        """Labels int64 [N], on the CPU, of images uint8 [N, C, H, W].

        Raises:
            InputError: Images of another type or shape.
        """
        classes = self.network.head.out_features
        return self._applied(self.network, images, dimension=classes).argmax(dim=1)

    def _applied(
        self, output: Callable[[Tensor], Tensor], images: Tensor, *, dimension: int
    ) -> Tensor:
        channels, height, width = self.image_shape
        require_images(images, self.identity.name, channels=(channels,), size=(height, width))
        return in_batches(
            lambda part: output(to_float(part)),
            images,
            device=self.network.head.weight.device,
            batch_size=_BATCH,
            dimension=dimension,
        )


def classifier_names() -> tuple[str, ...]:
    """The data sets whose classifiers ship with cascore."""
    return tuple(sorted(path.stem for path in _WEIGHTS.glob("*.safetensors")))


def load_classifier(name: str, *, device: torch.device | str = "cpu") -> Classifier:
    """The classifier that ships with cascore for the data set `name`.

    Raises:
        InputError: No classifier of that name ships, its files are damaged, or no such device.
    """
    if name not in classifier_names():
        raise InputError(
            f"no classifier ships for {name!r}; those with one are {', '.join(classifier_names())}"
        )
    classifier = read_classifier(_WEIGHTS / f"{name}.safetensors")
    classifier.network.to(usable_device(device))
    return classifier


def read_classifier(path: Path) -> Classifier:
    """A classifier from `<name>.safetensors` and the `<name>.json` beside it.

    Raises:
        InputError: A file is missing or unreadable, or the weights are not those that the JSON
            file describes.
    """
    try:
        weights = path.read_bytes()
        card_bytes = path.with_suffix(".json").read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the classifier {path}: {error}") from error
    digest = hashlib.sha256(weights).hexdigest()
    try:
        card = json.loads(card_bytes)
        pinned = card["digest"]
        if pinned == digest:
            return _build(card, weights, digest)
    except (LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{path} and its JSON file do not describe a classifier ({error!r}); "
            "train it again with tools/train_classifier.py"
        ) from error
    raise InputError(
        f"{path} has digest {digest}, its JSON file says {pinned}; the two do not belong "
        "together: restore both or train the classifier again"
    )


def _build(card: dict[str, Any], weights: bytes, digest: str) -> Classifier:
    """The classifier of a card and its weights; whatever is wrong with them raises as it comes."""
    channels, height, width = card["image_shape"]
    network = ConvNet(
        image_shape=(channels, height, width),
        widths=tuple(card["widths"]),
        dimension=card["dimension"],
        classes=card["classes"],
    )
    network.load_state_dict(safetensors.torch.load(weights))
    return Classifier(
        identity=ExtractorIdentity(name=card["name"], digest=digest),
        image_shape=(channels, height, width),
        dimension=card["dimension"],
        accuracy=card["accuracy"],
        network=network.eval().requires_grad_(False),
    )
