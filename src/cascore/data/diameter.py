"""Technique 1 for whole data sets: the largest distance between two uint8 images.

Distances to the mean, r, bound every pair: d(x, y) <= r_x + r_y. So images far from the mean are
compared first, and once the bound of what is left falls to the largest distance found, that one is
exact. Where the work would exceed a budget, what is left is bounded instead of compared: the answer
is an interval that holds the largest distance for certain.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError

_CHUNK, _NUMBERS = 512, 2**23  # images of a block, and its pixels: at most 64 MB as float64
_ROUNDING = 1e-9  # of r, which is a float64 root of sums; distances are whole numbers squared


class Diameter(NamedTuple):
    """The largest distance between two images, pixels in [0, 1].

    No distance is larger than `high`; `low` is that of the `pair`, and equals `high` where it is
    exact. `compared` counts the distances that were computed.
    """

    low: float
    high: float
    pair: tuple[int, int]
    compared: int

    @property
    def exact(self) -> bool:
        """Whether low is the largest distance of the whole set."""
        return self.low == self.high


def image_diameter(
    images: Tensor,
    *,
    largest_work: float = 2e12,
    progress: Callable[[int], None] = lambda more: None,
) -> Diameter:
    """The largest Euclidean distance between two images, exact unless that is too much work.

    Images are uint8 [N, ...], in memory or mapped; fewer than two raise InputError. `largest_work`
    are the multiplications of pixels to spend on comparing pairs; the default takes minutes on one
    core. `progress` is called with how many more images are settled, N in all. Beside the images it
    takes about five blocks of 64 MB, however many and however large they are.
    """
    if images.dtype != torch.uint8 or len(images) < 2:
        raise InputError(
            f"the largest distance needs at least 2 uint8 images, not {images.dtype} of shape"
            f" {tuple(images.shape)}"
        )
    flat, count = images.reshape(len(images), -1), len(images)
    chunk = max(1, min(_CHUNK, _NUMBERS // flat.shape[1]))
    order, radius = _by_distance_to_mean(flat, chunk)

    def block(start: int) -> tuple[Tensor, Tensor]:
        """Images of a block, float64 [n, D] about 0, and their squared norms [n]."""
        chosen = flat[order[start : start + chunk]].double().sub_(128)
        return chosen, torch.linalg.vecdot(chosen, chosen)

    def answer(high: float) -> Diameter:
        low, (first, second) = math.sqrt(squared) / 255, order[list(pair)].tolist()
        return Diameter(low, max(low, high / 255), (first, second), compared)

    squared, pair, compared = 0.0, (0, 1), 0
    for start in range(0, count, chunk):
        # Of a pair that is left, one image at least is this far out or less, the other no further.
        if start + 1 >= count or _below(radius[start] + radius[start + 1], squared):
            progress(count - start)
            break
        rows, row_norms = block(start)
        for other in range(start, count, chunk):
            bound = radius[start] + radius[other]
            if _below(bound, squared):
                break
            if compared * flat.shape[1] > largest_work:
                later = radius[start + chunk : start + chunk + 2].sum()
                return answer(high=float(torch.maximum(bound, later)))
            columns, column_norms = block(other)
            # Whole numbers below 2^53 in float64: exact in any order of summation.
            distances = row_norms[:, None] + column_norms - 2 * rows @ columns.T
            compared += distances.numel()
            furthest = int(distances.argmax())
            if float(distances.view(-1)[furthest]) > squared:
                squared = float(distances.view(-1)[furthest])
                row, column = divmod(furthest, len(columns))
                pair = (start + row, other + column)
        progress(len(rows))
    return answer(high=0.0)


def _by_distance_to_mean(images: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Order [N] by falling distance to the mean, and these distances, in units of 1 / 255."""
    distances = torch.empty(len(images), dtype=torch.float64)
    # One block for all: the C library does not always use again what lay between small tensors
    # that are kept, and then every block of the set stays in memory, eight bytes a pixel.
    whole = torch.empty(chunk, images.shape[1], dtype=torch.float64)
    center = torch.zeros(images.shape[1], dtype=torch.float64)
    for block in torch.split(images, chunk):
        center += whole[: len(block)].copy_(block).sum(dim=0)
    center /= len(images)
    for block, into in zip(torch.split(images, chunk), torch.split(distances, chunk), strict=True):
        torch.linalg.vector_norm(whole[: len(block)].copy_(block).sub_(center), dim=1, out=into)
    radius, order = distances.sort(descending=True, stable=True)
    return order, radius


def _below(bound: Tensor, squared: float) -> bool:
    return float(bound) * (1 + _ROUNDING) < math.sqrt(squared)
