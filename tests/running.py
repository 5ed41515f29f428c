"""How tests run a command, and workshops: one that tells nobody, one that measures nothing."""

import pytest
import torch

from cascore.cli.__main__ import main
from cascore.reproduce.workshop import Workshop


def run(*arguments):
    """Exit code of a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    return stopped.value.code


def silent(runs):
    return Workshop(runs=runs, device=torch.device("cpu"), notify=lambda message: None)


def reading(runs):
    """For committed records: whatever would be measured or trained is told first, and fails."""

    def refuse(message):
        pytest.fail(f"docs/results lacks a record of these settings: {message}")

    return Workshop(runs=runs, device=torch.device("cpu"), notify=refuse)
