"""The command line: one command, parsed by tyro and carried out by `cascore.commands`.

The settings are the frozen dataclasses of `experiments.config`; no torch is loaded until a command
that needs it runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from cascore import __version__
from cascore.arguments import (
    Command,
    DataSets,
    Evaluate,
    Info,
    Prepare,
    Presets,
    Quickstart,
    Reproduce,
    Sample,
    Show,
    Train,
    TrainFolder,
)
from cascore.errors import InputError
from cascore.experiments.config import Sampler
from cascore.experiments.presets import SAMPLERS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; whatever a user can cause ends in one clear message and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        sys.stdout.write(f"cascore {__version__}\n")
        sys.exit(0)
    try:
        if given[:1] == ["train"] and given[1:2] and given[1].startswith("folder:"):
            code = _train_folder(given[1:])
        else:
            code = _run(
                tyro.cli(
                    Command,
                    prog="cascore",
                    description="Consistent annealed sampling and adversarial score matching.",
                    args=given,
                    config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
                )
            )
    except (InputError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("cascore: stopped\n")
        code = 130
    sys.exit(code)


def _fail(error: Exception) -> "None":
    sys.stderr.write(f"cascore: error: {error}\n")
    sys.exit(2)


def _train_folder(given: Sequence[str]) -> int:
    """Parse twice: what is given decides what is chosen, and then stands before it."""
    from cascore import commands

    first = _parse_folder(given, TrainFolder(path=given[0]))
    out = first.out or Path("runs") / f"folder-{Path(first.path.removeprefix('folder:')).name}"
    chosen = commands.choose(
        replace(first.experiment, data=replace(first.experiment.data, name=first.path)),
        out,
        minutes=first.minutes,
        device=first.device,
        threads=first.threads,
    )
    command = _parse_folder(given, replace(first, experiment=chosen))
    experiment = commands.fit_rest(
        command.experiment, chosen, minutes=command.minutes, device=command.device
    )
    act = commands.describe if command.dry_run else commands.train
    return act(experiment, out, device=command.device, threads=command.threads)


def _parse_folder(given: Sequence[str], default: TrainFolder) -> TrainFolder:
    return tyro.cli(
        TrainFolder,
        prog="cascore train",
        args=given,
        default=default,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
    )


def _sampler(command: Sample | Evaluate) -> Sampler:
    if command.like is None:
        return command.sampler
    if command.sampler != Sampler():
        raise InputError(
            f"--like {command.like} fixes every sampler setting: leave out the others, or --like"
        )
    return SAMPLERS[command.like]


def _run(command: Command) -> int:
    # Torch is loaded here and not above: help and mistakes in arguments are answered at once.
    from cascore import commands

    match command:
        case Quickstart():
            return commands.quickstart(command.out, device=command.device, threads=command.threads)
        case Train():
            experiment = command.experiment
            out = command.out or Path("runs") / experiment.name
            if command.dry_run:
                return commands.describe(
                    experiment, out, device=command.device, threads=command.threads
                )
            return commands.train(experiment, out, device=command.device, threads=command.threads)
        case Sample():
            return commands.sample(
                command.run,
                _sampler(command),
                out=command.out,
                first_seed=command.seed,
                count=command.count,
                batch_size=command.batch_size,
                device=command.device,
            )
        case Evaluate():
            return commands.evaluate(
                command.path,
                _sampler(command),
                data=command.data,
                root=command.root,
                out=command.out,
                first_seed=command.seed,
                count=command.count,
                batch_size=command.batch_size,
                device=command.device,
            )
        case Info():
            return commands.info(command.run)
        case Presets():
            return commands.presets(device=command.device, threads=command.threads)
        case Reproduce():
            return commands.reproduce_study(
                command.name,
                scale=command.scale,
                out=command.out,
                runs=command.runs,
                device=command.device,
                threads=command.threads,
            )
        case DataSets():
            return _run_data(command.action)


def _run_data(action: Prepare | Show) -> int:
    from cascore import commands

    match action:
        case Prepare():
            return commands.prepare_data(
                action.name,
                source=action.source,
                download=action.download,
                root=action.root,
                size=action.size,
                crop=action.crop,
                filter=action.filter,
                mode=action.mode,
            )
        case Show():
            return commands.show_data(action.name, root=action.root, out=action.out)
