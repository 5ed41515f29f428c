"""Where chains start, and the gap at their ends, against closed forms."""

import math
from itertools import product

import pytest
import torch

from cascore.errors import InputError
from cascore.experiment.generate import generate
from cascore.experiment.settings import Schedule
from cascore.reproduce.initialisation.values import PLACES, end_claims, start_claims
from cascore.reproduce.initialisation.work import (
    OUTCOMES,
    SAMPLERS,
    SCALES,
    STARTS,
    chains,
    ideal_gap,
    starting_points,
)
from cascore.reproduce.sampler import Sampler
from cascore.theory import EmpiricalDenoiser

SCHEDULE = Schedule(first=5.0, last=0.01, levels=28)
GAMMA = (0.01 / 5.0) ** (1 / 27)
ONE = torch.full((1, 1, 8, 8), 0.5)
CPU = torch.device("cpu")


def langevin(eta):
    """The noise before and after the last step of Algorithm 1, literally, in units of sigma_L."""
    variance, before = 25.0, 0.0
    for i in range(28):
        before, sigma = variance, 5.0 * GAMMA**i
        variance = (1 - eta) ** 2 * variance + 2 * eta * sigma**2
    return math.sqrt(before) / 0.01, math.sqrt(variance) / 0.01


@pytest.mark.parametrize(
    ("sampler", "call", "result"),
    [
        (Sampler(method="als", order=1, steps=None, eta=0.5), *langevin(0.5)),
        # Before the last step sigma_L; that step leaves gamma^kappa of it and adds nothing.
        (Sampler(steps=None, order=1), 1.0, GAMMA**1.5),
        (Sampler(steps=12, kappa=2.0, spacing="geometric"), 1.0, ((0.01 / 5.0) ** (1 / 11)) ** 2),
    ],
)
def test_the_gap_of_a_single_datum_is_its_noise(sampler, call, result):
    """200 x 64 numbers of one deviation: its relative error is 1 / sqrt(2 x 12,800) = 0.6 %."""
    ideal = ideal_gap(sampler, SCHEDULE)
    assert (ideal.call, ideal.result) == (pytest.approx(call), pytest.approx(result))
    found = chains(
        EmpiricalDenoiser(ONE),
        sampler,
        SCHEDULE,
        start="data",
        train=ONE,
        seeds=range(200),
        device=CPU,
    )
    error = 4.5 / math.sqrt(2 * 12_800)
    assert found.gap.call == pytest.approx(call, rel=error)
    assert found.gap.result == pytest.approx(result, rel=error)


def test_starts_from_data_and_from_noise_share_the_noise():
    train = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise, data = (
        starting_points(start, range(40), sigma=5.0, train=train) for start in ("noise", "data")
    )
    centres = data - noise
    nearest = (centres[:, None] - train).abs().flatten(2).amax(dim=2).min(dim=1)
    assert float(nearest.values.max()) < 1e-4  # float32 at 5 sigma
    assert set(nearest.indices.tolist()) == set(range(5))
    assert float(noise.std()) == pytest.approx(5.0, rel=4.5 / math.sqrt(2 * 2560))


def test_the_authors_start_is_uniform():
    """Mean 1/2 and variance 1/12 of 64,000 numbers: errors 1.1e-3 and 3e-4."""
    x = starting_points("uniform", range(1000), sigma=5.0, train=ONE)
    assert x.shape == (1000, 1, 8, 8)
    assert 0 <= float(x.min()) < 0.001 < 0.999 < float(x.max()) <= 1
    assert float(x.mean()) == pytest.approx(0.5, abs=4.5 * 1.15e-3)
    assert float(x.var()) == pytest.approx(1 / 12, abs=4.5 * 3e-4)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"start must be \[3, 1, 8, 8\], not \[2, 1, 8, 8\]"):
        generate(
            EmpiricalDenoiser(ONE),
            shape=(1, 8, 8),
            seeds=range(3),
            sampler=Sampler(),
            schedule=SCHEDULE,
            device=CPU,
            start=torch.zeros(2, 1, 8, 8),
        )


VERDICTS = [(1.0, "held"), (1.99, "tie"), (3.0, "did not hold")]


def around(mean, *, turn):
    """Three draws: what they share spreads by 0.5, what is their own by 0.01, in another order."""
    return [mean + 0.5 * draw + 0.01 * ((draw + turn) % 3 - 1) for draw in range(3)]


@pytest.mark.parametrize(("cas", "verdict"), VERDICTS)
def test_the_claim_on_the_gap_is_read_from_the_numbers(cas, verdict):
    scale = SCALES["tiny"]
    gaps = {
        (preset, sampler, place): around(mean, turn=turn)
        for preset, place in product(scale.presets, PLACES)
        for turn, (sampler, mean) in enumerate((("als", 2.0), ("cas", cas)))
    }
    assert {claim.verdict for claim in end_claims(scale, gaps)} == {f"{verdict} (2 of 2)"}


@pytest.mark.parametrize(("other", "verdict"), VERDICTS)
def test_a_start_is_compared_with_noise(other, verdict):
    """Only one start of one sampler differs from noise."""
    scale = SCALES["tiny"]
    measured = {
        key: around(
            other if key[1:3] == ("12-calls", "uniform") else 2.0, turn=STARTS.index(key[2])
        )
        for key in product(scale.presets, SAMPLERS, STARTS, scale.extractors, OUTCOMES)
    }
    found = {claim.statement.text: claim.verdict for claim in start_claims(scale, measured)}
    assert len(found) == 6
    own = "a start from U[0, 1] without noise lowers the distance against σ₁ z, 12 calls, order 2"
    assert found.pop(own) == f"{verdict} (4 of 4)"
    assert set(found.values()) == {"tie (4 of 4)"}
