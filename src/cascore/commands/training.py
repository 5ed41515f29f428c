"""`cascore train`: train or continue a run, or describe what would be trained."""

import math
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console

from cascore.data import DataRecord, ImageSet, PointSet
from cascore.data.diameter import image_diameter
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.choose import LARGEST_WORK
from cascore.experiment.cost import step_cost, training_speed
from cascore.experiment.presets import SHAPES
from cascore.experiment.run import training_run
from cascore.experiment.settings import Data, Experiment, Schedule
from cascore.plain import json_text
from cascore.progress import Display
from cascore.schedule import level_count
from cascore.training import Workers, joined_processes
from cascore.training.checkpoint import checkpoints

__all__ = ["describe", "duration", "measured_step", "train", "use_threads"]

TRIAL_STEPS = 6
TRIAL_SECONDS = 2.0  # for one of them at most
STAND_INS = 256  # random images in the place of data that are not here


def train(experiment: Experiment, folder: Path, *, device: str, threads: int | None) -> int:
    """Train or continue a run; a first interrupt saves and stops, a second one stops at once."""
    use_threads(threads)
    with (
        joined_processes(build.select_device(device)) as (place, workers),
        _asked_to_stop() as signals,
    ):
        display = Display(None if workers.rank == 0 else Console(quiet=True))
        metrics = training_run(
            experiment,
            folder,
            device=place,
            workers=workers,
            should_stop=lambda: bool(signals),
            notify=display.say,
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


def describe(experiment: Experiment, folder: Path, *, device: str, threads: int | None) -> int:
    """Print the resolved experiment, parameter counts and a time estimate measured here."""
    use_threads(threads)
    place = build.select_device(device)
    data, absent = _data_or_stand_in(experiment.data)
    shape = build.data_shape(data)
    cost = step_cost(experiment, shape)
    build.build_gan(experiment.adversarial)  # refuses a name that is none
    console = Console(soft_wrap=True, highlight=False, markup=False)
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
    rows, typical = measured_step(experiment, data, place)
    left = experiment.train.steps - done
    scaled = "" if rows == experiment.train.batch_size else f", measured on batches of {rows}"
    console.print(
        f"time: {typical * 1e3:,.0f} ms a step on {place} with {torch.get_num_threads()} threads"
        f"{scaled}, about {duration(typical * left)} for {left} steps"
    )
    return 0


def _data_or_stand_in(settings: Data) -> tuple[ImageSet | PointSet, str]:
    """The training data, or random images of their shape with the reason why they are not here."""
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


def measured_step(
    experiment: Experiment, data: ImageSet | PointSet, place: torch.device
) -> tuple[int, float]:
    """Rows tried, and seconds of a step, scaled up from what can be tried in a few seconds."""
    settings = experiment.train
    expected = step_cost(experiment, build.data_shape(data)).seconds(training_speed(place))
    rows = max(1, min(settings.batch_size, int(settings.batch_size * TRIAL_SECONDS / expected)))
    small = replace(experiment, train=replace(settings, batch_size=rows, steps=TRIAL_STEPS))
    state = build.build_state(small, build.data_shape(data), device=place)
    steps = build.training_loop(small, state, data, device=place, workers=Workers())
    ends = [time.perf_counter() for _ in steps]
    typical = statistics.median(b - a for a, b in pairwise(ends))
    return rows, typical * settings.batch_size / rows


def _levels_advice(data: ImageSet, schedule: Schedule) -> str:
    """Techniques 1 and 2 for these images."""
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


def duration(seconds: float) -> str:
    """Seconds in words, in the unit that a person would take."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:,.0f} days"


def use_threads(threads: int | None) -> None:
    """Set PyTorch's CPU threads; None leaves them alone."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    torch.set_num_threads(threads)
