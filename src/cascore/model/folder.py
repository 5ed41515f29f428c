"""A model folder: `model.safetensors`, and `model.json`, which says what the weights are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from cascore.errors import InputError
from cascore.experiment.settings import Experiment, Sampler
from cascore.measurement import Floor, Selection
from cascore.plain import from_plain, read_json
from cascore.training.checkpoint import read_tensors
from cascore.training.state import require_same_shapes

MODEL, WEIGHTS, DISCRIMINATOR = "model.json", "model.safetensors", "discriminator.safetensors"

FORMAT_VERSION = 1
"""The version of `model.json`; a later one is refused, because it may mean something else."""

Weights = Literal["ema", "raw"]
"""The average of the weights over training, or the weights after its last update."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number of denoised samples, as the model's card states it."""

    metric: str
    """A name of `cascore.measurement.METRICS`."""
    value: float | None
    error: float | None
    """Its standard error; None where there is none."""
    floor: Floor | None
    """What real images score in place of the samples, where that is known."""
    sampler: str
    """The chain in words; "" where no model was sampled."""
    calls: int | None
    """Network evaluations of a sample."""
    count: int
    """Samples."""
    against: str
    """How many real images of which split."""
    features: str
    """Whose, with the start of the digest; "" for numbers of pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What is known of a model."""

    format_version: int = FORMAT_VERSION
    shape: tuple[int, ...]
    """Of one datum, [channels, height, width] or [dimension]."""
    pixel_range: tuple[float, float] | None
    """The pixels that the network itself takes, which the loader maps from [0, 1]; None for points.
    Everything else here, sigmas included, is for pixels in [0, 1]."""
    experiment: Experiment
    step: int
    """Updates of the score network."""
    weights: Weights
    digest: str
    """SHA-256 of `model.safetensors`."""
    discriminator: str | None
    """SHA-256 of `discriminator.safetensors`, if there is one."""
    data: Mapping[str, Any]
    """What it was trained on: the name, and count and digest where they are known."""
    source: Mapping[str, Any]
    """What it was made from: kind, file or run, its SHA-256."""
    samplers: Mapping[str, Sampler]
    """The settings of the paper's tables for this model, by name."""
    software: Mapping[str, Any]
    scores: tuple[Score, ...] = ()
    """What was measured of these weights when the folder was written."""
    selection: Selection | None = None
    """How their checkpoint was chosen; None if no number chose it, or before cascore 0.4."""

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise InputError(
                f"shape is {list(self.shape)}; expected [channels, height, width] or [dimension]"
            )
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise InputError(
                f"pixel_range is {list(self.pixel_range)}; expected [low, high] with low < high"
            )
        if self.step < 0:
            raise InputError(f"step is {self.step}; expected a number of updates")

    @staticmethod
    def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values as they are, if they are of a version that is known."""
        version = values.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise InputError(
                f"format_version is {version!r:.60}; this cascore reads {FORMAT_VERSION}, a newer"
                " one perhaps more: install a newer cascore"
            )
        return values

    @property
    def other_pixels(self) -> tuple[float, float] | None:
        """The range of the network's pixels where it is not [0, 1]; None where it is."""
        return None if self.pixel_range in (None, (0.0, 1.0)) else self.pixel_range


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is a model folder, whole or not."""
    return (folder / MODEL).is_file() or (folder / WEIGHTS).is_file()


def read_model_record(folder: Path) -> ModelRecord:
    """The `model.json` of a model folder.

    Raises:
        InputError: it is missing or damaged, or of a later format.
    """
    path = folder / MODEL
    return from_plain(ModelRecord, read_json(path), str(path))


def network_of(denoiser: nn.Module) -> nn.Module:
    """The bare network of a denoiser: the names of its weights are those of a model's file."""
    network = denoiser.network
    assert isinstance(network, nn.Module)
    return network


def fitting_tensors(module: nn.Module, path: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file below a prefix, which are exactly those of a module.

    Raises:
        InputError: a file that is missing or damaged, or tensors that are not the module's, listed.
    """
    tensors = read_tensors(path, prefix=prefix)
    require_same_shapes(module.state_dict(), tensors, what=str(path))
    return tensors
