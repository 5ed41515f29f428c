"""`cascore train`: train or continue a run, or describe what would be trained."""

import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from cascore.cli.common import Device, duration, plain_console
from cascore.errors import InputError
from cascore.experiment.presets import FOLDER, PRESETS, SHAPES, describe_preset
from cascore.experiment.settings import Data, Experiment, Schedule
from cascore.plain import json_text
from cascore.progress import Display

if TYPE_CHECKING:
    from cascore.data import ImageSet, PointSet

    Preset = Experiment
else:
    Preset = tyro.extras.subcommand_type_from_defaults(
        dict(PRESETS),
        {name: describe_preset(preset) for name, preset in PRESETS.items()},
        prefix_names=False,
    )

__all__ = ["Train", "TrainFolder", "named_folder", "parse_folder"]

STAND_INS = 256  # random images in the place of data that are not here
_DATA_NAME = "--data.name"


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

    def run(self, typed: str) -> int:
        """Train or continue the run, or describe it."""
        out = self.out or Path("runs") / self.experiment.name
        act = _describe if self.dry_run else _train
        return act(self.experiment, out, device=self.device, threads=self.threads)


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
    names: Annotated[frozenset[str], tyro.conf.Fixed, tyro.conf.Suppress] = frozenset()
    """Which settings of the experiment are given, as "train.steps"."""

    def run(self, typed: str) -> int:
        """Choose what is not given, and train or describe it."""
        path = Path(self.path.removeprefix("folder:"))
        out = self.out or Path("runs") / f"folder-{path.resolve().name}"
        act = _describe if self.dry_run else _train
        return act(self._resolved(path, out), out, device=self.device, threads=self.threads)

    def _resolved(self, path: Path, out: Path) -> Experiment:
        """The run's own settings if there is a run, else what is chosen; either with the given."""
        import torch.distributed as dist

        from cascore.experiment import build
        from cascore.experiment.choose import choose_experiment, with_given
        from cascore.experiment.run_folder import is_run, read_experiment

        build.use_threads(self.threads)
        display, experiment = Display(), self.experiment
        given = replace(experiment, data=replace(experiment.data, name=self.path))
        if is_run(out):
            run = read_experiment(out)
            if Path(run.data.name.removeprefix("folder:")).resolve() != path.resolve():
                raise InputError(
                    f"{out} holds a run on {run.data.name}, not on {self.path}: choose another"
                    " folder for the run with --out"
                )
            display.say(
                f"{out} holds a run: it goes on with its settings, {run.train.steps} steps;"
                " --train.steps makes it longer"
            )
            return with_given(run, given, self.names)
        if dist.is_torchelastic_launched():
            raise InputError(
                "several processes measure different speeds and would choose differently: start"
                f" this command once without torchrun (--out {out}), stop it, and let torchrun go"
                " on with it"
            )
        return choose_experiment(
            given,
            self.names,
            minutes=self.minutes,
            device=build.select_device(self.device),
            notify=display.say,
            counting=display.counting,
        )


def parse_folder(given: Sequence[str], path: str) -> TrainFolder:
    """The command of a line whose data are `folder:PATH`."""
    # tyro does not say which options were given. Their names do: --data.no-flip gives data.flip.
    options = (token.partition("=")[0] for token in given if token.startswith("--"))
    names = (name[2:].replace("-", "_").replace(".no_", ".") for name in options)
    default = TrainFolder(path=path, names=frozenset(name for name in names if "." in name))
    return tyro.cli(
        TrainFolder,
        prog="cascore train",
        args=[path, *(token for token in given[1:] if token is not path)],
        default=default,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
    )


def named_folder(given: Sequence[str]) -> str | None:
    """The folder:PATH that `train` is to choose everything for, wherever it stands."""
    if given[:1] != ["train"]:
        return None
    pairs = pairwise(given)
    found = (each for before, each in pairs if each.startswith("folder:") and before != _DATA_NAME)
    return next(found, None)


