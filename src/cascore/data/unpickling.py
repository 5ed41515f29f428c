"""The pickles of CIFAR-10's Python version, read without running anything that they ask for.

A pickle is a program: it names functions and has them called. This is the only module that may
import `pickle`, because the distribution has no other form, and it hands out none of the functions
that a pickle names. The few names that an array of uint8 needs are answered with plain stand-ins of
our own, which check sizes and copy bytes; every other name is refused. Lists, strings, numbers and
dictionaries come out of opcodes that call nothing.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascore.errors import InputError


def unpickle_arrays(content: bytes, *, path: str | Path) -> object:
    """What a pickle of plain values and uint8 arrays holds, strings of Python 2 as bytes.

    A pickle that is damaged, or names anything but the parts of an array, raises InputError.
    """
    try:
        _require_modest_memo(content)
        return _finished(_ArraysOnly(io.BytesIO(content), path).load())
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises anything at all
        raise InputError(f"{path} cannot be read as a pickle: {error}; get it anew") from error


class _ArraysOnly(pickle.Unpickler):
    """An unpickler for which no function and no class exists but the stand-ins below."""

    def __init__(self, stream: io.BytesIO, path: str | Path) -> None:
        super().__init__(stream, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str, /) -> Any:
        """A stand-in for a part of an array; anything else is refused by name."""
        if (module, name) not in _ADMITTED:
            raise InputError(
                f"{self._path} asks for {module}.{name}, which no array needs: loading it would run"
                " code, so it is refused; the file is not that of CIFAR-10: get it anew"
            )
        return _ADMITTED[module, name]


def _require_modest_memo(content: bytes) -> None:
    """Refuse a memo of absurd size: the unpickler makes room for any index that is named."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise ValueError(f"it asks for room for {argument} values after {count} instructions")


class _Part:
    """What a pickle gets for a name: it can be called, and that is all."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        """Refuse: without this method a pickle could set our attributes."""
        raise ValueError("it sets the state of a function")


class _Dtype:
    """Stands for numpy.dtype: uint8 or nothing."""

    def __init__(self, kind: object, *_: object) -> None:
        if kind not in ("u1", b"u1", "uint8", b"uint8", "|u1", b"|u1"):
            raise ValueError(f"an array of {kind!r}, where uint8 is expected")

    def __setstate__(self, state: object) -> None:
        """Byte order and fields, of which a byte has none."""


class _Array:
    """Stands for numpy.ndarray until its bytes arrive."""

    values: npt.NDArray[np.uint8] | None = None

    def __init__(self, *_: object) -> None:
        """A class, a shape and a type, all of which the state replaces."""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        """(version, shape, dtype, in the order of Fortran, bytes), as numpy writes it."""
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: object, dtype: object, shape: object, order: object) -> "_Array":
        """The array with these bytes; a shape that they do not have is a ValueError."""
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
            raise ValueError("an array without a type or without bytes")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"an array of shape {shape!r}")
        values = np.frombuffer(content, dtype=np.uint8)
        self.values = values.reshape(shape, order="F" if order == "F" else "C")
        return self


def _frombuffer(*arguments: object) -> _Array:
    return _Array().fill(*arguments)


def _encode(text: object, codec: object = "latin1") -> bytes:
    """Bytes as Python 3 writes them for old protocols: a string in Latin-1."""
    if not isinstance(text, str) or codec not in ("latin1", b"latin1", "latin-1"):
        raise ValueError(f"bytes in the code {codec!r}")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): _Part(_Array),
    ("numpy", "dtype"): _Part(_Dtype),
    ("_codecs", "encode"): _Part(_encode),
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Part(_Array)
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Part(_frombuffer)


def _finished(value: object) -> object:
    """The value with arrays in place of their stand-ins, one level into a dictionary."""
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items() if not isinstance(item, dict)}
    return value.values if isinstance(value, _Array) else value
