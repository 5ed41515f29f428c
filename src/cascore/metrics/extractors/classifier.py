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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from cascore.errors import InputError
from cascore.files import file_digest
from cascore.foreign import parsing
from cascore.measurement import ExtractorIdentity
from cascore.metrics.extractors.common import Extractor, usable_device
from cascore.pixels import to_float
from cascore.plain import read_json

_WEIGHTS = Path(__file__).parent / "weights"
_BATCH = 256


class ConvNet(nn.Module):
    """Classifier of square images [C, H, H]: stages of two convolutions and a halving.

    `widths` are the channels of the stages, which halve the side, rounding down; `dimension` is the
    length of the layer before the logits. A `mirrored` network takes that layer's mean over an
    image and its mirror image; it can be trained on either alone.
    """

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        widths: Sequence[int],
        dimension: int,
        classes: int,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        self.mirrored = mirrored
        self.stages = nn.Sequential(*(_stage(a, b) for a, b in pairwise((channels, *widths))))
        final_side = side >> len(widths)
        self.embed = nn.Linear(widths[-1] * final_side**2, dimension)
        self.head = nn.Linear(dimension, classes)
        self.whitening = nn.Linear(dimension, dimension)  # set after training

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [N, classes] of float pixels [N, C, H, W] in [0, 1]."""
        logits: Tensor = self.head(self.penultimate(pixels))
        return logits

    def penultimate(self, pixels: Tensor) -> Tensor:
        """Activations [N, dimension] before the logits, of float pixels [N, C, H, W] in [0, 1]."""
        if self.mirrored:
            return (self._one_way(pixels) + self._one_way(pixels.flip(-1))) / 2
        return self._one_way(pixels)

    def features(self, pixels: Tensor) -> Tensor:
        """Whitened penultimate activations [N, dimension] of float pixels in [0, 1]."""
        whitened: Tensor = self.whitening(self.penultimate(pixels))
        return whitened

    def _one_way(self, pixels: Tensor) -> Tensor:
        hidden: Tensor = self.stages(2 * pixels - 1)
        return torch.relu(self.embed(hidden.flatten(start_dim=1)))


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier(Extractor):
    """A trained `ConvNet` as an extractor and as a classifier; its accuracy on held-out images."""

    accuracy: float
    network: ConvNet

    def classify(self, images: Tensor) -> Tensor:
        """Labels int64 [N], on the CPU, of images uint8 [N, C, H, W]."""
        classes = self.network.head.out_features
        logits = self.applied(lambda part: self.network(to_float(part)), images, width=classes)
        return logits.argmax(dim=1)


def classifier_names() -> tuple[str, ...]:
    """The data sets whose classifiers ship with cascore."""
    return tuple(sorted(path.stem for path in _WEIGHTS.glob("*.safetensors")))


def load_classifier(name: str, *, device: torch.device | str = "cpu") -> Classifier:
    """The classifier that ships with cascore for the data set `name`.

    A name that none ships for, damaged files, and a device that is not there raise InputError.
    """
    if name not in classifier_names():
        raise InputError(
            f"no classifier ships for {name!r}; those with one are {', '.join(classifier_names())}"
        )
    return read_classifier(_WEIGHTS / f"{name}.safetensors", device=device)


def read_classifier(path: Path, *, device: torch.device | str = "cpu") -> Classifier:
    """The classifier of a file that `tools/train_classifier.py` wrote, with the JSON beside it.

    Damaged files, and a device that is not there, raise InputError.
    """
    with parsing(path, "a classifier, with the JSON file beside it", "write or install it again"):
        card, digest = read_json(path.with_suffix(".json")), file_digest(path)
        if card["digest"] != digest:
            raise ValueError(f"its digest is {digest}, the JSON file says {card['digest']}")
        architecture = ("image_shape", "widths", "dimension", "classes")
        network = ConvNet(
            **{key: card[key] for key in architecture}, mirrored=card.get("mirrored", False)
        )
        network.load_state_dict(safetensors.torch.load_file(path))
    device = usable_device(device)
    network = network.eval().requires_grad_(False).to(device)
    channels, height, width = card["image_shape"]
    return Classifier(
        identity=ExtractorIdentity(name=card["name"], digest=digest),
        dimension=card["dimension"],
        compute=lambda images: network.features(to_float(images)),
        device=device,
        batch_size=_BATCH,
        channels=(channels,),
        size=(height, width),
        accuracy=card["accuracy"],
        network=network,
    )
