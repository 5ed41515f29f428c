"""What the command line takes: one frozen dataclass for each command, whose docs are its help.

No torch is loaded here: help and mistakes in arguments are answered at once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cascore.arguments.common import Device, SamplerName
from cascore.arguments.judging import Compare, Evaluate, MakeReference, Verify
from cascore.arguments.tuning import Tune
from cascore.experiment.presets import FOLDER, PRESETS, PUBLISHED, describe_preset
from cascore.experiment.settings import Experiment, Sampler

__all__ = [
    "Command",
    "Compare",
    "Convert",
    "DataSets",
    "Evaluate",
    "Info",
    "MakeReference",
    "Prepare",
    "Presets",
    "Quickstart",
    "Reproduce",
    "Sample",
    "Show",
    "Train",
    "TrainFolder",
    "Tune",
    "Verify",
]

if TYPE_CHECKING:
    Preset = Experiment
    NetworkName = str
else:
    NetworkName = Literal[tuple(PUBLISHED)]
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

    A folder of your own: cascore train folder:PATH --minutes 30
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
class TrainFolder:
    """Train on a folder of images: everything that is not given is chosen for it, and said.

    The image size, sigma_1 and the levels, the width of the network and the steps that this help
    shows as defaults are chosen anew for the folder, the machine and the minutes.
    """

    path: tyro.conf.Positional[str]
    """folder:PATH."""
    minutes: float = 30.0
    """How long to train here; decides image size, width of the network and steps."""
    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = field(
        default_factory=lambda: FOLDER
    )
    """What is chosen; any setting may be given by name instead."""
    out: Path | None = None
    """Folder of the run (default: runs/folder-NAME); one that holds a run is continued."""
    device: Device = "auto"
    """Where to compute."""
    threads: int | None = None
    """CPU threads (default: PyTorch's choice); 1 is the fastest where the machine is shared."""
    dry_run: bool = False
    """Print what was chosen, parameter counts and a time estimate; train nothing."""


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
    records: tuple[Path, ...] = ()
    """Of a run: files that `cascore evaluate` wrote of its newest checkpoint, for the card."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a trained model: PNGs, sheets and a record."""

    path: tyro.conf.Positional[str]
    """Folder of a run of `cascore train`, a model directory of `cascore convert`, or the name of a
    model that comes with cascore: digits, ..."""
    out: Path | None = None
    """New folder for the pictures (default: within that folder, or samples/NAME)."""
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
class Reproduce:
    """Measure a figure or table of the paper anew: pictures, tables, records and a page.

    Example: cascore reproduce figure1 --scale laptop

    What has a record is not measured again, so the same command goes on after an interruption, and
    with --out docs/results it redraws the results that come with the source.
    """

    name: tyro.conf.Positional[
        Literal[
            "figure1",
            "figure2",
            "figure3",
            "table1",
            "table2",
            "table3",
            "table4",
            "headline",
            "initialisation",
            "gan-losses",
            "conditional",
            "beyond",
            "never-tuning",
            "all",
        ]
    ]
    """What to reproduce; all: every one of them, and a page of the paper's claims."""
    scale: Literal["tiny", "laptop", "paper"] = "laptop"
    """tiny: seconds, a trial of the program; laptop: minutes to an hour; paper: wants a GPU."""
    out: Path = Path("results")
    """Folder of the page NAME.md, and of NAME/ with its pictures, tables and records."""
    runs: Path = Path("runs/reproduce")
    """Folder of the models that are trained for it."""
    models: Path = Path("models")
    """Folder of model directories (`cascore convert`) that are taken where they are of the very
    training that is wanted; so are models that come with cascore."""
    device: Device = "auto"
    """Where to compute."""
    threads: int | None = 1
    """CPU threads; the records of the laptop scale were made with 1."""


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List what can be trained, with an estimate of its time here, and the paper's samplers."""

    device: Device = "auto"
    """Where to compute."""
    threads: int | None = None
    """CPU threads (default: PyTorch's choice)."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a run or a model directory is: settings, parameters, where it came from."""

    path: tyro.conf.Positional[str]
    """Folder of a run, a model directory, or the name of a model that comes with cascore."""


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
