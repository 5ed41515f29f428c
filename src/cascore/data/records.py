"""What every data set has: a split, a digest of its numbers, a record of how it was made."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from cascore.errors import InputError

__all__ = ["SPLITS", "DataRecord", "array_digest", "require_split"]

SPLITS = ("train", "test")


@dataclass(frozen=True)
class DataRecord:
    """Where a data set came from and what was done to it; `dataclasses.asdict` makes it JSON.

    Attributes:
        source: What was read or drawn, with its credit.
        split: The rule that decides what is train and what is test.
        preparation: What was done to the items, in order; empty for data taken as they are.
    """

    source: str
    split: str
    preparation: tuple[str, ...] = ()


def array_digest(*arrays: npt.NDArray[Any] | None) -> str:
    """SHA-256, in hexadecimal, of the dtype, shape and little-endian bytes of each array."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
            continue
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(array.data)
    return digest.hexdigest()


def require_split(split: str) -> None:
    """Raise InputError unless split is one of SPLITS."""
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}; expected 'train' or 'test'")
