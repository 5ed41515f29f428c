"""What a distance means: real images, spoiled by known amounts, in several extractors.

    python -m benchmarks.spoiled cifar-10-jpeg --root FOLDER_OF_PREPARED_SETS

The test split, as it is and spoiled, is compared with the training split. Whoever reads that
samples score so much finds here which damage scores as much. Fréchet distances ± one standard
error; the bias of so many images is in every row, and the first holds little else.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.data import load_images
from cascore.measurement import in_words
from cascore.metrics import extract_features, feature_moments, frechet_estimate, load_extractor
from cascore.operators import blurred, grey
from cascore.pixels import to_float, to_uint8

MARGIN = 8  # pixels around an image that continue its edge, which a blur would darken


def unharmed(pixels: Tensor) -> Tensor:
    """The images as they are."""
    return pixels


def softened(pixels: Tensor, deviation: float) -> Tensor:
    """Blurred by a Gaussian of that deviation in pixels."""
    wide = blurred(deviation)(F.pad(pixels, (MARGIN,) * 4, mode="replicate"))
    return wide[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def noisy(pixels: Tensor, sigma: float) -> Tensor:
    """With Gaussian noise of that deviation, where pixels are in [0, 1]."""
    return pixels + sigma * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))


def without_colour(pixels: Tensor) -> Tensor:
    """Grey, in as many channels."""
    return grey()(pixels).expand_as(pixels)


DAMAGE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as they are": unharmed,
    **{f"blurred by {d:g} pixels": partial(softened, deviation=d) for d in (0.5, 0.75, 1.0)},
    **{f"noise of sigma {s:g}": partial(noisy, sigma=s) for s in (0.02, 0.05, 0.1)},
    "without colour": without_colour,
}


def main() -> None:
    """Print a table, a row for each damage and a column for each extractor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--root", help="folder of the data set's files")
    parser.add_argument("--count", type=int, default=10_000, help="images of the test split")
    parser.add_argument("--extractors", nargs="+", default=["random-convolution"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    real = load_images(given.data, "train", root=given.root)
    test = load_images(given.data, "test", root=given.root).images[: given.count]
    kinds = [name for name in DAMAGE if test.shape[1] == 3 or name != "without colour"]
    print(f"{len(test):,} test images against {real.count:,} training images of {given.data}")
    for name in given.extractors:
        extractor = load_extractor(name, image_shape=(test.shape[1], test.shape[2], test.shape[3]))
        reference = feature_moments(extractor, real.images)
        print(f"{name}, {extractor.dimension} features")
        for kind in kinds:
            images = torch.cat([to_uint8(DAMAGE[kind](to_float(x))) for x in test.split(1000)])
            distance = frechet_estimate(extract_features(extractor, images), reference)
            print(f"  {kind:24} {in_words(distance.mean, distance.error)}", flush=True)


if __name__ == "__main__":
    main()
