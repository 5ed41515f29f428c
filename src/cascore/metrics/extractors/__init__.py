"""Feature extractors by name: `load_extractor(name)`.

| name | features | of images |
| --- | --- | --- |
| `digits`, `mnist`, `fashion-mnist` | 64 of a small classifier that ships | of that data set |
| `pixels` | the pixels | of one shape |
| `random-convolution` | 256 of a random network | any, sides from 8 |
| `inception` | 2,048 of the FID's network, whose file you bring | any |

From Python, `module_extractor` makes one of any module.
"""

from pathlib import Path

import torch

from cascore.errors import InputError, nearest
from cascore.metrics.extractors.classifier import classifier_names, load_classifier
from cascore.metrics.extractors.common import pixels
from cascore.metrics.extractors.inception import load_inception
from cascore.metrics.extractors.random_network import random_convolution
from cascore.metrics.extractors.transformer import TRANSFORMERS, load_transformer
from cascore.metrics.features import FeatureExtractor


def extractor_names() -> tuple[str, ...]:
    """The names that `load_extractor` knows."""
    return (*classifier_names(), "pixels", "random-convolution", "inception", *TRANSFORMERS)


def load_extractor(
    name: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    root: Path | str = "data",
    device: torch.device | str = "cpu",
) -> FeatureExtractor:
    """The extractor of that name, one of `extractor_names()`; another one raises InputError.

    One that does not take images of that shape (channels, height, width) is refused now rather than
    later; `pixels` must know it. `inception`, `dinov2` and `clip` look for weights in ROOT/NAME.
    """
    extractor: FeatureExtractor
    if name in classifier_names():
        extractor = load_classifier(name, device=device)
    elif name == "pixels":
        if image_shape is None:
            raise InputError("'pixels' has as many features as an image has; give image_shape")
        extractor = pixels(image_shape)
    elif name == "random-convolution":
        extractor = random_convolution(device)
    elif name == "inception":
        extractor = load_inception(root=root, device=device)
    elif name in TRANSFORMERS:
        extractor = load_transformer(name, root=root, device=device)
    else:
        raise InputError(
            f"there is no extractor {name!r}{nearest(name, extractor_names())}; known are"
            f" {', '.join(extractor_names())}. A data set without a classifier of its own can be"
            " seen by random-convolution or inception; from Python, module_extractor makes an"
            " extractor of any module"
        )
    if image_shape is not None:
        extractor(torch.empty(0, *image_shape, dtype=torch.uint8))
    return extractor
