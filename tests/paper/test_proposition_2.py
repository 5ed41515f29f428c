"""Proposition 2: the noise of consistent annealed sampling is sigma_i exactly, at every step."""

import math

import pytest
import torch

from cascore.sampling import consistent_annealed, consistent_steps
from cascore.schedule import (
    allowed_interval,
    centred_sigmas,
    geometric_sigmas,
    karras_sigmas,
    stretch,
)
from cascore.theory import EmpiricalDenoiser, noise_std

SCHEDULES = {
    "geometric": geometric_sigmas(50.0, 0.01, 232),
    "stretched": stretch(geometric_sigmas(50.0, 0.01, 40), 5),
    "karras": karras_sigmas(80.0, 0.02, 20),
    "centred": centred_sigmas(80.0, 0.02, 20),
    "irregular": torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64),
}
STEPS = [
    *({"kappa": kappa} for kappa in (1.0, 1.25, 1.5, 2.0, math.inf)),
    *({"inside": share} for share in (0.0, 0.01, 0.3, 0.5, 0.9, 1.0)),
]


def step_size(step, sigmas):
    """The keyword of the sampler: kappa itself, or the eta at a share of the allowed interval."""
    if "kappa" in step:
        return step
    low, high = allowed_interval(sigmas).eta
    return {"eta": low + step["inside"] * (high - low)}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_recursion_is_sigma_at_every_step(schedule, step, order):
    sigmas = SCHEDULES[schedule]
    steps = consistent_steps(sigmas, **step_size(step, sigmas), order=order)
    std = noise_std(steps, start=float(sigmas[0]))
    # Rounding: a few ulp a step over at most 232 steps; beta^2 below 1e-12 counts as 0.
    assert std.before.tolist() == pytest.approx(sigmas.tolist(), rel=1e-11)
    assert std.after[:-1].tolist() == pytest.approx(sigmas[1:].tolist(), rel=1e-11)
    last = abs(1 - steps[-1].eta) * float(sigmas[-1])
    assert float(std.after[-1]) == pytest.approx(last, rel=1e-11)


def test_kappa_of_each_step_keeps_the_noise_too():
    sigmas = SCHEDULES["irregular"]
    steps = consistent_steps(sigmas, kappa=[1, 2, 1.3, math.inf, 5, 1, 1.5])
    std = noise_std(steps, start=9.0)
    assert std.before.tolist() == pytest.approx(sigmas.tolist(), rel=1e-12)


@pytest.mark.parametrize("schedule", ["stretched short", "irregular"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("step", [STEPS[i] for i in (0, 1, 2, 3, 7, 9)], ids=str)
def test_sampled_noise_is_sigma_at_every_step(schedule, step, order):
    """65,536 independent numbers: the standard error of a deviation s is s / sqrt(2 n), 0.28 %."""
    count = 65536
    sigmas = {**SCHEDULES, "stretched short": stretch(geometric_sigmas(20.0, 0.05, 6), 3)}[schedule]
    generator = torch.Generator().manual_seed(2)
    datum = torch.linspace(0, 1, 16, dtype=torch.float64)
    z = torch.randn(count // 16, 16, generator=generator, dtype=torch.float64)
    spreads, means = [], []

    def record(step, sigma, x, H):
        spreads.append(float((x - datum).std()))
        means.append(float((x - datum).mean()))

    consistent_annealed(
        EmpiricalDenoiser(datum[None]),
        datum + sigmas[0] * z,
        sigmas,
        **step_size(step, sigmas),
        order=order,
        noise=generator,
        callback=record,
    )
    assert len(spreads) == len(sigmas)
    spread, mean = torch.tensor(spreads).double(), torch.tensor(means).double()
    assert bool(((spread - sigmas).abs() < 5 * sigmas / math.sqrt(2 * count)).all())
    assert bool((mean.abs() < 5 * sigmas / math.sqrt(count)).all())
