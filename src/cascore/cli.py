"""The command line: `cascore quickstart | train | sample | evaluate | info | data`.

The settings are the frozen dataclasses of `experiments.config`; no torch is loaded until a command
that needs it runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cascore import __version__
from cascore.errors import InputError
from cascore.experiments.config import Experiment, Sampler
from cascore.experiments.presets import PRESETS, SAMPLERS, describe_preset

__all__ = ["main"]

Device = Literal["auto", "cpu", "cuda", "mps"]
if TYPE_CHECKING:
    Preset = Experiment
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]
    Preset = tyro.extras.subcommand_type_from_defaults(
        dict(PRESETS),
        {name: describe_preset(preset) for name, preset in PRESETS.items()},
        prefix_names=False,
    )


@dataclass(frozen=True, kw_only=True)
class Quickstart:
    """Train on real handwritten digits, sample, judge, and write a page to look at (minutes)."""

    out: Path = Path("quickstart")
    """Folder of the run and of the page; run again to go on where it stopped."""
    device: Device = "auto"
    """Where to compute."""
    threads: int = 1
    """CPU threads; for networks this small more gain little, and lose much on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a score model: a preset, with any setting overridden by name.

    Example: cascore train digits --train.steps 5000 --out runs/long

    All settings of a preset: cascore train digits --help
    """

    experiment: Annotated[Preset, tyro.conf.arg(name="")]
    """Where to start from."""
    out: Path | None = None
    """Folder of the run (default: runs/PRESET); one that holds the same run is continued."""
    device: Device = "auto"
    """Where to compute."""
    threads: int | None = None
    """CPU threads (default: PyTorch's choice); 1 is the fastest where the machine is shared."""
    dry_run: bool = False
    """Print the resolved experiment, parameter counts and a time estimate; train nothing."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a trained run: PNGs, sheets and a record."""

    run: tyro.conf.Positional[Path]
    """Folder of a run of `cascore train`."""
    out: Path | None = None
    """New folder for the pictures (default: within the run)."""
    count: int = 64
    """How many pictures."""
    seed: int = 0
    """Of the first picture; picture i has seed + i, and looks the same in any batch."""
    batch_size: int = 256
    """Pictures at a time."""
    like: SamplerName | None = None
    """The paper's settings by name, in place of those below (`cascore presets` lists them)."""
    sampler: tyro.conf.OmitArgPrefixes[Sampler] = field(default_factory=Sampler)
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a run, or a folder of images from any program, against real images."""

    path: tyro.conf.Positional[Path]
    """Folder of a run, or of images."""
    data: str | None = None
    """Real images to compare with (default: the run's own); needed for a folder of images."""
    root: str | None = None
    """Folder of the real images' files, where they need one."""
    out: Path | None = None
    """File for the record (default: within the run's evaluations/; none for a folder of images)."""
    count: int = 1437
    """How many pictures to draw from a run."""
    seed: int = 0
    """Of the first picture."""
    batch_size: int = 256
    """Pictures at a time."""
    like: SamplerName | None = None
    """The paper's settings by name, in place of those below (`cascore presets` lists them)."""
    sampler: tyro.conf.OmitArgPrefixes[Sampler] = field(default_factory=Sampler)
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List what can be trained, with an estimate of its time here, and the paper's samplers."""

    device: Device = "auto"
    """Where to compute."""
    threads: int | None = None
    """CPU threads (default: PyTorch's choice)."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a run is: its settings, parameters, checkpoints and last losses."""

    run: tyro.conf.Positional[Path]
    """Folder of a run."""


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Turn a data set's original files into one mapped file for each split.

    Example: cascore data prepare cifar-10 --source cifar-10-binary.tar.gz

    A new name makes a set of a folder of images, brought to one shape:
    cascore data prepare mine --source photos --size 32
    """

    name: tyro.conf.Positional[str]
    """A known data set, or a new name for a folder of images."""
    source: Path | None = None
    """Its original files: an archive or a folder; docs/data.md says which."""
    download: bool = False
    """Fetch the files first, where a program may."""
    root: Path = Path("data")
    """The data root, which gets a folder of the set's name."""
    size: int | None = None
    """Folder of images: height and width in pixels to bring every image to."""
    crop: Literal["center", "none"] = "center"
    """Folder of images, with a size: cut the middle square out first, or stretch."""
    filter: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"
    """Folder of images, with a size: the resampling filter."""
    mode: Literal["auto", "rgb", "grey"] = "auto"
    """Folder of images: take images as they are, or convert all to colour or to grey."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a contact sheet of a data set and work out what a trainer needs to know of it."""

    name: tyro.conf.Positional[str]
    """A data set, or folder:PATH."""
    root: Path | None = None
    """The data root, or the folder of the original files (default: data)."""
    out: Path | None = None
    """Folder for sheet.png and numbers.json (default: data-sheets/NAME)."""


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """Prepare data sets, and look at them."""

    action: Prepare | Show
    """What to do."""


Command = (
    Quickstart
    | Train
    | Sample
    | Evaluate
    | Info
    | Presets
    | Annotated[DataSets, tyro.conf.subcommand("data")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; whatever a user can cause ends in one clear message and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        sys.stdout.write(f"cascore {__version__}\n")
        sys.exit(0)
    try:
        command = tyro.cli(
            Command,
            prog="cascore",
            description="Consistent annealed sampling and adversarial score matching.",
            args=given,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
        )
        code = _run(command)
    except (InputError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("cascore: stopped\n")
        code = 130
    sys.exit(code)


def _fail(error: Exception) -> "None":
    sys.stderr.write(f"cascore: error: {error}\n")
    sys.exit(2)


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
