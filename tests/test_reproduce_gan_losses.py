"""The study of GAN losses: what is trained, and what its sentences say."""

import math
from dataclasses import replace

import pytest
from reproducing import reproduced, rows_of
from running import silent

from cascore.losses import GAN_LOSSES
from cascore.reproduce.gan_losses.values import best_line, claims_of, measured_of
from cascore.reproduce.gan_losses.work import OUTCOMES, SCALES, name_of, units
from cascore.reproduce.pages import Spread


def test_gan_losses_run_end_to_end(tmp_path):
    out = reproduced("gan-losses", tmp_path)
    page = (out / "gan-losses.md").read_text(encoding="utf-8")
    assert "| `hinge` |" in page
    # trainings of plain, lsgan and hinge; draws, extractors, outcomes
    assert len(rows_of(out / "gan-losses" / "measurements.csv")) == (2 + 2 + 1) * 2 * 2 * 2
    for name in ("distance.png", "samples.svg"):
        assert (out / "gan-losses" / name).stat().st_size > 1000


def test_every_loss_is_trained_in_its_own_run(tmp_path):
    trained = {
        (experiment["name"], experiment["train"]["seed"]): experiment
        for unit in units("laptop", silent(tmp_path))
        if (experiment := unit.settings.get("experiment"))
    }
    hybrid = [e for e in trained.values() if e["train"]["objective"] == "hybrid"]
    assert {each["adversarial"]["gan"] for each in hybrid} == set(GAN_LOSSES)
    more = SCALES["laptop"].trainings - 1  # of least squares, and of the plain objective
    assert len(hybrid) == len(GAN_LOSSES) + more
    assert len(trained) == len(hybrid) + 1 + more


def records(values, scale):
    """Distances by kind and training, the same for every draw, extractor and outcome."""
    return {
        name_of(kind, training, draw): {
            "result": {
                outcome: {extractor: {"value": value} for extractor in scale.extractors}
                for outcome in ("raw", "denoised")
            }
        }
        for kind, trainings in values.items()
        for training, value in enumerate(trainings)
        for draw in range(scale.draws)
    }


def test_a_loss_trained_once_is_given_the_larger_relative_spread():
    scale = SCALES["tiny"]
    values = {"plain": (1.0, 1.2), "lsgan": (2.0, 2.2), "hinge": (5.0,)}
    found = measured_of(scale, records(values, scale))
    spread = 0.2 / math.sqrt(2)  # of two values
    assert found["lsgan", "digits", "raw"].deviation == pytest.approx(spread)
    assert found["hinge", "digits", "raw"].mean == 5.0
    assert found["hinge", "digits", "raw"].deviation == pytest.approx(5 * spread / 1.1)


@pytest.mark.parametrize(
    ("lsgan", "said"),
    [
        (0.8, "`lsgan` is the lowest (0.80 ± 0.10), and 1 of the 1 others tie with it."),
        (1.1, "`lsgan` is number 2 of 2 and ties with it (1.10 ± 0.10)."),
        (1.5, "`lsgan` is number 2 of 2 and is worse (1.50 ± 0.10)."),
    ],
)
def test_whether_least_squares_is_best_is_read_from_the_numbers(lsgan, said):
    measured = {
        (kind, "digits", "raw"): Spread(mean, 0.1, 3)
        for kind, mean in {"plain": 0.1, "lsgan": lsgan, "hinge": 1.0}.items()
    }
    assert best_line("digits", "raw", measured).endswith(said)


def test_claims_turn_with_the_numbers():
    means = {"plain": 1.0, "lsgan": 0.5, "hinge": 2.0}
    measured = {
        (kind, "digits", outcome): Spread(mean, 0.1, 3)
        for kind, mean in means.items()
        for outcome in OUTCOMES
    }
    scale = replace(SCALES["tiny"], extractors=("digits",))
    best, raw, denoised = claims_of(scale, measured)
    assert best.verdict == "held (2 of 2)"
    assert raw.verdict == denoised.verdict == "mixed (1 of 2 held, 1 did not)"
    other = {**measured, ("lsgan", "digits", "raw"): Spread(1.9, 0.1, 3)}
    assert claims_of(scale, other)[0].verdict == "held (1 of 2, 1 tie)"