def _train(experiment: Experiment, folder: Path, *, device: str, threads: int | None) -> int:
    """Train or continue a run; a first interrupt saves and stops, a second one stops at once."""
    from cascore.evaluation.evaluate import checkpoint_measure
    from cascore.experiment import build
    from cascore.experiment.run import training_run
    from cascore.training import joined_processes
    from cascore.training.checkpoint import checkpoints

    build.use_threads(threads)
    with (
        joined_processes(build.select_device(device)) as (target, workers),
        _asked_to_stop() as signals,
    ):
        display = Display(None if workers.rank == 0 else Console(quiet=True))
        metrics = training_run(
            experiment,
            folder,
            device=target,
            workers=workers,
            should_stop=lambda: bool(signals),
            notify=display.say,
            measure=checkpoint_measure(experiment, folder, device=target),
        )
        settings = experiment.train
        for _ in display.training(metrics, total=settings.steps, batch_size=settings.batch_size):
            pass
        saved = checkpoints(folder / "checkpoints")[-1]
        if signals:
            display.say(f"stopped and saved at step {saved.step}; the same command goes on")
            return 128 + signals[0]
        display.say(f"trained to step {saved.step}: {folder}; next: cascore sample {folder}")
    return 0


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that came; handlers only take a note, which is read between steps."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _describe(experiment: Experiment, folder: Path, *, device: str, threads: int | None) -> int:
    """Print the resolved experiment, parameter counts and a time estimate measured here."""
    import torch

    from cascore.data import ImageSet
    from cascore.experiment import build
    from cascore.experiment.cost import measured_step, step_cost
    from cascore.training.checkpoint import checkpoints

    build.use_threads(threads)
    target = build.select_device(device)
    data, absent = _data_or_stand_in(experiment.data)
    shape = build.data_shape(data)
    cost = step_cost(experiment, shape)
    build.build_gan(experiment.adversarial)  # refuses a name that is none
    console = plain_console()
    console.print(json_text(experiment), end="")
    if absent:
        console.print(f"data: not here, so of shape {list(shape)} and random for this. {absent}")
    else:
        console.print(f"data: {data.count} items of shape {list(shape)}, digest {data.digest[:16]}")
    console.print(f"score network: {cost.parameters:,} parameters")
    if experiment.train.objective == "hybrid":
        console.print(f"discriminator: {cost.discriminator_parameters:,} parameters")
    if isinstance(data, ImageSet) and not absent:
        console.print(_levels_advice(data, experiment.schedule))
    saved = checkpoints(folder / "checkpoints")
    done = min(saved[-1].step if saved else 0, experiment.train.steps)
    console.print(f"run: {folder}, {f'goes on from step {done}' if done else 'new'}")
    rows, typical = measured_step(experiment, data, target)
    left = experiment.train.steps - done
    scaled = "" if rows == experiment.train.batch_size else f", measured on batches of {rows}"
    console.print(
        f"time: {typical * 1e3:,.0f} ms a step on {target} with {torch.get_num_threads()} threads"
        f"{scaled}, about {duration(typical * left)} for {left} steps"
    )
    return 0


def _data_or_stand_in(settings: Data) -> "tuple[ImageSet | PointSet, str]":
    """The training data, or random images of their shape with the reason why they are not here."""
    import torch

    from cascore.data import DataRecord, ImageSet
    from cascore.experiment import build

    try:
        return build.load_data(settings, "train"), ""
    except InputError as error:
        if settings.name not in SHAPES:
            raise
        generator = torch.Generator().manual_seed(0)
        size = (STAND_INS, *SHAPES[settings.name])
        images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        record = DataRecord(source="random numbers", split="none")
        return ImageSet(settings.name, "train", images, None, record), str(error)


def _levels_advice(data: "ImageSet", schedule: Schedule) -> str:
    """Techniques 1 and 2 for these images."""
    from cascore.data.diameter import image_diameter
    from cascore.experiment.choose import LARGEST_WORK
    from cascore.schedule import level_count

    if data.count < 2 or schedule.levels < 2:
        return f"sigma_1 is {schedule.first:g}; one image or one level has no Techniques 1 and 2"
    diameter = image_diameter(data.images, largest_work=LARGEST_WORK)
    distance = f"is {diameter.high:.2f}" if diameter.exact else f"is at most {diameter.high:.1f}"
    count = level_count(math.prod(data.shape), schedule.first, schedule.last)
    return (
        f"sigma_1 is {schedule.first:g}; the largest distance of two images (Technique 1)"
        f" {distance}; levels between {schedule.first:g} and {schedule.last:g} by Technique 2:"
        f" {count}, {schedule.levels} are set"
    )
