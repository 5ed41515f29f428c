"""A run's folder: what it holds, when it goes on, and when it is refused."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import CPU, POINTS, reading_at_most
from safetensors.torch import load_file

from cascore.errors import InputError
from cascore.experiment import build, run
from cascore.experiment.run import freed, training_run
from cascore.experiment.run_folder import read_experiment
from cascore.experiment.run_start import cut_metrics
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
        "variances.npy.sha256",
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


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def foreign(folder):
    """The checkpoint of another network, whole in itself."""
    other = replace(TINY, network=replace(TINY.network, width=5))
    go(with_train(other, steps=6), folder.parents[2] / "other")
    shutil.rmtree(folder)
    shutil.copytree(folder.parents[2] / "other" / "checkpoints" / folder.name, folder)


DAMAGE = {
    "no files": lambda folder: [path.unlink() for path in folder.iterdir()],
    "no tensors": lambda folder: (folder / "state.safetensors").unlink(),
    "empty tensors": lambda folder: (folder / "state.safetensors").write_bytes(b""),
    "half the tensors": lambda folder: os.truncate(folder / "state.safetensors", 900),
    "a flipped bit": lambda folder: flip(folder / "state.safetensors"),
    "a folder for tensors": lambda folder: (
        (folder / "state.safetensors").unlink(),
        (folder / "state.safetensors").mkdir(),
    ),
    "no record": lambda folder: (folder / "state.json").unlink(),
    "an empty record": lambda folder: (folder / "state.json").write_bytes(b""),
    "no text": lambda folder: (folder / "state.json").write_bytes(bytes(range(256))),
    "another step": lambda folder: folder.rename(folder.with_name("step-00000008")),
    "another network": foreign,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_with_its_reason(done, damage):
    checkpoint = done / "checkpoints" / "step-00000006"
    metrics, tensors = (done / "metrics.jsonl").read_bytes(), checkpoint / "state.safetensors"
    expected = {name: value.clone() for name, value in load_file(tensors).items()}
    DAMAGE[damage](checkpoint)
    (newest,) = {path.name for path in (done / "checkpoints").iterdir()} - {"step-00000004"}
    told = []
    assert load(done, device=CPU, notify=told.append).step == 4
    assert len(told) == 1
    assert told[0].startswith(f"{newest} is passed over: ")
    told.clear()
    assert len(go(with_train(steps=8), done, notify=told.append)) == 4
    assert told[0].startswith(f"{newest} is passed over: ")
    assert told[1] == f"resumed from {done / 'checkpoints' / 'step-00000004'}"
    assert told[2].endswith(f"is set aside as {newest}.aside")
    assert (done / "metrics.jsonl").read_bytes().startswith(metrics)
    again = load_file(tensors)  # what it had been before
    assert all(torch.equal(value, expected[name]) for name, value in again.items())


def test_what_was_set_aside_before_is_kept_beside(done):
    saved, log = done / "checkpoints", done / "metrics.jsonl"
    for _ in range(3):
        with log.open("ab") as lines:
            lines.write(b"\xff\n{}\n")
        go(TINY, done, checkpoint="4")
    for folder, name in ((saved, "step-00000006"), (done, "metrics.jsonl")):
        asides = [f"{name}.aside", f"{name}.aside-2", f"{name}.aside-3"]
        assert sorted(path.name for path in folder.glob("*.aside*")) == asides
    assert steps_in(done) == [4, 6]


def test_where_no_checkpoint_is_whole_nothing_is_lost(done):
    for checkpoint in checkpoints(done / "checkpoints"):
        flip(checkpoint.tensors)
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    reasons = r"no checkpoint .* is whole: step-00000006 .*step-00000004"
    with pytest.raises(InputError, match=reasons):
        go(with_train(steps=8), done)
    with pytest.raises(InputError, match=r"no checkpoint .* is whole"):
        load(done, device=CPU)
    assert {path: path.read_bytes() for path in done.rglob("*") if path.is_file()} == before


def test_a_run_goes_back_to_a_checkpoint_that_is_named(done):
    told, before = [], (done / "metrics.jsonl").read_bytes()
    assert [each.step for each in go(TINY, done, checkpoint="4", notify=told.append)] == [5, 6]
    assert any("step-00000006 is set aside" in line for line in told)
    assert (done / "metrics.jsonl").read_bytes() == before
    with pytest.raises(InputError, match=r"no checkpoint '5'; expected newest, best.* 4, 6"):
        go(TINY, done, checkpoint="5")


def test_a_kill_before_or_while_old_checkpoints_are_deleted_is_made_good(done, monkeypatch):
    kept = done / "checkpoints"
    shutil.copytree(kept / "step-00000004", kept / "step-00000002")
    go(TINY, done)  # killed before: nothing is left to train
    assert steps_in(done) == [4, 6]
    (kept / "step-00000002").mkdir()

    def die(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("cascore.files.shutil.rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        go(TINY, done)
    monkeypatch.undo()
    assert steps_in(done) == [4, 6]  # its name went first
    go(TINY, done)
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000004", "step-00000006"]


def test_a_log_that_ends_before_its_checkpoint_is_told_of(done):
    lines = (done / "metrics.jsonl").read_text().splitlines(keepends=True)
    (done / "metrics.jsonl").write_text("".join(lines[:4]))
    told = []
    go(with_train(steps=7), done, notify=told.append)
    assert "2 of 6 updates are missing at its end" in told[1]
    (done / "metrics.jsonl").unlink()
    go(with_train(steps=8), done, notify=told.append)
    assert "7 of 7 updates are missing" in told[3]
    assert json.loads((done / "metrics.jsonl").read_text())["step"] == 8


def test_going_on_reads_the_end_of_a_long_log(tmp_path):
    """A million updates, of which some are later than the checkpoint, and one is unfinished."""
    lines = [b'{"step": %d, "dsm": 0.5, "learning_rate": 1e-3}\n' % n for n in range(1, 10**6 + 1)]
    path, told = tmp_path / "metrics.jsonl", []
    path.write_bytes(b"".join(lines) + lines[-1][:20])
    with reading_at_most(2**19):
        cut_metrics(path, 10**6 - 5000, notify=told.append)
    assert path.read_bytes() == b"".join(lines[:-5000])
    assert told == []


def test_a_cut_log_ends_in_a_whole_line_and_what_is_damaged_in_the_cut_is_kept(tmp_path):
    path, told = tmp_path / "metrics.jsonl", []
    path.write_bytes(b'{"step": 1}\n{"step": 2}')
    cut_metrics(path, 2, notify=told.append)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'
    assert told == []
    damaged = b'{"step": 1}\n\xff\n"step"\n{"step": 3}\n{"st'
    path.write_bytes(damaged)
    cut_metrics(path, 2, notify=told.append)
    assert path.read_bytes() == b'{"step": 1}\n'
    assert path.with_name("metrics.jsonl.aside").read_bytes() == damaged
    assert "a line cannot be read" in told[0]
    assert "1 of 2 updates are missing" in told[1]
    assert len(told) == 2


def test_a_checkpoint_that_only_says_it_is_later_stops_no_training(done):
    saved = done / "checkpoints"
    shutil.copytree(saved / "step-00000006", saved / "step-00000099")
    (saved / f"step-{9 * 10**18}").mkdir()
    assert [line.step for line in go(with_train(steps=7), done)] == [7]


def test_a_training_that_goes_back_may_end_before_where_it_was(done):
    assert [line.step for line in go(with_train(steps=5), done, checkpoint="4")] == [5]


@pytest.mark.parametrize("kept", [(), ("experiment.json",), ("experiment.json", "data.json")])
def test_the_start_of_a_run_that_was_killed_is_taken_over(tmp_path, kept):
    """As cascore 0.3 left it; the folder appears whole now. Other settings may have it too."""
    go(with_train(steps=1, learning_rate=0.5), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000001")
    (tmp_path / "run" / "checkpoints" / f".step-00000001.{32 * 'a'}").mkdir()
    (tmp_path / "run" / "tensorboard").mkdir()
    for name in {"experiment.json", "data.json", "metrics.jsonl"} - set(kept):
        (tmp_path / "run" / name).unlink()
    told = []
    go(TINY, tmp_path / "run", notify=told.append)
    assert told == [f"{tmp_path / 'run'} holds the start of a run without a checkpoint: it is taken"
                    " over"]  # fmt: skip
    go(TINY, tmp_path / "whole")
    for name in ("experiment.json", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000004", "step-00000006",
    ]  # fmt: skip


def test_a_run_whose_checkpoints_were_cleared_is_no_start_of_one(done, tmp_path):
    """Neither its log goes nor pictures that were drawn of it, of however short a run."""
    go(with_train(steps=1), tmp_path / "short")
    picture = tmp_path / "short" / "samples" / "mine" / "denoised.png"
    picture.parent.mkdir(parents=True)
    picture.touch()
    for folder, kept in ((done, done / "metrics.jsonl"), (tmp_path / "short", picture)):
        for checkpoint in (folder / "checkpoints").iterdir():
            shutil.rmtree(checkpoint)
        before = kept.read_bytes()
        with pytest.raises(InputError, match=r"no checkpoint any more.* choose another folder"):
            go(TINY, folder)
        assert kept.read_bytes() == before


def test_a_run_whose_folder_of_checkpoints_is_gone_keeps_its_log(done):
    shutil.rmtree(done / "checkpoints")
    before = (done / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"no checkpoint any more.* choose another folder"):
        go(TINY, done)
    assert (done / "metrics.jsonl").read_bytes() == before


def test_a_run_has_one_trainer_at_a_time(done):
    first = training_run(with_train(steps=8), done, device=CPU)
    next(first)
    before = (done / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=rf"being written by training, process {os.getpid()} on "):
        training_run(with_train(steps=8), done, device=CPU)
    assert (done / "metrics.jsonl").read_bytes() == before
    assert [each.step for each in first] == [8]
    assert go(with_train(steps=8), done) == []  # given back
    assert [path.name for path in done.parent.iterdir()] == ["run"]


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
    assert str(told.value).startswith(
        f"step 5: the loss is not finite (worst sample: nan at sigma = {sigma:.4g}); the newest"
        f" whole checkpoint is {folder / 'checkpoints' / 'step-00000004'}; "
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
        built = build.build_state(hybrid, build.Subject(shape=(2,)), device=CPU)
        return torch.cat([value.flatten() for value in built.tensors().values()])

    assert torch.equal(state(3), state(3))
    assert not torch.equal(state(3), state(4))


@pytest.fixture
def run_of_0_3(tmp_path):
    return shutil.copytree(Path(__file__).parent / "data" / "run-0.3", tmp_path / "old")


def test_a_run_of_cascore_0_3_is_read_and_goes_on(run_of_0_3):
    told, newest = [], run_of_0_3 / "checkpoints" / "step-00000004"
    model = load(run_of_0_3, device=CPU, notify=told.append)
    saved, weights = load_file(newest / "state.safetensors"), model.denoiser.state_dict()
    assert all(torch.equal(value, saved[f"ema.{name}"]) for name, value in weights.items())
    assert len(told) == 1
    assert "unverified" in told[0]
    with pytest.warns(UserWarning, match="unverified"):
        load(run_of_0_3, device=CPU)
    metrics = (run_of_0_3 / "metrics.jsonl").read_bytes()
    longer = with_train(read_experiment(run_of_0_3), steps=6)
    assert [each.step for each in go(longer, run_of_0_3, notify=told.append)] == [5, 6]
    assert any("unverified" in line for line in told[1:])
    assert (run_of_0_3 / "metrics.jsonl").read_bytes().startswith(metrics)
    told.clear()
    assert load(run_of_0_3, device=CPU, notify=told.append).step == 6
    assert told == []


def test_a_model_folder_of_cascore_0_3_is_read(run_of_0_3):
    model = load(Path(__file__).parent / "data" / "model-0.3", device=CPU)
    saved = load_file(run_of_0_3 / "checkpoints" / "step-00000004" / "state.safetensors")
    weights = model.denoiser.state_dict()
    assert all(torch.equal(value, saved[f"ema.{name}"]) for name, value in weights.items())
