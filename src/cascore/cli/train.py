"""`cascore train`: train or continue a run, or describe what would be trained."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cascore.cli import options
from cascore.cli.common import display_of, duration, given_options, parsed, plain_console, to_type
from cascore.errors import EvaluationStopped, InputError, nearest
from cascore.experiment.presets import FOLDER, PRESETS, SHAPES, describe_preset
from cascore.experiment.settings import Experiment, by_clock
from cascore.locks import one_writer
from cascore.measurement import Measurement
from cascore.plain import json_text, to_plain
from cascore.preprocessing import folder_path, is_folder
from cascore.progress import Display

if TYPE_CHECKING:
    from cascore.data import ImageSet, PointSet
    from cascore.experiment.fine_tuning import Base
    from cascore.experiment.periodic import Measure


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a score model: a preset, or a folder of images, with any setting overridden by name.

    Examples:
    cascore train digits --train.steps 5000 --out runs/long
    cascore train folder:photos --minutes 30
    cascore train folder:photos --minutes 10 --from runs/folder-others

    For a folder, image size, sigma_1 and levels, the network and its batch are chosen for its
    images, this machine and the minutes, and said; what is given by name holds. With minutes it
    ends when they are over, whatever the machine does, and goes on where more are given.
    """

    start: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = ""
    """A preset's name or folder:PATH."""
    given: Annotated[frozenset[str], tyro.conf.Fixed, tyro.conf.Suppress] = frozenset()
    """Which settings are given by name, as "train.steps"."""
    out: Path | None = None
    """Folder of the run (default: runs/PRESET or runs/folder-NAME); one that holds the same run is
    continued."""
    checkpoint: str = "newest"
    """Of a run that goes on: newest (that is whole), best, or a step; later ones are set aside."""
    base: Annotated[str | None, tyro.conf.arg(name="from", metavar="MODEL")] = None
    """Fine-tune: begin with the weights of a run, a model folder, hf://user/name or a model that
    comes with cascore, where they fit; what does not is said. A folder takes its network too."""
    dry_run: bool = False
    """Print the resolved experiment, parameter counts and a time estimate; train nothing."""
    device: options.Device = "auto"
    log: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Also log to TensorBoard (in the run's folder), to Weights & Biases, or both."""
    threads: int | None = None
    """CPU threads (default: PyTorch's choice); 1 is the fastest where the machine is shared."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share a training: each has the whole network, or, where that is too
    large for a device, a part of weights, moments and averages."""
    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = PRESETS["digits"]

    def run(self, typed: str) -> int:
        """Train or continue the run, or describe it."""
        from cascore.data.points import POINT_SETS
        from cascore.experiment.build import build_gan, require_kind, use_threads

        started = time.monotonic()
        use_threads(self.threads)
        if "minutes" in self.given and self.experiment.minutes == 0:  # in a record, no clock
            raise InputError(
                "--minutes must be above 0, not 0; --train.steps N takes a number of updates in"
                " place of minutes"
            )
        # Before any picture is read.
        build_gan(self.experiment.adversarial)
        require_kind(self.experiment.network, points=self.experiment.data.name in POINT_SETS)
        base = None if self.base is None else _base(self.base)
        data = held_out = None
        if is_folder(self.start):
            name = folder_path(self.start).resolve().name
            out = self.out or Path("runs") / f"folder-{name}"
            experiment, data, held_out = self._for_folder(out, base)
        else:
            out = self.out or Path("runs") / self.experiment.name
            experiment = self._by_clock(out)
        if self.dry_run:
            return _describe(experiment, out, device=self.device, data=data, base=base)
        return _train(
            experiment,
            out,
            device=self.device,
            checkpoint=self.checkpoint,
            log=self.log,
            data=data,
            held_out=held_out,
            base=base,
            started=started,
            sharded=self.parallel == "fsdp",
        )

    def _by_clock(self, out: Path) -> Experiment:
        """The preset, with the minutes of a run that was for some, where none are given."""
        from cascore.data.points import POINT_SETS
        from cascore.experiment.run_folder import is_run, read_experiment

        experiment = self.experiment
        if experiment.minutes and experiment.data.name in POINT_SETS:
            raise InputError(
                f"--minutes is for images; {experiment.data.name} takes a number of updates:"
                " --train.steps"
            )
        minutes = read_experiment(out).minutes if is_run(out) else 0.0
        if experiment.minutes or not minutes:
            return experiment
        return replace(by_clock(experiment, self.given), minutes=minutes)

    def _for_folder(
        self, out: Path, base: "Base | None"
    ) -> "tuple[Experiment, ImageSet | None, ImageSet | None]":
        """The run's own settings if there is a run, else what is chosen; either with the given.

        With the images to train on and those kept apart, where choosing needed them.
        """
        import torch.distributed as dist

        from cascore.experiment.build import select_device
        from cascore.experiment.choose import choose_experiment, with_given
        from cascore.experiment.run_folder import is_run, read_experiment

        display, given = Display(), self.experiment
        experiment = replace(given, data=replace(given.data, name=self.start))
        if is_run(out):
            run = read_experiment(out)
            length, more = f"{run.train.steps} steps", "--train.steps"
            if run.minutes:
                length, more = f"{run.minutes:g} minutes in all", "--minutes"
            display.say(
                f"{out} holds a run: it goes on with its settings, {length}; {more} makes it longer"
            )
            resumed = with_given(run, experiment, self.given)
            if "minutes" in self.given:
                resumed = replace(resumed, minutes=experiment.minutes)
            return replace(resumed, data=replace(resumed.data, name=self.start)), None, None
        if dist.is_torchelastic_launched():
            raise InputError(
                "several processes measure different speeds and would choose differently: start"
                f" this command once without torchrun (--out {out}), stop it, and let torchrun go"
                " on with it"
            )
        # Where nothing can be written, before thousands of pictures are read.
        with nullcontext() if self.dry_run else one_writer(out, "choosing a training"):
            return choose_experiment(
                experiment,
                self.given,
                device=select_device(self.device),
                notify=display.say,
                counting=display.counting,
                base=base,
            )


def parse_train(arguments: Sequence[str]) -> Train:
    """The command of a line after its word `train`: what to train gives the settings' defaults."""
    words = [
        word
        for last, word in pairwise(["", *arguments])
        if not word.startswith("-") and (not last.startswith("--") or _is_switch(last))
    ]
    start = next((word for word in words if word in PRESETS or is_folder(word)), None)
    if start is None:
        if {"-h", "--help"} & set(arguments):
            presets = "\n".join(f"{name}: {describe_preset(PRESETS[name])}" for name in PRESETS)
            about = f"{Train.__doc__}\nThe settings shown are of digits. Presets:\n\n{presets}"
            prog = "cascore train PRESET|folder:PATH"
            return parsed(Train, ["--help"], prog=prog, description=about)
        raise InputError(_unknown(words[0] if words else ""))
    rest = list(arguments)
    rest.remove(start)
    given, experiment = given_options(rest), FOLDER if is_folder(start) else PRESETS[start]
    if "minutes" in given:
        experiment = by_clock(experiment, given)
    elif "train.steps" in given:  # and no clock, of which a folder has one by default
        experiment = replace(experiment, minutes=0.0)
    default = Train(start=start, given=given, experiment=experiment)
    return parsed(Train, rest, prog=f"cascore train {start}", default=default)


def _is_switch(option: str) -> bool:
    """Whether an option takes no more words, so that what follows it can be what to train."""
    if "=" in option:
        return True
    name = option.removeprefix("--").removeprefix("no-").replace(".no-", ".")
    part, _, setting = name.partition(".")
    of = getattr(FOLDER, part, None) if setting else Train
    return isinstance(getattr(of, (setting or part).replace("-", "_"), None), bool)


def _unknown(word: str) -> str:
    if not word:
        return (
            "say what to train: a preset (cascore train digits) or a folder of images (cascore"
            " train folder:PATH); cascore train --help lists the presets"
        )
    if "/" in word or Path(word).exists():
        folder = to_type("train", f"folder:{word}")
        return f"to train on the images of a folder, write {folder}"
    return f"there is no preset {word!r}{nearest(word, PRESETS)}; cascore train --help lists them"


def _base(name: str) -> "Base":
    """The model of that name, as one whose weights a training begins with."""
    from cascore.experiment.fine_tuning import Base
    from cascore.model.loading import load
    from cascore.model.pretrained import spoken_name

    model = load(name, notify=Display().say)
    return Base(
        name=spoken_name(model.folder),
        step=model.step,
        digest=model.digest,
        denoiser=model.denoiser,
        experiment=model.experiment,
        shape=model.shape,
        classes=model.classes,
        pixels=model.pixel_range,
    )


def _train(
    experiment: Experiment,
    folder: Path,
    *,
    device: str,
    checkpoint: str,
    log: tuple[Literal["tensorboard", "wandb"], ...],
    data: "ImageSet | None" = None,
    held_out: "ImageSet | None" = None,
    base: "Base | None" = None,
    started: float,
    sharded: bool,
) -> int:
    """Train or continue a run; a first interrupt saves and stops, a second one stops at once."""
    from cascore.evaluation.evaluate import checkpoint_measure
    from cascore.experiment import build
    from cascore.experiment.run import training_run
    from cascore.training import PATIENCE, joined_processes
    from cascore.training.checkpoint import checkpoints, read_record
    from cascore.training.logs import logged

    # One of them measures while the others wait, which may take hours.
    with joined_processes(build.select_device(device), patience=PATIENCE) as (target, workers):
        display, signals = display_of(workers), _Signals()
        workers = replace(workers, sharded=sharded and workers.count > 1)
        metrics = training_run(
            experiment,
            folder,
            device=target,
            data=data,
            held_out=held_out,
            workers=workers,
            should_stop=lambda: bool(signals.came),
            notify=display.say,
            measure=signals.stopping(checkpoint_measure(experiment, folder, device=target)),
            checkpoint=checkpoint,
            base=base,
            started=started,
        )
        settings, left = experiment.train, 0.0
        if experiment.minutes:
            known = checkpoints(folder / "checkpoints")
            before = read_record(known[-1]).seconds or 0.0 if known else 0.0
            left = max(0.0, 60 * experiment.minutes - before - (time.monotonic() - started))
        if workers.rank == 0:
            metrics = logged(metrics, log, folder, settings=to_plain(experiment))
        shown = display.training(
            metrics, total=settings.steps, batch_size=settings.batch_size, seconds=left or None
        )
        with signals.noted():
            for _ in shown:
                pass
        saved = checkpoints(folder / "checkpoints")[-1]
        if signals.came:
            display.say(f"stopped and saved at step {saved.step}; the same command goes on")
            return 128 + signals.came[0]
        display.say(f"trained to step {saved.step}: {folder}; next: {to_type('sample', folder)}")
    return 0


class _Signals:
    """The signals that came: noted, and read between steps; an evaluation they stop at once."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self._measuring = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = bool(self.came) and number == signal.SIGINT
        self.came.append(number)
        if again:
            raise KeyboardInterrupt
        if self._measuring:
            raise EvaluationStopped

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note signals; before and after, an interrupt ends the command as it ends any other."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)  # of a terminal that is closed; not on Windows
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # as nohup has it
            numbers.append(hangup)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stopping(self, measure: "Measure") -> "Measure":
        """The measure, which a signal stops wherever it is."""

        def stopped(step: int) -> Measurement:
            self._measuring = True
            try:
                if self.came:
                    raise EvaluationStopped
                return measure(step)
            finally:
                self._measuring = False

        return stopped


def _describe(
    experiment: Experiment,
    folder: Path,
    *,
    device: str,
    data: "ImageSet | PointSet | None" = None,
    base: "Base | None" = None,
) -> int:
    """Print the resolved experiment, parameter counts and a time estimate measured here."""
    import torch

    from cascore.experiment import build
    from cascore.experiment.cost import measured_step, step_cost, training_speed
    from cascore.experiment.fine_tuning import foretold
    from cascore.experiment.timed import REPLAY
    from cascore.training.checkpoint import checkpoints

    target, settings = build.select_device(device), experiment.train
    name = experiment.data.name
    try:
        data = build.load_data(experiment.data, "train") if data is None else data
        shape = data.shape
        here = f"{data.count} items of shape {list(shape)}, digest {data.digest[:16]}"
    except InputError as error:
        if name not in SHAPES:
            raise
        shape = SHAPES[name]
        here = f"not here, of shape {list(shape)}. {error}"
    cost = step_cost(experiment, shape)
    console = plain_console()
    console.print(json_text(experiment), end="")
    console.print(f"data: {here}")
    for remark in () if data is None else data.record.remarks:
        console.print(f"note: {remark}")
    console.print(f"score network: {cost.parameters:,} parameters")
    if settings.objective == "hybrid":
        console.print(f"discriminator: {cost.discriminator_parameters:,} parameters")
    if len(shape) == 3:
        shown = to_type("data", "show", name)
        console.print(f"sigma_1 and levels by Techniques 1 and 2: {shown}")
    for remark in (
        ()
        if data is None
        else foretold(base, experiment, build.Subject.of(data, experiment.network), folder)
    ):
        console.print(f"from: {remark}")
    saved = checkpoints(folder / "checkpoints")
    done = min(saved[-1].step if saved else 0, settings.steps)
    console.print(f"run: {folder}, {f'goes on from step {done}' if done else 'new'}")
    if experiment.minutes:  # what fits into them was measured and said when it was chosen
        console.print(f"time: {experiment.minutes:g} minutes in all; {REPLAY}")
        return 0
    if data is None:
        how, seconds = ", from its operations", cost.seconds(training_speed(target))
    else:
        rows, seconds, _ = measured_step(experiment, data, target)
        how = f", measured on batches of {rows}" if rows < settings.batch_size else ""
    left = settings.steps - done
    console.print(
        f"time: {seconds * 1e3:,.0f} ms a step on {target} with {torch.get_num_threads()} threads"
        f"{how}, about {duration(seconds * left)} for {left} steps"
    )
    return 0
