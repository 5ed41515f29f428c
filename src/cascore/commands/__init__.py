"""What each command does: results to standard output, progress to standard error, an exit code."""

from cascore.commands.choosing import choose, fit_length
from cascore.commands.converting import convert
from cascore.commands.data import prepare_data, show_data
from cascore.commands.judging import evaluate
from cascore.commands.presets import presets
from cascore.commands.sampling import sample
from cascore.commands.showing import info, quickstart
from cascore.commands.training import describe, train
from cascore.datasets import FolderOptions
from cascore.experiments.evaluation import Question

__all__ = [
    "FolderOptions",
    "Question",
    "choose",
    "convert",
    "describe",
    "evaluate",
    "fit_length",
    "info",
    "prepare_data",
    "presets",
    "quickstart",
    "sample",
    "show_data",
    "train",
]
