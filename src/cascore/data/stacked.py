"""Three grey images stacked into one of three colours: the 1,000 modes of 3-Stacked-MNIST.

Stack i is made of three images of the same split, drawn with replacement by keyed noise, so it is a
function of the seed, the split, i and the channel. Its label is 100 R + 10 G + B.
"""

import torch

from cascore.data.images import SPLITS, DataRecord, ImageSet
from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose

SEED = 27
STACKED = {f"stacked-{name}": name for name in ("mnist", "fashion-mnist", "digits")}

_COUNTS = {"stacked-digits": {"train": 20_000, "test": 5_000}}
_COUNT = {"train": 60_000, "test": 10_000}


def stack(name: str, images: ImageSet) -> ImageSet:
    """A stacked set, uint8 [N, 3, H, W] with labels 0 to 999, out of a grey set of ten classes.

    `name` is one of STACKED. Images that are not grey, or not of ten classes, raise InputError.
    """
    if images.shape[0] != 1 or images.labels is None or len(images.classes) != 10:
        raise InputError(
            f"{name} needs grey images of ten classes; {images.name} has {images.shape[0]} channels"
            f" and {len(images.classes)} classes"
        )
    count = _COUNTS.get(name, _COUNT)[images.split]
    first = 3 * SPLITS.index(images.split)
    noise = KeyedNoise(SEED, indices=torch.arange(count))
    channels = [
        noise.integers(count, high=images.count, purpose=Purpose.DATA, step=first + channel)
        for channel in range(3)
    ]
    chosen, names = torch.stack(channels, dim=1), images.classes  # [N, 3]
    return ImageSet(
        name=name,
        split=images.split,
        images=images.images[:, 0][chosen],
        labels=images.labels[chosen] @ torch.tensor([100, 10, 1]),
        record=DataRecord(
            source=images.record.source,
            split=f"each split is stacked from the same split of {images.name}:"
            f" {images.record.split}",
            preparation=(
                *images.record.preparation,
                f"three images, drawn with replacement by keyed noise of seed {SEED}, as RGB",
            ),
        ),
        classes=tuple(f"{r}, {g}, {b}" for r in names for g in names for b in names),
    )
