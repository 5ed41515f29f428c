"""Factors of covariances, which keep the digits that a product of two covariances loses."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["covariance_factor", "overlap"]

_BLOCK = 128  # columns between two updates of the remainder; 64 and 256 were slower at D = 2048


def covariance_factor(covariance: Tensor) -> Tensor:
    """F [D, rank] with F Fᵀ the covariance, its columns of decreasing size.

    The Cholesky factor where the covariance has full rank to rounding, the pivoted Cholesky factor
    otherwise: its columns end where what remains is below D times the rounding error of the largest
    variance. At D = 2048 an eigendecomposition takes 12 times as long as the first and 2 to 8 times
    as long as the second.

    Args:
        covariance: [D, D] float64, symmetric, non-negative.
    """
    # Largest variance first: the columns of F then decrease, which `overlap` needs for accuracy.
    order = covariance.diagonal().argsort(descending=True, stable=True)
    triangle, failed = torch.linalg.cholesky_ex(covariance[order][:, order])
    if bool(failed) or float(triangle.diagonal().min()) ** 2 <= _rounding(covariance):
        return _pivoted(covariance)
    factor = torch.empty_like(triangle)
    factor[order] = triangle
    return factor


def overlap(first: Tensor, second: Tensor) -> float:
    """tr((A^½ B A^½)^½), the sum of the singular values of F_aᵀ F_b, from the factors [D, rank].

    They are taken as the roots of the eigenvalues of the smaller Gram matrix, in a fifth of the
    time of a singular value decomposition (D = 2048, one thread). Squaring costs half of the digits
    of a small singular value, unless the matrix is graded, its rows decreasing as those of
    `covariance_factor` make them: then small eigenvalues keep their own relative accuracy. Negative
    eigenvalues are rounding errors of 0.
    """
    product = first.T @ second
    if product.shape[0] > product.shape[1]:
        product = product.T
    if len(product) == 0:  # a covariance of 0
        return 0.0
    return float(torch.linalg.eigvalsh(product @ product.T).clamp(min=0).sqrt().sum())


def _rounding(covariance: Tensor) -> float:
    """The size below which a remaining variance is indistinguishable from 0."""
    largest = float(covariance.diagonal().max())
    return len(covariance) * torch.finfo(covariance.dtype).eps * largest


def _pivoted(covariance: Tensor) -> Tensor:
    """Pivoted Cholesky factor (Higham 1990), left-looking in blocks between right-looking updates.

    Every step takes the largest remaining variance as its pivot. Within a block only the block's
    own columns are applied to the pivot's; the remainder is updated once per block.
    """
    dimension, tolerance = len(covariance), _rounding(covariance)
    factor, remainder = torch.zeros_like(covariance), covariance.clone()
    used = torch.zeros(dimension, dtype=torch.bool)
    for start in range(0, dimension, _BLOCK):
        stop = min(start + _BLOCK, dimension)
        variances = remainder.diagonal().masked_fill(used, 0)
        for k in range(start, stop):
            pivot = int(variances.argmax())
            if float(variances[pivot]) <= tolerance:
                return factor[:, :k]
            column = remainder[:, pivot] - factor[:, start:k] @ factor[pivot, start:k]
            column /= variances[pivot].sqrt()
            factor[:, k] = column
            used[pivot] = True
            variances = (variances - column.square()).masked_fill(used, 0)
        block = factor[:, start:stop]
        remainder -= block @ block.T
    return factor
