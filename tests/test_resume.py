"""Stopped anywhere and gone on with: bit for bit the run that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from running import CPU, tiny
from safetensors.torch import load_file

import cascore
from cascore.experiment.run import training_run
from cascore.plain import read_log
from cascore.training.checkpoint import checkpoints

FOREVER = 10**6
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(cascore.__file__).parents[1]),
}


# What `tiny` makes of a preset.
TINY = (
    "--network.width", "8", "--adversarial.width", "2",
    "--train.batch-size", "8", "--train.save-every", "3",
)  # fmt: skip


def go(experiment, folder, **settings):
    return list(training_run(experiment, folder, device=CPU, **settings))


def stopped_after(experiment, folder, steps):
    """Train so many more steps, then stop as for a signal."""
    left = iter([False] * (steps - 1) + [True])
    return go(experiment, folder, should_stop=lambda: next(left))


def whole_run(name, steps, folder):
    go(tiny(name, save_every=3, steps=steps), folder)
    return folder


def assert_same_run(found, expected, step):
    newest = [checkpoints(each / "checkpoints")[-1] for each in (found, expected)]
    assert [each.step for each in newest] == [step, step]
    a, b = (load_file(each.tensors) for each in newest)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert (found / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["digits", "digits-adversarial"])
def test_a_run_stopped_after_every_step_is_the_run_that_was_not(name, tmp_path):
    expected = whole_run(name, 5, tmp_path / "whole")
    tensors = load_file(checkpoints(expected / "checkpoints")[-1].tensors)
    parts = {each.split(".")[0] for each in tensors}
    opponent = {"discriminator", "discriminator_optimizer"} if "adversarial" in name else set()
    assert parts == {"denoiser", "ema", "optimizer"} | opponent
    power_iteration = [each for each in tensors if each.endswith("_u")]
    assert bool(power_iteration) == bool(opponent)
    for _ in range(5):
        stopped_after(tiny(name, save_every=3, steps=5), tmp_path / "run", 1)
    assert_same_run(tmp_path / "run", expected, 5)


def test_dropout_flips_and_several_discriminator_steps_go_on_too(tmp_path):
    experiment = tiny("digits-adversarial", save_every=3, steps=5)
    experiment = replace(
        experiment,
        data=replace(experiment.data, flip=True),
        network=replace(experiment.network, dropout=0.3),
        adversarial=replace(experiment.adversarial, steps=2, gan="relativistic-average-hinge"),
    )
    go(experiment, tmp_path / "whole")
    stopped_after(experiment, tmp_path / "run", 2)
    torch.randn(7)  # what the process draws in between is no part of the run
    go(experiment, tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole", 5)


def test_lines_after_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    experiment = tiny(save_every=3, steps=4)
    expected = whole_run("digits", 6, tmp_path / "whole")
    go(experiment, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 5, "dsm": 1.5}\n{"step": 6, "ds')
    go(tiny(save_every=3, steps=6), tmp_path / "run")
    assert_same_run(tmp_path / "run", expected, 6)


def test_damage_to_a_line_of_the_log_costs_no_other_line(tmp_path):
    go(tiny(save_every=3, steps=6), tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], b"\xff" + lines[1][1:], *lines[2:]])
    log.write_bytes(damaged)
    go(tiny(save_every=3, steps=7), tmp_path / "run")
    assert log.read_bytes().startswith(damaged)
    assert [line["step"] for line in read_log(log).values] == [1, 3, 4, 5, 6, 7]


def test_lines_are_on_the_disk_before_the_checkpoint_that_counts_on_them(tmp_path, monkeypatch):
    """By the order in which files are flushed: that of the log, then that of the tensors."""
    flushed, real = [], os.fsync

    def fsync(descriptor):
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        flushed.append((name, log.stat().st_size))
        real(descriptor)

    log = tmp_path / "run" / "metrics.jsonl"
    go(tiny(save_every=3, steps=3), tmp_path / "run")
    monkeypatch.setattr(os, "fsync", fsync)
    go(tiny(save_every=3, steps=6), tmp_path / "run")
    names = [name for name, _ in flushed]
    whole = log.stat().st_size
    last = max(i for i, name in enumerate(names) if name == "state.safetensors")
    assert ("metrics.jsonl", whole) in flushed[:last]


def started(name, folder, *more, hangup=signal.SIG_DFL):
    """`cascore train` in a process of its own, on its way past its first checkpoint."""
    command = [sys.executable, "-m", "cascore", "train", name, *TINY, *more]
    process = subprocess.Popen(
        # Another number of threads rounds otherwise, and the run would say so.
        [*command, "--device", "cpu", "--threads", str(torch.get_num_threads()), "--out", folder],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, hangup),  # the tests may run under nohup
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not checkpoints(folder / "checkpoints"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "no checkpoint in two minutes"
        time.sleep(0.005)
    return process


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("digits", signal.SIGTERM),
        ("digits-adversarial", signal.SIGINT),
        ("digits", signal.SIGHUP),
        ("digits-adversarial", signal.SIGKILL),
    ],
)
def test_a_process_that_was_stopped_or_killed_is_gone_on_with(name, number, tmp_path):
    folder = tmp_path / "run"
    process = started(name, folder, "--train.steps", str(FOREVER))
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    saved = checkpoints(folder / "checkpoints")[-1].step
    if number == signal.SIGKILL:
        assert process.returncode == -number
        assert saved >= 3
        assert saved % 3 == 0
    else:
        assert process.returncode == 128 + number
        assert f"stopped and saved at step {saved}; the same command goes on" in printed
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == saved
    assert "Traceback" not in printed
    last, notices = saved + 2, []
    metrics = go(tiny(name, save_every=3, steps=last), folder, notify=notices.append)
    assert [line.step for line in metrics] == [saved + 1, saved + 2]
    assert len(notices) == 1  # resumed, and nothing that differs
    assert_same_run(folder, whole_run(name, last, tmp_path / "whole"), last)


def test_a_training_outlives_who_read_of_it_and_a_hangup_that_is_ignored(tmp_path):
    """As under nohup, behind a pipe that is closed."""
    folder = tmp_path / "run"
    process = started("digits", folder, "--train.steps", "300", hangup=signal.SIG_IGN)
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0
    assert checkpoints(folder / "checkpoints")[-1].step == 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_evaluation_between_its_batches(number, tmp_path):
    """One that would take an hour; what was trained is saved."""
    folder = tmp_path / "run"
    judged = ("--train.evaluate-every", "3", "--train.evaluate-count", "200000")
    process = started("digits", folder, "--train.steps", str(FOREVER), *judged)
    time.sleep(2)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped and saved at step 3; the same command goes on" in printed
    assert "Traceback" not in printed
