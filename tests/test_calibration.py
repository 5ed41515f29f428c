"""Levels by the exact law: the law against three oracles, the levels against another optimiser."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch

from cascore.calibration import calibrated_sigmas, denoised_variances
from cascore.errors import InputError
from cascore.sampling import consistent_annealed, consistent_steps
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import gaussian_law

SPECTRUM = torch.from_numpy(
    np.load(Path(__file__).parents[1] / "benchmarks" / "data" / "spectrum.npy")
).double()
SCHEDULES = {
    "geometric": geometric_sigmas(20.0, 0.05, 15),
    "karras": karras_sigmas(20.0, 0.05, 10),
    "centred": centred_sigmas(20.0, 0.05, 10),
    "two levels": torch.tensor([2.0, 0.5], dtype=torch.float64),
    "one level": torch.tensor([0.5], dtype=torch.float64),
}


def pixel_frechet(law, variances=SPECTRUM):
    return float((law.sqrt() - variances.sqrt()).square().sum())


def distance(sigmas, **settings):
    """From the denoised law of the sampler to the data N(0, v), in pixels."""
    return pixel_frechet(denoised_variances(sigmas, SPECTRUM, **settings))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [1.0, 1.5, 4.0, math.inf])
def test_the_law_is_that_of_theory(schedule, order, kappa):
    sigmas, variances = SCHEDULES[schedule], [0.0, 1e-4, 0.3, 5.0, 80.0]
    steps = consistent_steps(sigmas, kappa=kappa, order=order)
    expected = [
        gaussian_law(
            steps, mean=0.0, std=math.sqrt(v), start_mean=0.0, start_std=float(sigmas[0])
        ).denoised_variance
        for v in variances
    ]
    law = denoised_variances(sigmas, variances, kappa=kappa, order=order)
    assert law.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-30)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kappa", [2.5, 4.0])
def test_the_blind_law_is_that_of_chains_of_the_blind_optimum(order, kappa):
    """Appendix E on Gaussian data of 3,000 components: f is the mean over 300 levels of sigma.

    Below kappa 2 the fluctuation of the start, 1.3 %, grows past what a law without fluctuation can
    say.
    """
    variances = torch.logspace(1.5, -4, 3000, dtype=torch.float64)
    sigmas, training = geometric_sigmas(20.0, 0.05, 9), geometric_sigmas(40.0, 0.05, 300)
    total = variances + training[:, None] ** 2

    def denoiser(x, sigma):
        logits = -(x.square() @ (1 / total).T + total.log().sum(1)) / 2
        scale = logits.softmax(1) @ (training[:, None] / total)
        return x - sigma * scale * x

    generator = torch.Generator().manual_seed(3)
    x = 20.0 * torch.randn(256, 3000, generator=generator, dtype=torch.float64)
    samples = consistent_annealed(
        denoiser, x, sigmas, kappa=kappa, order=order, noise=generator
    ).denoised
    law = denoised_variances(sigmas, variances, kappa=kappa, order=order, blind=True)
    ratio = (samples.square().mean(0) / law).reshape(30, 100).mean(1)  # of 25,600 numbers: 0.9 %
    assert torch.allclose(ratio, torch.ones(30, dtype=torch.float64), atol=0.05), ratio


@pytest.mark.parametrize(("count", "kappa", "blind"), [(6, 1.0, False), (5, 2.5, True)])
def test_another_optimiser_finds_no_better_levels(count, kappa, blind):
    """The stated distance by `denoised_variances` and a simplex, which needs no slopes."""
    aim = SPECTRUM / (SPECTRUM + 0.01**2).sqrt()
    weight = 1 + SPECTRUM.mean() / SPECTRUM / 64

    def objective(logs):
        sigmas = torch.tensor([50.0, *np.exp(logs), 0.01], dtype=torch.float64)
        if bool((sigmas[1:] >= sigmas[:-1]).any()):
            return math.inf
        law = denoised_variances(sigmas, SPECTRUM, kappa=kappa, blind=blind)
        return float((weight * (law.sqrt() - aim).square()).sum())

    settings = {"variances": SPECTRUM, "kappa": kappa, "blind": blind}
    ours = calibrated_sigmas(50.0, 0.01, count, **settings)[1:-1].log().numpy()
    geometric = geometric_sigmas(50.0, 0.01, count)[1:-1].log().numpy()
    best = scipy.optimize.minimize(
        objective, geometric, method="Nelder-Mead", options={"maxiter": 300}
    )
    # 96 classes stand for 3,072 variances, and even steps weigh a little.
    assert objective(ours) < 1.01 * best.fun
    assert objective(ours) < 0.6 * objective(geometric)


@pytest.mark.parametrize(
    ("kappa", "count", "bar"),
    [
        (1.0, 5, 0.40), (1.0, 8, 0.025), (2.5, 8, 0.06), (2.5, 12, 0.0125),
        (1.5, 5, 0.75), (1.5, 8, 0.030), (1.5, 10, 0.015), (1.5, 12, 0.0125), (1.5, 20, 0.0110),
        (1.5, 50, 0.0110),
    ],
)  # fmt: skip
def test_pixel_frechet_distance_of_photographs(kappa, count, bar):
    """The exact law at sigma_L itself, denoised, has 0.00985."""
    sigmas = calibrated_sigmas(50.0, 0.01, count, variances=SPECTRUM, kappa=kappa)
    geometric = geometric_sigmas(50.0, 0.01, count)
    assert distance(sigmas, kappa=kappa) < min(bar, distance(geometric, kappa=kappa))


@pytest.mark.parametrize("count", [5, 8, 12, 20])
def test_blind_levels_are_better_than_geometric_ones_for_the_blind(count):
    sigmas = calibrated_sigmas(50.0, 0.01, count, variances=SPECTRUM, kappa=2.5, blind=True)
    settings = {"kappa": 2.5, "blind": True}
    assert (
        distance(sigmas, **settings) < distance(geometric_sigmas(50, 0.01, count), **settings) / 2
    )


@pytest.mark.parametrize(("share", "gain"), [(0.25, 1.2), (4.0, 10.0)])
def test_levels_of_a_wrong_spectrum(share, gain):
    """Too wide a spectrum costs little; a quarter of the variances wastes most of the gain."""
    sigmas = calibrated_sigmas(50.0, 0.01, 8, variances=share * SPECTRUM)
    assert distance(sigmas) < distance(geometric_sigmas(50.0, 0.01, 8)) / gain


@pytest.mark.parametrize("kappa", [1.0, 1.5, 2.5, math.inf])
@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("count", [3, 12, 50])
def test_levels_are_a_schedule_without_neighbours_that_coalesce(count, kappa, blind):
    sigmas = calibrated_sigmas(50.0, 0.01, count, variances=SPECTRUM, kappa=kappa, blind=blind)
    assert sigmas.shape == (count,)
    assert sigmas.dtype == torch.float64
    assert (float(sigmas[0]), float(sigmas[-1])) == (50.0, 0.01)
    closest = min(math.log(1.16), math.log(5000) / (count - 1) / 2)
    assert float((sigmas[:-1] / sigmas[1:]).min()) > math.exp(closest) - 1e-3


def test_rounding_of_the_variances_does_not_move_the_levels():
    """What another machine's sums and logarithms differ by, a thousand times over."""
    moved = SPECTRUM * (1 + 1e-12 * torch.arange(3072).sin())
    for count, blind in ((8, False), (12, True), (20, False)):
        settings = {"kappa": 2.5, "blind": blind}
        a = calibrated_sigmas(50.0, 0.01, count, variances=SPECTRUM, **settings)
        b = calibrated_sigmas(50.0, 0.01, count, variances=moved.flip(0), **settings)
        assert a.tolist() == b.tolist()


def test_few_levels_are_geometric():
    assert calibrated_sigmas(50.0, 0.01, 2, variances=[1.0]).tolist() == [50.0, 0.01]
    assert calibrated_sigmas(2.0, 2.0, 1, variances=[1.0]).tolist() == [2.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variances": [1.0, -1.0]}, "variances"),
        ({"variances": []}, "variances"),
        ({"variances": [0.0, 0.0]}, "variances"),
        ({"variances": [math.nan]}, "variances"),
        ({"variances": [1.0], "kappa": 0.5}, "kappa"),
        ({"variances": [1.0], "kappa": [1.5] * 5}, "kappa must be one number"),
        ({"variances": [1.0], "order": 3}, "order"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        calibrated_sigmas(50.0, 0.01, 5, **settings)
