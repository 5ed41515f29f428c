"""What `prepare` works from: a data set as its original files hold it, item by item."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascore.data.images import DataRecord, ImageSet
from cascore.errors import InputError

Pixels = npt.NDArray[np.uint8]
FileFacts = tuple[str, int, int]  # name, bytes, time of change in ns

_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Original:
    """One split in its original files: `count` images of one `shape`, labels int64 [count] or None.

    `blocks(start)` gives the pixels from item `start` on, as uint8 [n, C, H, W] of any n; so an
    interrupted preparation goes on in the middle.
    """

    count: int
    shape: tuple[int, int, int]
    labels: npt.NDArray[np.int64] | None
    blocks: Callable[[int], Iterator[Pixels]]


@dataclass(frozen=True, eq=False)
class Originals:
    """Both splits of a data set in their original files; `name` is what `load` will call it.

    `files` are name, size and time of change of what was read: a preparation that was interrupted
    goes on only if they are the same.
    """

    name: str
    train: Original
    test: Original
    record: DataRecord
    classes: tuple[str, ...]
    files: tuple[FileFacts, ...]

    @property
    def count(self) -> int:
        """Images of both splits together."""
        return self.train.count + self.test.count


def file_facts(paths: Iterable[Path], *, below: Path | None = None) -> tuple[FileFacts, ...]:
    """The facts of files by which `prepare` knows them again; names relative to `below`."""
    return tuple(
        (
            path.name if below is None else path.relative_to(below).as_posix(),
            path.stat().st_size,
            path.stat().st_mtime_ns,
        )
        for path in paths
    )


def from_sets(train: ImageSet, test: ImageSet, *, files: tuple[FileFacts, ...]) -> Originals:
    """A set that fits in memory, as the originals of its prepared form."""
    source, other = train.record.source, test.record.source
    if other != source:  # of IDX files the same credit, then the files
        source = f"{source}; {other.rpartition('; ')[2]}"
    of_train, of_test = (
        from_arrays(part.images.numpy(), None if part.labels is None else part.labels.numpy())
        for part in (train, test)
    )
    record = replace(train.record, source=source)
    return Originals(train.name, of_train, of_test, record, train.classes, files)


def from_arrays(pixels: Pixels, labels: npt.NDArray[np.int64] | None) -> Original:
    """A split whose pixels [N, C, H, W] are in memory already."""

    def blocks(start: int) -> Iterator[Pixels]:
        for first in range(start, len(pixels), _BLOCK):
            yield pixels[first : first + _BLOCK]

    channels, height, width = pixels.shape[1:]
    return Original(len(pixels), (channels, height, width), labels, blocks)


def from_items(
    count: int,
    items: Callable[[int], Iterator[Pixels]],
    *,
    shape: tuple[int, int, int],
    labels: npt.NDArray[np.int64] | None = None,
) -> Original:
    """A split whose images [C, H, W] come one after the other, from a number on."""
    return Original(count, shape, labels, lambda start: (pixels[None] for pixels in items(start)))


def counts_note(train: int, test: int, *, official: tuple[int, int]) -> str:
    """How many images were found and, where that differs, how many the official set has."""
    note = f"{train:,} + {test:,} images"
    if (train, test) == official:
        return note
    return f"{note}, where the official set has {official[0]:,} + {official[1]:,}"


def mapped_array(
    path: Path, *, dtype: type, shape: tuple[int, ...], advice: str
) -> npt.NDArray[Any]:
    """A private map of an .npy file; another type or shape, or damage, raises InputError."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged ({error}); {advice}") from error
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} of"
            f" {shape}; {advice}"
        )
    return array
