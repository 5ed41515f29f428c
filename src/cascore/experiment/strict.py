"""Dataclasses out of JSON values, strictly: nothing missing, nothing unknown, no wrong kind."""

import dataclasses
import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cascore.errors import InputError

__all__ = ["from_plain"]

_Kind = TypeVar("_Kind")


def from_plain(kind: type[_Kind], values: Any, where: str) -> _Kind:
    """An object of a dataclass whose fields are all given.

    Args:
        kind: The dataclass; its fields may be dataclasses, tuples of one kind, mappings with text
            for keys, literals, optional values, text, numbers and truth values.
        values: What JSON gave.
        where: What to call it in a message.

    Raises:
        InputError: A field that is missing, unknown or of another kind, named.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {values!r:.60}; expected an object")
    hints = get_type_hints(kind)
    missing, unknown = sorted(hints.keys() - values.keys()), sorted(values.keys() - hints.keys())
    if missing or unknown:
        faults = [f"{name} is missing" for name in missing]
        faults += [f"{name} is unknown" for name in unknown]
        raise InputError(f"{where}: {', '.join(faults)}")
    return kind(
        **{name: _value(hint, values[name], f"{where}.{name}") for name, hint in hints.items()}
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if origin in (Union, UnionType):  # X | None is the only union there is
        (inner,) = (each for each in arguments if each is not type(None))
        return None if value is None else _value(inner, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], each, f"{where}[{i}]") for i, each in enumerate(value))
    if origin is Literal and value in arguments:
        return value
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return value
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise InputError(f"{where} is {value!r:.60}; expected {_word(hint)}")


def _word(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return "a list"
    words = {float: "a finite number", int: "a whole number", str: "text", bool: "true or false"}
    return words.get(hint, "an object")
