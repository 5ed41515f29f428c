"""The examples run, and what they show is what the paper proves."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

import cascore

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    """A new script must come with a test here."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "ddpm_model",
        "exact_denoiser",
        "judge_samples",
        "onnx_sampling",  # tests/test_onnx.py
        "restored_modes",
        "swiss_roll",
    }


def test_exact_denoiser_shows_propositions_1_and_2(capsys):
    """CAS within sampling error of sigma; ALS on the recursion of Proposition 1, above it."""
    chains, eta = 500, 0.7
    rows = example("exact_denoiser").main(chains=chains)
    # 1000 numbers: the standard deviation has relative error 1 / sqrt(2000) = 0.022; five of those.
    tolerance = 5 / math.sqrt(2 * 2 * chains)
    variance = 10.0**2
    for row in rows:
        assert row.consistent == pytest.approx(row.sigma, rel=tolerance)
        assert row.langevin == pytest.approx(math.sqrt(variance), rel=tolerance)
        variance = (1 - eta) ** 2 * variance + 2 * eta * row.sigma**2
    assert all(row.langevin > row.sigma for row in rows[1:])
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
def test_a_ddpm_model_is_trained_drawn_from_and_judged(tmp_path, monkeypatch, capsys):
    """At a size at which nothing is learned; docs/few-calls.md has what comes of more."""
    monkeypatch.chdir(tmp_path)
    asked = ("ddpm_model.py", "--steps", "2", "--width", "8", "--count", "4")
    monkeypatch.setattr(sys, "argv", list(asked))
    model = example("ddpm_model")
    monkeypatch.setattr(
        model, "SAMPLERS", [(kind, min(calls, 3)) for kind, calls in model.SAMPLERS]
    )
    model.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == [
        *(kind.__name__ for kind, _ in model.SAMPLERS), "real",
    ]  # fmt: skip
    assert cascore.from_diffusers("ddpm").shape == (1, 8, 8)
    assert (tmp_path / "ddpm.png").is_file()


def test_swiss_roll_learns(capsys):
    """Training brings samples nearer to the roll; an update count of 2 leaves them astray."""
    roll = example("swiss_roll")
    before = roll.main(steps=2, count=100, width=64)
    after = roll.main(steps=150, count=100, width=64)
    assert [row.calls for row in after] == [50, 25]
    for early, late in zip(before, after, strict=True):
        assert late.denoised < early.denoised / 2
    assert "real points, held out" in capsys.readouterr().out


def test_judge_samples_tells_generators_apart(capsys):
    """What docs/evaluation.md says of the table, with at least three standard errors between."""
    rows = {row.name: row for row in example("judge_samples").main()}
    perfect, flawed, few = (rows[name] for name in ("perfect", "flawed", "perfect, few"))
    assert flawed.frechet.mean > perfect.frechet.mean + 3 * flawed.frechet.error
    assert few.frechet.mean > flawed.frechet.mean + 3 * few.frechet.error  # the bias
    assert abs(perfect.kernel.mean) < 3 * perfect.kernel.error
    assert abs(few.kernel.mean) < 3 * few.kernel.error
    assert flawed.kernel.mean > 3 * flawed.kernel.error
    collapsed = rows["collapsed"]
    assert collapsed.share.precision.mean > 0.8
    assert collapsed.share.recall.mean < 0.05
    assert collapsed.filled.coverage.mean < 0.2
    copying = rows["copying"]
    assert copying.frechet.mean < perfect.frechet.mean - 3 * perfect.frechet.error
    assert copying.kernel.mean < -3 * copying.kernel.error
    assert copying.share.precision.mean == copying.share.recall.mean == 1
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1


def test_restored_modes_are_sampled_in_proportion_and_lost_by_red(capsys):
    """Shares of 4,000 chains within five standard errors of Bayes; RED's answer is a maximum."""
    modes, count = example("restored_modes"), 4000
    rows = modes.main(count=count)
    for row in rows:
        error = math.sqrt(row.probability * (1 - row.probability) / count)
        assert row.sampled == pytest.approx(row.probability, abs=5 * error)
    assert [row.red for row in rows] == [0, 1, 0]
    # log p_sigma(x) - (x - y)^2 / (2 blur^2) by brute force, at RED's own sigma of 0.3.
    grid, y = torch.linspace(-4, 4, 80001, dtype=torch.float64), 0.5
    variance = modes.STD**2 + 0.3**2
    density = modes.WEIGHTS * torch.exp(-((grid[:, None] - modes.MEANS) ** 2) / (2 * variance))
    best = grid[(density.sum(1).log() - (grid - y) ** 2 / (2 * modes.BLUR**2)).argmax()]
    # The grid has steps of 1e-4, RED is in float32.
    assert float(modes.red(torch.tensor([y]))) == pytest.approx(float(best), abs=1e-4)
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1
