"""Evaluation during training: a distance at chosen steps, and the best checkpoint kept.

`evaluations.jsonl` of the run gets a measurement for each such step. `best/` holds one checkpoint
and `selection.json`, which says among how many it was chosen: the best of twenty is luckier than
one. Checkpoints that tie with the smallest distance (`stats.verdict`) are told apart by their age:
the last of them is kept.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cascore.errors import InputError
from cascore.experiment.run_folder import BEST, CHECKPOINTS, SELECTION
from cascore.experiment.settings import Train
from cascore.files import aside_of, remove_folder, replaced_folder, write_text
from cascore.measurement import Measurement, Selection, measurement_from_plain, measurement_line
from cascore.plain import read_log, write_json
from cascore.stats import independent_difference, verdict
from cascore.training.checkpoint import Checkpoint, checkpoints

EVALUATIONS = "evaluations.jsonl"
FIRST_SEED = 2**62
"""Seed of the first sample that chooses a checkpoint; other evaluations count from 0."""

Measure = Callable[[int], Measurement]
"""Measures the run's checkpoint of a step; `evaluation.evaluate.checkpoint_measure` makes one."""


class PeriodicEvaluation:
    """Evaluates a run at the steps that its settings name, from its checkpoints alone.

    Args:
        settings: Of the run's training.
        folder: Of the run.
        measure: Measures a checkpoint.
        chooses: Whether the best is kept; not where held-out loss chooses, for there is one best.

    Raises:
        InputError: No `measure` for what the settings ask for.
    """

    def __init__(
        self, settings: Train, folder: Path, measure: Measure | None, *, chooses: bool = True
    ) -> None:
        if settings.evaluate_every and measure is None:
            raise InputError(
                "train.evaluate_every is set, but nobody measures: give training_run"
                " measure=checkpoint_measure(experiment, folder, device=device)"
            )
        self._every, self._folder, self._measure = settings.evaluate_every, folder, measure
        self._chooses = chooses

    def is_due(self, step: int) -> bool:
        """Whether a step is one of those to evaluate at."""
        return self._every > 0 and step % self._every == 0

    def is_missing(self, step: int) -> bool:
        """Whether the evaluation of a step is due and was not made, as after a power cut."""
        return self.is_due(step) and step not in map(_step, _read(self._folder))

    def evaluate_newest(self) -> Measurement:
        """Measure the newest checkpoint, note the number, and keep it if it is to be kept."""
        newest = checkpoints(self._folder / CHECKPOINTS)[-1]
        assert self._measure is not None  # something is due
        measurement = self._measure(newest.step)
        known = [known for known in _read(self._folder) if _step(known) != newest.step]
        # Noted last: who was killed before measures again and comes to the same best.
        if self._chooses:
            _keep_best(self._folder, [*known, measurement], newest)
        _write(self._folder, [*known, measurement])
        return measurement


def cut_evaluations(folder: Path, step: int, *, notify: Callable[[str], None]) -> None:
    """Drop the measurements of steps after the checkpoint that a run goes on from."""
    if (folder / EVALUATIONS).is_file():
        sound_lines(folder / EVALUATIONS, notify)
        _write(folder, [known for known in _read(folder) if _step(known) <= step])


def sound_lines(log: Path, notify: Callable[[str], None]) -> list[Any]:
    """What a log says, before it is written anew; it is kept beside if lines cannot be read."""
    values, damaged = read_log(log)
    if damaged:
        keep_aside(log, damaged, notify)
    return values


def keep_aside(log: Path, damaged: int, notify: Callable[[str], None]) -> None:
    """Copy a log before so many of its lines, which cannot be read, are left out, and say so."""
    aside = aside_of(log)
    shutil.copyfile(log, aside)
    lines = f"{damaged} lines" if damaged > 1 else "a line"
    notify(f"{log}: {lines} cannot be read and are left out; {aside.name} is what it was")


def _step(measurement: Measurement) -> int:
    if measurement.model is None:
        raise InputError("an evaluation of a run is of a model; this record is of files")
    return measurement.model.step


def _read(folder: Path) -> list[Measurement]:
    """The measurements so far."""
    path = folder / EVALUATIONS
    return [
        measurement_from_plain(values, f"{path}, measurement {number}")
        for number, values in enumerate(read_log(path).values, start=1)
    ]


def _write(folder: Path, measurements: list[Measurement]) -> None:
    write_text(folder / EVALUATIONS, "".join(map(measurement_line, measurements)))


def _keep_best(folder: Path, measurements: list[Measurement], newest: Checkpoint) -> None:
    conditions = _conditions(measurements[-1])
    candidates = [known for known in measurements if _conditions(known) == conditions]
    here = {x.step: x.folder for x in (newest, *checkpoints(folder / BEST))}
    best = _best(candidates)
    if _step(best) not in here:  # lost; a run may have gone on from an earlier checkpoint
        best = _best([known for known in candidates if _step(known) in here])
    value, step = best.estimate.mean, _step(best)
    selection = Selection(metric="frechet", value=value, step=step, candidates=len(candidates))
    keep_best(folder, selection, here[step])


def keep_best(folder: Path, selection: Selection, chosen: Path) -> None:
    """Copy a chosen checkpoint's folder to `best/` of a run, point to it, and drop the one before.

    In that order, so that a run that is killed in between has a best checkpoint that is whole.
    """
    target = folder / BEST / chosen.name
    _copy_folder(chosen, target)
    write_json(folder / BEST / SELECTION, selection)
    for checkpoint in checkpoints(folder / BEST):
        if checkpoint.step != selection.step:
            remove_folder(checkpoint.folder)


def restore_best(folder: Path, step: int) -> None:
    """Copy the best checkpoint of that step back among those that a run goes on from.

    Before later ones are set aside: who is killed between has a checkpoint of all that is kept.
    """
    for best in checkpoints(folder / BEST):
        if best.step == step:
            _copy_folder(best.folder, folder / CHECKPOINTS / best.folder.name)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to where there is none: the copy appears whole."""
    if not target.is_dir():
        with replaced_folder(target) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)


def _best(candidates: list[Measurement]) -> Measurement:
    """The last of those that tie with the least; as they come, it is the newest or stays.

    A later checkpoint is better where nothing else is known, and its number is less lucky than the
    least of many.
    """
    least = min(candidates, key=lambda known: known.estimate.mean)
    return next(
        known
        for known in reversed(candidates)
        if known is least
        or verdict(independent_difference(known.estimate, least.estimate)) == "tie"
    )


def _conditions(known: Measurement) -> tuple[object, ...]:
    """What evaluations of a run compare at; its settings may have changed in between."""
    return known.images.count, known.extractor, known.references, known.sampler
