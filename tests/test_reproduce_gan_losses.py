"""The study of GAN losses: what is trained, and what its sentences say."""

import math
from dataclasses import replace

import pytest
from running import silent

from cascore.losses import GAN_LOSSES
from cascore.reproduce.gan_losses.values import (
    best_line,
    claims_of,
    compared,
    measured_of,
    spread_in,
)
from cascore.reproduce.gan_losses.work import OUTCOMES, SCALES, name_of, units


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


VALUES = {"plain": (1.0, 1.2), "lsgan": (2.0, 2.4), "hinge": (5.0,)}
PART = math.log(1.2) / math.sqrt(2)  # the deviation of two logarithms, the same for both kinds


def test_all_losses_are_given_the_pooled_relative_spread_of_those_trained_again():
    scale = SCALES["tiny"]
    found = measured_of(scale, records(VALUES, scale))
    assert found["hinge", "digits", "raw"] == [5.0]
    for kind, mean in (("lsgan", 2.2), ("hinge", 5.0)):
        spread = spread_in(found, kind, "digits", "raw")
        assert (spread.mean, spread.deviation) == pytest.approx((mean, PART * mean))


def test_two_losses_are_told_apart_by_what_a_training_changes():
    """Logarithms, Student with 1 + 1 degrees of freedom: 4.303 errors, a factor of 1.97 here."""
    scale = SCALES["tiny"]
    found = measured_of(scale, records(VALUES, scale))
    pair = compared(found, "digits", "raw", lower="lsgan", higher="hinge")
    assert pair.difference.mean == pytest.approx(math.log(5 / math.sqrt(2 * 2.4)))
    assert pair.difference.error == pytest.approx(PART * math.sqrt(1 / 2 + 1))
    assert math.exp(pair.difference.margin) == pytest.approx(1.97, abs=0.005)
    assert pair.verdict == "held"
    back = compared(found, "digits", "raw", lower="hinge", higher="lsgan")
    assert (back.verdict, back.difference.margin) == ("did not hold", pair.difference.margin)
    near = {**found, ("hinge", "digits", "raw"): [4.0]}
    assert compared(near, "digits", "raw", lower="lsgan", higher="hinge").verdict == "tie"


def of(lsgan, plain=0.1, hinge=1.0):
    """Means of trainings that hardly differ: by a thousandth."""
    return {
        (kind, "digits", outcome): [0.999 * mean, 1.001 * mean]
        for kind, mean in {"plain": plain, "lsgan": lsgan, "hinge": hinge}.items()
        for outcome in OUTCOMES
    }


@pytest.mark.parametrize(
    ("lsgan", "said"),
    [
        (0.8, "`lsgan` is the lowest (0.80 ± 0.00), and 0 of the 1 others tie with it."),
        (1.002, "`lsgan` is number 2 of 2 (1.00 ± 0.00) and cannot be told from it."),
        (1.5, "`lsgan` is number 2 of 2 (1.50 ± 0.00) and is worse."),
    ],
)
def test_whether_least_squares_is_best_is_read_from_the_numbers(lsgan, said):
    assert best_line(SCALES["tiny"], "digits", "raw", of(lsgan)).endswith(said)


def test_claims_turn_with_the_numbers():
    scale = replace(SCALES["tiny"], extractors=("digits",))
    best, raw, denoised, others = claims_of(scale, of(0.5, plain=1.0, hinge=2.0))
    assert best.verdict == "held (2 of 2)"
    assert raw.verdict == denoised.verdict == "held (1 of 1)"
    assert others.verdict == "did not hold (2 of 2)"
    other = {**of(0.5, plain=1.0, hinge=2.0), ("lsgan", "digits", "raw"): [1.997, 2.003]}
    assert claims_of(scale, other)[0].verdict == "held (1 of 2, 1 tie)"
