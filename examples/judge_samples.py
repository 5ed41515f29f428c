"""What each number says: a perfect, a flawed, a collapsed and a copying generator of digits.

The real digits are dealt into a reference of 700 and samples. The samples as they are stand for a
perfect generator, with noise on their pixels for a flawed one, twenty of them over and over for a
collapsed one; the copying one repeats the reference. docs/evaluation.md discusses the table.
Run: python examples/judge_samples.py
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cascore.data import load_images
from cascore.metrics import (
    DensityCoverage,
    FeatureMoments,
    PrecisionRecall,
    density_coverage,
    frechet_estimate,
    kernel_distance,
    load_extractor,
    precision_recall,
)
from cascore.pixels import to_float, to_uint8
from cascore.stats import Estimate

REFERENCE = 700


class Row(NamedTuple):
    """One generator and what is measured of it."""

    name: str
    frechet: Estimate
    kernel: Estimate
    share: PrecisionRecall
    filled: DensityCoverage


def generators(real: Tensor, samples: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    noise = 0.1 * torch.randn(samples.shape, generator=generator)
    flawed = to_uint8((to_float(samples) + noise).clamp(0, 1))
    return {
        "perfect": samples,
        "flawed": flawed,
        "perfect, few": samples[:110],
        "flawed, few": flawed[:110],
        "collapsed": samples[:20].repeat(50, 1, 1, 1),
        "copying": real,
    }


def main() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    images = torch.cat([load_images("digits", split).images for split in ("train", "test")])
    images = images[torch.randperm(len(images), generator=generator)]
    real, samples = images[:REFERENCE], images[REFERENCE:]
    extractor = load_extractor("digits")
    reference = extractor(real)
    moments = FeatureMoments.of(reference, extractor=extractor.identity)

    rows = []
    print(f"{'':14}{'N':>5}{'Fréchet':>15}{'KID x 1000':>13}{'precision':>14}{'recall':>14}")
    for name, each in generators(real, samples, generator).items():
        features = extractor(each)
        row = Row(
            name,
            frechet_estimate(features, moments),
            kernel_distance(features, reference),
            precision_recall(features, reference),
            density_coverage(features, reference),
        )
        rows.append(row)
        print(
            f"{name:14}{len(each):5,}"
            f"{row.frechet.mean:8.2f} ± {row.frechet.error:.2f}"
            f"{1e3 * row.kernel.mean:7.1f} ± {1e3 * row.kernel.error:.1f}"
            f"{row.share.precision.mean:7.2f} ± {row.share.precision.error:.2f}"
            f"{row.share.recall.mean:7.2f} ± {row.share.recall.error:.2f}"
        )
    return rows


if __name__ == "__main__":
    main()
