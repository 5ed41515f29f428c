"""A run: a folder with `experiment.json`, `metrics.jsonl` and `checkpoints/`; it resumes itself."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from cascore.data import ImageSet, PointSet
from cascore.data.spectrum import principal_variances
from cascore.errors import EvaluationStopped, InputError
from cascore.experiment import build
from cascore.experiment.fine_tuning import BASE, Base, begin_from, read_base, require_same_base
from cascore.experiment.periodic import Measure, PeriodicEvaluation, restore_best
from cascore.experiment.run_folder import (
    BEST,
    CHECKPOINTS,
    DATA,
    EXPERIMENT,
    METRICS,
    VARIANCES_DIGEST,
    is_run,
    read_checkpoint,
    read_data,
    read_experiment,
    write_variances,
)
from cascore.experiment.run_start import cut_back, is_unfinished, one_training, start_run
from cascore.experiment.settings import Experiment, Train
from cascore.experiment.timed import Course, TimedRun, last_rate
from cascore.measurement import Measurement
from cascore.plain import json_line, write_json
from cascore.preprocessing import is_folder
from cascore.training import Metrics, Pace, TrainingDivergedError, TrainState, Workers
from cascore.training.checkpoint import (
    checkpoints,
    load_checkpoint,
    prune_checkpoints,
    read_newest,
    read_record,
    save_checkpoint,
    unverified,
    verified_record,
    whole_tensors,
)
from cascore.training.loop import Backlog

ALONE = Workers()
_QUICK_AXES, _SHORT = 1024, 5.0  # numbers of a datum: axes of more take seconds, of short minutes


def training_run(
    experiment: Experiment,
    folder: Path,
    *,
    device: torch.device,
    data: ImageSet | PointSet | None = None,
    held_out: ImageSet | None = None,
    workers: Workers = ALONE,
    should_stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = lambda message: None,
    measure: Measure | None = None,
    checkpoint: str = "newest",
    base: Base | None = None,
    started: float | None = None,
) -> Iterator[Metrics]:
    """Prepare a run's folder or go on with it; then train, saving on the way, as it is iterated.

    Args:
        experiment: Settings of the run.
        folder: Folder of the run; made if absent.
        device: Where to train.
        data: The training data of the experiment, where they are loaded already.
        held_out: Where they are: the images that are kept apart, for a training by the clock.
        workers: Who else trains; rank 0 alone writes.
        should_stop: Asked between steps; if true, the run is saved and left.
        notify: Told in words what a person should know: resumed from where, what differs.
        measure: Measures a checkpoint where `train.evaluate_every` asks for that.
        checkpoint: Which to go on from: newest (that is whole), best, or a step; later ones are set
            aside.
        base: The model whose weights a new run begins with, which its folder then holds; of a run
            that goes on it must be the same, or None.
        started: When the time of a training by the clock began, by `time.monotonic`; now by
            default.

    Returns:
        An iterator that trains a step each time, and gives its metrics. No other training can have
        the folder until it ends.

    Raises:
        InputError: settings that cannot be, another experiment, base or training in the folder, no
            checkpoint that is whole, or a loss that is not finite.
    """
    _require_shareable(experiment, workers)
    with ExitStack() as held:
        held.enter_context(one_training(folder, workers, device=device))
        pace = _pace(experiment, workers, device, started)
        if data is None and pace is not None:
            splits = build.load_data_splits(experiment.data)
            data, held_out = splits["train"], splits.get("test")
        data = build.load_data(experiment.data, "train") if data is None else data
        if experiment.train.evaluate_every and not isinstance(data, ImageSet):
            raise InputError("--train.evaluate-every is for images; these data are points")
        by_loss = pace is not None and held_out is not None
        evaluation = PeriodicEvaluation(experiment.train, folder, measure, chooses=not by_loss)
        subject = build.Subject.of(data, experiment.network)
        # What is to be shared among devices may be too large for one.
        built_on = torch.device("cpu") if workers.sharded else device
        state = build.build_state(experiment, subject, device=built_on)
        rate = None if pace is None else pace.rate
        steps = build.training_loop(
            experiment, state, data, device=device, workers=workers, rate=rate
        )
        # Every process looks for itself, so that all of them refuse together; then one writes.
        described = _described(data, subject)
        new = _require_fitting(folder, experiment, described, base)
        begun = None
        if new and base is not None:
            begun = begin_from(base, state, subject, experiment.network)
        workers.barrier()
        if workers.rank == 0:
            count = workers.count
            start_run(folder, experiment, described, begun=begun, processes=count, notify=notify)
        workers.barrier()
        own = build.remarks_of_training(experiment.train, device)
        for remark in (*(begun.record.remarks if begun else ()), *data.record.remarks, *own):
            notify(remark)
        if workers.sharded:
            state.shard(workers, device=device)
        before = _resume(state, folder, checkpoint, workers, notify)
        if state.step > experiment.train.steps:
            raise InputError(
                f"{folder} is at step {state.step} already, beyond the {experiment.train.steps}"
                " steps asked for: ask for more, or choose another folder"
            )
        workers.barrier()
        if workers.rank == 0:
            _bring_up_to_date(folder, experiment, data, described, state.step, notify)
        workers.barrier()  # now all read the same last rate
        course = Course(experiment.train.steps, before)
        if pace is not None and isinstance(data, ImageSet):
            rate_before = last_rate(folder, experiment.train.learning_rate)
            pace.go_on(seconds=before or 0.0, rate=rate_before)
            course = TimedRun(
                experiment, folder, pace=pace, train=data, held_out=held_out, notify=notify
            )
        whole = _saved(
            *(steps, state, experiment.train, folder, workers, should_stop, notify, evaluation),
            course,
        )
        return _with_advice(whole, folder, held.pop_all())


def _require_shareable(experiment: Experiment, workers: Workers) -> None:
    settings = experiment.train
    rows = len(workers.rows(settings.batch_size))
    if rows % settings.accumulation:
        raise InputError(
            f"each of {workers.count} processes has {rows} rows of --train.batch-size"
            f" {settings.batch_size}, and --train.accumulation {settings.accumulation} must divide"
            " them"
        )
    if workers.sharded and experiment.minutes:
        raise InputError(
            "a training by the clock is looked at by one process, which then must have the whole"
            " network: with --parallel fsdp give --train.steps, not --minutes"
        )


def _described(data: ImageSet | PointSet, subject: build.Subject) -> dict[str, Any]:
    """What a run says of its training data."""
    return {
        "name": data.name,
        **{name: value for name, value in asdict(subject).items() if value is not None},
        "shape": list(data.shape),
        "count": data.count,
        "digest": data.digest,
        "record": asdict(data.record),
    }


def _bring_up_to_date(
    folder: Path,
    experiment: Experiment,
    data: ImageSet | PointSet,
    described: Mapping[str, Any],
    step: int,
    notify: Callable[[str], None],
) -> None:
    """Write what a run's folder holds beside its updates, and drop what is later than its step."""
    restore_best(folder, step)
    cut_back(folder, step, notify=notify)
    saved = checkpoints(folder / CHECKPOINTS)
    if saved and saved[-1].step == step:  # a kill may have come before it
        _prune(folder, experiment.train)
    write_json(folder / EXPERIMENT, experiment)  # which may be longer
    write_json(folder / DATA, described)
    if not (folder / VARIANCES_DIGEST).exists():
        hurried = 0 < experiment.minutes < _SHORT and math.prod(data.shape) > _QUICK_AXES
        variances = None if hurried else principal_variances(data)
        if variances is not None:
            write_variances(variances, folder)


