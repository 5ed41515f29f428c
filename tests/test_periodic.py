"""Evaluation during training: what is noted, what is kept, and that training does not notice."""

import shutil
from dataclasses import replace

import pytest
import torch
from running import CPU, tiny
from safetensors.torch import load_file

from cascore.errors import EvaluationStopped, InputError
from cascore.evaluation import evaluate as evaluating
from cascore.evaluation.evaluate import checkpoint_measure, evaluate
from cascore.experiment import periodic
from cascore.experiment.periodic import FIRST_SEED
from cascore.experiment.run import training_run
from cascore.experiment.run_folder import read_selection
from cascore.experiment.settings import Data, EvaluationSettings, Network, Sampler
from cascore.measurement import read_measurements
from cascore.model.loading import load
from cascore.training.checkpoint import checkpoints


def evaluated(**train):
    return tiny(dropout=0.2, **{"steps": 6, "evaluate_every": 2, "evaluate_count": 20} | train)


def go(experiment, folder, **settings):
    measure = checkpoint_measure(experiment, folder, device=CPU)
    return list(training_run(experiment, folder, device=CPU, **{"measure": measure} | settings))


def distances(folder):
    records = read_measurements(folder / "evaluations.jsonl")
    return {each.model.step: each.value for each in records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, and what it told."""
    folder, told = tmp_path_factory.mktemp("runs") / "whole", []
    go(evaluated(), folder, notify=told.append)
    return folder, told


def test_training_does_not_notice(whole, tmp_path):
    folder, _ = whole
    go(evaluated(evaluate_every=0), tmp_path / "plain")
    assert not (tmp_path / "plain" / "evaluations.jsonl").exists()
    assert not (tmp_path / "plain" / "best").exists()
    a, b = (checkpoints(x / "checkpoints")[-1] for x in (folder, tmp_path / "plain"))
    assert a.step == b.step == 6
    a, b = load_file(a.tensors), load_file(b.tensors)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    for name in ("metrics.jsonl", "data.json"):
        assert (folder / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_the_real_images_are_seen_once_and_each_checkpoint_is_loaded_once(tmp_path, monkeypatch):
    calls = []
    for name in ("load_reference", "load"):
        true = getattr(evaluating, name)

        def counted(*args, name=name, true=true, **kwargs):
            calls.append(name)
            return true(*args, **kwargs)

        monkeypatch.setattr(evaluating, name, counted)
    go(evaluated(steps=4), tmp_path / "run")
    assert list(distances(tmp_path / "run")) == [2, 4]
    assert calls == ["load", "load_reference", "load"]


def test_every_chosen_step_has_a_record_and_the_best_is_kept(whole):
    folder, told = whole
    found = distances(folder)
    assert list(found) == [2, 4, 6]
    assert [each.partition(":")[0] for each in told] == ["step 2", "step 4", "step 6"]
    selection = read_selection(folder)
    best = selection.step
    assert selection.value == found[best]
    assert (selection.metric, selection.candidates) == ("frechet", 3)
    assert [each.step for each in checkpoints(folder / "best")] == [best]
    model = load(folder, device=CPU, checkpoint="best")
    assert (model.step, model.selection) == (best, selection)
    assert load(folder, device=CPU).selection is None


def test_the_distance_is_that_of_the_command_on_samples_of_its_own(whole):
    folder, _ = whole
    record = read_measurements(folder / "evaluations.jsonl")[-1]
    assert record.images.first_seed == FIRST_SEED
    assert (record.images.form, record.references[0].split) == ("denoised", "train")

    question = EvaluationSettings(
        path=folder, sampler=Sampler(), seed=FIRST_SEED, count=20, metrics=("frechet",)
    )
    again = evaluate(question, device=CPU).measurements
    assert record.value in {number.value for number in again if number.images.form == "denoised"}
    assert again[0].selection is None
    best = evaluate(replace(question, checkpoint="best"), device=CPU).measurements[0]
    assert (best.selection, best.model.checkpoint) == (read_selection(folder), "best")


def stopped_after(folder, steps):
    left = iter([False] * (steps - 1) + [True])
    go(evaluated(), folder, should_stop=lambda: next(left))


@pytest.mark.parametrize("stretches", [(2,), (3, 2), (4,)])
def test_a_run_that_was_stopped_has_the_same_evaluations(whole, tmp_path, stretches):
    for steps in stretches:
        stopped_after(tmp_path / "run", steps)
    go(evaluated(), tmp_path / "run")
    go(evaluated(), tmp_path / "run")  # done: changes nothing
    assert distances(tmp_path / "run") == distances(whole[0])
    assert read_selection(tmp_path / "run") == read_selection(whole[0])


def test_an_evaluation_that_is_stopped_stops_the_run_and_is_made_up_for(whole, tmp_path):
    """As for a signal while it measures; the checkpoint is there, and who goes on judges it."""
    folder, asked = tmp_path / "run", []

    def stopped(step):
        asked.append(step)
        raise EvaluationStopped

    for _ in range(2):  # in the middle, and at the start of the run that goes on
        list(training_run(evaluated(), folder, device=CPU, measure=stopped))
        assert checkpoints(folder / "checkpoints")[-1].step == 2
    assert asked == [2, 2]
    go(evaluated(), folder)
    assert distances(folder) == distances(whole[0])


def test_an_evaluation_that_was_cut_short_is_made_up_for(whole, tmp_path, monkeypatch):
    judge = periodic.PeriodicEvaluation.evaluate_newest

    def cut(self):
        if checkpoints(tmp_path / "run" / "checkpoints")[-1].step == 4:
            raise KeyboardInterrupt
        return judge(self)

    with monkeypatch.context() as patch:
        patch.setattr(periodic.PeriodicEvaluation, "evaluate_newest", cut)
        with pytest.raises(KeyboardInterrupt):
            go(evaluated(), tmp_path / "run")
    assert list(distances(tmp_path / "run")) == [2]
    go(evaluated(), tmp_path / "run")
    assert distances(tmp_path / "run") == distances(whole[0])
    assert read_selection(tmp_path / "run") == read_selection(whole[0])


@pytest.mark.parametrize("writer", ["write_json", "write_text"])
def test_a_kill_after_either_file_of_an_evaluation_is_made_good(
    whole, tmp_path, monkeypatch, writer
):
    """The choice of the best, and the note of the measurement: one is written before the other."""
    folder, write = tmp_path / "run", getattr(periodic, writer)

    def write_and_die(path, value):
        write(path, value)
        if checkpoints(folder / "checkpoints")[-1].step == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(periodic, writer, write_and_die)
        with pytest.raises(KeyboardInterrupt):
            go(evaluated(), folder)
    go(evaluated(), folder)
    assert distances(folder) == distances(whole[0])
    assert read_selection(folder) == read_selection(whole[0])
    best, expected = (checkpoints(x / "best") for x in (folder, whole[0]))
    assert [x.step for x in best] == [x.step for x in expected]
    assert best[0].tensors.read_bytes() == expected[0].tensors.read_bytes()


def test_evaluations_after_the_checkpoint_and_a_torn_one_are_dropped_and_made_again(
    whole, tmp_path
):
    folder, _ = whole
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    with (run / "evaluations.jsonl").open("a") as log:
        log.write('{"schema": "casc')
    stopped_after(run, 1)
    assert list(distances(run)) == [2, 4]
    go(evaluated(), run)
    assert distances(run) == distances(folder)
    assert read_selection(run) == read_selection(folder)


def test_damage_to_an_evaluation_costs_no_other_one_and_is_told_of(whole, tmp_path):
    run, told = tmp_path / "run", []
    shutil.copytree(whole[0], run)
    log = run / "evaluations.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([b"\xff" + lines[0][1:], *lines[1:]]))
    go(evaluated(steps=8), run, notify=told.append)
    assert list(distances(run)) == [4, 6, 8]
    assert any("evaluations.jsonl: a line cannot be read" in line for line in told)


def measured_as(values, experiment, folder):
    """Who measures a checkpoint with its true provenance, but these values with error 0.1."""
    true, left = checkpoint_measure(experiment, folder, device=CPU), iter(values)
    return lambda step: replace(true(step), value=next(left), error=0.1)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((3.0, 1.0, 2.0), 4),
        ((3.0, 2.0, 1.0), 6),
        ((1.0, 3.0, 2.0), 2),
        ((1.0, 1.27, 1.28), 4),  # 1.96 times the error of a difference, 0.1 sqrt(2), is 0.277
        ((1.2, 1.0, 1.27), 6),  # the last of those that tie with the least, not the least
    ],
)
def test_the_last_of_those_that_tie_with_the_least_is_kept(tmp_path, values, best):
    run, experiment = tmp_path / "run", evaluated(keep_last=1)
    go(experiment, run, measure=measured_as(values, experiment, run))
    assert distances(run) == dict(zip((2, 4, 6), values, strict=True))
    selection = read_selection(run)
    assert (selection.step, selection.candidates) == (best, 3)
    assert selection.value == distances(run)[best]
    assert [each.step for each in checkpoints(run / "best")] == [best]
    assert [each.step for each in checkpoints(run / "checkpoints")] == [6]
    kept = load_file(checkpoints(run / "best")[0].tensors)
    weights = load(run, device=CPU, checkpoint="best").denoiser.state_dict()
    assert all(torch.equal(value, kept[f"ema.{name}"]) for name, value in weights.items())


def test_who_asks_for_evaluations_says_who_measures_and_has_images(tmp_path):
    with pytest.raises(InputError, match="measure=checkpoint_measure"):
        go(evaluated(), tmp_path / "run", measure=None)
    network = Network(kind="mlp", width=8, multipliers=(1,), attention=(False,))
    with pytest.raises(InputError, match="evaluate-every is for images"):
        go(replace(evaluated(), data=Data(name="swiss-roll"), network=network), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_settings_may_change_when_a_run_goes_on(whole, tmp_path):
    folder, _ = whole
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    go(evaluated(steps=8, evaluate_every=2, evaluate_count=20), run)
    assert list(distances(run)) == [2, 4, 6, 8]
    assert read_selection(run).candidates == 4
    # Distances of fewer samples have another bias: they start a choice of their own.
    go(evaluated(steps=9, evaluate_every=9, evaluate_count=10), run)
    assert list(distances(run)) == [2, 4, 6, 8, 9]
    selection = read_selection(run)
    assert (selection.step, selection.candidates) == (9, 1)
    assert [each.step for each in checkpoints(run / "best")] == [9]


def test_a_run_that_goes_on_from_its_best_and_is_killed_at_once_has_that(whole, tmp_path):
    """The best one is pruned from the others, and those that are left are later."""
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    earlier, _ = checkpoints(run / "checkpoints")
    periodic.keep_best(run, replace(read_selection(run), step=earlier.step), earlier.folder)
    shutil.rmtree(earlier.folder)
    steps = training_run(evaluated(evaluate_every=0), run, device=CPU, checkpoint="best")
    steps.close()
    assert [x.step for x in checkpoints(run / "checkpoints")] == [earlier.step]
    assert go(evaluated(evaluate_every=0), run)[0].step == earlier.step + 1


def test_a_run_of_which_the_best_alone_is_left_does_not_begin_again(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    for checkpoint in checkpoints(run / "checkpoints"):
        shutil.rmtree(checkpoint.folder)
    with pytest.raises(InputError, match="--checkpoint best"):
        go(evaluated(), run)


def test_a_selection_that_lost_its_checkpoint_is_told(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    shutil.rmtree(checkpoints(run / "best")[0].folder)
    with pytest.raises(InputError, match="does not hold step"):
        load(run, device=CPU, checkpoint="best")
    (run / "best" / "selection.json").write_text('{"step": 2}')
    with pytest.raises(InputError, match="metric is missing"):
        load(run, device=CPU, checkpoint="best")
