"""Mode coverage: how many classes the samples reach and how evenly (Table 4 of the paper)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError


@dataclass(frozen=True)
class ModeCoverage:
    """Classes hit, and the divergence from hitting all classes equally, with standard errors.

    Attributes:
        covered: Number of classes with at least one sample.
        covered_error: Its standard error over the samples, on the careful side on average; 0 where
            each sample is the only one of its class, of which the samples tell nothing.
        kl: KL(q || uniform) in nats, from 0 (even) to log(modes) (one class).
        kl_error: Its standard error over the samples. What the classifier gets wrong is not in it.
        kl_floor: What samples that are truly uniform give on average; of many samples a mode,
            about (modes - 1) / (2 count).
        count: Number of samples counted.
    """

    covered: int
    covered_error: float
    kl: float
    kl_error: float
    kl_floor: float
    count: int


def mode_coverage(labels: Tensor, modes: int) -> ModeCoverage:
    """Modes covered and KL = Σ q log(modes · q) over the classes hit, q being counts / len(labels).

    Errors: the classes hit change by as many as were hit once, f of them, at most: the jackknife's
    variance is (N - 1) / N (f - f²/N). The divergence's variance is that of log(modes · q) over N,
    which is all there is far from uniform, and (covered - 1) / (2 N²), which is all there is at
    uniform, where 2 N KL is a chi-square. The counts' noise adds twice the second to the first; it
    is taken off once.

    Labels are integers in 0…modes - 1, [N] with N >= 1, one per sample; anything else raises
    InputError. For stacked digits, `stacked_labels` makes them.
    """
    if modes < 1:
        raise InputError(f"modes is {modes}; expected at least 1")
    if not _are_integers(labels) or labels.ndim != 1 or len(labels) == 0:
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
    count = len(labels)
    counts = labels.bincount(minlength=modes)
    once = int((counts == 1).sum())
    shares = counts[counts > 0].to(torch.float64) / count
    logs = (modes * shares).log()
    kl = float((shares * logs).sum())
    unevenness = float((shares * (logs - kl).square()).sum()) / count
    noise = (len(shares) - 1) / (2 * count**2)
    return ModeCoverage(
        covered=len(shares),
        covered_error=((count - 1) / count * (once - once**2 / count)) ** 0.5,
        kl=max(0.0, kl),  # 0 is the minimum, up to rounding
        kl_error=max(unevenness - noise, noise) ** 0.5,
        kl_floor=_even_kl(count, modes),
        count=count,
    )


def _even_kl(count: int, modes: int) -> float:
    """The mean of KL over uniform samples: each mode's hits n are binomial, q = n / count."""
    hits = torch.arange(count + 1, dtype=torch.float64)
    ways = math.lgamma(count + 1) - torch.lgamma(hits + 1) - torch.lgamma(count - hits + 1)
    missed = torch.special.xlog1py(count - hits, torch.full_like(hits, -1 / modes))
    chances = (ways - hits * math.log(modes) + missed).exp()
    mean = float((chances * torch.xlogy(hits, hits)).sum())
    return max(0.0, math.log(modes / count) + modes / count * mean)


def stacked_labels(digits: Tensor) -> Tensor:
    """Classes 0…999, int64 [N]: 100 a + 10 b + c of the channels' labels, integers 0…9 [N, 3]."""
    if not _are_integers(digits) or digits.ndim != 2 or digits.shape[1] != 3:
        raise InputError(
            f"digits are {digits.dtype} of shape {tuple(digits.shape)}; expected integers [N, 3], "
            "one per channel of each sample"
        )
    if len(digits) and not 0 <= int(digits.min()) <= int(digits.max()) <= 9:
        raise InputError(f"digits span {int(digits.min())} to {int(digits.max())}; expected 0 to 9")
    hundreds, tens, ones = digits.to(torch.int64).unbind(dim=1)
    return 100 * hundreds + 10 * tens + ones


def published_kl(kl: float, *, counted: int, total: int) -> float:
    """What the authors' program prints for a divergence, a (log a + KL) with a = 2 counted / total.

    It adds every label to its histogram twice and divides by a total of its own, so that its shares
    sum to a. Table 4 of the paper: 25,000 images counted over a total of 26,000, a = 50 / 26. Only
    for comparison with that table; the divergence itself, in nats, is `mode_coverage(...).kl`. A
    negative divergence, or counts below 1, raise InputError.
    """
    if not (math.isfinite(kl) and kl >= 0 and counted >= 1 and total >= 1):
        raise InputError(
            f"kl is {kl}, counted {counted}, total {total}; expected a divergence of at least 0 "
            "and at least 1 image"
        )
    a = 2 * counted / total
    return a * (math.log(a) + kl)


def _are_integers(labels: Tensor) -> bool:
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