def _pace(
    experiment: Experiment, workers: Workers, device: torch.device, started: float | None
) -> Pace | None:
    """The clock of a training by the clock."""
    settings, seconds = experiment.train, 60 * experiment.minutes
    if not seconds:
        return None
    return Pace(
        seconds,
        steps=settings.steps,
        warmup=settings.warmup,
        workers=workers,
        device=device,
        started=started,
    )


def _resume(
    state: TrainState, folder: Path, name: str, workers: Workers, notify: Callable[[str], None]
) -> float | None:
    """Bring the state to a checkpoint, if there is one; the seconds trained before, where known."""
    if name == "newest" and not checkpoints(folder / CHECKPOINTS):
        if (base := read_base(folder)) is not None:
            raise InputError(
                f"{folder} began with the weights of {base.words}, which no checkpoint holds any"
                f" more: restore one, or delete {folder / BASE} and give --from again"
            )
        if best := checkpoints(folder / BEST):
            raise InputError(
                f"{folder} has no checkpoint but its best, {best[-1].folder}: go on from it with"
                " --checkpoint best, or choose another folder"
            )
        return 0.0
    checkpoint, differences, _ = read_checkpoint(
        folder, name, partial(load_checkpoint, state, processes=workers.count), notify
    )
    if checkpoint.step:
        notify(f"resumed from {checkpoint.folder}")
    if checkpoint.step and differences:
        notify(f"not bit for bit the uninterrupted run: {'; '.join(differences)}")
    record = read_record(checkpoint)
    if record.digest is None:
        notify(unverified(checkpoint))
    return record.seconds


