"""Any module of the user's as a feature extractor."""

import hashlib
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity
from cascore.metrics.extractors.common import Extractor, as_colour
from cascore.pixels import to_float


def module_extractor(
    module: nn.Module,
    *,
    name: str,
    dimension: int,
    side: int | None,
    mean: Sequence[float],
    deviation: Sequence[float],
    batch_size: int = 64,
) -> Extractor:
    """An extractor from any module that turns prepared images into vectors.

    Images are resized to side × side (bicubic with antialiasing as in Pillow, but in float32 and
    clamped to [0, 1] at the end only), grey ones are repeated where three channels are expected,
    and become (x / 255 - mean) / deviation.

    A network of one's own, for example::

        extractor = module_extractor(
            network.eval(),
            name="mine",
            dimension=512,
            side=224,
            mean=(0.485, 0.456, 0.406),
            deviation=(0.229, 0.224, 0.225),
        )

    The module is in evaluation mode, on the device that is to do the work. Change it no more: the
    digest is computed here, once. It does not cover the module's code: other code with the same
    tensors needs another name, which goes into every record. Without a side, images keep the size
    they have. Vectors that are not of that dimension raise InputError. At most `batch_size` images
    are seen at a time.
    """
    mean, deviation = tuple(map(float, mean)), tuple(map(float, deviation))
    least = min(dimension, batch_size, 1 if side is None else side)
    if not len(mean) == len(deviation) >= 1 or min(deviation) <= 0 or least < 1:
        raise InputError(
            f"mean is {mean}, deviation {deviation}, dimension {dimension}, side {side}, batch_size"
            f" {batch_size}; expected one mean and one deviation above 0 per channel, and the"
            " others at least 1"
        )
    preparation = f"bicubic antialiased to {side}; mean {mean}; deviation {deviation};"

    def compute(images: Tensor) -> Tensor:
        if any(part.training for part in module.modules()):
            raise InputError(
                f"{name!r} is in training mode, in which features depend on the other images of"
                " the batch or on chance; call .eval() on the module"
            )
        x = to_float(images)
        if side is not None:
            x = F.interpolate(x, (side, side), mode="bicubic", align_corners=False, antialias=True)
            x = x.clamp_(0, 1)  # bicubic overshoots
        if len(mean) == 3:
            x = as_colour(x)
        middle, scale = (x.new_tensor(numbers)[:, None, None] for numbers in (mean, deviation))
        features: Tensor = module((x - middle) / scale)
        expected = (len(images), dimension)
        if not isinstance(features, Tensor) or tuple(features.shape) != expected:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise InputError(
                f"{name!r} returned {shape} for {len(images)} images; expected a tensor of shape"
                f" {expected}"
            )
        return features

    tensors = chain(module.parameters(), module.buffers())
    return Extractor(
        identity=ExtractorIdentity(name, digest=_state_digest(module, preparation)),
        dimension=dimension,
        compute=compute,
        device=next((tensor.device for tensor in tensors), torch.device("cpu")),
        batch_size=batch_size,
        channels=(1, 3) if len(mean) == 3 else (len(mean),),
    )


def _state_digest(module: nn.Module, preparation: str) -> str:
    """SHA-256 of a preparation in words and of a module's tensors: name, type, shape, bytes."""
    digest = hashlib.sha256(preparation.encode())
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name!r} in the module's state is {type(tensor)}, not a tensor")
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
