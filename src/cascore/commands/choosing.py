"""`cascore train folder:PATH`: everything that is not given is chosen, with the reason in words."""

import math
from dataclasses import replace
from pathlib import Path

from cascore.commands.training import use_threads
from cascore.console import Display
from cascore.datasets import ImageSet
from cascore.datasets.survey import survey_folder
from cascore.errors import InputError
from cascore.experiments import build
from cascore.experiments.choose import choose_levels, choose_network
from cascore.experiments.config import Experiment
from cascore.experiments.cost import step_cost, training_speed
from cascore.experiments.run_folder import is_run, read_experiment
from cascore.schedule import level_count

__all__ = ["choose", "fit_rest"]


def choose(
    given: Experiment, out: Path, *, minutes: float, device: str, threads: int | None
) -> Experiment:
    """An experiment for the folder that the data settings name; a run in `out` goes on as it is."""
    display = Display()
    use_threads(threads)
    if is_run(out):
        display.say(f"{out} holds a run: it goes on with its settings")
        return read_experiment(out)
    path = Path(given.data.name.removeprefix("folder:"))
    speed = training_speed(build.select_device(device))
    choice = choose_network(given.data, survey_folder(path), minutes=minutes, speed=speed)
    images = build.load_data(choice.experiment.data, "train")
    assert isinstance(images, ImageSet)
    if images.count < 2:
        raise InputError(f"{path} has {images.count} image to train on; expected at least 2")
    with display.counting("largest distance", images.count) as advance:
        schedule, reason = choose_levels(images, progress=advance)
    for each in (*choice.reasons, reason, "every choice can be given instead: --help lists them"):
        display.say(f"chosen: {each}")
    return replace(choice.experiment, name=f"folder-{path.name}", schedule=schedule)


def fit_rest(
    experiment: Experiment, chosen: Experiment, *, minutes: float, device: str
) -> Experiment:
    """Let what was not given follow what was: levels a sigma_1, the number of steps a network."""
    if experiment == chosen:
        return experiment
    shape = build.data_shape(build.load_data(experiment.data, "train"))
    schedule, settings = experiment.schedule, experiment.train
    if schedule != chosen.schedule and schedule.levels == chosen.schedule.levels:
        levels = level_count(math.prod(shape), schedule.first, schedule.last)
        schedule = replace(schedule, levels=levels)
    if settings.steps == chosen.train.steps and _work(experiment) != _work(chosen):
        seconds = step_cost(experiment, shape).seconds(training_speed(build.select_device(device)))
        settings = replace(settings, steps=max(1, int(60 * minutes / seconds)))
    return replace(experiment, schedule=schedule, train=settings)


def _work(experiment: Experiment) -> tuple[object, ...]:
    """What the time of a step depends on, the data apart."""
    settings = experiment.train
    return experiment.network, experiment.adversarial, settings.batch_size, settings.objective
