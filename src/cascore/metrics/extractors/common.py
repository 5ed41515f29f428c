"""What every feature extractor does alike, and the simplest of them: the pixels.

The contract is `FeatureExtractor`: a callable from images uint8 [N, C, H, W] to features float32
[N, dimension] on the CPU, with an `identity` of its name and a digest of whatever decides the
features; other images raise InputError. An extractor works in batches of its own, so it may be
given any number of images; where its weights live, the work is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity
from cascore.pixels import to_float


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves as features, x / 255: for tests, and for images of a few pixels.

    Its images have the `image_shape`: channels, height and width.
    """

    image_shape: tuple[int, int, int]

    @property
    def identity(self) -> ExtractorIdentity:
        """The name, and a digest of the definition and of the shape."""
        definition = f"pixels: x / 255, float32, channels, rows, columns of {self.image_shape}"
        return ExtractorIdentity(
            name="pixels", digest=hashlib.sha256(definition.encode()).hexdigest()
        )

    @property
    def dimension(self) -> int:
        """Channels × height × width."""
        channels, height, width = self.image_shape
        return channels * height * width

    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, C H W], on the CPU, of images uint8 [N, C, H, W]."""
        channels, height, width = self.image_shape
        require_images(images, "pixels", channels=(channels,), size=(height, width))
        return to_float(images.cpu()).flatten(start_dim=1)


def require_images(
    images: Tensor,
    name: str,
    *,
    channels: tuple[int, ...],
    size: tuple[int, int] | None = None,
    smallest: int = 1,
) -> None:
    """Raise InputError unless images are uint8 [N, C, H, W] as the extractor `name` takes them.

    It takes these numbers of channels, and either one height and width or any from `smallest`.
    """
    fits = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in channels
    if fits and size is not None:
        fits = tuple(images.shape[2:]) == size
    elif fits:
        fits = min(images.shape[2:]) >= smallest
    if not fits:
        sides = "H, W" if size is None else f"{size[0]}, {size[1]}"
        least = f" with H and W at least {smallest}" if size is None else ""
        raise InputError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; {name!r} takes torch.uint8"
            f" of shape [N, {' or '.join(map(str, channels))}, {sides}]{least} (cascore.pixels"
            " turns float pixels in [0, 1] into uint8)"
        )


def as_colour(images: Tensor) -> Tensor:
    """[N, 3, H, W] of [N, 1 or 3, H, W]: grey is repeated, without a copy."""
    return images.expand(-1, 3, -1, -1)


@torch.no_grad()
def in_batches(
    features: Callable[[Tensor], Tensor],
    images: Tensor,
    device: torch.device,
    *,
    batch_size: int,
    dimension: int,
) -> Tensor:
    """Features float32 [N, dimension] on the CPU, computed `batch_size` images at a time.

    Convolutions are computed in full float32 and by deterministic algorithms: PyTorch's default on
    GPUs, TF32 with 10 bits of mantissa, is too coarse for distances that are to agree to 1e-4.
    """
    rows = [torch.empty(0, dimension)]
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with exact, torch.autocast(device.type, enabled=False):
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size].to(device)
            rows.append(features(part).float().cpu())
    return torch.cat(rows)


def usable_device(device: torch.device | str) -> torch.device:
    """The device of that name; InputError unless this machine and build of PyTorch have it."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot compute on the device {device!r}: {reason}; try cpu") from error
