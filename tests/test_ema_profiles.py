"""Averages of the weights whose length is chosen when the training is over (EDM2)."""

import json
import shutil

import numpy as np
import pytest
import torch
from running import run, tiny, trained_in
from safetensors.torch import load_file
from torch import nn

from cascore.model.loading import load
from cascore.training.checkpoint import checkpoints
from cascore.training.ema import (
    PROFILES,
    Profile,
    combination,
    power_decay,
    power_exponent,
    update_ema,
)


def profile(length, step, grid):
    """What an average of `step` updates weighs those of a grid with; a plain sum of it is 1."""
    weights = np.where(grid <= step, grid ** power_exponent(length), 0.0)
    return weights / weights.sum()


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_the_exponents_are_those_that_edm2_states(length, gamma):
    assert power_exponent(length) == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.27])
def test_the_length_of_a_profile_is_its_deviation(length):
    t = np.linspace(0, 1, 200_001)[1:]
    weights = profile(length, 1.0, t)
    mean = (weights * t).sum()
    assert np.sqrt((weights * (t - mean) ** 2).sum()) == pytest.approx(length, rel=1e-3)


def averaged(path, length):
    """The average of a path of weights [T, n], by the updates of a training."""
    network, average = (nn.Linear(path.shape[1], 1, bias=False).double() for _ in range(2))
    for t, weights in enumerate(path, start=1):
        network.weight.data.copy_(weights)
        update_ema(average, network, decay=power_decay(length, t))
    return average.weight.detach()[0]


def test_an_average_weighs_updates_by_the_power_of_their_number():
    weights = averaged(torch.eye(400).double(), 0.1)  # update t moves weight t alone, to 1
    assert float(weights.sum()) == pytest.approx(1)
    ideal = profile(0.1, 400, np.arange(1, 401))
    assert np.abs(weights.numpy() - ideal).sum() < 0.01  # of a recursion in 400 steps


def test_an_average_made_afterwards_is_the_one_kept_all_along():
    """Of a random walk, from averages at six moments; the misfit of the profiles is 1 %."""
    steps = torch.randn(1000, 50, generator=torch.Generator().manual_seed(0)).double()
    path = steps.cumsum(dim=0)
    kept = [Profile(own, step) for step in range(500, 1001, 100) for own in PROFILES]
    shares, misfit = combination(kept, Profile(0.07, 1000))
    made = sum(
        share * averaged(path[:step], length)
        for share, (length, step) in zip(shares, kept, strict=True)
    )
    wanted = averaged(path, 0.07)
    assert misfit < 0.015
    assert float((made - wanted).norm() / (path[-1] - wanted).norm()) < 2 * misfit


@pytest.mark.parametrize("length", [0.03, 0.07, 0.12])
def test_a_combination_is_the_profile_that_is_asked_for(length):
    kept = [Profile(own, step) for step in range(500, 1001, 100) for own in PROFILES]
    grid = np.arange(1, 1001) / 1.0
    shares, misfit = combination(kept, Profile(length, 1000))
    made = sum(x * profile(*each, grid) for x, each in zip(shares, kept, strict=True))
    wanted = profile(length, 1000, grid)
    assert sum(shares) == pytest.approx(1)
    assert misfit < 0.1
    assert np.linalg.norm(made - wanted) / np.linalg.norm(wanted) == pytest.approx(misfit, abs=0.01)


