"""Mode coverage: how many classes the samples reach and how evenly (Table 4 of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError

__all__ = ["ModeCoverage", "mode_coverage"]


class ModeCoverage(NamedTuple):
    """Classes hit, and the divergence from hitting all classes equally.

    Attributes:
        covered: Number of classes with at least one sample.
        kl: KL(q || uniform) in nats, from 0 (even) to log(modes) (one class). Samples that are
            truly uniform give about (modes - 1) / (2 n), not 0: n counted labels are noisy.
    """

    covered: int
    kl: float


def mode_coverage(labels: Tensor, modes: int) -> ModeCoverage:
    """Modes covered and KL = Σ q log(modes · q) over the classes hit, q being counts / len(labels).

    Args:
        labels: Classes of the samples, integers in 0…modes - 1, [N] with N >= 1. For stacked
            digits: 100 a + 10 b + c from the labels of the three channels.
        modes: Number of classes that exist.

    Raises:
        InputError: modes below 1; no labels, not integers, not one-dimensional, out of range.
    """
    if modes < 1:
        raise InputError(f"modes is {modes}; expected at least 1")
    integers = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if not integers or labels.ndim != 1 or len(labels) == 0:
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; "
            "expected integers [N], one per sample, N at least 1"
        )
    labels = labels.to(device="cpu", dtype=torch.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= modes:
        raise InputError(
            f"labels span {low} to {high}; with {modes} modes they must lie in 0 to {modes - 1}"
        )
    counts = labels.bincount(minlength=modes)
    shares = counts[counts > 0].to(torch.float64) / len(labels)
    kl = float((shares * (modes * shares).log()).sum())
    return ModeCoverage(covered=len(shares), kl=max(0.0, kl))  # 0 is the minimum, up to rounding
