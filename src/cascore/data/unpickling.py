"""The pickles of CIFAR-10's Python version, read without running anything that they ask for.

A pickle is a program: it names functions and has them called. This is the only module that may
import `pickle`, because the distribution has no other form, and it hands out none of the functions
that a pickle names. The few names that an array of uint8 needs are answered with stand-ins that
only note what they are given; every other name is refused. Lists, strings, numbers and dictionaries
come out of opcodes that call nothing.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from cascore.errors import InputError
from cascore.foreign import parsing, require_modest_pickle


def unpickle_arrays(content: bytes, *, path: str | Path) -> object:
    """What a pickle of plain values and uint8 arrays holds, strings of Python 2 as bytes.

    A pickle that is damaged, or names anything but the parts of an array, raises InputError.
    """
    with parsing(path, "a pickle"):
        require_modest_pickle(io.BytesIO(content))
        return _finished(_ArraysOnly(io.BytesIO(content), path).load())


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


class _Noted:
    """Stands for a part of an array: it notes its arguments and its state, and that is all.

    A pickle that would set the state of the class itself fails, for want of an instance.
    """

    arguments: Any = ()
    state: Any = None

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Array(_Noted):
    """numpy.ndarray, and the function that makes an empty one; the state is all of it."""


class _Buffer(_Noted):
    """The array that numpy makes of a buffer, a dtype, a shape and an order."""


class _Dtype(_Noted):
    """numpy.dtype; the state, byte order and fields, says nothing of a byte."""


class _Bytes(_Noted):
    """Bytes as Python 3 writes them for old protocols: a string in Latin-1."""

    def __new__(cls, text: str, codec: object) -> bytes:  # type: ignore[misc]
        if codec not in ("latin1", b"latin1"):
            raise ValueError(f"bytes in the code {codec!r}")
        return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Buffer


def _finished(value: object) -> object:
    """The value with arrays in place of their stand-ins, one level into a dictionary."""
    order: Any
    match value:
        case dict():
            return {key: _finished(part) for key, part in value.items() if type(part) is not dict}
        case _Array(state=(_, shape, _Dtype(arguments=(kind, *_)), fortran, content)):
            order = "F" if fortran else "C"
        case _Buffer(arguments=(content, _Dtype(arguments=(kind, *_)), shape, order)):
            pass
        case _Noted():
            raise ValueError("an array without its type or its bytes")
        case _:
            return value
    if kind not in ("u1", b"u1"):
        raise ValueError(f"an array of {kind!r}, where uint8 is expected")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape, order=order)
