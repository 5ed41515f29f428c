"""Settings of an experiment as JSON text, and back; what is missing has its default."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cascore.errors import InputError
from cascore.experiment.settings import Experiment

__all__ = ["from_json", "to_json"]


def to_json(experiment: Experiment) -> str:
    """The settings as JSON text that `from_json` reads back."""
    return json.dumps(dataclasses.asdict(experiment), indent=2) + "\n"


def from_json(text: str) -> Experiment:
    """An experiment from JSON text.

    Raises:
        InputError: not JSON, an unknown setting, or a value of the wrong kind, named.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"the experiment is not JSON: {error}") from None
    experiment: Experiment = _build(Experiment, values, "experiment")
    return experiment


def _build(kind: Any, values: Any, path: str) -> Any:
    """A settings dataclass out of what JSON gave for it; the `path` names it in messages."""
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: expected an object, not {values!r}")
    hints = get_type_hints(kind)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        raise InputError(f"{path}: unknown settings {', '.join(unknown)}")
    given = {}
    for name, value in values.items():
        hint, where = hints[name], f"{path}.{name}"
        if dataclasses.is_dataclass(hint):
            given[name] = _build(hint, value, where)
        else:
            plain = tuple(value) if isinstance(value, list) else value
            if hint is float and type(plain) is int:
                plain = float(plain)
            if not _fits(plain, hint):
                raise InputError(f"{where}: {value!r} is not {hint}")
            given[name] = plain
    return kind(**given)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if origin is not None or arguments:  # X | None
        return any(_fits(value, each) for each in arguments)
    return type(value) is hint or (hint is float and type(value) is int)
