"""RED finds one plausible answer and loses modes; sampling gives all, as often as they occur.

Sec. 2.3 of the paper: the fixed point of RED (Romano et al. 2017; Reehorst & Schniter 2018) is the
most probable clean datum given a noisy one, where the denoiser leaves the datum alone. Here the
data are numbers of three kinds, and the denoiser is exact. Run: python examples/restored_modes.py
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cascore.noise import KeyedNoise
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas
from cascore.theory import GaussianMixtureDenoiser

MEANS, STD, WEIGHTS = torch.tensor([-2.0, 0.0, 2.0]), 0.2, torch.tensor([0.1, 0.6, 0.3])
PRIOR = GaussianMixtureDenoiser(MEANS, torch.full((3,), STD), WEIGHTS)
BLUR = 2.0  # the deviation of the noise in what is observed


class Row(NamedTuple):
    """A kind of datum: how probable it is given y, how often it is sampled, and RED's answers."""

    mean: float
    probability: float
    sampled: float
    red: float


def red(y: Tensor, sigma: float = 0.3, *, steps: int = 200) -> Tensor:
    """The fixed point x = (y / blur^2 + H(x, sigma) / sigma^2) / (1 / blur^2 + 1 / sigma^2)."""
    x, share = y, BLUR**-2 / (BLUR**-2 + sigma**-2)
    for _ in range(steps):
        x = share * y + (1 - share) * PRIOR(x, sigma)
    return x


def given(y: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """H of the clean datum given y as well as x: both noises in one, weighted by precision."""
    precision = BLUR**-2 + sigma**-2
    return PRIOR((y / BLUR**2 + x / sigma**2) / precision, precision**-0.5)


def main(*, count: int = 4000) -> list[Row]:
    """Restore one noisy number many times in both ways and print which kinds come out."""
    y = torch.full((count,), 0.5)
    noise = KeyedNoise(range(count))
    start = initial_noise((count,), 20.0, noise=noise)
    sampled = consistent_annealed(
        lambda x, sigma: given(y, x, sigma), start, geometric_sigmas(20.0, 0.05, 50), noise=noise
    ).denoised

    evidence = WEIGHTS * torch.exp(-((y[0] - MEANS) ** 2) / (2 * (STD**2 + BLUR**2)))
    shares = [
        [float((x[:, None] - MEANS).abs().argmin(1).eq(kind).float().mean()) for kind in range(3)]
        for x in (sampled, red(y))
    ]
    columns = MEANS.tolist(), (evidence / evidence.sum()).tolist(), *shares
    rows = [Row(*row) for row in zip(*columns, strict=True)]
    print(f"{'kind':>6} {'probable':>9} {'sampled':>8} {'RED':>8}")
    for row in rows:
        print(f"{row.mean:6.1f} {row.probability:9.3f} {row.sampled:8.3f} {row.red:8.3f}")
    return rows


if __name__ == "__main__":
    main()
