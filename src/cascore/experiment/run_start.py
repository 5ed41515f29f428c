"""The start of a run: its folder is made whole or gone on with, by one training at a time."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from cascore.errors import InputError
from cascore.experiment.fine_tuning import Begun, write_base
from cascore.experiment.looks import LOOKS, SAMPLES, cut_looks
from cascore.experiment.page import PAGE
from cascore.experiment.periodic import EVALUATIONS, cut_evaluations, keep_aside
from cascore.experiment.run_folder import (
    BEST,
    CHECKPOINTS,
    DATA,
    EXPERIMENT,
    METRICS,
    VARIANCES,
    VARIANCES_DIGEST,
    is_run,
    read_experiment,
)
from cascore.experiment.settings import Experiment
from cascore.files import is_leftover, remove_folder, remove_leftovers, replaced_folder, set_aside
from cascore.locks import one_writer
from cascore.plain import last_line, log_from_end, write_json
from cascore.training import Workers, held_by_first
from cascore.training.checkpoint import checkpoints
from cascore.training.logs import LOG_FOLDERS

_OF_A_START = {
    *(EXPERIMENT, DATA, METRICS, EVALUATIONS, CHECKPOINTS),
    *LOG_FOLDERS,
    *(VARIANCES, VARIANCES_DIGEST),
    *(LOOKS, SAMPLES, PAGE),
}
_FIRST_SHEET = "step-00000000.png"  # the only look before the first checkpoint


def one_training(
    folder: Path, workers: Workers, *, device: torch.device
) -> AbstractContextManager[None]:
    """Hold the lock of a run: the first process does so for all, and if it cannot, all refuse."""
    lock = one_writer(folder, "training")
    return held_by_first(lock, workers, what=folder, device=device)


def is_unfinished(folder: Path) -> bool:
    """Whether all that a folder holds is the start of a run that came to no checkpoint."""
    if not (folder / CHECKPOINTS).is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not is_leftover(path)}
    return names <= _OF_A_START and all(map(is_leftover, (folder / CHECKPOINTS).iterdir()))


def _require_no_later(folder: Path) -> None:
    """Refuse a run that had checkpoints: its log and the pictures of it are worth something.

    A killed start may have logged updates too, but none beyond the first that is saved.
    """
    later = [
        path
        for path in folder.glob(f"{SAMPLES}/*")
        if path.name != _FIRST_SHEET and not is_leftover(path)
    ]
    line = last_line(folder / METRICS)
    step = line.get("step") if isinstance(line, dict) else None
    if is_run(folder) and type(step) is int and step > read_experiment(folder).train.save_every:
        later.append(folder / METRICS)
    if later:
        raise InputError(
            f"{folder} has no checkpoint any more, but {later[0]} is of a run that had some: choose"
            f" another folder, or delete {folder} first"
        )


def start_run(
    folder: Path,
    experiment: Experiment,
    data: Mapping[str, Any],
    *,
    begun: Begun | None,
    processes: int,
    notify: Callable[[str], None],
) -> None:
    """Make a run's folder, whole, where there is none that goes on.

    One that has begun with the weights of another model holds them as the checkpoint of step 0. The
    start of a run without a checkpoint is taken over, and what killed writers left is removed: only
    for who holds the lock.

    Raises:
        InputError: There is a run without a checkpoint that is no start: they were cleared away.
    """
    if not any(checkpoints(folder / inner) for inner in (CHECKPOINTS, BEST)):
        _require_no_later(folder)
    if is_unfinished(folder):
        notify(f"{folder} holds the start of a run without a checkpoint: it is taken over")
        for inner in (folder, folder / CHECKPOINTS):
            remove_leftovers(inner)
        # Last the mark by which an interrupted removal is known for what it is.
        for name in sorted(_OF_A_START - {CHECKPOINTS}):
            if (folder / name).is_dir():
                remove_folder(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        (folder / CHECKPOINTS).rmdir()
    if is_run(folder):
        for inner in (folder, folder / CHECKPOINTS, folder / BEST):
            remove_leftovers(inner)
        return
    with replaced_folder(folder) as temporary:
        (temporary / CHECKPOINTS).mkdir()
        write_json(temporary / EXPERIMENT, experiment)
        write_json(temporary / DATA, data)
        (temporary / METRICS).touch()
        if begun is not None:
            write_base(temporary, begun, processes=processes)


def cut_back(folder: Path, step: int, *, notify: Callable[[str], None]) -> None:
    """Bring a run back to a step: what is later in its logs is dropped, checkpoints are set aside.

    A log of metrics that ends before the step is told of.
    """
    for checkpoint in checkpoints(folder / CHECKPOINTS):
        if checkpoint.step > step:
            notify(f"{checkpoint.folder} is set aside as {set_aside(checkpoint.folder).name}")
    cut_metrics(folder / METRICS, step, notify=notify)
    cut_evaluations(folder, step, notify=notify)
    cut_looks(folder, step, notify=notify)


def cut_metrics(path: Path, step: int, *, notify: Callable[[str], None]) -> None:
    """Drop what follows the last line of a step or of one before it: only that much is read.

    A long run has millions of lines. Damage further up stays where it is, as who reads all of them
    passes over it.
    """
    end = last = damaged = 0
    for number, line in enumerate(log_from_end(path)):
        logged = line.value.get("step") if isinstance(line.value, dict) else None
        if type(logged) is int and 0 < logged <= step:
            end, last = line.end, logged
            break
        damaged += line.value is None and number > 0  # the last one may be unfinished
    if damaged:
        keep_aside(path, damaged, notify)
    if missing := step - last:
        notify(
            f"{path} does not reach to the checkpoint: {missing:,} of {step:,} updates are missing"
            " at its end; the weights do not need them"
        )
    with path.open("a+b") as log:  # which makes one that is missing
        log.truncate(end)
        log.seek(max(0, end - 1))
        if log.read(1) not in (b"", b"\n"):
            log.write(b"\n")
