"""What each command does: results to standard output, progress to standard error, an exit code."""

from cascore.commands.converting import convert
from cascore.commands.judging import evaluate
from cascore.commands.sampling import sample
from cascore.commands.showing import info, quickstart
from cascore.commands.training import describe, train

__all__ = ["convert", "describe", "evaluate", "info", "quickstart", "sample", "train"]
