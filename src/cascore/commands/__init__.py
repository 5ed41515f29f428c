"""What each command does: results to standard output, progress to standard error, an exit code."""

from cascore.commands.choosing import choose, fit_rest
from cascore.commands.data import prepare_data, show_data
from cascore.commands.judging import evaluate
from cascore.commands.presets import presets
from cascore.commands.reproducing import reproduce_study
from cascore.commands.sampling import sample
from cascore.commands.showing import info, quickstart
from cascore.commands.training import describe, train

__all__ = [
    "choose",
    "describe",
    "evaluate",
    "fit_rest",
    "info",
    "prepare_data",
    "presets",
    "quickstart",
    "reproduce_study",
    "sample",
    "show_data",
    "train",
]
