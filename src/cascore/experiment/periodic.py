"""Evaluation during training: a Fréchet distance at chosen steps, and the best checkpoint kept.

`evaluations.jsonl` of the run gets a record for each such step. `best/` holds the checkpoint with
the smallest distance and `selection.json`, which says among how many it was chosen: the smallest of
twenty distances is luckier than one. The samples have seeds of their own (from FIRST_SEED), so that
a later evaluation of the chosen checkpoint does not repeat the luck that chose it.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cascore.errors import InputError
from cascore.evaluation.evaluate import Ready, evaluate, ready_for_model
from cascore.evaluation.question import Question
from cascore.experiment.run_folder import BEST, CHECKPOINTS, SELECTION
from cascore.experiment.settings import Experiment
from cascore.files import replaced_folder, write_text
from cascore.measurement import (
    Measurement,
    Selection,
    measurement_from_plain,
    measurement_line,
)
from cascore.model.loading import load_model
from cascore.plain import parse_json, write_json
from cascore.training.checkpoint import Checkpoint, checkpoints

__all__ = ["EVALUATIONS", "FIRST_SEED", "PeriodicEvaluation", "cut_evaluations"]

EVALUATIONS = "evaluations.jsonl"
FIRST_SEED = 2**62
"""Of the samples that choose a checkpoint; those of other evaluations count from 0."""


class PeriodicEvaluation:
    """Judges a run at the steps that its settings name; sees the real images once.

    The distance is that of the denoised samples to the training images, by the default sampler and
    extractor. Nothing of the training is touched: the weights are read from the checkpoint.

    Args:
        experiment: Of the run.
        folder: Of the run.
        device: Where to sample.
    """

    def __init__(self, experiment: Experiment, folder: Path, *, device: torch.device) -> None:
        self._settings = experiment.train
        self._folder, self._device = folder, device
        self._ready: Ready | None = None

    def is_due(self, step: int) -> bool:
        """Whether a step is one of those to evaluate at."""
        every = self._settings.evaluate_every
        return every > 0 and step % every == 0

    def is_missing(self, step: int) -> bool:
        """Whether the evaluation of a step is due and was not made, as after a power cut."""
        return self.is_due(step) and step not in [_step(each) for each in _read(self._folder)]

    def judge_newest(self) -> Measurement:
        """Judge the newest checkpoint, note its record, and keep it if it is the best so far."""
        newest = checkpoints(self._folder / CHECKPOINTS)[-1]
        question = Question(
            path=self._folder,
            metrics=("frechet",),
            checkpoint=str(newest.step),
            first_seed=FIRST_SEED,
            count=self._settings.evaluate_count,
        )
        if self._ready is None:
            model = load_model(self._folder, device=self._device)
            self._ready = ready_for_model(question, model, device=self._device)
        answer = evaluate(
            question,
            device=self._device,
            counting=_silently,
            command="cascore train, evaluate_every",
            ready=self._ready,
        )
        record = next(each for each in answer.records if _decides(each))
        known = [each for each in _read(self._folder) if _step(each) != newest.step]
        _write(self._folder, [*known, record])
        _keep_best(self._folder, [*known, record], newest)
        return record


def cut_evaluations(folder: Path, step: int) -> None:
    """Drop the records of steps after the checkpoint that a run goes on from."""
    if (folder / EVALUATIONS).is_file():
        _write(folder, [each for each in _read(folder) if _step(each) <= step])


def _decides(record: Measurement) -> bool:
    return record.images.form == "denoised" and record.references[0].split == "train"


def _step(record: Measurement) -> int:
    if record.model is None:
        raise InputError("an evaluation of a run is of a model; this record is of files")
    return record.model.step


@contextmanager
def _silently(title: str, total: int) -> Iterator[Callable[[int], None]]:
    del title, total
    yield lambda more: None


def _read(folder: Path) -> list[Measurement]:
    """The records so far; a line that a killed process left unfinished ends them."""
    path = folder / EVALUATIONS
    records: list[Measurement] = []
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                values = parse_json(line, str(path))
            except InputError:
                break
            records.append(measurement_from_plain(values, f"{path}, line {number}"))
    return records


def _write(folder: Path, records: list[Measurement]) -> None:
    lines = [measurement_line(each) for each in records]
    write_text(folder / EVALUATIONS, "".join(lines))


def _keep_best(folder: Path, records: list[Measurement], newest: Checkpoint) -> None:
    """First the checkpoint, then the file that points to it, then the old one goes."""
    place = folder / BEST
    candidates = [each for each in records if _comparable(each, records[-1])]
    best = min(candidates, key=_value)
    target = place / newest.folder.name
    if _step(best) == newest.step and not target.is_dir():
        with replaced_folder(target) as temporary:
            shutil.copytree(newest.folder, temporary, dirs_exist_ok=True)
    selection = Selection(
        metric="frechet", value=_value(best), step=_step(best), candidates=len(candidates)
    )
    write_json(place / SELECTION, selection)
    for each in checkpoints(place):
        if each.step != selection.step:
            shutil.rmtree(each.folder)


def _comparable(a: Measurement, b: Measurement) -> bool:
    """Whether two evaluations of a run asked the same; its settings may have changed in between."""
    return (a.images.count, a.extractor, a.references, a.sampler) == (
        b.images.count, b.extractor, b.references, b.sampler,
    )  # fmt: skip


def _value(record: Measurement) -> float:
    assert record.value is not None  # a Fréchet distance is finite
    return record.value
