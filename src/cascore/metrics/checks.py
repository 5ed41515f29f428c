"""What every metric asks of the features it is given."""

from __future__ import annotations

import torch
from torch import Tensor

from cascore.errors import InputError

__all__ = ["checked_features", "checked_pair", "require_chunk"]


def checked_features(features: Tensor, what: str, *, least: int = 0) -> Tensor:
    """The same features [N, D] in float64 on the CPU.

    Args:
        features: Floating point [N, D], one row per image.
        what: What they are, for the message.
        least: The smallest N that will do.

    Raises:
        InputError: Not a tensor, not floating point, not [N, D] with D >= 1, not finite, too few.
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


def checked_pair(generated: Tensor, reference: Tensor, *, least: int) -> tuple[Tensor, Tensor]:
    """Both sets as by `checked_features`, of one dimension.

    Raises:
        InputError: Either set is refused, or their dimensions differ.
    """
    generated = checked_features(generated, "generated features", least=least)
    reference = checked_features(reference, "reference features", least=least)
    if generated.shape[1] != reference.shape[1]:
        raise InputError(
            f"generated features have {generated.shape[1]} dimensions, reference features "
            f"{reference.shape[1]}; compute both with the same extractor"
        )
    return generated, reference


def require_chunk(chunk: int) -> None:
    """Raise InputError unless a chunk holds at least one row."""
    if chunk < 1:
        raise InputError(f"chunk is {chunk}; expected at least 1")
