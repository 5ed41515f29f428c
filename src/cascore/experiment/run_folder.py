"""What a run's folder holds, read: settings, data, checkpoints, and the best of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.experiment.settings import Experiment
from cascore.files import file_digest, replaced_file, write_text
from cascore.foreign import parsing, read_npy
from cascore.measurement import Selection
from cascore.plain import from_plain, read_json
from cascore.training.checkpoint import Checkpoint, checkpoints, read_newest

EXPERIMENT, DATA, METRICS = "experiment.json", "data.json", "metrics.jsonl"
VARIANCES = "variances.npy"
"""Of the training data along their principal axes, in the folder of a run and in a model folder."""
VARIANCES_DIGEST = f"{VARIANCES}.sha256"
"""Of that file, as `sha256sum` writes and checks it."""
CHECKPOINTS, BEST = "checkpoints", "best"
"""Folders within a run: of its checkpoints, and of the one that an evaluation chose."""
HELD_OUT_LOSS = "held-out loss"
"""The metric of a selection by the error on pictures kept apart."""
SELECTION = "selection.json"
"""Within BEST: which checkpoint it is, and among how many it was chosen."""

_Kind = TypeVar("_Kind")


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, begun or done."""
    return (folder / EXPERIMENT).is_file()


def read_experiment(folder: Path) -> Experiment:
    """The settings of a run."""
    if not is_run(folder):
        raise InputError(f"{folder} is not a run of cascore train: there is no {EXPERIMENT}")
    path = folder / EXPERIMENT
    return from_plain(Experiment, read_json(path), str(path))


def read_data(folder: Path) -> Mapping[str, Any]:
    """What a run was trained on: name, shape of a datum, count, digest, record.

    Raises:
        InputError: a record that is missing, damaged, or without a shape.
    """
    path = folder / DATA
    data = read_json(path)
    shape = data.get("shape") if isinstance(data, dict) else None
    if not (isinstance(shape, list) and shape and all(type(n) is int and n > 0 for n in shape)):
        raise InputError(f"{path} does not hold the shape of a datum: {shape!r}")
    checked: Mapping[str, Any] = data
    return checked


def write_variances(variances: Tensor, folder: Path) -> None:
    """Write float32 [D] into a folder, whole or not at all, and then its digest beside it."""
    path = folder / VARIANCES
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, variances.float().numpy(), allow_pickle=False)
    write_text(folder / VARIANCES_DIGEST, f"{file_digest(path)}  {VARIANCES}\n")


def read_variances(folder: Path) -> Tensor | None:
    """The variances of what a model was trained on; None where its folder holds none.

    Of cascore before 0.4 there is no digest beside them: they are read unverified.

    Raises:
        InputError: a file that does not hold them, or not as they were written.
    """
    path, noted = folder / VARIANCES, folder / VARIANCES_DIGEST
    if not path.is_file():
        return None
    advice = f"delete {path} and {noted.name}: a training writes them anew"
    with parsing(path, "variances", advice), path.open("rb") as file:
        values = read_npy(file, most=path.stat().st_size)
    if values.dtype != np.float32 or values.ndim != 1:
        raise InputError(f"{path} holds no variances, which are float32 [D]: {advice}")
    if noted.is_file():
        with parsing(noted, "a digest", advice):
            written = noted.read_text(encoding="ascii").split()[0]
        if (digest := file_digest(path)) != written:
            raise InputError(
                f"{path} is not what was written: its SHA-256 is {digest[:16]}..., not"
                f" {written[:16]}...; {advice}"
            )
    return torch.from_numpy(values.copy())  # which can be written to


def read_checkpoint(
    folder: Path, name: str, read: Callable[[Checkpoint], _Kind], notify: Callable[[str], None]
) -> tuple[Checkpoint, _Kind, Selection | None]:
    """A checkpoint of a run, what `read` makes of it, and how it was selected if it was.

    Args:
        folder: The run.
        name: newest (that is whole), best, a step, or auto: the best where it was chosen by the
            error on held-out pictures, which favours none, else the newest.
        read: Reads a checkpoint, or refuses it (InputError).
        notify: Told of newer checkpoints that were passed over, and why.

    Raises:
        InputError: There is none, no such one, or none that is whole.
    """
    if name == "auto":
        chosen = read_selection(folder)
        name = "best" if chosen is not None and chosen.metric == HELD_OUT_LOSS else "newest"
    if name == "newest":
        newest = read_newest(folder / CHECKPOINTS, read, notify)
        if newest is None:
            raise InputError(f"{folder} has no checkpoint yet: train it first")
        return *newest, None
    checkpoint, selection = _named_checkpoint(folder, name)
    return checkpoint, read(checkpoint), selection


def _named_checkpoint(folder: Path, name: str) -> tuple[Checkpoint, Selection | None]:
    saved = {str(checkpoint.step): checkpoint for checkpoint in checkpoints(folder / CHECKPOINTS)}
    if name in saved:
        return saved[name], None
    selection = read_selection(folder)
    if name == "best" and selection is None:
        raise InputError(
            f"{folder} has no best checkpoint: none was evaluated during training"
            " (--train.evaluate-every)"
        )
    # The best may be kept there alone, and a record of it knows its step.
    if selection is None or name not in ("best", str(selection.step)):
        raise InputError(
            f"{folder} has no checkpoint {name!r}; expected newest, best, or one of the steps"
            f" {', '.join(saved) or '(none yet)'}"
        )
    for checkpoint in checkpoints(folder / BEST):
        if checkpoint.step == selection.step:
            return checkpoint, selection
    raise InputError(f"{folder / BEST} does not hold step {selection.step}, which was best")


def read_selection(folder: Path) -> Selection | None:
    """How a run's best checkpoint was chosen; None before the first evaluation."""
    path = folder / BEST / SELECTION
    return from_plain(Selection, read_json(path), str(path)) if path.is_file() else None
