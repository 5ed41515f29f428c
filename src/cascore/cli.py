"""The command line: `cascore quickstart | train | convert | sample | evaluate | info`.

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
from cascore.experiments.presets import PRESETS, PUBLISHED, describe_preset

__all__ = ["main"]

Device = Literal["auto", "cpu", "cuda", "mps"]
if TYPE_CHECKING:
    Preset = Experiment
    NetworkName = str
else:
    NetworkName = tyro.extras.literal_type_from_choices(tuple(PUBLISHED))
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
class Convert:
    """Make a model directory from a published checkpoint (.pth), or from a run.

    Example: cascore convert checkpoint_300000.pth models/cifar10 --network song-ermon-cifar10

    Nothing in the checkpoint is executed. The overrides are for networks that were trained on
    other data with the code of either repository.
    """

    source: tyro.conf.Positional[Path]
    """Checkpoint file of ermongroup/ncsnv2 or AlexiaJM/AdversarialConsistentScoreMatching, or the
    folder of a run of `cascore train`."""
    out: tyro.conf.Positional[Path]
    """New folder of the model."""
    network: NetworkName | None = None
    """What the checkpoint is of; a run knows it."""
    weights: Literal["ema", "raw"] = "ema"
    """The average of the weights, or those of the last step."""
    size: int | None = None
    """Height and width of the images, where they are not those of the network's name."""
    first: float | None = None
    """sigma_1 of the training, where it is another."""
    last: float | None = None
    """sigma_L of the training, where it is another."""
    levels: int | None = None
    """L of the training, where it is another."""
    data: str | None = None
    """Name of the data set, where it is another."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a trained model: PNGs, sheets and a record."""

    path: tyro.conf.Positional[Path]
    """Folder of a run of `cascore train`, or a model directory of `cascore convert`."""
    out: Path | None = None
    """New folder for the pictures (default: within that folder)."""
    count: int = 64
    """How many pictures."""
    seed: int = 0
    """Of the first picture; picture i has seed + i, and looks the same in any batch."""
    batch_size: int = 256
    """Pictures at a time."""
    sampler: tyro.conf.OmitArgPrefixes[Sampler] = field(default_factory=Sampler)
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a model, or a folder of images from any program, against real images."""

    path: tyro.conf.Positional[Path]
    """Folder of a run, a model directory, or a folder of images."""
    data: str | None = None
    """Real images to compare with (default: the model's own); needed for a folder of images."""
    root: str | None = None
    """Folder of the real images' files, where they need one."""
    out: Path | None = None
    """File for the record (default: in evaluations/ of the model; none for a folder of images)."""
    count: int = 1437
    """How many pictures to draw from a model."""
    seed: int = 0
    """Of the first picture."""
    batch_size: int = 256
    """Pictures at a time."""
    sampler: tyro.conf.OmitArgPrefixes[Sampler] = field(default_factory=Sampler)
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a run or a model directory is: settings, parameters, where it came from."""

    path: tyro.conf.Positional[Path]
    """Folder of a run, or a model directory."""


Command = Quickstart | Train | Convert | Sample | Evaluate | Info


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
            )
        case Sample():
            return commands.sample(
                command.path,
                command.sampler,
                out=command.out,
                first_seed=command.seed,
                count=command.count,
                batch_size=command.batch_size,
                device=command.device,
            )
        case Evaluate():
            return commands.evaluate(
                command.path,
                command.sampler,
                data=command.data,
                root=command.root,
                out=command.out,
                first_seed=command.seed,
                count=command.count,
                batch_size=command.batch_size,
                device=command.device,
            )
        case Info():
            return commands.info(command.path)
