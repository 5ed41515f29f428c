"""Errors that a user can cause and act on; the command line prints them in one line."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What was given cannot be used: the message says what came, what was expected, what to do."""


class MissingExtraError(InputError):
    """A part of cascore needs a package that its light core does not install."""

    def __init__(self, *, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed; run: pip install 'cascore[{extra}]'"
        )


def nearest(word: str, words: Iterable[str]) -> str:
    """Words for a message: which of the known words may have been meant, if one is near."""
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


class EvaluationStopped(KeyboardInterrupt):
    """Raised by the measure of a training that is to stop: the run's checkpoint is on the disk."""
