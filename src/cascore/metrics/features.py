"""From images to features: what an extractor is, and features of any number of images.

Images may be a memory map. They are cut into batches of one size, always the same, because a
convolution may be computed by another algorithm at another size, which moves rounding.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity

BATCH = 256
"""Images that are seen together, which bounds the memory of the work."""


class FeatureExtractor(Protocol):
    """Turns uint8 images [N, C, H, W] into float32 features [N, dimension] on the CPU."""

    @property
    def identity(self) -> ExtractorIdentity:
        """Name and digest of whatever decides the features."""

    @property
    def dimension(self) -> int:
        """Length of one feature vector."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, dimension] of images uint8 [N, C, H, W]."""


def extract_features(extractor: FeatureExtractor, images: Tensor) -> Tensor:
    """Features float32 [N, D] of images uint8 [N, C, H, W]: 8 kB an image for Inception."""
    return torch.cat(list(features_in_batches(extractor, images)))


def features_in_batches(extractor: FeatureExtractor, images: Tensor) -> Iterator[Tensor]:
    """Features float32 [n, D] of a batch at a time, of fewer images at the end."""
    for batch in torch.split(images, BATCH):
        features = extractor(batch)
        expected = (len(batch), extractor.dimension)
        if tuple(features.shape) != expected:
            raise InputError(
                f"the extractor {extractor.identity} returned shape {tuple(features.shape)} for"
                f" {len(batch)} images; expected {expected}"
            )
        yield features.detach().cpu().float()


def require_rows(values: Tensor, what: str, *, least: int = 0) -> None:
    """Refuse what is not finite floating point [N, ...] with N >= least, naming it `what`."""
    if not isinstance(values, Tensor):
        raise InputError(
            f"{what} are a {type(values).__name__}; expected one floating point tensor [N, ...] "
            "(images of mixed sizes must be brought to one size first)"
        )
    if values.ndim < 2 or not values.is_floating_point() or 0 in values.shape[1:]:
        raise InputError(
            f"{what} are {values.dtype} of shape {tuple(values.shape)}; expected floating point "
            "[N, ...], one row per image (cascore.pixels.to_float makes it of uint8 images)"
        )
    if len(values) < least:
        raise InputError(f"{what} hold {len(values)} rows; expected at least {least}")
    broken = int((~values.flatten(1).isfinite()).any(dim=1).sum())
    if broken:
        raise InputError(
            f"{what}: {broken} of {len(values)} rows hold NaN or infinity; look at the images they"
            " come from: one such row would make the whole result meaningless"
        )


def checked_features(features: Tensor, what: str, *, least: int = 0) -> Tensor:
    """The same features [N, D] in float64 on the CPU; what `require_rows` refuses is refused."""
    require_rows(features, what, least=least)
    if features.ndim != 2:
        raise InputError(f"{what} are of shape {tuple(features.shape)}; expected [N, D]")
    return features.detach().to(device="cpu", dtype=torch.float64)


def checked_pair(
    generated: Tensor, reference: Tensor, *, chunk: int, least: int = 0
) -> tuple[Tensor, Tensor]:
    """Both sets as by `checked_features`, of one dimension; and a chunk of at least one row."""
    if chunk < 1:
        raise InputError(f"chunk is {chunk}; expected at least 1")
    generated = checked_features(generated, "generated features", least=least)
    reference = checked_features(reference, "reference features", least=least)
    if generated.shape[1] != reference.shape[1]:
        raise InputError(
            f"generated features have {generated.shape[1]} dimensions, reference features "
            f"{reference.shape[1]}; compute both with the same extractor"
        )
    return generated, reference
