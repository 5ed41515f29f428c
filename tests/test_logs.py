"""Metrics in the logs of other programs, read back with TensorBoard's own reader."""

import sys
from types import SimpleNamespace

import pytest
import torch
from running import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cascore.errors import MissingExtraError
from cascore.plain import read_json_lines
from cascore.training import Metrics
from cascore.training.logs import logged

TRAIN = ("train", "digits", "--train.batch-size", "4", "--network.width", "8", "--threads", "1")


def update(step, *, settled=True, **losses):
    return Metrics(step, {name: torch.tensor(x) for name, x in losses.items()}, settled=settled)


def scalars(folder):
    """Values by name and step, as TensorBoard shows them."""
    reader = EventAccumulator(str(folder / "tensorboard")).Reload()
    names = reader.Tags()["scalars"]
    return {name: {x.step: x.value for x in reader.Scalars(name)} for name in names}


def test_a_training_and_what_follows_it_stand_in_one_log(tmp_path):
    folder = tmp_path / "run"
    for steps in ("3", "5"):
        command = (*TRAIN, "--train.steps", steps, "--log", "tensorboard")
        assert run(*command, "--out", folder) == 0
    lines = read_json_lines(folder / "metrics.jsonl")
    shown = scalars(folder)
    assert shown["dsm"] == pytest.approx({line["step"]: line["dsm"] for line in lines}, rel=1e-6)
    assert list(shown["dsm"]) == [1, 2, 3, 4, 5]
    assert set(shown) == {name for line in lines for name in line} - {"step"}


def test_steps_that_are_made_again_take_the_place_of_the_former(tmp_path):
    for first, dsm in ((1, 1.0), (3, 2.0)):
        steps = (update(step, dsm=dsm) for step in range(first, first + 4))
        assert len(list(logged(steps, ["tensorboard"], tmp_path))) == 4
    assert scalars(tmp_path) == {"dsm": {1: 1, 2: 1, 3: 2, 4: 2, 5: 2, 6: 2}}


def test_what_was_not_read_on_the_way_is_read_at_the_end(tmp_path):
    steps = (update(step, settled=step == 2, dsm=float(step)) for step in range(1, 5))
    for each in logged(steps, ["tensorboard"], tmp_path):
        assert ("numbers" in vars(each)) == (each.step == 2)
    assert scalars(tmp_path) == {"dsm": {1: 1, 2: 2, 3: 3, 4: 4}}


class FakeRun:
    """What of wandb's run is used, and a note of all calls."""

    def __init__(self, **settings):
        self.settings, self.logged, self.closed = settings, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


def test_wandb_gets_a_run_that_is_known_by_its_folder(tmp_path, monkeypatch):
    runs = []
    fake = SimpleNamespace(
        init=lambda **k: runs.append(FakeRun(**k)) or runs[-1], __spec__=object()
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for first in (1, 3):
        steps = (update(step, dsm=0.5, discriminator=0.25) for step in range(first, first + 2))
        list(logged(steps, ["wandb"], tmp_path / "run", settings={"name": "digits"}))
    one, two = runs
    assert one.settings == two.settings
    assert one.settings["resume"] == "allow"
    assert one.settings["config"] == {"name": "digits"}
    assert one.logged == [(1, {"dsm": 0.5, "discriminator": 0.25}), (2, one.logged[1][1])]
    assert [step for step, _ in two.logged] == [3, 4]
    assert one.closed
    assert two.closed


def test_a_program_that_is_not_there_is_named_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    steps = iter([update(1, dsm=0.5)])
    with pytest.raises(MissingExtraError, match=r"cascore\[wandb\]"):
        logged(steps, ["wandb"], tmp_path)
    assert next(steps).step == 1
