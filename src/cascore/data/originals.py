"""What `prepare` works from: a data set as its original files hold it, image by image."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascore.data.images import DataRecord, Labels, Pixels
from cascore.errors import InputError
from cascore.foreign import parsing

FileFacts = tuple[str, int, int]  # name, bytes, time of change in ns


@dataclass(frozen=True, eq=False)
class Original:
    """One split in its original files: `count` images of one `shape`, labels [count] or None.

    `items(start)` gives the pixels [C, H, W] of one image after the other from number `start` on,
    so an interrupted preparation goes on in the middle.
    """

    count: int
    shape: tuple[int, int, int]
    items: Callable[[int], Iterator[Pixels]]
    labels: Labels | None = None


@dataclass(frozen=True, eq=False)
class Originals:
    """The splits of a data set, train and, if anything is held out, test; `load` says its `name`.

    `files` are name, size and time of change of what was read: a preparation that was interrupted
    goes on only if they are the same.
    """

    name: str
    splits: Mapping[str, Original]
    record: DataRecord
    files: tuple[FileFacts, ...]
    classes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Images of both splits together."""
        return sum(original.count for original in self.splits.values())


def file_facts(paths: Iterable[Path], *, below: Path | None = None) -> tuple[FileFacts, ...]:
    """The facts of files by which they are known again; names relative to `below`."""
    return tuple(
        facts_of(path, path.name if below is None else path.relative_to(below).as_posix())
        for path in paths
    )


def facts_of(path: Path, name: str) -> FileFacts:
    """The facts of one file, under a name."""
    status = path.stat()
    return name, status.st_size, status.st_mtime_ns


def from_array(pixels: Pixels, labels: Labels | None) -> Original:
    """A split whose pixels [N, C, H, W] are in memory already."""
    channels, height, width = pixels.shape[1:]
    shape = (channels, height, width)
    return Original(len(pixels), shape, lambda start: iter(pixels[start:]), labels)


def counts_note(splits: Mapping[str, Original], *, official: tuple[int, int]) -> str:
    """How many images were found and, where that differs, how many the official set has."""
    train, test = splits["train"].count, splits["test"].count
    note = f"{train:,} + {test:,} images"
    if (train, test) == official:
        return note
    return f"{note}, where the official set has {official[0]:,} + {official[1]:,}"


def mapped_array(
    path: Path, *, dtype: type, shape: tuple[int, ...], advice: str
) -> npt.NDArray[Any]:
    """A private map of an .npy file; another type or shape, or damage, raises InputError."""
    with parsing(path, "an array (.npy)", advice):
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="c")
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} of"
            f" {shape}; {advice}"
        )
    return array
