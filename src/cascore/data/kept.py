"""What takes a second or more to read of a folder of images, kept until the folder changes.

    ROOT/folder-PLACE-KEY.npy     an array, mapped when it is loaded
    ROOT/folder-PLACE-KEY.json    its digest; written last, it says that the array is whole

PLACE stands for the folder and for what is kept of it, KEY for the files that it was made from. A
new key takes the place of the old one.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascore.data.images import DATA_ROOT, array_digest
from cascore.data.originals import FileFacts, mapped_array
from cascore.errors import InputError
from cascore.files import is_leftover, replaced_file
from cascore.locks import one_writer
from cascore.plain import from_plain, read_json, write_json

_SECOND = 2**26  # pixels, about as many as are decoded in one on a core
_FILE = 30_000  # pixels that are decoded while a file is opened
_PATIENCE = 3600.0  # seconds to wait for another process that makes the same

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Note:
    """What is known of a kept array."""

    digest: str


class Kept(NamedTuple):
    """An array mapped from a file, privately: a write to it does not reach the disk."""

    array: Array
    digest: str
    """As it was when it was made; not compared with the array yet."""
    path: Path


class Source(NamedTuple):
    """What an array is made from: the folder, how, and the files or what else may change there."""

    folder: Path
    how: Sequence[object]
    files: Sequence[FileFacts | str]


def worth_keeping(files: int, pixels: int = 0) -> bool:
    """Whether to read so many files, and to decode so many pixels, takes a second or more."""
    return files * _FILE + pixels > _SECOND


def kept_array(
    source: Source,
    root: Path | None,
    items: Callable[[], Iterable[Array]],
    *,
    dtype: type,
    shape: tuple[int, ...],
    digest: Callable[[Array], str] = array_digest,
) -> Kept | None:
    """The array whose `items` come one after the other, made only where it is not kept yet.

    Args:
        source: What it is made from.
        root: Where it is kept; None is DATA_ROOT, if that can be written.
        items: Makes the parts along the first axis.
        dtype: Of the array.
        shape: Of the array.
        digest: Of the array.

    Returns:
        The array, or None where the default root cannot be written.

    Raises:
        InputError: a root that cannot be written or has no room, or a kept array that is damaged.
    """
    place = hashlib.sha256(json.dumps([str(source.folder.resolve()), *source.how]).encode())
    key = hashlib.sha256(json.dumps([shape, *source.files]).encode()).hexdigest()[:16]
    name = (DATA_ROOT if root is None else root) / f"folder-{place.hexdigest()[:16]}"
    stored = name.with_name(f"{name.name}-{key}.npy")
    note = stored.with_suffix(".json")
    with ExitStack() as held:
        if not note.is_file():
            try:
                held.enter_context(one_writer(name, "reading a folder", wait=_PATIENCE))
            except InputError:
                if root is None:
                    return None
                raise
        if not note.is_file():  # who was waited for may have made it
            _remove_older(name)
            _write(stored, items(), dtype=dtype, shape=shape)
            written = mapped_array(stored, dtype=dtype, shape=shape, advice="load again")
            write_json(note, _Note(digest(written)))
    advice = anew(stored)
    try:
        known = from_plain(_Note, read_json(note), str(note))
    except InputError as error:
        raise InputError(f"{error}; {advice}") from None
    return Kept(mapped_array(stored, dtype=dtype, shape=shape, advice=advice), known.digest, stored)


def anew(stored: Path) -> str:
    """What to do about a kept array that is damaged."""
    return f"delete {stored.with_suffix('')}.* and load the folder again"


def _remove_older(name: Path) -> None:
    """What was kept under other keys, and what killed writers left of it."""
    for old in name.parent.glob(f"{name.name}-*"):
        old.unlink(missing_ok=True)
    for old in name.parent.glob(f".{name.name}-*"):
        if is_leftover(old):
            old.unlink(missing_ok=True)


def _write(stored: Path, items: Iterable[Array], *, dtype: type, shape: tuple[int, ...]) -> None:
    """An .npy file; not by a map of it, which a full disk would end the process for."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    size, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(stored.parent).free
    if size > free:
        raise InputError(
            f"{shape[0]:,} images read into {stored.parent} take {size / 1e9:,.1f} GB, and"
            f" {free / 1e9:,.1f} GB are free there: choose a smaller size, or another root"
        )
    with replaced_file(stored) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        for item in items:
            stream.write(np.ascontiguousarray(item, dtype).data)
        assert stream.tell() - start == size
