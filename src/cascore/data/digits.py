"""The 8x8 handwritten digits: 1,797 real images that travel inside the package.

As scikit-learn carries them; `tools/embed_digits.py` stored their grey values unchanged.
"""

from importlib import resources

import numpy as np
import torch

from cascore.data.images import DataRecord, ImageSet, require_split


def load_digits(split: str) -> ImageSet:
    """The digits, uint8 [N, 1, 8, 8], N 1,437 to train on and 360 to test with, labels 0 to 9.

    The stored ink v of 0 to 16 becomes floor(255 v / 16 + 1/2).
    """
    require_split(split)
    with (
        resources.files("cascore.data").joinpath("digits.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        ink, labels = stored["ink"], stored["labels"]
    # Every fifth in the order of the labels, so that both parts hold each digit in proportion.
    test = np.zeros(len(labels), dtype=bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    part = test if split == "test" else ~test
    pixels = ((ink[part].astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    return ImageSet(
        name="digits",
        split=split,
        images=torch.from_numpy(pixels[:, None]),
        labels=torch.from_numpy(labels[part].astype(np.int64)),
        record=DataRecord(
            source=(
                "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998),"
                " UCI Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0;"
                " the 1,797 images of its test part"
            ),
            split="test is every fifth image, from the first, in the stable order of the labels",
            preparation=("pixel = floor(255 v / 16 + 1/2) of the stored v, 0 to 16",),
        ),
        classes=tuple("0123456789"),
    )
