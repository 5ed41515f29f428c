"""What `prepare` works from: a data set as its original files hold it, item by item."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cascore.data.images import ImageSet
from cascore.data.records import DataRecord

__all__ = [
    "FileFacts",
    "Original",
    "Originals",
    "counts_note",
    "file_facts",
    "from_arrays",
    "from_sets",
]

Pixels = npt.NDArray[np.uint8]
FileFacts = tuple[str, int, int]  # name, bytes, time of change in ns

_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Original:
    """One split in its original files.

    Attributes:
        count: How many images there are.
        shape: Channels, height and width of a prepared image.
        labels: int64 [count], or None.
        blocks: Called with the number of an item, gives the pixels from that item on, as uint8
            [n, C, H, W] of any n; so an interrupted preparation goes on in the middle.
    """

    count: int
    shape: tuple[int, int, int]
    labels: npt.NDArray[np.int64] | None
    blocks: Callable[[int], Iterator[Pixels]]


@dataclass(frozen=True, eq=False)
class Originals:
    """Both splits of a data set in their original files.

    Attributes:
        name: What `load` will call the set.
        train: The training split.
        test: The held-out split.
        record: Source, split rule and preparation.
        classes: What each label is called; empty without labels.
        files: Name, size and time of change of what was read: a preparation that was interrupted
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
    return Originals(
        name=train.name,
        train=from_arrays(train.images.numpy(), _labels(train)),
        test=from_arrays(test.images.numpy(), _labels(test)),
        record=DataRecord(
            source=source,
            split=train.record.split,
            preparation=train.record.preparation,
        ),
        classes=train.classes,
        files=files,
    )


def from_arrays(pixels: Pixels, labels: npt.NDArray[np.int64] | None) -> Original:
    """A split that is in memory already."""

    def blocks(start: int) -> Iterator[Pixels]:
        for first in range(start, len(pixels), _BLOCK):
            yield pixels[first : first + _BLOCK]

    channels, height, width = pixels.shape[1:]
    return Original(
        count=len(pixels), shape=(channels, height, width), labels=labels, blocks=blocks
    )


def counts_note(train: int, test: int, *, official: tuple[int, int]) -> str:
    """How many images were found and, where that differs, how many the official set has."""
    found = f"{train:,} + {test:,} images"
    if (train, test) == official:
        return found
    return f"{found}, where the official set has {official[0]:,} + {official[1]:,}"


def _labels(images: ImageSet) -> npt.NDArray[np.int64] | None:
    return None if images.labels is None else images.labels.numpy()
