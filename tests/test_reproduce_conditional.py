"""Losses by level against closed forms, and the study of networks that see the noise level."""

import math

import pytest
import torch

from cascore.reproduce.conditional import levels
from cascore.reproduce.conditional.levels import UnconditionalOptimum, level_losses
from cascore.reproduce.conditional.values import (
    distance_claims,
    levels_line,
    loss_claims,
    loss_line,
    theory_line,
)
from cascore.reproduce.conditional.work import OUTCOMES, SAMPLERS, SCALES, SPLITS
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser

SIGMAS = geometric_sigmas(2.0, 0.1, 4)


def data(count):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(0))


def test_losses_of_gaussian_data_are_those_of_theory():
    """H = x / (1 + sigma^2) on N(0, I) loses D / 2 / (1 + sigma^2); a loss errs by its spread."""
    clean = data(4000)
    found = level_losses(lambda x, s: x / (1 + s[:, None] ** 2), clean, SIGMAS, seed=0)
    for loss, sigma in zip(found, SIGMAS.tolist(), strict=True):
        expected = 3 / (1 + sigma**2)
        # D chi-squares: the standard deviation of one loss is sqrt(2 / D) of it.
        assert loss == pytest.approx(expected, rel=4.5 * math.sqrt(2 / 6 / 4000))


def test_sight_of_the_only_level_is_worth_nothing():
    """With one level the two optima are one function."""
    clean, one = data(30), SIGMAS[1:2]
    seen = level_losses(EmpiricalDenoiser(clean), clean, one, seed=0)
    blind = level_losses(UnconditionalOptimum(clean, one), clean, one, seed=0)
    assert blind == pytest.approx(seen, rel=1e-4)


def test_not_seeing_the_level_costs_something_and_parts_do_not_matter(monkeypatch):
    clean = data(200)
    seen = level_losses(EmpiricalDenoiser(clean), clean, SIGMAS, seed=0)
    blind = level_losses(UnconditionalOptimum(clean, SIGMAS), clean, SIGMAS, seed=0)
    assert sum(blind) > 1.05 * sum(seen)
    monkeypatch.setattr(levels, "_TERMS", 1)
    again = level_losses(UnconditionalOptimum(clean, SIGMAS), clean, SIGMAS, seed=0)
    assert again == pytest.approx(blind, rel=1e-6)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [(1.0, "held"), (2.0, "tie"), (3.0, "did not hold")],
)
def test_claims_say_what_the_numbers_say(seen, verdict):
    losses = {
        **{("conditional", split): [[seen - 0.03] * 2, [seen + 0.04] * 2] for split in SPLITS},
        **{("unconditional", split): [[1.98] * 2, [2.03] * 2] for split in SPLITS},
    }
    found = {(claim.statement.text, claim.measure): claim.verdict for claim in loss_claims(losses)}
    statement = "sight of σ lowers the loss on the held-out images"
    assert found[statement, "Eq. 1"] == f"{verdict} (1 of 1)"
    assert len(found) == 2
    level = {"held": "lower in 2 of 2, higher in 0", "tie": "cannot be told apart in 2",
             "did not hold": "lower in 0 of 2, higher in 2"}[verdict]  # fmt: skip
    assert level in levels_line("test", losses)
    scale = SCALES["tiny"]
    measured = {
        (kind, sampler, extractor, outcome): [[mean, mean + 9.0], [mean + 0.04, mean + 9.0]]
        for kind, mean in (("conditional", seen), ("unconditional", 2.0))
        for sampler in SAMPLERS
        for extractor in scale.extractors
        for outcome in OUTCOMES
    }
    for claim in distance_claims(scale, measured):
        assert claim.verdict == f"{verdict} (2 of 2)"


def test_the_widest_level_is_where_the_losses_differ_most():
    losses = {("conditional", "test"): [[1.0, 1.0], [1.0, 2.0]],
              ("unconditional", "test"): [[1.0, 3.0], [1.0, 3.0]]}  # fmt: skip
    line = loss_line("test", losses, [5.0, 0.25])
    assert "1.25 ± 0.35 with sight of σ and 2.00 ± 0.00 without" in line
    assert line.endswith("the furthest apart at σ = 0.25 (-50%).")


def test_the_price_in_theory_is_a_difference_of_means():
    optima = {"conditional": [1.0, 2.0], "unconditional": [2.0, 3.0]}
    assert theory_line(optima).endswith("not seeing σ costs 1.00.")
