"""Checkpoints: a folder per step with `state.safetensors` and `state.json`, written atomically.

The record holds the digest of the tensors, and both are checked whenever a checkpoint is read.
"""

import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cascore.errors import InputError
from cascore.files import file_digest, give_usual_mode, remove_folder, replaced_folder
from cascore.foreign import parsing
from cascore.plain import from_plain, read_json, whole_number, write_json
from cascore.training.state import TrainState

_PREFIX = "step-"
_TENSORS, _RECORD = "state.safetensors", "state.json"
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as safetensors tells it

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on the disk: its folder and its step."""

    folder: Path
    step: int

    @property
    def tensors(self) -> Path:
        """The file of its tensors."""
        return self.folder / _TENSORS


class _Surroundings(TypedDict):
    """What the bits of a training depend on."""

    torch: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """What a checkpoint says of its making."""

    step: int
    seed: int
    processes: int
    """How many trained together."""
    torch: str
    threads: int
    machine: str | None = None
    seconds: float | None = None
    """Time of training so far without interruptions; None where it is not known."""
    digest: str | None = None
    """SHA-256 of the file of the tensors; None in those of cascore 0.3 and older, which are
    unverified."""


def save_checkpoint(
    state: TrainState,
    folder: Path,
    *,
    processes: int = 1,
    seconds: float | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Write `folder/step-N`, whole or not at all.

    Args:
        state: The state to save.
        folder: The folder of a run's checkpoints.
        processes: How many processes train together.
        seconds: Time of training so far without interruptions; None where it is not known.
        tensors: Those of `whole_tensors`, where all processes have asked for them.

    Raises:
        InputError: a weight that is not finite, or a checkpoint of this step is there already.
    """
    tensors = whole_tensors(state, keep=True) if tensors is None else tensors
    target = folder / f"{_PREFIX}{state.step:08d}"
    if target.is_dir():
        raise InputError(f"{target} is there already: save another state in another folder")
    with replaced_folder(target) as temporary:
        write_tensors(tensors, temporary / _TENSORS, target=target)
        record = CheckpointRecord(
            step=state.step,
            seed=state.seed,
            processes=processes,
            **_surroundings(),
            machine=platform.machine(),
            seconds=seconds,
            digest=file_digest(temporary / _TENSORS),
        )
        write_json(temporary / _RECORD, record)
    return Checkpoint(target, state.step)


def whole_tensors(state: TrainState, *, keep: bool) -> dict[str, Tensor]:
    """Every tensor of a state in full, of one that is sharded too; all processes ask together.

    Who does not `keep` them gets none.

    Raises:
        InputError: a tensor holds NaN or infinity: the state is not to be saved.
    """
    kept, broken = {}, []
    for name, value in state.whole_tensors():
        if not bool(torch.isfinite(value).all()):
            broken.append(name)
        if keep:  # of a sharded state not on the device, which all together may not fit
            kept[name] = value.cpu() if state.sharded else value
    if broken:
        raise InputError(
            f"step {state.step}: {len(broken)} tensors hold NaN or infinity ({broken[0]}, ...);"
            " this state is not saved, the last checkpoint stands"
        )
    return kept


def load_checkpoint(state: TrainState, checkpoint: Checkpoint, *, processes: int = 1) -> list[str]:
    """Fill the state from a checkpoint.

    Returns:
        What differs from when it was written, in words, and empty when nothing does. With a
        difference the continued run is not bit for bit the uninterrupted one.

    Raises:
        InputError: a checkpoint that is damaged, of another model or of another seed.
    """
    record = verified_record(checkpoint)
    if record.seed != state.seed:
        raise InputError(f"{checkpoint.folder} is of seed {record.seed}, not {state.seed}")
    state.load_tensors(read_tensors(checkpoint.tensors))
    state.step = checkpoint.step
    was = asdict(record)
    return [
        f"{name} was {was[name]} and is {now}"
        for name, now in {"processes": processes, **_surroundings()}.items()
        if was[name] != now
    ]


def read_record(checkpoint: Checkpoint) -> CheckpointRecord:
    """What a checkpoint says of its making; one that is damaged or of another step is refused."""
    path = checkpoint.folder / _RECORD
    record = from_plain(CheckpointRecord, read_json(path), str(path))
    if record.step != checkpoint.step:
        raise InputError(f"{path} is of step {record.step}, unlike its folder")
    return record


def verified_record(checkpoint: Checkpoint) -> CheckpointRecord:
    """The record of a checkpoint whose tensors have the digest that it says, if it says one.

    Raises:
        InputError: a file that is missing, damaged or of another checkpoint.
    """
    record, path = read_record(checkpoint), checkpoint.tensors
    if record.digest is not None and (digest := tensors_digest(path)) != record.digest:
        raise InputError(
            f"{path} is not what was written: its SHA-256 is {digest[:16]}..., not"
            f" {record.digest[:16]}..."
        )
    return record


def unverified(checkpoint: Checkpoint) -> str:
    """What to say of a checkpoint without a digest."""
    return f"{checkpoint.folder} is unverified: cascore 0.3 and older kept no digest of the weights"


def tensors_digest(path: Path) -> str:
    """SHA-256 of a file of tensors; one that is missing or cannot be read is an InputError."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def read_newest(
    folder: Path, read: Callable[[Checkpoint], _Kind], notify: Callable[[str], None]
) -> tuple[Checkpoint, _Kind] | None:
    """The newest checkpoint in a folder that `read` takes, with what it makes of it.

    `notify` is told of those that were passed over and why. None where there are no checkpoints.

    Raises:
        InputError: there are checkpoints, and `read` refuses all of them.
    """
    faults: list[str] = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            value = read(checkpoint)
        except InputError as error:
            if not checkpoint.folder.is_dir():  # pruned by a training: there is a newer one
                return read_newest(folder, read, notify)
            faults.append(f"{checkpoint.folder.name} is passed over: {error}")
        else:
            for fault in faults:
                notify(fault)
            return checkpoint, value
    if faults:
        raise InputError(
            f"no checkpoint in {folder} is whole: {'; '.join(faults)}; restore one from a backup"
        )
    return None


def write_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    target: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, on the way to `target`, which a failure names (OSError)."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(plain, path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:  # its word for a full disk and the like
        if (number := _OS_ERROR.search(str(error))) is None:
            raise OSError(f"cannot write {target}: {error}") from None
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(target)) from None
    give_usual_mode(path)  # safetensors leaves its files to their owner alone


def read_tensors(path: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with `prefix`, without it.

    Raises:
        InputError: no such file, or not a whole safetensors file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with parsing(path, "a whole safetensors file"), safe_open(path, framework="pt") as file:
        return {
            name.removeprefix(prefix): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118 (the file is no mapping)
            if name.startswith(prefix)
        }


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, by step; folders that were never finished do not count."""
    finished = []
    for path in folder.glob(f"{_PREFIX}*"):
        step = whole_number(path.name.removeprefix(_PREFIX))
        if step is not None and path.is_dir():
            finished.append(Checkpoint(path, step))
    return sorted(finished, key=lambda checkpoint: checkpoint.step)


def prune_checkpoints(folder: Path, *, keep_last: int, keep_every: int) -> None:
    """Delete all but the last `keep_last` and those at multiples of `keep_every` (0: none)."""
    for checkpoint in checkpoints(folder)[:-keep_last]:
        if not (keep_every and checkpoint.step % keep_every == 0):
            remove_folder(checkpoint.folder)


def _surroundings() -> _Surroundings:
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
