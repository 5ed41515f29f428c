"""The command line: the first word names a command, which parses the rest and runs itself."""

import errno
import inspect
import io
import os
import shlex
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from typing import NoReturn, TextIO

import tyro

from cascore import __version__
from cascore.cli.common import Command, given_options, parsed
from cascore.errors import InputError, nearest
from cascore.experiment.settings import Sampler
from cascore.plain import printable

COMMANDS = {
    "quickstart": "Quickstart",
    "train": "Train",
    "watch": "Watch",
    "convert": "Convert",
    "export": "Export",
    "sample": "Sample",
    "play": "Play",
    "restore": "Restore",
    "tune": "Tune",
    "evaluate": "Evaluate",
    "compare": "Compare",
    "verify": "Verify",
    "reference": "MakeReference",
    "info": "Info",
    "presets": "Presets",
    "data": "DataSets",
}
"""The class of each command, in the file of its name; only that of the command is loaded."""

SHELLS = ("bash", "zsh")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; whatever a user can cause ends in one clear message and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()  # closed: >&-
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a result is worth more than a letter of it
            stream.reconfigure(errors="replace")
    try:
        try:
            code, message = parse(given).run(shlex.join(["cascore", *given])), ""
        finally:
            _let_go(sys.stdout)
    except (Exception, KeyboardInterrupt) as error:
        code, message = _answer(error)
        if code == 1:
            raise
    if message:
        with suppress(OSError):  # the exit code says it too
            sys.stderr.write(f"cascore: {printable(message)}\n")
    sys.exit(code)


def _let_go(stream: TextIO) -> None:
    """Write what a stream still holds; where nobody reads it any more, to nowhere.

    Python flushes at its end too, and would complain. A disk that is full is an OSError.
    """
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def _answer(error: BaseException) -> tuple[int, str]:
    """The exit code, and what to say of an error that a user can cause; 1 and "" of others."""
    if _interrupted(error):
        return 130, "stopped"
    if isinstance(error, BrokenPipeError):  # whoever read has seen enough, as `| head` has
        return 141, ""  # 128 + SIGPIPE, as shells have it
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return 2, f"error: {error}; once there is room to write, the same command goes on"
    if isinstance(error, InputError | OSError):
        return 2, f"error: {error}"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "memory" in str(error)
    ):
        return 2, f"error: out of memory, take less at once: {error}"
    return 1, ""


def _interrupted(error: BaseException | None) -> bool:
    """Whether it is an interrupt, or what a library made of one while it was being imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def parse(given: Sequence[str]) -> Command:
    """The command of a line without its first word; help and mistakes of the parser exit.

    Raises:
        InputError: No such command or preset, or settings that cannot be.
    """
    name, rest = (given[0], given[1:]) if given else ("", [])
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        sys.exit(0)
    if name == "--version":
        sys.stdout.write(f"cascore {__version__}\n")
        sys.exit(0)
    if name == "--print-completion":
        _print_completion(rest)
    if not name:
        sys.stderr.write(_help())
        sys.exit(2)
    if name not in COMMANDS:
        raise InputError(
            f"there is no command {name!r}{nearest(name, COMMANDS)}; cascore --help lists them"
        )
    if name in ("sample", "evaluate", "tune"):
        _require_fitting(given_options(rest), tune=name == "tune")
    if name == "train":
        from cascore.cli.train import parse_train

        return parse_train(rest)
    return parsed(class_of(name), rest, f"cascore {name}")


def class_of(name: str) -> type[Command]:
    """The class of a command by its name."""
    command: type[Command] = getattr(import_module(f"cascore.cli.{name}"), COMMANDS[name])
    return command


def _print_completion(shell: Sequence[str]) -> NoReturn:
    """Print what a shell needs to complete all commands and their options."""
    if len(shell) != 1 or shell[0] not in SHELLS:
        given, known = " ".join(shell) or "nothing", ", ".join(SHELLS)
        raise InputError(f"--print-completion takes the name of a shell ({known}), not {given}")
    tyro.extras.subcommand_cli_from_dict(
        {name: class_of(name) for name in COMMANDS},
        prog="cascore",
        args=["--tyro-print-completion", *shell],
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone),
    )
    raise AssertionError("the parser exits once it has printed")


def _require_fitting(given: Collection[str], *, tune: bool) -> None:
    """Refuse what the parser cannot: sampler settings beside --like, and --steps of 0.3."""
    if "like" in given and (others := [x.name for x in fields(Sampler) if x.name in given]):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise InputError(f"--like fixes every sampler setting: leave out {named}, or --like")
    if "steps" in given:  # the levels of a chain, None all of them
        every = "" if tune else "; --steps None is --levels all"
        raise InputError(
            f"--steps is --calls now, the network calls of a chain{every} (of --method als a level"
            " takes --n-sigma calls)"
        )


def _help() -> str:
    lines = "\n".join(
        f"  {name:<12}{(inspect.getdoc(class_of(name)) or '').partition(chr(10))[0]}"
        for name in COMMANDS
    )
    return f"""usage: cascore COMMAND [OPTIONS]

Consistent annealed sampling and adversarial score matching.

{lines}

  --help      this; cascore COMMAND --help says what a command takes
  --version   the version of cascore
  --print-completion SHELL   what {", ".join(SHELLS)} needs to complete commands and options
"""


if __name__ == "__main__":
    main()
