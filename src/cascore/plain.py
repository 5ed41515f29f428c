"""JSON and frozen dataclasses: the one reader and the one writer of what this program stores.

A file of JSON comes from anywhere: an older version, another program, a failing disk. Whatever is
wrong with it is an `InputError` that names the file and the field.
"""

import dataclasses
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    BinaryIO,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from cascore.errors import InputError
from cascore.files import write_text

_MAX_BYTES = 2**24  # no file of ours comes near; its values may take thirty times as much memory
_MAX_LOG, _MAX_LINE = 2**28, 2**20
_BLOCK = 2**16  # bytes of a log that are read at once from its end
_MAX_DEPTH = 64  # far below what copying and printing a value can take
_MAX_DIGITS = 20  # of 2^64 - 1, the largest seed

_Kind = TypeVar("_Kind")


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    One that is missing, unreadable, larger than 16 MiB or refused by `parse_json` is an InputError
    whose message begins with the path.
    """
    return parse_json(_content(path, _MAX_BYTES), str(path))


def read_json_lines(path: Path) -> list[Any]:
    """The values of a file that holds one JSON value to a line; refused as by `read_json`.

    Of at most 256 MiB, a line at most 1 MiB.
    """
    return [value() for value in _lines(path)]


class Log(NamedTuple):
    """What a log says, and how many of its lines are damaged: not the last, if it is unfinished."""

    values: list[Any]
    damaged: int


def read_log(path: Path) -> Log:
    """The lines of a log that can be read; one that is missing has none.

    A killed process leaves its last line unfinished. Other lines that are no JSON are damaged.
    """
    if not path.exists():
        return Log([], 0)
    values, bad = [], []
    for number, value in enumerate(_lines(path), start=1):
        try:
            values.append(value())
        except InputError:
            bad.append(number)
    unfinished = bad[-1:] == [len(values) + len(bad)]
    return Log(values, len(bad) - unfinished)


class LogLine(NamedTuple):
    """A line of a log: what it says, None if it cannot be read, and how many bytes end with it."""

    value: Any
    end: int


def log_from_end(path: Path) -> Iterator[LogLine]:
    """The lines of a log from its last to its first; one that is missing has none.

    They are read in blocks of 64 KiB from the end, so that who needs the last lines of a long log
    reads no more than these, and no more of it is ever in memory than a block and a line.

    Raises:
        InputError: what is no file, or cannot be read.
    """
    if not path.exists():
        return
    with _open(path) as log:
        start = end = size = log.seek(0, os.SEEK_END)
        rest = b""  # what was read of the line that ends at `end`
        while start:
            stop = min(start, _BLOCK)
            start -= stop
            log.seek(start)
            block = log.read(stop)
            while (at := block.rfind(b"\n", 0, stop)) >= 0:
                if (begin := start + at + 1) < size:  # no line follows the last line break
                    yield LogLine(_value_or_none(block[at + 1 : stop] + rest, path), end)
                end, stop, rest = begin, at, b""
            rest = (block[:stop] + rest)[-_MAX_LINE - 1 :]  # enough to refuse a longer one
        if size:
            yield LogLine(_value_or_none(rest, path), end)


def last_line(path: Path) -> Any:
    """What the last line of a log says that can be read; None where there is none."""
    return next((line.value for line in log_from_end(path) if line.value is not None), None)


def _value_or_none(content: bytes, path: Path) -> Any:
    try:
        return _line(content, str(path))
    except InputError:
        return None


def _lines(path: Path) -> Iterator[Callable[[], Any]]:
    for number, line in enumerate(_content(path, _MAX_LOG).splitlines(), start=1):
        yield partial(_line, line, f"{path}, line {number}")


def _line(content: bytes, where: str) -> Any:
    if len(content) > _MAX_LINE:
        raise InputError(f"{where} is too long for a line of JSON: more than 1 MiB")
    return parse_json(content, where)


def _content(path: Path, most: int) -> bytes:
    with _open(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise InputError(f"{path} is too large for a file of JSON: more than {most >> 20} MiB")
        return file.read()


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """A file to read; whatever the system says against that is an InputError."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def parse_json(content: bytes | str, where: str) -> Any:
    """The value of JSON text in UTF-8: None, bool, int, float, str, list and dict.

    Bytes that are no UTF-8, text that is no JSON, a name given twice, nesting deeper than 64, an
    integer of more than 20 digits, a float beyond double precision, NaN, Infinity, and half of a
    surrogate pair raise InputError; `where` begins the message.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = json.loads(text, object_pairs_hook=_object)
        _require_sound(value, _MAX_DEPTH)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not text in UTF-8: {error.reason}") from None
    except RecursionError:
        raise InputError(f"{where} is nested deeper than {_MAX_DEPTH}") from None
    except ValueError as error:  # JSONDecodeError, and what is refused below
        raise InputError(f"{where} is not JSON as it is read here: {error}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the name {twice!r:.60} is given twice")
    return values


def _require_sound(value: Any, depth: int) -> None:
    """Refuse what no later step could copy, print or write."""
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError(f"half of a surrogate pair in {value!a:.60}")
    elif isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'the number {value} is not finite; an infinite one is written "inf"')
        if isinstance(value, int) and abs(value) >= 10**_MAX_DIGITS:
            raise ValueError(f"an integer of more than {_MAX_DIGITS} digits")
    elif isinstance(value, list | dict):
        if depth == 0:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH}")
        for part in value if isinstance(value, list) else (*value.keys(), *value.values()):
            _require_sound(part, depth - 1)


def is_text(name: str) -> bool:
    """Whether UTF-8 can hold it: the bytes of a file's name may be no text, and are halves then."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def whole_number(text: str) -> int | None:
    """The number that a name holds in the digits 0 to 9, as our own names do; None of other text.

    `str.isdigit` takes a superscript for a digit, and `int` a digit of any script.
    """
    return int(text) if re.fullmatch(f"[0-9]{{1,{_MAX_DIGITS}}}", text) else None