def _with_advice(metrics: Iterator[Metrics], folder: Path, held: ExitStack) -> Iterator[Metrics]:
    """Say what there is where training diverges; at the end the folder is free for others."""
    with held:
        try:
            yield from metrics
        except TrainingDivergedError as error:
            raise TrainingDivergedError(f"{error}; {_remaining(folder)}") from None


def _remaining(folder: Path) -> str:
    """What a run that diverged has, in words. A whole checkpoint need not be a good one."""
    try:
        newest = read_newest(folder / CHECKPOINTS, verified_record, lambda message: None)
    except InputError as error:
        return str(error)
    if newest is None:
        return "nothing was saved: try a lower learning rate, which may have the same folder"
    return (
        f"the newest whole checkpoint is {newest[0].folder}; the run would diverge from it again,"
        " so try another one with a lower learning rate"
    )


def _saved(
    steps: Iterator[Metrics],
    state: TrainState,
    settings: Train,
    folder: Path,
    workers: Workers,
    should_stop: Callable[[], bool],
    notify: Callable[[str], None],
    evaluation: PeriodicEvaluation,
    course: Course,
) -> Iterator[Metrics]:
    lead, device = workers.rank == 0, next(state.denoiser.parameters()).device

    def agreed(here: bool) -> bool:
        """Whether it is so for any process, so that all of them stop after the same step."""
        if workers.count == 1:
            return here
        return bool(workers.mean(torch.tensor(float(here), device=device)) > 0)

    def stopped() -> bool:
        """Measure the newest checkpoint, and whether that was asked to stop."""
        return agreed(lead and not _measured(evaluation, state.step, notify))

    share = course.share(state.step)
    left_off = state.step > 0 and evaluation.is_due(state.step) and stopped()
    if left_off or agreed(lead and not course.begin(state, share=share)):
        return
    stopping = risen = False
    with (folder / METRICS).open("a" if lead else "r", encoding="utf-8") as file:
        log = _Log(file if lead else None)
        for metrics in steps:
            log.add(metrics)
            share, due = course.share(state.step), evaluation.is_due(state.step)
            # Several GPUs wait for each other to agree.
            asking = workers.count == 1 or metrics.settled or share >= 1
            stopping = asking and agreed(should_stop())
            looking = asking and not stopping and agreed(lead and course.is_due(share))
            if stopping or share >= 1 or due or looking or state.step % settings.save_every == 0:
                tensors = whole_tensors(state, keep=lead)  # by all, so that all stop at a NaN
                log.keep()
                if lead:
                    _save(state, folder, settings, workers, course.spent, tensors)
            stopping = (due and stopped()) or stopping
            risen = looking and agreed(lead and course.look(state, share=share))
            yield metrics
            if stopping or risen or share >= 1:
                break
    if lead and not stopping:
        course.end()
    workers.barrier()  # nobody looks for the last checkpoint before it is there


