"""A trained model, ready to sample: out of a run's folder or out of a model directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from cascore.denoiser import rescaled
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.run_folder import find_checkpoint, is_run, read_data, read_experiment
from cascore.experiment.settings import Experiment
from cascore.files import file_digest
from cascore.measurement import Selection
from cascore.model.folder import (
    MODEL,
    WEIGHTS,
    is_model_folder,
    network_of,
    read_model_record,
)
from cascore.model.pretrained import find_model, shipped_names
from cascore.training.checkpoint import read_tensors
from cascore.training.state import require_same_shapes

__all__ = ["Model", "absent", "is_model", "load_model", "require_model"]

_CPU = torch.device("cpu")


class Model(NamedTuple):
    """A trained model.

    Attributes:
        denoiser: H(x, sigma) of pixels in [0, 1] (or of points), in evaluation mode.
        shape: of one datum.
        experiment: what was trained.
        step: updates of the score network.
        digest: SHA-256 of the file of the weights.
        data: what it was trained on, as far as that is known: name, count, digest, ...
        selection: how its checkpoint was chosen; None if no number chose it.
    """

    denoiser: nn.Module
    shape: tuple[int, ...]
    experiment: Experiment
    step: int
    digest: str
    data: Mapping[str, Any]
    selection: Selection | None = None


def is_model(path: Path) -> bool:
    """Whether a path is the folder of a run or a model directory, whole or not."""
    return is_run(path) or is_model_folder(path)


def require_model(path: Path) -> None:
    """Raise InputError unless a path is the folder of a run or a model directory."""
    if not path.exists():
        raise absent(path)
    if not is_model(path):
        raise InputError(
            f"{path} is neither a run nor a model directory: it holds no experiment.json and no"
            f" {MODEL}"
        )


def absent(path: Path) -> InputError:
    """What to say of a model that is not there."""
    known = ", ".join(shipped_names()) or "none"
    return InputError(
        f"{path} is neither a run nor a model directory, because there is no such path, nor a model"
        f" that comes with cascore; those are {known}"
    )


def load_model(
    folder: Path | str, *, device: torch.device = _CPU, checkpoint: str = "newest"
) -> Model:
    """The model of a model directory, or the EMA of a run's checkpoint.

    Args:
        folder: of the run, or the model directory; as text also the name of a model that comes
            with cascore, unless there is such a path.
        device: where it is to compute.
        checkpoint: of a run: newest, best (by the evaluations during training), or a step.

    Raises:
        InputError: neither, no such checkpoint, or files that are damaged or do not fit together.
    """
    folder = find_model(folder) if isinstance(folder, str) else folder
    require_model(folder)
    if not is_model_folder(folder):
        model = _of_run(folder, checkpoint)
    elif checkpoint == "newest":
        model = _of_folder(folder)
    else:
        raise InputError(f"{folder} is a model directory: it has no checkpoints to choose from")
    denoiser = model.denoiser.to(device).eval().requires_grad_(False)
    return model._replace(denoiser=denoiser)


def _of_run(folder: Path, wanted: str) -> Model:
    experiment = read_experiment(folder)
    (chosen, selection), data = find_checkpoint(folder, wanted), read_data(folder)
    shape = tuple(data["shape"])
    denoiser = build.build_denoiser(experiment.network, shape, seed=experiment.train.seed)
    weights = read_tensors(chosen.tensors, prefix="ema.")
    require_same_shapes(denoiser.state_dict(), weights, what=str(chosen.tensors))
    denoiser.load_state_dict(weights)
    digest = file_digest(chosen.tensors)
    return Model(denoiser, shape, experiment, chosen.step, digest, data, selection)


def _of_folder(folder: Path) -> Model:
    record = read_model_record(folder)
    path, experiment = folder / WEIGHTS, record.experiment
    if not path.is_file():
        raise InputError(f"there is no file {path}: the model directory is not whole")
    if (found := file_digest(path)) != record.digest:
        raise InputError(
            f"{path} is not the file that {MODEL} describes: its SHA-256 is {found[:16]}..., not"
            f" {record.digest[:16]}...; convert or download it again"
        )
    try:
        denoiser = build.build_denoiser(experiment.network, record.shape, seed=0)
    except (InputError, RuntimeError) as error:  # PyTorch's word for a width beyond all memory
        raise InputError(f"{folder / MODEL} does not describe a model: {error}") from None
    network = network_of(denoiser)
    weights = read_tensors(path)
    require_same_shapes(network.state_dict(), weights, what=str(path))
    network.load_state_dict(weights)
    if record.other_pixels is not None:
        seen = rescaled(denoiser, *record.other_pixels)
        assert isinstance(seen, nn.Module)
        denoiser = seen
    return Model(denoiser, record.shape, experiment, record.step, found, record.data)
