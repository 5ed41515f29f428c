"""The floor of a Fréchet distance: what real images score, at the counts that were compared.

A Fréchet distance between finite sets is biased upwards, so a perfect generator does not score 0.
What N generated images of a perfect generator score against a reference of R images is what N real
images score against R *other* real images. So the floor is measured on disjoint sets: a subset of
the reference would share its images, and score what only a model that repeats its data can reach.

Which real images to give: everything real that is exchangeable, such as the features of train and
test split together. With `count` the number of generated images and `reference_count` that of the
reference they were compared with, the splits then have the same sizes as the comparison.
"""

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity, Floor
from cascore.metrics.frechet import FeatureMoments, frechet_distance


def real_floor(
    features: Tensor,
    *,
    count: int,
    reference_count: int,
    repeats: int,
    seed: int,
    extractor: ExtractorIdentity,
) -> Floor:
    """Floor of the distance between `count` samples and `reference_count` reference images.

    If count + reference_count real images exist, it is measured: random disjoint sets of these
    sizes, `repeats` times. Otherwise it is measured between random halves of the real images and
    extrapolated: mean and spread are both taken as proportional to h = 1/count +
    1/reference_count. For near the minimum the distance is quadratic in the difference of the
    moments, whose covariance is proportional to h; there is no constant term, both sets being of
    one distribution. With the classifiers' 64 features, distance / h was constant to 3 % from 80
    to 35,000 images of Fashion-MNIST a side, and to 2 % from 40 to 898 digits.

    The splits ignore labels, as a generator does. A held-out set that was drawn to have the
    classes of the reference in equal shares scores less.

    Features [M, D] are of all real images that there are. The mean is known to about
    spread / √repeats. Counts and repeats below 2 raise InputError, and so does an extrapolation
    from fewer than 2 (D + 1) images, whose halves would have singular covariances.
    """
    if min(count, reference_count, repeats) < 2:
        raise InputError(
            f"count is {count}, reference_count {reference_count}, repeats {repeats}; "
            "each must be at least 2"
        )
    everything = FeatureMoments.of(features, extractor=extractor)  # checks type, shape and values
    extrapolated = count + reference_count > everything.count
    if extrapolated:
        half, needed = everything.count // 2, 2 * (everything.dimension + 1)
        if everything.count < needed:
            raise InputError(
                f"{everything.count} real images cannot be split into {count} and"
                f" {reference_count}, and to extrapolate from halves takes at least {needed} images"
                f" for {everything.dimension} feature dimensions; give more real images or smaller"
                " counts"
            )
        sizes, scale = (half, half), (1 / count + 1 / reference_count) / (2 / half)
    else:
        sizes, scale = (count, reference_count), 1.0
    generator = torch.Generator().manual_seed(seed)
    distances = torch.empty(repeats, dtype=torch.float64)
    for repeat in range(repeats):  # between random disjoint sets
        order = torch.randperm(everything.count, generator=generator)[: sum(sizes)]
        a, b = (
            FeatureMoments.of(features[rows.to(features.device)], extractor=extractor)
            for rows in order.tensor_split([sizes[0]])
        )
        distances[repeat] = scale * frechet_distance(a, b)
    mean, spread = float(distances.mean()), float(distances.std())
    return Floor(mean=mean, spread=spread, repeats=repeats, extrapolated=extrapolated)
