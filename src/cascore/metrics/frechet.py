"""The Fréchet distance between two sets of features, each seen as a Gaussian."""

from __future__ import annotations

from cascore.metrics.factor import covariance_factor, overlap
from cascore.metrics.moments import FeatureMoments, require_comparable

__all__ = ["frechet_distance"]


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982), the FID's formula.

    |m_a - m_b|² + tr(A) + tr(B) - 2 tr((A^½ B A^½)^½), with unbiased covariances A and B. The last
    trace is the sum of the singular values of F_aᵀ F_b for any factors A = F_a F_aᵀ, B = F_b F_bᵀ:
    no square root is taken of a product's rounding error, so singular covariances (fewer images
    than dimensions, constant features) cost no digits.

    The distance of finite sets is biased upwards, by about a constant over the number of images:
    two distances of different counts do not compare. `frechet_estimate` adds the standard error,
    `frechet_extrapolated` the limit of infinitely many generated images.

    Args:
        a: Moments of one set, at least 2 images.
        b: Moments of the other; the distance is symmetric.

    Returns:
        A number >= 0, in squared units of the features. Its rounding error is below 1e-8 of the
        sum of the traces; a direction whose variance is less than D times 2e-16 of the largest
        cannot be told from a constant and counts as one.

    Raises:
        InputError: Moments of different extractors or dimensions, or of fewer than 2 images.
    """
    require_comparable(a, b)
    traces = float(a.covariance.trace() + b.covariance.trace())
    common = overlap(covariance_factor(a.covariance), covariance_factor(b.covariance))
    shift = float((a.mean - b.mean).square().sum())
    return max(0.0, shift + traces - 2 * common)  # rounding can make equal sets slightly negative
