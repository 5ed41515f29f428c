"""Levels for a network whose data are not at hand: calibrated on the spectrum of photographs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cascore.calibration import calibrated_sigmas, natural_variances
from cascore.experiment.chain import SPACINGS
from cascore.experiment.settings import Spacing

_NATURAL = 14  # natural_variances of pictures sum to D / 14
_WIDEST = 11  # sigma_1^2 over the largest variance


def typical_levels(
    ends: tuple[float, float],
    count: int,
    *,
    shape: Sequence[int],
    variance: float,
    kappa: float | None = None,
    order: int | None = None,
    spacing: Spacing = "calibrated",
) -> Tensor:
    """Levels from the first of the ends to the last, float64 [count]; of one level, the first.

    Calibrated ones are those of `calibrated_sigmas` for data of a shape whose values have this
    variance on the average, along their principal axes as `natural_variances`; but none has more
    than sigma_1^2 / 11. What is wider cannot come out of sigma_1 z whatever the levels, and large
    pictures, latents above all, would have all levels serve it.
    """
    first, last = ends if count > 1 else (ends[0], ends[0])
    if spacing != "calibrated":
        return SPACINGS[spacing](first, last, count)
    variances = _NATURAL * variance * natural_variances(shape, first)
    capped = torch.clamp(variances, max=first**2 / _WIDEST)
    return calibrated_sigmas(first, last, count, variances=capped, kappa=kappa, order=order)
