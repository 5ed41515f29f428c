"""Published checkpoints: `.pth` files of other programs, read without running any of their code.

Both repositories (ermongroup/ncsnv2 and AlexiaJM/AdversarialConsistentScoreMatching) save one list:
score network, optimizer, epoch, step, and then, in one or the other, the average of the weights,
None, or a discriminator and its optimizer. What an extra dictionary is follows from its names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.foreign import load_torch

Named = Mapping[str, Tensor]
_SCORE_SDE = {"optimizer", "model", "ema", "step"}
_EMA, _DISCRIMINATOR = "an average of the weights", "a discriminator"


@dataclass(frozen=True, eq=False)
class CheckpointFile:
    """What a published checkpoint holds, its tensors by name, without `module.`, in float32.

    Attributes:
        score: the score network after its last step.
        step: its updates.
        ema: the average of its weights, if the file has one.
        discriminator: the discriminator, if the file has one.
    """

    score: Named
    step: int
    ema: Named | None
    discriminator: Named | None


def read_checkpoint_file(path: Path) -> CheckpointFile:
    """Read a `.pth` file of either repository, in the old (pickle) or the new (zip) format.

    Raises:
        InputError: no such file; empty, truncated or of another kind; one that would execute code;
            or a checkpoint of another layout.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    _require_likely(path)
    score, step, others = _parts(path, load_torch(path))
    parts: dict[str, Named] = {}
    for number, value in enumerate(others, start=5):
        if value is None or _is_optimizer(value):
            continue
        tensors = _tensors(path, number, value)
        if tensors.keys() & score.keys():
            kind = _EMA
        elif any(name.startswith("blocks.") for name in tensors) and "linear.weight" in tensors:
            kind = _DISCRIMINATOR
        else:
            raise InputError(
                f"{path}: element {number} is neither an average of the score network (element 1)"
                f" nor a BigGAN discriminator; it holds{_names_in(tensors)}"
            )
        if kind in parts:
            raise InputError(f"{path} holds two of these: {kind}; element {number} is the second")
        parts[kind] = tensors
    return CheckpointFile(score, step, parts.get(_EMA), parts.get(_DISCRIMINATOR))


def _parts(path: Path, values: Any) -> tuple[Named, int, Sequence[Any]]:
    """The score network, its step, and what follows them in the list."""
    if isinstance(values, Mapping) and values.keys() >= _SCORE_SDE:
        raise InputError(
            f"{path} is a checkpoint of score_sde (NCSN++ or DDPM++), whose networks cascore does"
            " not build; diffusers does: convert it with diffusers' script for NCSN++, or take a"
            ' published one, and load it with cascore.from_diffusers("FOLDER or hf://user/name")'
        )
    if not isinstance(values, list | tuple):
        raise _unlike(path, f"a {type(values).__name__}{_names_in(values)}")
    if len(values) < 4:
        raise _unlike(path, f"a list of {len(values)}")
    score, optimizer, epoch, step, *others = values
    if not _is_optimizer(optimizer):
        raise _unlike(path, f"as its element 2 a {type(optimizer).__name__}{_names_in(optimizer)}")
    for number, value in ((3, epoch), (4, step)):
        if type(value) is not int or not 0 <= value < 2**63:
            raise _unlike(path, f"as its element {number} {value!r:.60}")
    return _tensors(path, 1, score), step, others


def _require_likely(path: Path) -> None:
    """A clear word for files that are something else altogether, by their first bytes."""
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise InputError(f"{path} is empty: download or copy it again")
    if head[8:9] == b"{":
        raise InputError(
            f"{path} is a safetensors file, not a checkpoint of torch.save; a model folder of"
            " cascore is sampled as it is"
        )
    if head.lstrip().startswith(b"<"):
        raise InputError(f"{path} is a web page, not a checkpoint: download the file itself")
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        raise InputError(f"{path} is no checkpoint of torch.save: it begins with {head[:12]!r}")


def _unlike(path: Path, content: str) -> InputError:
    return InputError(
        f"{path} is not laid out as either repository saves checkpoints: expected a list of score"
        f" network, optimizer, epoch, step(, average of the weights), found {content}"
    )


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"state", "param_groups"}


def _names_in(value: Any) -> str:
    """The first names of a dictionary, for a message."""
    if not isinstance(value, Mapping):
        return ""
    more = f" and {len(value) - 4} more" if len(value) > 4 else ""
    return f" of {', '.join(map(str, [*value][:4])) or 'nothing'}{more}"


def _tensors(path: Path, number: int, value: Any) -> dict[str, Tensor]:
    """The tensors of a state dictionary; names lose the prefix of DataParallel."""
    if not isinstance(value, Mapping):
        raise _unlike(path, f"as its element {number} a {type(value).__name__}")
    if shown := "\n  ".join(_faults(value)):
        raise InputError(f"{path}: element {number} is not a dictionary of weights:\n  {shown}")
    return {name.removeprefix("module."): tensor.float() for name, tensor in value.items()}


def _faults(value: Mapping[Any, Any]) -> Iterator[str]:
    seen = set()
    for name, tensor in value.items():
        if not isinstance(name, str):
            yield f"the name {name!r:.60} is no text"
            continue
        bare = name.removeprefix("module.")
        if bare in seen:
            yield f"{bare} is there with and without module."
        seen.add(bare)
        if not isinstance(tensor, Tensor):
            yield f"{name} is a {type(tensor).__name__}, not a tensor"
        elif tensor.layout != torch.strided or tensor.device.type != "cpu":
            yield f"{name} is a tensor of layout {tensor.layout} on {tensor.device}"
        elif not tensor.is_floating_point():
            yield f"{name} is of {tensor.dtype}, not of floating point"
