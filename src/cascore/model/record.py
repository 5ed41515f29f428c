"""`model.json`: what a model directory says of its weights."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from cascore.errors import InputError
from cascore.experiment.settings import Experiment
from cascore.experiment.settings_json import from_json

__all__ = ["FORMAT_VERSION", "ModelRecord", "Weights", "record_from_json", "record_to_json"]

FORMAT_VERSION = 1
"""Of `model.json`; a later one is refused, because it may mean something else."""

Weights = Literal["ema", "raw"]
"""The average of the weights over training, or the weights of its last step."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What is known of a model.

    Attributes:
        shape: of one datum.
        pixel_range: the pixels that the network itself takes, which the loader maps from [0, 1];
            None for points. Everything else here, sigmas included, is for pixels in [0, 1].
        experiment: network, noise levels, data set and training.
        step: updates of the score network.
        weights: which weights the file holds.
        digest: SHA-256 of `model.safetensors`.
        discriminator: SHA-256 of `discriminator.safetensors`, if there is one.
        data: what it was trained on: the name, and count and digest where they are known.
        source: what it was made from: kind, file or run, its SHA-256.
        samplers: settings of the paper's tables for this model, by name.
        software: versions that wrote it.
    """

    shape: tuple[int, ...]
    pixel_range: tuple[float, float] | None
    experiment: Experiment
    step: int
    weights: Weights
    digest: str
    discriminator: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    samplers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)

    @property
    def other_pixels(self) -> tuple[float, float] | None:
        """The range of the network's pixels where it is not [0, 1]; None where it is."""
        return None if self.pixel_range in (None, (0.0, 1.0)) else self.pixel_range


def record_to_json(record: ModelRecord) -> str:
    """The record as JSON text that `record_from_json` reads back."""
    return json.dumps({"format_version": FORMAT_VERSION, **asdict(record)}, indent=2) + "\n"


def record_from_json(text: str) -> ModelRecord:
    """A record from JSON text.

    Raises:
        InputError: not JSON, another format version, or an entry that is missing, unknown or of
            the wrong kind, named.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"expected an object, not {values!r:.60}")
    version = values.pop("format_version", None)
    if type(version) is not int or version < 1:
        raise InputError(f"format_version is {version!r:.60}, expected {FORMAT_VERSION}")
    if version > FORMAT_VERSION:
        raise InputError(
            f"it has format version {version}, this cascore reads {FORMAT_VERSION}: install a newer"
            " cascore"
        )
    missing = sorted(_CHECKS.keys() - values.keys())
    unknown = sorted(values.keys() - _CHECKS.keys())
    if missing or unknown:
        faults = [f"missing {name}" for name in missing] + [f"unknown {name}" for name in unknown]
        raise InputError(f"its entries are not those of a model: {', '.join(faults)}")
    for name, (fits, expected) in _CHECKS.items():
        if not fits(values[name]):
            raise InputError(f"{name} is {values[name]!r:.60}, expected {expected}")
    values["shape"] = tuple(values["shape"])
    if values["pixel_range"] is not None:
        low, high = values["pixel_range"]
        values["pixel_range"] = (float(low), float(high))
    values["experiment"] = from_json(json.dumps(values["experiment"]))
    return ModelRecord(**values)


def _is_shape(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(n) is int and n > 0 for n in value)
    return whole and len(value) in (1, 3)


def _is_range(value: Any) -> bool:
    if value is None:
        return True
    pair = isinstance(value, list) and len(value) == 2
    return pair and all(type(v) in (int, float) for v in value) and value[0] < value[1]


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_OBJECT = (_is_object, "an object")
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "shape": (_is_shape, "[channels, height, width] or [dimension]"),
    "pixel_range": (_is_range, "[low, high] with low < high, or null for points"),
    "experiment": _OBJECT,
    "step": (lambda value: type(value) is int and value >= 0, "a number of updates"),
    "weights": (lambda value: value in get_args(Weights), "ema or raw"),
    "digest": (_is_digest, "a SHA-256 of 64 hexadecimal digits"),
    "discriminator": (lambda value: value is None or _is_digest(value), "a SHA-256, or null"),
    "data": _OBJECT,
    "source": _OBJECT,
    "samplers": _OBJECT,
    "software": _OBJECT,
}