def test_a_kept_profile_is_itself_and_one_alone_makes_no_other():
    shares, misfit = combination([Profile(x, 100) for x in PROFILES], Profile(PROFILES[1], 100))
    assert shares == pytest.approx((0, 1), abs=1e-6)
    assert misfit < 1e-6
    assert combination([Profile(0.05, 100)], Profile(0.1, 100)).misfit > 0.3


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of digits that keeps averages of two lengths in each of its checkpoints."""
    folder = tmp_path_factory.mktemp("profiles") / "run"
    settings = {"save_every": 4, "keep_every": 4, "ema_profiles": True, "learning_rate": 1e-2}
    return trained_in(folder, tiny(steps=40, batch_size=8, **settings))


def test_a_model_of_a_kept_length_has_the_kept_weights(kept, tmp_path):
    last = checkpoints(kept / "checkpoints")[-1]
    tensors = load_file(last.tensors)
    names = [name for name in tensors if name.startswith("ema.network.")]
    for own in PROFILES:
        assert run("convert", kept, tmp_path / f"{own}", "--ema-length", own) == 0
        made = load_file(tmp_path / f"{own}" / "model.safetensors")
        for name in names:
            bare = name.removeprefix("ema.")
            expected = tensors[f"profile-{own:g}.{bare}"]
            torch.testing.assert_close(made[bare.removeprefix("network.")], expected)
            if own == PROFILES[0] and name.endswith("weight"):
                assert not torch.equal(expected, tensors[name])
    card = (tmp_path / "0.1" / "README.md").read_text(encoding="utf-8")
    assert "power-function average of the weights of relative length 0.1" in card


def test_the_best_length_is_that_of_the_least_held_out_loss(kept, tmp_path, capsys):
    assert run("convert", kept, tmp_path / "best", "--ema-length", "best") == 0
    said = [line.split() for line in capsys.readouterr().err.splitlines() if "held-out" in line]
    losses = {float(words[1].rstrip(":")): float(words[-1]) for words in said}
    assert len(losses) >= 6
    record = load(tmp_path / "best")
    chosen = min(losses, key=lambda length: losses[length])
    assert f"relative length {chosen:g} " in (record.folder / "README.md").read_text("utf-8")


def test_the_weights_before_a_training_are_part_of_no_average(kept, tmp_path):
    """A run that began with another model's weights keeps them as its checkpoint of step 0."""
    run_with_base = tmp_path / "run"
    shutil.copytree(kept, run_with_base)
    first = checkpoints(run_with_base / "checkpoints")[0].folder
    zero = first.with_name("step-00000000")
    shutil.copytree(first, zero)
    record = json.loads((zero / "state.json").read_text(encoding="utf-8"))
    (zero / "state.json").write_text(json.dumps(record | {"step": 0}), encoding="utf-8")
    made = [tmp_path / "without", tmp_path / "with"]
    for source, out in zip((kept, run_with_base), made, strict=True):
        assert run("convert", source, out, "--ema-length", 0.07) == 0
    assert len({(out / "model.safetensors").read_bytes() for out in made}) == 1


def test_a_length_that_cannot_be_made_is_refused(kept, tmp_path, capsys):
    trained_in(tmp_path / "plain", tiny(steps=2, batch_size=4))
    for source, length, words in (
        (kept, 0.005, "choose one nearer to 0.05 to 0.1"),
        (kept, 0.28, "ema_length"),
        (tmp_path / "plain", 0.05, "--train.ema-profiles"),
    ):
        assert run("convert", source, tmp_path / "no", "--ema-length", length) == 2
        assert words.replace("_", "-") in capsys.readouterr().err.replace("_", "-")
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("length", [0.1, "best"])
def test_an_average_is_none_of_the_raw_weights(kept, tmp_path, capsys, length):
    asked = ("--weights", "raw", "--ema-length", length)
    assert run("convert", kept, tmp_path / "no", *asked) == 2
    said = capsys.readouterr().err
    assert f"--ema-length {length} is of an average: leave one of them out" in " ".join(
        said.split()
    )
    assert "held-out" not in said
    assert not (tmp_path / "no").exists()


def test_a_number_of_the_checkpoint_is_none_of_another_average(kept, tmp_path):
    asked = ("--count", 20, "--calls", 2, "--device", "cpu", "--out", tmp_path / "records.json")
    assert run("evaluate", kept, *asked) == 0
    made = ("convert", kept, tmp_path / "no", "--ema-length", 0.1)
    assert run(*made, "--records", tmp_path / "records.json") == 2
