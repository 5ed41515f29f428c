"""What is seen of a picture, as linear maps: some pixels, grey, smaller, blurred, few numbers.

An operator is called as operator(x) of x [N, C, H, W] and returns [N, ...], linear in x. Any such
function is one; adjoints come from automatic differentiation.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.errors import InputError

Operator = Callable[[Tensor], Tensor]
"""operator(x): what is seen of x [N, ...], [N, ...], linear in x."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes grey of colour


def seen_pixels(known: Tensor) -> Operator:
    """The pixels where `known` [H, W] or [C, H, W] is true: [N, number of them]."""
    if known.dtype != torch.bool or known.ndim not in (2, 3) or not bool(known.any()):
        raise InputError(
            f"known pixels are bool [H, W] or [C, H, W], some of them true, not {known.dtype}"
            f" {list(known.shape)}"
        )

    def operator(x: Tensor) -> Tensor:
        if known.shape not in (x.shape[1:], x.shape[2:]):
            raise InputError(f"known is {list(known.shape)} and x {list(x.shape)}: other sizes")
        kept = known.to(x.device).expand(x.shape[1:]).flatten().nonzero()[:, 0]
        return x.flatten(1)[:, kept]

    return operator


def grey() -> Operator:
    """The brightness of colour pictures [N, 3, H, W], by ITU-R BT.601: [N, 1, H, W]."""

    def operator(x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise InputError(f"grey is made of 3 channels, and x has {x.shape[1]}")
        weights = torch.tensor(_LUMA, dtype=x.dtype, device=x.device)[:, None, None]
        return (weights * x).sum(dim=1, keepdim=True)

    return operator


def shrunk(factor: int) -> Operator:
    """Means of factor × factor pixels: [N, C, H / factor, W / factor]."""
    if factor < 1:
        raise InputError(f"the factor must be at least 1, not {factor}")

    def operator(x: Tensor) -> Tensor:
        if x.shape[2] % factor or x.shape[3] % factor:
            raise InputError(f"pictures of {list(x.shape[2:])} do not split by {factor}")
        return F.avg_pool2d(x, factor)

    return operator


def blurred(deviation: float) -> Operator:
    """A Gaussian blur of that deviation in pixels, black beyond the edge: [N, C, H, W]."""
    if not 0 < deviation < math.inf:
        raise InputError(f"the blur's deviation must be positive, not {deviation}")
    reach = math.ceil(3 * deviation)
    bell = (-torch.arange(-reach, reach + 1).double().square() / (2 * deviation**2)).exp()

    def operator(x: Tensor) -> Tensor:
        row = (bell / bell.sum()).to(x).expand(x.shape[1], 1, 1, -1)
        across = F.conv2d(x, row, padding=(0, reach), groups=x.shape[1])
        return F.conv2d(across, row.mT, padding=(reach, 0), groups=x.shape[1])

    return operator


def few_numbers(count: int, dimension: int, *, seed: int = 0) -> Operator:
    """Compressed sensing: projections on `count` random orthonormal directions, [N, count].

    Args:
        count: at most `dimension`.
        dimension: of x without its first axis, as 3072 of 3 × 32 × 32.
        seed: of the directions.
    """
    if not 1 <= count <= dimension:
        raise InputError(f"{count} numbers of {dimension}: expected 1 to {dimension}")
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(dimension, count, dtype=torch.float64, generator=generator)
    directions = torch.linalg.qr(random).Q

    def operator(x: Tensor) -> Tensor:
        numbers: Tensor = x.flatten(1) @ directions.to(x)
        return numbers

    return operator
