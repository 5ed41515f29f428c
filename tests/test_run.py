"""A run's folder: what it holds, when it goes on, and when it is refused."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from running import CPU, POINTS
from safetensors.torch import load_file, save_file

from cascore.errors import InputError
from cascore.experiment import build, run
from cascore.experiment.run import freed, training_run
from cascore.experiment.run_folder import read_experiment
from cascore.experiment.settings import Adversarial, Data, Network, Train
from cascore.model.loading import load
from cascore.noise import KeyedNoise, Purpose
from cascore.training import TrainingDivergedError
from cascore.training.checkpoint import checkpoints

TINY = replace(
    POINTS,
    train=Train(steps=6, batch_size=8, save_every=2, keep_last=2),
    adversarial=Adversarial(width=8, clamp=False),
)


def with_train(experiment=TINY, **settings):
    return replace(experiment, train=replace(experiment.train, **settings))


def go(experiment, folder, **settings):
    return list(training_run(experiment, folder, device=CPU, **settings))


def steps_in(folder):
    return [each.step for each in checkpoints(folder / "checkpoints")]


@pytest.fixture
def done(tmp_path):
    go(TINY, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_holds_its_settings_metrics_and_newest_checkpoints(tmp_path):
    metrics = go(TINY, tmp_path / "a" / "run")
    folder = tmp_path / "a" / "run"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "data.json", "experiment.json", "metrics.jsonl", "variances.npy",
    ]  # fmt: skip
    assert read_experiment(folder) == TINY
    assert steps_in(folder) == [4, 6]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": each.step, "dsm": each.dsm} for each in metrics]
    assert [each["step"] for each in lines] == [1, 2, 3, 4, 5, 6]


def test_a_model_is_the_average_of_the_newest_checkpoint(done):
    model = load(done, device=CPU)
    assert (model.step, model.shape, model.experiment) == (6, (2,), TINY)
    saved = load_file(done / "checkpoints" / "step-00000006" / "state.safetensors")
    weights = model.denoiser.state_dict()
    assert all(torch.equal(value, saved[f"ema.{name}"]) for name, value in weights.items())
    assert not model.denoiser.training
    assert not any(p.requires_grad for p in model.denoiser.parameters())


def test_a_run_may_be_made_longer_and_saved_at_other_steps(done, tmp_path):
    notices = []
    longer = with_train(steps=9, save_every=4, keep_last=1, keep_every=4)
    assert [line.step for line in go(longer, done, notify=notices.append)] == [7, 8, 9]
    assert notices == [f"resumed from {done / 'checkpoints' / 'step-00000006'}"]
    assert read_experiment(done) == longer
    assert steps_in(done) == [4, 8, 9]  # the last one whatever the interval
    whole = tmp_path / "whole"
    whole.mkdir()  # an empty folder is fine
    go(with_train(steps=9), whole)
    assert (done / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_what_decides_the_weights_is_not_free():
    other = with_train(
        objective="hybrid", steps=1, batch_size=1, learning_rate=1.0, betas=(0.0, 0.0),
        ema_decay=0.0, ema_warmup=False, precision="bfloat16", seed=1, save_every=1, keep_last=1,
        keep_every=1, evaluate_every=1, evaluate_count=2,
    )  # fmt: skip
    free = freed(TINY, other)
    changed = {name for name, value in vars(free.train).items() if value != vars(TINY.train)[name]}
    every, count = {"save_every", "keep_every", "evaluate_every"}, {"keep_last", "evaluate_count"}
    assert changed == every | count | {"steps"}


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (with_train(learning_rate=5e-4), r"train.learning_rate was 0.001 and is 0.0005\)"),
        (with_train(objective="hybrid"), "train.objective was plain and is hybrid"),
        (replace(TINY, data=Data(name="25-gaussians")), "data.name was swiss-roll and is 25-gauss"),
        (replace(TINY, name="other"), "its name was tiny and is other"),
        (
            with_train(seed=1, batch_size=4, steps=50),
            "train.batch_size was 8 and is 4; train.seed was 0 and is 1",
        ),
        (with_train(steps=4), "at step 6 already, beyond the 4 steps"),
    ],
)
def test_what_a_run_cannot_go_on_with_is_refused_with_what_differs(done, other, message):
    before = files_in(done)
    with pytest.raises(InputError, match=message) as caught:
        go(other, done)
    assert "steps was" not in str(caught.value)
    assert files_in(done) == before


def test_other_data_and_a_folder_of_something_else_are_refused(done):
    record = json.loads((done / "data.json").read_text()) | {"digest": "0" * 64}
    (done / "data.json").write_text(json.dumps(record))
    message = r"was trained on other data: 10000 items of swiss-roll with digest 0{16}"
    with pytest.raises(InputError, match=message):
        go(with_train(steps=9), done)
    assert steps_in(done) == [4, 6]
    (done / "experiment.json").unlink()
    before = files_in(done)
    with pytest.raises(InputError, match="not empty and holds no run"):
        go(TINY, done)
    assert files_in(done) == before


@pytest.mark.parametrize("fault", ["truncated", "misshapen"])
def test_a_broken_checkpoint_is_refused_and_the_one_before_serves(done, fault):
    newest = checkpoints(done / "checkpoints")[-1]
    if fault == "truncated":
        newest.tensors.write_bytes(newest.tensors.read_bytes()[:100])
    else:
        tensors = load_file(newest.tensors) | {"ema.network.layers.0.bias": torch.zeros(3)}
        save_file(tensors, newest.tensors)
    metrics = (done / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"step-00000006|does not fit this model"):
        go(with_train(steps=8), done)
    with pytest.raises(InputError, match="step-00000006"):
        load(done, device=CPU)
    shutil.rmtree(newest.folder)
    assert [line.step for line in go(TINY, done)] == [5, 6]
    assert (done / "metrics.jsonl").read_bytes() == metrics


def test_what_is_no_run_is_no_model(tmp_path, done):
    with pytest.raises(InputError, match="neither a run nor a model folder"):
        load(tmp_path, device=CPU)
    shutil.rmtree(done / "checkpoints")
    with pytest.raises(InputError, match="has no checkpoint yet"):
        load(done, device=CPU)
    (done / "experiment.json").write_text('{"stepz": 1}')
    with pytest.raises(InputError, match="stepz is unknown"):
        load(done, device=CPU)


@pytest.mark.parametrize("shape", ["", "{}", "[0]", "[2.5]", "[true]"])
def test_a_shape_that_is_none_is_refused(done, shape):
    (done / "data.json").write_text(f'{{"shape": {shape}}}')
    with pytest.raises(InputError, match=r"data.json"):
        load(done, device=CPU)


class Poisoned:
    """The batches of a run, of which row 3 is NaN at one step."""

    def __init__(self, batches, step):
        self.batches, self.step = batches, step

    def batch(self, step):
        clean = self.batches.batch(step)
        if step == self.step:
            clean[3] = math.nan
        return clean


def poison(monkeypatch, step):
    build_batches = build.build_batches

    def poisoned(*args, **kwargs):
        return Poisoned(build_batches(*args, **kwargs), step)

    monkeypatch.setattr(run.build, "build_batches", poisoned)


def test_a_diverging_run_names_step_sigma_and_the_last_good_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        poison(patch, 4)
        with pytest.raises(TrainingDivergedError) as told:
            go(TINY, folder)
    levels = build.training_sigmas(TINY.schedule)
    drawn = KeyedNoise(0, indices=range(8)).at(4)
    sigma = float(levels[drawn.integers(8, high=len(levels), purpose=Purpose.LEVEL)[3]])
    assert str(told.value) == (
        f"step 5: the loss is not finite (worst sample: nan at sigma = {sigma:.4g}); the last good"
        f" checkpoint is {folder / 'checkpoints' / 'step-00000004'}; try a lower learning rate"
    )
    assert steps_in(folder) == [2, 4]
    for each in checkpoints(folder / "checkpoints"):
        tensors = load_file(each.tensors)
        assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
    with monkeypatch.context() as patch:
        poison(patch, 0)
        with pytest.raises(TrainingDivergedError, match=r"step 1: .* nothing was saved"):
            go(TINY, tmp_path / "other")
    # Without the poison it goes on as if nothing had happened.
    go(TINY, folder)
    go(TINY, tmp_path / "whole")
    assert (folder / "metrics.jsonl").read_bytes() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_bytes()


def test_weights_that_a_finite_loss_broke_are_not_saved(tmp_path, monkeypatch):
    """A loss may be finite where its gradient is not."""
    train = build.train

    def breaking(state, *args, **kwargs):
        for metrics in train(state, *args, **kwargs):
            if metrics.step == 4:
                with torch.no_grad():
                    next(state.denoiser.parameters()).fill_(math.nan)
            yield metrics

    monkeypatch.setattr(build, "train", breaking)
    with pytest.raises(InputError, match=r"step 4: .*hold NaN.*not saved"):
        go(TINY, tmp_path / "run")
    assert steps_in(tmp_path / "run") == [2]


def test_images_are_clamped_for_the_discriminator_and_points_are_not(tmp_path, monkeypatch):
    seen = []

    def watched(*args, clamp, **kwargs):
        seen.append(clamp)
        yield from ()

    monkeypatch.setattr(build, "train", watched)
    digits = replace(TINY, data=Data(name="digits"), network=Network(width=8))
    clamping = Adversarial(clamp=True)
    go(replace(TINY, adversarial=clamping), tmp_path / "a")
    go(replace(digits, adversarial=clamping), tmp_path / "b")
    go(digits, tmp_path / "c")
    assert seen == [None, (0.0, 1.0), None]


def test_the_seed_decides_the_initial_weights_and_the_discriminators_are_others():
    def state(seed):
        hybrid = with_train(objective="hybrid", seed=seed)
        torch.manual_seed(torch.seed() % 2**63)  # whatever the global stream was at
        built = build.build_state(hybrid, (2,), device=CPU)
        return torch.cat([value.flatten() for value in built.tensors().values()])

    assert torch.equal(state(3), state(3))
    assert not torch.equal(state(3), state(4))
