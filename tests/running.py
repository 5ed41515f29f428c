"""How tests run a command, make a run that takes a second, and count what is read."""

import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cascore.cli.__main__ import main
from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.settings import Data, Experiment, Network, Train

CPU = torch.device("cpu")
POINTS = Experiment(
    name="tiny",
    data=Data(name="swiss-roll"),
    network=Network(kind="mlp", width=8, depth=1, multipliers=(1,), attention=(False,)),
    train=Train(steps=2, batch_size=8),
)


def run(*arguments):
    """Exit code of a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def tiny(name="digits", *, dropout=0.0, **train):
    """A preset with few channels, for a few steps."""
    preset = PRESETS[name]
    return replace(
        preset,
        network=replace(preset.network, width=8, dropout=dropout),
        adversarial=replace(preset.adversarial, width=2),
        train=replace(preset.train, **{"batch_size": 8, "steps": 3} | train),
    )


def trained_in(folder, experiment):
    """The folder, once the experiment has run there."""
    for _ in training_run(experiment, folder, device=CPU):
        pass
    return folder


@contextmanager
def reading_at_most(most):
    """Within, this process reads no more bytes of files than that, by the kernel's count."""
    before = _bytes_read()
    yield
    assert _bytes_read() - before <= most


def _bytes_read():
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])
