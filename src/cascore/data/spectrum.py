"""The variances of a data set along its principal axes, which calibrated levels are made for."""

import math

import torch
from torch import Tensor

from cascore.data.images import ImageSet
from cascore.data.points import PointSet

_LARGEST = 4096  # numbers of a datum: the covariance of more takes minutes
_ITEMS = 10_000  # evenly spaced: enough for variances, which need be right within a factor 2
_CHUNK = 1000


def principal_variances(data: ImageSet | PointSet) -> Tensor | None:
    """The eigenvalues of the covariance of at most 10,000 items, in squared pixels of [0, 1].

    Returns:
        float32 [D], largest first; None of a single item, or if D is above 4,096.
    """
    items, size = data.points if isinstance(data, PointSet) else data.images, math.prod(data.shape)
    if len(items) < 2 or size > _LARGEST:
        return None
    chosen = torch.arange(0, len(items), math.ceil(len(items) / _ITEMS))
    scale = 255 if isinstance(data, ImageSet) else 1
    total = torch.zeros(size, dtype=torch.float64)
    second = torch.zeros(size, size, dtype=torch.float64)
    centre = items[chosen[0]].double().flatten() / scale  # any will do; it keeps digits
    for first in range(0, len(chosen), _CHUNK):
        part = chosen[first : first + _CHUNK]
        away = items[part].double().flatten(1) / scale - centre
        total += away.sum(dim=0)
        second += away.T @ away
    covariance = (second - total[:, None] * total / len(chosen)) / (len(chosen) - 1)
    variances: Tensor = torch.linalg.eigvalsh(covariance).flip(0).clamp(min=0).float()
    return variances
