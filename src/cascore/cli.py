"""The command line: one command, parsed by tyro and carried out by `cascore.commands`.

The settings are the frozen dataclasses of `experiments.config`; no torch is loaded until a command
that needs it runs.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cascore import __version__
from cascore.arguments import (
    Command,
    Compare,
    Convert,
    DataSets,
    Evaluate,
    Info,
    MakeReference,
    Prepare,
    Presets,
    Quickstart,
    Reproduce,
    Sample,
    Show,
    Train,
    TrainFolder,
    Tune,
    Verify,
)
from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.model.pretrained import find_model

if TYPE_CHECKING:
    from cascore.commands import FolderOptions

__all__ = ["main"]

_DATA_NAME = "--data.name"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; whatever a user can cause ends in one clear message and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        sys.stdout.write(f"cascore {__version__}\n")
        sys.exit(0)
    try:
        if (folder := _named_folder(given)) is not None:
            code = _train_folder([folder, *(each for each in given[1:] if each is not folder)])
        else:
            code = _run(
                tyro.cli(
                    Command,
                    prog="cascore",
                    description="Consistent annealed sampling and adversarial score matching.",
                    args=given,
                    config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
                ),
                shlex.join(["cascore", *given]),
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


def _named_folder(given: Sequence[str]) -> str | None:
    """The folder:PATH that `train` is to choose everything for, wherever it stands."""
    if given[:1] != ["train"]:
        return None
    pairs = pairwise(given)
    found = (each for before, each in pairs if each.startswith("folder:") and before != _DATA_NAME)
    return next(found, None)


def _train_folder(given: Sequence[str]) -> int:
    """Parse twice: what is given decides what is chosen, and then stands before it."""
    from cascore import commands

    first = _parse_folder(given, TrainFolder(path=given[0]))
    name = Path(first.path.removeprefix("folder:")).resolve().name
    out = first.out or Path("runs") / f"folder-{name}"
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
    from cascore import commands

    return commands.paper_sampler(command.like, find_model(command.path))


def _folders(command: Evaluate | MakeReference) -> "FolderOptions":
    from cascore.commands import FolderOptions

    return FolderOptions(
        size=command.size, crop=command.crop, filter=command.filter, mode=command.mode
    )


def _run(command: Command, typed: str) -> int:
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
        case Convert():
            return commands.convert(
                command.source,
                command.out,
                network=command.network,
                weights=command.weights,
                size=command.size,
                first=command.first,
                last=command.last,
                levels=command.levels,
                data=command.data,
                records=command.records,
            )
        case Sample():
            return commands.sample(
                find_model(command.path),
                _sampler(command),
                out=command.out,
                first_seed=command.seed,
                count=command.count,
                batch_size=command.batch_size,
                device=command.device,
            )
        case Tune():
            return commands.tune(
                commands.Question(
                    path=find_model(command.path),
                    data=command.data,
                    root=command.root,
                    extractor=command.extractor,
                    checkpoint=command.checkpoint,
                    first_seed=command.seed,
                    count=command.count,
                    batch_size=command.batch_size,
                ),
                steps=command.steps,
                orders=command.orders,
                blocks=command.blocks,
                out=command.out,
                device=command.device,
                command=typed,
            )
        case Evaluate() | Compare() | Verify() | MakeReference():
            return _run_judging(command, typed)
        case _:
            return _run_telling(command)


def _run_telling(command: Info | Presets | Reproduce | DataSets) -> int:
    from cascore import commands

    match command:
        case Info():
            return commands.info(find_model(command.path))
        case Presets():
            return commands.presets(device=command.device, threads=command.threads)
        case Reproduce():
            return commands.reproduce_study(
                command.name,
                scale=command.scale,
                out=command.out,
                runs=command.runs,
                models=command.models,
                device=command.device,
                threads=command.threads,
            )
        case DataSets():
            return _run_data(command.action)


def _run_judging(command: Evaluate | Compare | Verify | MakeReference, typed: str) -> int:
    from cascore import commands

    match command:
        case Evaluate():
            return commands.evaluate(
                commands.Question(
                    path=find_model(command.path),
                    data=command.data,
                    root=command.root,
                    folders=_folders(command),
                    extractor=command.extractor,
                    metrics=command.metrics,
                    as_published=command.as_published,
                    checkpoint=command.checkpoint,
                    sampler=_sampler(command),
                    first_seed=command.seed,
                    count=command.count,
                    batch_size=command.batch_size,
                ),
                out=command.out,
                device=command.device,
                command=typed,
            )
        case Compare():
            return commands.compare(
                command.paths,
                metric=command.metric,
                form=command.form,
                split=command.split,
                accept=command.accept,
                out=command.out,
            )
        case Verify():
            return commands.verify(command.file, root=command.root, device=command.device)
        case MakeReference():
            return commands.reference(
                command.data,
                command.out,
                extractor=command.extractor,
                split=command.split,
                root=command.root,
                folders=_folders(command),
                device=command.device,
                command=typed,
            )


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