class _Log:
    """The lines of `metrics.jsonl`, of which a process that writes nothing has no file."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._backlog = Backlog()

    def add(self, metrics: Metrics) -> None:
        """Note an update, and write what can be read without holding up the next."""
        self._write(self._backlog.readable(metrics))

    def keep(self) -> None:
        """Bring all lines to the disk: a checkpoint counts on those up to it."""
        self._write(self._backlog.rest())
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write(self, updates: Sequence[Metrics]) -> None:
        if self._file is not None:
            for metrics in updates:
                self._file.write(json_line({"step": metrics.step} | metrics.numbers))


def _save(
    state: TrainState,
    folder: Path,
    settings: Train,
    workers: Workers,
    seconds: float | None,
    tensors: Mapping[str, Tensor],
) -> None:
    saved, count = folder / CHECKPOINTS, workers.count
    save_checkpoint(state, saved, processes=count, seconds=seconds, tensors=tensors)
    _prune(folder, settings)


def _prune(folder: Path, settings: Train) -> None:
    """Delete the checkpoints that the settings do not keep."""
    kept = folder / CHECKPOINTS
    prune_checkpoints(kept, keep_last=settings.keep_last, keep_every=settings.keep_every)


def _measured(evaluation: PeriodicEvaluation, step: int, notify: Callable[[str], None]) -> bool:
    """Make the evaluation of a step unless it was made; False if it is stopped, for a later run."""
    try:
        if evaluation.is_missing(step):
            notify(_summary(evaluation.evaluate_newest()))
    except EvaluationStopped:
        return False
    return True


def _summary(record: Measurement) -> str:
    step = None if record.model is None else record.model.step
    return f"step {step}: Fréchet distance {record.value:.4g} ± {record.error:.2g}"


def _require_fitting(
    folder: Path, experiment: Experiment, data: Mapping[str, Any], base: Base | None
) -> bool:
    """Whether a run is new; one of another experiment, data or base, or further, is refused."""
    if is_unfinished(folder):
        return True
    if is_run(folder):
        _require_same(read_experiment(folder), experiment, folder)
        require_same_base(folder, base)
        stored = read_data(folder)
        if stored.get("digest") != data["digest"]:
            raise InputError(
                f"{folder} was trained on other data: {stored.get('count')} items of"
                f" {stored.get('name')} with digest {str(stored.get('digest'))[:16]}, now"
                f" {data['count']} of {data['name']} with {data['digest'][:16]}; restore them, or"
                " choose another folder for the run with --out"
            )
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty and holds no run: choose another folder")
    return True


def freed(stored: Experiment, given: Experiment) -> Experiment:
    """`stored` with those settings of `given` that a run may change when it resumes.

    Where the data are is one of them: their digest says what they are.
    """
    names = (setting.name for setting in fields(Train) if setting.metadata.get("free_on_resume"))
    free = {name: getattr(given.train, name) for name in names}
    data = replace(stored.data, root=given.data.root)
    if is_folder(data.name) and is_folder(given.data.name):
        data = replace(data, name=given.data.name)
    train, minutes = replace(stored.train, **free), stored.minutes and given.minutes
    return replace(stored, data=data, train=train, minutes=minutes or stored.minutes)


def _require_same(stored: Experiment, given: Experiment, folder: Path) -> None:
    """A run may be made longer and saved at other steps, but not be turned into another."""
    stored = freed(stored, given)
    if stored == given:
        return
    changes = [
        f"{part.name}.{name} was {value} and is {getattr(getattr(given, part.name), name)}"
        for part in fields(Experiment)
        if is_dataclass(getattr(stored, part.name))
        for name, value in vars(getattr(stored, part.name)).items()
        if value != getattr(getattr(given, part.name), name)
    ]
    if bool(stored.minutes) != bool(given.minutes):
        changes.append(f"minutes was {stored.minutes:g} and is {given.minutes:g}")
    what = "; ".join(changes) or f"its name was {stored.name} and is {given.name}"
    raise InputError(f"{folder} holds another experiment ({what}): choose another folder")
