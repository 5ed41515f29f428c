"""DINOv2 and CLIP as feature extractors, from weights that transformers reads.

Features of Inception rank diffusion models otherwise than people do; those of DINOv2 agree with
people best (Stein et al. 2023, arXiv 2306.04675). The weights are not ours to ship, and their
authors publish no digest: the digest of the tensors and of the preparation of images stands in
every record, and distances of different digests are not compared.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cascore.errors import InputError, MissingExtraError
from cascore.foreign import parsing
from cascore.metrics.extractors.common import Extractor, usable_device
from cascore.metrics.extractors.user_module import module_extractor
from cascore.plain import read_json

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How images become features.

    Attributes:
        repository: Of the usual weights, on the hub.
        model: The class of transformers.
        features: Vectors [N, dimension] of what the model returns.
        dimension: Their length, of the model's configuration.
        side: Height and width of the images that it gets, of the configuration.
        mean: Of the pixels, by channel.
        deviation: Of the pixels.
    """

    repository: str
    model: str
    features: Callable[[Any], Tensor]
    dimension: Callable[[Any], int]
    side: Callable[[Any], int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


_KINDS = {
    "dinov2": _Kind(
        repository="facebook/dinov2-large",
        model="Dinov2Model",
        features=lambda output: output.pooler_output,  # the class token, normalised
        dimension=lambda config: config.hidden_size,
        side=lambda config: 224,
        mean=_IMAGENET[0],
        deviation=_IMAGENET[1],
    ),
    "clip": _Kind(
        repository="openai/clip-vit-large-patch14",
        model="CLIPVisionModelWithProjection",
        features=lambda output: output.image_embeds,
        dimension=lambda config: config.projection_dim,
        side=lambda config: config.image_size,
        mean=_OPENAI[0],
        deviation=_OPENAI[1],
    ),
}
TRANSFORMERS = tuple(_KINDS)
"""The names of these extractors."""


class _Features(nn.Module):
    """A model of transformers as a function from pixels to features."""

    def __init__(self, model: nn.Module, features: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self._features = model, features

    def forward(self, pixels: Tensor) -> Tensor:
        return self._features(self.model(pixel_values=pixels))


@contextmanager
def _only_errors(logging: Any) -> Iterator[None]:
    """Of transformers' messages only the errors within; the program's own choice afterwards."""
    chosen = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(chosen)


def load_transformer(
    name: str, *, root: Path | str = "data", device: torch.device | str = "cpu"
) -> Extractor:
    """The extractor `dinov2` or `clip` from config.json and model.safetensors in ROOT/NAME.

    Images are resized as by `module_extractor`, to 224 pixels or to what CLIP's configuration says.
    Nothing is downloaded, and no code of the folder is run.

    Raises:
        InputError: no such files, files of another network, or tensors that are missing.
        MissingExtraError: transformers is not installed.
    """
    kind, folder = _KINDS[name], Path(root) / name
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise InputError(
                f"{name} needs config.json and model.safetensors in {folder}: hf download"
                f" {kind.repository} config.json model.safetensors --local-dir {folder}"
            )
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError(what=name, package="transformers", extra="features") from error
    said = read_json(folder / "config.json")
    if not isinstance(said, dict) or said.get("model_type") not in (name, f"{name}_vision_model"):
        raise InputError(f"{folder / 'config.json'} does not say that its model is {name}")
    with parsing(folder, f"weights of {name}"), _only_errors(transformers.logging):
        model, found = getattr(transformers, kind.model).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if missing := sorted(found["missing_keys"]) + sorted(map(str, found["mismatched_keys"])):
            raise InputError(f"{folder} lacks {len(missing)} tensors of {name}: {missing[0]}, ...")
    module = _Features(model.eval().requires_grad_(False), kind.features)
    return module_extractor(
        module.eval().to(usable_device(device)),
        name=name,
        dimension=kind.dimension(model.config),
        side=kind.side(model.config),
        mean=kind.mean,
        deviation=kind.deviation,
    )
