"""What every feature extractor does alike, and the simplest of them: the pixels."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.arithmetic import tf32
from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity
from cascore.pixels import to_float


@dataclass(frozen=True, eq=False, kw_only=True)
class Extractor:
    """A `FeatureExtractor`: from uint8 images to float32 features [N, dimension] on the CPU.

    It works in batches of its own, so it may be given any number of images.

    Attributes:
        identity: Its name, and a digest of whatever decides the features.
        dimension: Length of a feature vector.
        compute: Features [n, dimension] of uint8 images [n, C, H, W] on the device.
        device: Where the work is done.
        batch_size: Fixed, because a convolution's rounding may depend on it.
        channels: How many an image may have.
        size: Its height and width; None takes any from `smallest`.
        smallest: The least height and width.
    """

    identity: ExtractorIdentity
    dimension: int
    compute: Callable[[Tensor], Tensor]
    device: torch.device
    batch_size: int
    channels: tuple[int, ...] = (1, 3)
    size: tuple[int, int] | None = None
    smallest: int = 1

    def __call__(self, images: Tensor) -> Tensor:
        """Features of uint8 images [N, C, H, W]; any others raise InputError."""
        return self.applied(self.compute, images, width=self.dimension)

    @torch.no_grad()
    def applied(self, compute: Callable[[Tensor], Tensor], images: Tensor, *, width: int) -> Tensor:
        """What `compute` makes of images, batch by batch, float32 [N, width] on the CPU.

        All is computed in full float32 and by deterministic algorithms: PyTorch's default for
        convolutions on GPUs, TF32 with 10 bits of mantissa, is too coarse for distances that are to
        agree to 1e-4.
        """
        self._require(images)
        rows = [torch.empty(0, width)]
        repeatable = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        full = torch.autocast(self.device.type, enabled=False)
        with tf32(allowed=False), repeatable, full:
            for start in range(0, len(images), self.batch_size):
                part = images[start : start + self.batch_size].to(self.device)
                rows.append(compute(part).float().cpu())
        return torch.cat(rows)

    def _require(self, images: Tensor) -> None:
        fits = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in self.channels
        if fits and self.size is not None:
            fits = tuple(images.shape[2:]) == self.size
        elif fits:
            fits = min(images.shape[2:]) >= self.smallest
        if not fits:
            sides = "H, W" if self.size is None else f"{self.size[0]}, {self.size[1]}"
            least = f" with H and W at least {self.smallest}" if self.size is None else ""
            shape = ", ".join(str(length or "N") for length in images.shape)  # of none yet, any
            raise InputError(
                f"images are {images.dtype} of shape [{shape}]; {self.identity.name!r}"
                f" takes torch.uint8 of shape [N, {' or '.join(map(str, self.channels))}, {sides}]"
                f"{least} (cascore.pixels turns float pixels in [0, 1] into uint8)"
            )


def pixels(image_shape: tuple[int, int, int]) -> Extractor:
    """The pixels themselves as features, x / 255: for tests, and for images of a few pixels."""
    channels, height, width = image_shape
    definition = f"pixels: x / 255, float32, channels, rows, columns of {image_shape}"
    digest = hashlib.sha256(definition.encode()).hexdigest()
    return Extractor(
        identity=ExtractorIdentity(name="pixels", digest=digest),
        dimension=channels * height * width,
        compute=lambda images: to_float(images).flatten(start_dim=1),
        device=torch.device("cpu"),
        batch_size=1024,
        channels=(channels,),
        size=(height, width),
    )


def as_colour(images: Tensor) -> Tensor:
    """[N, 3, H, W] of [N, 1 or 3, H, W]: grey is repeated, without a copy."""
    return images.expand(-1, 3, -1, -1)


def usable_device(device: torch.device | str) -> torch.device:
    """The device of that name; InputError unless this machine and build of PyTorch have it."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot compute on the device {device!r}: {reason}; try cpu") from error