def printable(text: str) -> str:
    """The text with what a terminal would obey, or show in another order, written as an escape.

    Names of files and words of records may hold such letters. Line breaks and tabs stay.
    """
    return "".join(x if x.isprintable() or x in "\n\t" else ascii(x)[1:-1] for x in text)


def to_plain(value: Any) -> Any:
    """What `from_plain` reads back, as JSON has it: dicts, lists, and "inf" for infinity.

    NaN, which nothing that is stored may hold, is an InputError.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            raise InputError("a value to be stored is NaN (not a number)")
        return "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def json_text(value: Any) -> str:
    """A dataclass or a plain value as indented JSON text that ends in a line break."""
    return json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n"


def json_line(values: Mapping[str, Any]) -> str:
    """Values as a line of a log, without those that are None."""
    return json.dumps({name: value for name, value in values.items() if value is not None}) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass or a plain value as a file of JSON, whole or not at all.

    What `parse_json` would refuse to read again is an InputError.
    """
    text = json_text(value)
    parse_json(text, f"what is to be written to {path}")
    write_text(path, text)


def from_plain(kind: type[_Kind], values: Any, where: str) -> _Kind:
    """An object of a dataclass out of plain values, each field of the kind that it declares.

    A field may be text, a number, a truth value, a literal, a dataclass, a tuple, a mapping with
    text for keys, `Any`, and a union of these, whose members are tried in their order. A whole
    number is also read as a float, and "inf" and "-inf" are; a truth value is never a number. A
    field with a default may be absent.

    A static method `upgraded(values)` of the dataclass first turns what an older version wrote into
    the present form. A field that is missing, unknown or of another kind, and a value that the
    dataclass itself refuses, is an InputError that names it by its path below `where`.
    """
    if not isinstance(values, Mapping):
        raise _unexpected(values, kind, where)
    with _named(where):
        values = getattr(kind, "upgraded", dict)(values)
    fields, hints = dataclasses.fields(kind), _hints(kind)  # type: ignore[arg-type]
    unknown = [name for name in values if name not in hints]
    if unknown:
        raise InputError(f"{where}.{unknown[0]!s:.60} is unknown; expected only {', '.join(hints)}")
    arguments = {}
    for field in fields:
        name, hint = field.name, hints[field.name]
        if name in values:
            arguments[name] = _value(hint, values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}.{name} is missing; expected {_word(hint)}")
    with _named(where):
        return kind(**arguments)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the name of the values before the message of whatever refuses them."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if origin in (Union, UnionType):
        return _member(arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(arguments, value, where)
    if origin is Literal and any(value == word and type(value) is type(word) for word in arguments):
        return value
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {name: _value(arguments[1], part, f"{where}.{name}") for name, part in value.items()}
    if hint is float and _is_float(value):
        return float(value)
    if hint in (int, str, bool, NoneType) and type(value) is hint:
        return value
    raise _unexpected(value, hint, where)


def _is_float(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < 2**1023  # a larger one may not fit
    return value in ("inf", "-inf") or (type(value) is float and not math.isnan(value))


def _member(members: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first member of a union that takes it."""
    if value is None and NoneType in members:
        return None
    others = [member for member in members if member is not NoneType]
    if len(others) == 1:  # its own message tells more than that of the union
        return _value(others[0], value, where)
    for member in others:
        try:
            return _value(member, value, where)
        except InputError:
            continue
    raise _unexpected(value, Union[members], where)  # noqa: UP007


def _tuple(members: tuple[Any, ...], values: list[Any] | tuple[Any, ...], where: str) -> Any:
    if members[-1] is Ellipsis:
        members = members[:1] * len(values)
    if len(members) != len(values):
        raise InputError(f"{where} has {len(values)} entries; expected {len(members)}")
    pairs = enumerate(zip(members, values, strict=True))
    return tuple(_value(member, value, f"{where}[{i}]") for i, (member, value) in pairs)


def _unexpected(value: Any, hint: Any, where: str) -> InputError:
    return InputError(f"{where} is {value!r:.60}; expected {_word(hint)}")


def _word(hint: Any) -> str:
    """What a field takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_word(member) for member in arguments)
    if origin is Literal:
        return " or ".join(json.dumps(word) for word in arguments)
    if origin is tuple:
        return "a list"
    words = {
        float: "a number",
        int: "a whole number",
        str: "text",
        bool: "true or false",
        NoneType: "null",
    }
    return words.get(hint, "an object")
