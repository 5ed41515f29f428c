"""What each command does: results to standard output, progress to standard error, an exit code."""

from cascore.commands.choosing import choose, fit_rest
from cascore.commands.comparing import compare
from cascore.commands.converting import convert
from cascore.commands.data import prepare_data, show_data
from cascore.commands.judging import evaluate
from cascore.commands.presets import presets
from cascore.commands.referencing import reference
from cascore.commands.reproducing import reproduce_study
from cascore.commands.sampling import paper_sampler, sample
from cascore.commands.showing import info, quickstart
from cascore.commands.training import describe, train
from cascore.commands.tuning import tune
from cascore.commands.verifying import verify
from cascore.data import FolderOptions
from cascore.evaluation.question import Question

__all__ = [
    "FolderOptions",
    "Question",
    "choose",
    "compare",
    "convert",
    "describe",
    "evaluate",
    "fit_rest",
    "info",
    "paper_sampler",
    "prepare_data",
    "presets",
    "quickstart",
    "reference",
    "reproduce_study",
    "sample",
    "show_data",
    "train",
    "tune",
    "verify",
]
