"""Checkpoints: a folder per step with `state.safetensors` and `state.json`, written atomically."""

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cascore.errors import InputError
from cascore.files import give_usual_mode, replaced_folder
from cascore.plain import read_json, write_json
from cascore.training.state import TrainState

_PREFIX = "step-"
_TENSORS, _RECORD = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on the disk: its folder and its step."""

    folder: Path
    step: int

    @property
    def tensors(self) -> Path:
        """The file of its tensors."""
        return self.folder / _TENSORS


def save_checkpoint(
    state: TrainState, folder: Path, *, processes: int = 1, seconds: float | None = None
) -> Checkpoint:
    """Write `folder/step-N`, whole or not at all.

    Args:
        state: The state to save.
        folder: The folder of a run's checkpoints.
        processes: How many processes train together.
        seconds: Time of training so far without interruptions; None where it is not known.

    Raises:
        InputError: a weight that is not finite, or a checkpoint of this step is there already.
    """
    require_finite(state)
    target = folder / f"{_PREFIX}{state.step:08d}"
    if target.is_dir():
        raise InputError(f"{target} is there already: save another state in another folder")
    record = {
        "step": state.step,
        "seed": state.seed,
        "processes": processes,
        **_surroundings(),
        "machine": platform.machine(),
        "seconds": seconds,
    }
    with replaced_folder(target) as temporary:
        write_tensors(state.tensors(), temporary / _TENSORS, target=target)
        write_json(temporary / _RECORD, record)
    return Checkpoint(target, state.step)


def require_finite(state: TrainState) -> None:
    """Raise InputError if a tensor of the state holds NaN or infinity: it is not to be saved."""
    tensors = state.tensors()
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputError(
            f"step {state.step}: {len(broken)} tensors hold NaN or infinity ({broken[0]}, ...);"
            " this state is not saved, the last checkpoint stands"
        )


def load_checkpoint(state: TrainState, checkpoint: Checkpoint, *, processes: int = 1) -> list[str]:
    """Fill the state from a checkpoint.

    Returns:
        What differs from when it was written, in words: then the continued run is not bit for bit
        the uninterrupted one. Empty when nothing does.

    Raises:
        InputError: a file that is missing, truncated or of another model, or another seed.
    """
    record = checkpoint_record(checkpoint)
    if record.get("seed") != state.seed:
        raise InputError(f"{checkpoint.folder} is of seed {record.get('seed')}, not {state.seed}")
    state.load_tensors(read_tensors(checkpoint.tensors))
    state.step = checkpoint.step
    return [
        f"{name} was {record.get(name)} and is {now}"
        for name, now in {"processes": processes, **_surroundings()}.items()
        if record.get(name) != now
    ]


def write_tensors(tensors: Mapping[str, Tensor], path: Path, *, target: Path) -> None:
    """Write a safetensors file, on the way to `target`, which a failure names (OSError)."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:  # its word for a full disk and the like
        raise OSError(f"cannot write {target}: {error}") from None
    give_usual_mode(path)  # safetensors leaves its files to their owner alone


def read_tensors(path: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with `prefix`, without it.

    Raises:
        InputError: no such file, or not a whole safetensors file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 (the file is no mapping)
                if name.startswith(prefix)
            }
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); take an earlier checkpoint"
        ) from None


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, by step; folders that were never finished do not count."""
    finished = []
    for path in folder.glob(f"{_PREFIX}*"):
        digits = path.name.removeprefix(_PREFIX)
        if digits.isdigit() and path.is_dir():
            finished.append(Checkpoint(path, int(digits)))
    return sorted(finished, key=lambda checkpoint: checkpoint.step)


def prune_checkpoints(folder: Path, *, keep_last: int, keep_every: int) -> None:
    """Delete all but the last `keep_last` and those at multiples of `keep_every` (0: none)."""
    for checkpoint in checkpoints(folder)[:-keep_last]:
        if not (keep_every and checkpoint.step % keep_every == 0):
            shutil.rmtree(checkpoint.folder)


def checkpoint_record(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """What a checkpoint says of its making: step, seed, processes, torch, threads, seconds, ...

    Raises:
        InputError: a record that is missing or damaged.
    """
    path = checkpoint.folder / _RECORD
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path} is not a checkpoint's record: expected an object")
    return record


def _surroundings() -> dict[str, str | int]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
