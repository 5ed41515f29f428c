"""From images to features: what an extractor is, and features of any number of images.

Images come as one tensor (which may be a memory map) or as an iterable of tensors of any lengths,
such as a sampler's batches. Either is cut into batches of one size first, so the lengths in which
images arrive move no bit of a result. Another batch size moves rounding, because a convolution may
be computed by another algorithm.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity

Images = Tensor | Iterable[Tensor]


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


def extract_features(
    extractor: FeatureExtractor,
    images: Images,
    *,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Features float32 [N, D] of images, in memory: 8 kB an image for Inception.

    Args:
        extractor: For example `load_extractor("digits")`.
        images: uint8 [N, C, H, W] as the extractor expects them, or such tensors one after the
            other; N may be 0.
        batch_size: Bounds the memory of the work; moves the result by rounding only.
        progress: Called with the number of images done.
    """
    rows, done = [torch.empty(0, extractor.dimension)], 0
    for features in features_in_batches(extractor, images, batch_size):
        rows.append(features)
        done += len(features)
        if progress is not None:
            progress(done)
    return torch.cat(rows)


def features_in_batches(
    extractor: FeatureExtractor, images: Images, batch_size: int
) -> Iterator[Tensor]:
    """Features float32 [n, D] of `batch_size` images at a time, of fewer at the end."""
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected at least 1")
    for batch in _batches(images, batch_size):
        features = extractor(batch)
        expected = (len(batch), extractor.dimension)
        if tuple(features.shape) != expected:
            raise InputError(
                f"the extractor {extractor.identity} returned shape {tuple(features.shape)} for"
                f" {len(batch)} images; expected {expected}"
            )
        yield features.detach().cpu().float()


def _batches(images: Images, batch_size: int) -> Iterator[Tensor]:
    """Images in batches of `batch_size`, the last one shorter."""
    waiting: list[Tensor] = []
    missing = batch_size
    shape: torch.Size | None = None
    for part in (images,) if isinstance(images, Tensor) else images:
        shape = part.shape[1:] if shape is None else shape
        if part.shape[1:] != shape:
            raise InputError(
                f"images of mixed sizes: {list(shape)}, then {list(part.shape[1:])}; bring them to"
                " one size first, as the data set folder:PATH does"
            )
        while len(part) >= missing:
            waiting.append(part[:missing])
            yield torch.cat(waiting) if len(waiting) > 1 else waiting[0]
            part = part[missing:]
            waiting, missing = [], batch_size
        if len(part):
            waiting.append(part)
            missing -= len(part)
    if waiting:
        yield torch.cat(waiting)


def checked_features(features: Tensor, what: str, *, least: int = 0) -> Tensor:
    """The same features in float64 on the CPU: finite, floating point, [N, D] with N >= least.

    Anything else is an InputError that calls them `what`.
    """
    if not isinstance(features, Tensor):
        raise InputError(
            f"{what} are a {type(features).__name__}; expected a floating point tensor [N, D], "
            "one row per image (images of mixed sizes have features only once they are resized)"
        )
    if features.ndim != 2 or not features.is_floating_point() or features.shape[1] == 0:
        raise InputError(
            f"{what} are {features.dtype} of shape {tuple(features.shape)}; expected "
            "floating point [N, D], one row per image"
        )
    if len(features) < least:
        raise InputError(f"{what} hold {len(features)} feature vectors; expected at least {least}")
    features = features.detach().to(device="cpu", dtype=torch.float64)
    broken = int((~features.isfinite()).any(dim=1).sum())
    if broken:
        raise InputError(
            f"{what}: {broken} of {len(features)} feature vectors hold NaN or infinity; look at "
            "the images they come from: one such vector would make the whole result meaningless"
        )
    return features


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
