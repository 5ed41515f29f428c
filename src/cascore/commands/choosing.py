"""`cascore train folder:PATH`: everything that is not given is chosen, with the reason in words."""

import math
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from cascore.commands.training import measured_step, use_threads
from cascore.data import ImageSet
from cascore.data.survey import survey_folder
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.choose import LEAST_STEPS, choose_levels, choose_network
from cascore.experiment.cost import training_speed
from cascore.experiment.run_folder import is_run, read_experiment
from cascore.experiment.settings import Experiment
from cascore.progress import Display
from cascore.schedule import level_count

__all__ = ["choose", "fit_rest"]


def choose(
    given: Experiment, out: Path, *, minutes: float, device: str, threads: int | None
) -> Experiment:
    """An experiment for the folder that the data settings name; a run in `out` goes on as it is.

    Raises:
        InputError: a run of another folder in `out`, several processes that would each choose, or
            a folder that cannot be trained on.
    """
    display = Display()
    use_threads(threads)
    path = Path(given.data.name.removeprefix("folder:"))
    if is_run(out):
        found = read_experiment(out)
        _require_same_folder(found, path, out)
        display.say(
            f"{out} holds a run: it goes on with its settings, {found.train.steps} steps;"
            " --train.steps makes it longer"
        )
        return found
    if dist.is_torchelastic_launched():
        raise InputError(
            "several processes measure different speeds and would choose differently: start this"
            f" command once without torchrun (--out {out}), stop it, and let torchrun go on with it"
        )
    place = build.select_device(device)
    survey = survey_folder(path)
    choice = choose_network(given.data, survey, minutes=minutes, speed=training_speed(place))
    images = build.load_data(choice.experiment.data, "train")
    assert isinstance(images, ImageSet)
    if images.count < 2:
        raise InputError(f"{path} has {images.count} image to train on; expected at least 2")
    with display.counting("largest distance", images.count) as advance:
        schedule, levels = choose_levels(images, progress=advance)
    chosen = replace(choice.experiment, name=f"folder-{path.resolve().name}", schedule=schedule)
    chosen, length = _fitted(chosen, images, place, minutes=minutes)
    given_instead = "every choice can be given instead: --help lists them"
    for each in (*choice.reasons, levels, length, given_instead):
        display.say(f"chosen: {each}")
    return chosen


def _require_same_folder(found: Experiment, path: Path, out: Path) -> None:
    trained = found.data.name
    if Path(trained.removeprefix("folder:")).resolve() != path.resolve():
        raise InputError(
            f"{out} holds a run on {trained}, not on folder:{path}: choose another folder for the"
            " run with --out"
        )


def _fitted(
    experiment: Experiment, images: ImageSet, place: torch.device, *, minutes: float
) -> tuple[Experiment, str]:
    """As many steps as fit the minutes, by steps that were tried; and the reason in words."""
    _, seconds = measured_step(experiment, images, place)
    steps = max(1, int(60 * minutes / seconds))
    settings = replace(experiment.train, steps=steps, save_every=max(1, min(500, steps // 4)))
    short = "" if steps >= LEAST_STEPS else ", which is short: the pictures will be rough"
    reason = f"{steps} steps of {settings.batch_size}: a step takes {1000 * seconds:,.0f} ms here"
    return replace(experiment, train=settings), f"{reason}{short}"


def fit_rest(
    experiment: Experiment, chosen: Experiment, *, minutes: float, device: str
) -> Experiment:
    """Let what was not given follow what was: levels a sigma_1, the number of steps a network."""
    if experiment == chosen:
        return experiment
    images = build.load_data(experiment.data, "train")
    assert isinstance(images, ImageSet)
    schedule = experiment.schedule
    if schedule != chosen.schedule and schedule.levels == chosen.schedule.levels:
        levels = level_count(math.prod(images.shape), schedule.first, schedule.last)
        experiment = replace(experiment, schedule=replace(schedule, levels=levels))
    if experiment.train.steps == chosen.train.steps and _work(experiment) != _work(chosen):
        place = build.select_device(device)
        experiment, reason = _fitted(experiment, images, place, minutes=minutes)
        Display().say(f"chosen: {reason}")
    return experiment


def _work(experiment: Experiment) -> tuple[object, ...]:
    """What the time of a step depends on, the data apart."""
    settings = experiment.train
    return experiment.network, experiment.adversarial, settings.batch_size, settings.objective
