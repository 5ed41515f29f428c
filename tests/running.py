"""How tests run a command, and a workshop that tells nobody."""

import pytest
import torch

from cascore import cli
from cascore.reproduce.workshop import Workshop


def run(*arguments):
    """Exit code of a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(each) for each in arguments])
    return stopped.value.code


def silent(runs):
    return Workshop(runs=runs, device=torch.device("cpu"), notify=lambda message: None)
