"""What several commands share: types of arguments, and how results are printed."""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import tyro
from rich.console import Console
from rich.table import Table

from cascore.errors import InputError, nearest
from cascore.experiment.presets import SAMPLERS, require_fitting
from cascore.experiment.settings import Sampler
from cascore.progress import Display, TextConsole
from cascore.ranges import require_in_range

if TYPE_CHECKING:
    from cascore.training import Workers

_Kind = TypeVar("_Kind")


class Command(Protocol):
    """The arguments of one command, and what it does."""

    def run(self, typed: str) -> int:
        """Do it, results to standard output, progress to standard error; give the exit code.

        `typed` is the command line, for records.
        """
        ...


def parsed(
    kind: type[_Kind],
    arguments: Sequence[str],
    prog: str,
    *,
    default: _Kind | None = None,
    description: str | None = None,
) -> _Kind:
    """A command of its arguments; help, and mistakes that the parser finds, exit.

    Raises:
        InputError: Settings that cannot be, in their own words, without the parser's.
    """
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            command: _Kind = tyro.cli(  # type: ignore[assignment]
                kind,
                prog=prog,
                description=description,
                args=arguments,
                default=default,
                config=(
                    tyro.conf.DisallowNone,
                    tyro.conf.OmitSubcommandPrefixes,
                    tyro.conf.CascadeSubcommandArgs,
                ),
            )
            require_in_range(vars(command), part=prog.rpartition(" ")[2], prefix="--")
            return command
    except SystemExit as stopped:
        cause: BaseException | None = stopped
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        sys.stderr.write(re.sub(_NO_NUMBER, _named_number, written.getvalue()))
        raise


_NO_NUMBER = (
    r"(?:invalid literal for (int)\(\) with base 10|could not convert string to float): '(.*?)'"
)


def _named_number(match: re.Match[str]) -> str:
    """Python's words in those of a person, as long, so that the frame around them stays whole."""
    kind = "a whole number" if match[1] else "a number"
    return f"{match[2]!r} is not {kind}".ljust(len(match[0]))


def given_options(arguments: Sequence[str]) -> frozenset[str]:
    """The names of the options that a line gives, as those of fields: --data.no-flip is data.flip.

    The parser does not say which values were typed and which are defaults.
    """
    names = (token.partition("=")[0] for token in arguments if token.startswith("--"))
    return frozenset(name[2:].replace("-", "_").replace(".no_", ".") for name in names)


def display_of(workers: "Workers") -> Display:
    """Progress and messages, of the first of several processes alone."""
    return Display(None if workers.rank == 0 else Console(quiet=True))


def to_type(*words: Path | str) -> str:
    """A command of cascore to type next, as a shell takes it."""
    return shlex.join(["cascore", *map(str, words)])


def plain_console() -> Console:
    """Standard output for paths and lines that other programs may read: never wrapped."""
    return TextConsole(soft_wrap=True, highlight=False, markup=False)


def table_console() -> Console:
    """Standard output for tables and sentences, a hundred characters wide."""
    return TextConsole(width=100, highlight=False, markup=False)


def result_table() -> Table:
    """An empty table in the style of every command."""
    return Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))


def duration(seconds: float) -> str:
    """Seconds in words, in the unit that a person would take."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:,.0f} days"


def chosen_sampler(sampler: Sampler, like: str | None, path: Path) -> Sampler:
    """The sampler that `--like` names, or the one that the other settings describe.

    Raises:
        InputError: No such name, or the model has other noise levels than those that the named
            sampler's step size was tuned for.
    """
    if like is None:
        return sampler
    if like not in SAMPLERS:
        raise InputError(
            f"there is no sampler {like!r}{nearest(like, SAMPLERS)}; cascore presets lists them"
        )
    from cascore.experiment.run_folder import is_run, read_experiment
    from cascore.model.folder import is_model_folder, read_model_record

    if is_run(path):
        require_fitting(like, read_experiment(path).schedule)
    elif is_model_folder(path):
        record = read_model_record(path)
        if like in record.samplers:  # in the units of its pixels
            return record.samplers[like]
        require_fitting(like, record.experiment.schedule)
    return SAMPLERS[like]
