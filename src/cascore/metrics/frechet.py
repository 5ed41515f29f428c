"""The Fréchet distance between two sets of features, each seen as a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from cascore.metrics.moments import FeatureMoments, require_comparable

__all__ = ["frechet_distance"]


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982), the FID's formula.

    |m_a - m_b|² + tr(A) + tr(B) - 2 tr((A^½ B A^½)^½), with unbiased covariances A and B. The last
    trace is the sum of the singular values of F_aᵀ F_b for any factors A = F_a F_aᵀ, B = F_b F_bᵀ:
    no square root is taken of a product's rounding error, so singular covariances (fewer images
    than dimensions, constant features) cost no digits.

    Args:
        a: Moments of one set, at least 2 images.
        b: Moments of the other; the distance is symmetric.

    Returns:
        A number >= 0, in squared units of the features.

    Raises:
        InputError: Moments of different extractors or dimensions, or of fewer than 2 images.
    """
    require_comparable(a, b)
    traces = float(a.covariance.trace() + b.covariance.trace())
    overlap = float(torch.linalg.svdvals(_factor(a.covariance).T @ _factor(b.covariance)).sum())
    shift = float((a.mean - b.mean).square().sum())
    return max(0.0, shift + traces - 2 * overlap)  # rounding can make equal sets slightly negative


def _factor(covariance: Tensor) -> Tensor:
    """F [D, rank] with F Fᵀ the covariance; directions that are rounding error are left out."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
    kept = values > rounding.clamp(min=0)
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor
