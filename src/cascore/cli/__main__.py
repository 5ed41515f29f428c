"""The command line: one command, parsed by tyro, that runs itself."""

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from cascore import __version__
from cascore.cli.compare import Compare
from cascore.cli.convert import Convert
from cascore.cli.data import DataSets
from cascore.cli.evaluate import Evaluate
from cascore.cli.info import Info
from cascore.cli.presets import Presets
from cascore.cli.quickstart import Quickstart
from cascore.cli.reference import MakeReference
from cascore.cli.reproduce import Reproduce
from cascore.cli.sample import Sample
from cascore.cli.train import Train, TrainFolder, named_folder, parse_folder
from cascore.cli.tune import Tune
from cascore.cli.verify import Verify
from cascore.errors import InputError

__all__ = ["main", "parse"]

Command = (
    Quickstart
    | Train
    | Convert
    | Sample
    | Tune
    | Evaluate
    | Compare
    | Verify
    | Annotated[MakeReference, tyro.conf.subcommand("reference")]
    | Info
    | Presets
    | Reproduce
    | Annotated[DataSets, tyro.conf.subcommand("data")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; whatever a user can cause ends in one clear message and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        sys.stdout.write(f"cascore {__version__}\n")
        sys.exit(0)
    try:
        code = parse(given).run(shlex.join(["cascore", *given]))
    except (InputError, OSError) as error:
        sys.stderr.write(f"cascore: error: {error}\n")
        code = 2
    except KeyboardInterrupt:
        sys.stderr.write("cascore: stopped\n")
        code = 130
    sys.exit(code)


def parse(given: Sequence[str]) -> Command | TrainFolder:
    """The command of a line without its first word; help and mistakes exit."""
    if (path := named_folder(given)) is not None:
        return parse_folder(given, path)
    return tyro.cli(
        Command,
        prog="cascore",
        description="Consistent annealed sampling and adversarial score matching.",
        args=given,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
    )


if __name__ == "__main__":
    main()
