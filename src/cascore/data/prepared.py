"""Prepared data sets: one mapped uint8 file for each split, with labels and a record.

    ROOT/NAME/train.npy, test.npy                  uint8 [N, C, H, W]
    ROOT/NAME/train-labels.npy, test-labels.npy    int64 [N], where there are labels
    ROOT/NAME/record.json                          what they are, digests included

A preparation grows in ROOT/.NAME.partial, goes on there when it was interrupted, and takes its
name in one step when it is whole.
"""

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch

from cascore import __version__
from cascore.data.images import SPLITS, DataRecord, ImageSet, Recorded, array_digest
from cascore.data.originals import Original, Originals, mapped_array
from cascore.errors import InputError
from cascore.files import put_in_place, remove_leftovers, replaced_file
from cascore.locks import one_writer
from cascore.plain import from_plain, read_json, write_json

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")  # a folder of the root, and nothing beside it
_RECORD, _PROGRESS = "record.json", "progress.json"
_FORMAT = 1  # grows when the same originals would come out as other pixels
_NOTE_SECONDS = 5.0  # of work that a crash of the machine may cost


@dataclass(frozen=True)
class PreparedSplit:
    """One split in the record: number and shape of the images, their digest, whether labelled."""

    count: int
    shape: tuple[int, int, int]
    digest: str
    labels: bool

    def __post_init__(self) -> None:
        if min(self.count, *self.shape) < 1:
            raise InputError(f"{self.count} images of shape {self.shape}; expected at least 1")


@dataclass(frozen=True)
class PreparedRecord:
    """What `prepare` keeps of a set: the fields of its `DataRecord`, and what is in the folder.

    The fingerprint is a digest of the originals and of the preparation, `cascore` the version.
    """

    name: str
    splits: Mapping[str, PreparedSplit]
    classes: tuple[str, ...]
    source: str
    split: str
    preparation: tuple[str, ...]
    fingerprint: str
    cascore: str
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not {"train"} <= set(self.splits) <= set(SPLITS):
            raise InputError(f"it has the splits {list(self.splits)}; expected train and test")


@dataclass(frozen=True)
class _Progress:
    """How many images of each split are safe on the disk."""

    fingerprint: str
    done: Mapping[str, int]


def is_prepared(name: str, root: Path) -> bool:
    """Whether `root` holds a prepared set of that name."""
    return bool(NAME.fullmatch(name)) and (root / name / _RECORD).is_file()


def read_record(folder: Path) -> PreparedRecord:
    """The record of a prepared set; one that is not of this format raises InputError."""
    try:
        return from_plain(PreparedRecord, read_json(folder / _RECORD), str(folder / _RECORD))
    except InputError as error:
        raise InputError(f"{error}; {_anew(folder)}") from None


def load_prepared(name: str, split: str, *, root: Path) -> ImageSet:
    """One split of a prepared set, its pixels a private map of the file."""
    folder = root / name
    record, advice = read_record(folder), _anew(folder)
    if split not in record.splits:
        raise InputError(f"{folder} holds no {split} images: nothing of so small a set is held out")
    part = record.splits[split]
    shape = (part.count, *part.shape)
    pixels = mapped_array(folder / f"{split}.npy", dtype=np.uint8, shape=shape, advice=advice)
    labels = None
    if part.labels:
        path = folder / f"{split}-labels.npy"
        labels = np.array(mapped_array(path, dtype=np.int64, shape=shape[:1], advice=advice))
        if labels.min() < 0 or labels.max() >= len(record.classes):
            raise InputError(f"{path} holds labels that have no class; {advice}")
    return ImageSet(
        name=name,
        split=split,
        images=torch.from_numpy(pixels),
        labels=None if labels is None else torch.from_numpy(labels),
        record=DataRecord(record.source, record.split, record.preparation, record.remarks),
        classes=record.classes,
        recorded=Recorded(part.digest, advice),
    )


def prepare(
    originals: Originals,
    *,
    root: Path,
    progress: Callable[[int], None] = lambda more: None,
    notify: Callable[[str], None] = lambda message: None,
) -> Path:
    """Write ROOT/NAME from the original files, and return it; what an interrupted run did is kept.

    `progress` is called with how many more images are done, `notify` is told in words what a person
    should know. A broken image, and a folder that holds something else, raise InputError.
    """
    folder, fingerprint = root / originals.name, _fingerprint(originals)
    with one_writer(folder, "preparing it"):
        if is_prepared(originals.name, root):
            if read_record(folder).fingerprint != fingerprint:
                raise InputError(
                    f"{folder} was prepared from other files or in another way; delete it,"
                    " or choose another root"
                )
            progress(originals.count)
            notify(f"{folder} was prepared before")
            return folder
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} is not empty and holds no prepared set; choose another root"
            )
        work = root / f".{originals.name}.partial"
        work.mkdir(exist_ok=True)
        remove_leftovers(work)
        done = _read_progress(work, fingerprint)
        if sum(done.values()):
            notify(f"going on after {sum(done.values()):,} images of an interrupted preparation")
        for split, original in originals.splits.items():

            def note(count: int, split: str = split) -> None:
                write_json(work / _PROGRESS, _Progress(fingerprint, {**done, split: count}))

            path = work / f"{split}.npy"
            _write_pixels(path, original, done=done[split], progress=progress, note=note)
            done[split] = original.count
        _write_rest(work, originals, fingerprint)
        put_in_place(work, folder)
    return folder


def _anew(folder: Path) -> str:
    return f"delete {folder} and prepare it anew"


def _fingerprint(originals: Originals) -> str:
    """Equal for the same files prepared in the same way."""
    record = originals.record
    facts = [
        _FORMAT,
        originals.name,
        *(record.split, record.preparation, originals.classes, sorted(originals.files)),
        *((part.count, part.shape) for part in originals.splits.values()),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read_progress(work: Path, fingerprint: str) -> dict[str, int]:
    """How many images of each split are on the disk from an interrupted run of the same."""
    path = work / _PROGRESS
    try:
        progress = from_plain(_Progress, read_json(path), str(path))
    except InputError:  # nothing was noted yet
        progress = _Progress(fingerprint, {})
    done = progress.done if progress.fingerprint == fingerprint else {}
    return {split: done.get(split, 0) for split in SPLITS}


def _write_pixels(
    path: Path,
    original: Original,
    *,
    done: int,
    progress: Callable[[int], None],
    note: Callable[[int], None],
) -> None:
    """Append to an .npy file from item `done` on, noting now and then what is safe on the disk."""
    with path.open("r+b" if done and path.is_file() else "w+b") as stream:
        shape = (original.count, *original.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        item = math.prod(original.shape)
        start = stream.tell()
        if stream.seek(0, os.SEEK_END) < start + done * item:
            done = 0  # it is not what was noted
        stream.seek(start + done * item)
        stream.truncate()
        progress(done)
        last = time.monotonic()
        try:
            for image in original.items(done):
                assert image.dtype == np.uint8
                assert image.shape == original.shape
                stream.write(np.ascontiguousarray(image).data)
                done += 1
                progress(1)
                if time.monotonic() - last > _NOTE_SECONDS:
                    _settle(stream, note, done)
                    last = time.monotonic()
        finally:
            _settle(stream, note, done)
    assert done == original.count


def _settle(stream: IO[bytes], note: Callable[[int], None], done: int) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    note(done)


def _write_rest(work: Path, originals: Originals, fingerprint: str) -> None:
    """Labels and record, the digests taken from what is on the disk."""
    splits = {}
    for split, original in originals.splits.items():
        path, shape = work / f"{split}.npy", (original.count, *original.shape)
        pixels = mapped_array(path, dtype=np.uint8, shape=shape, advice=_anew(work))
        if original.labels is not None:
            labels = work / f"{split}-labels.npy"
            with replaced_file(labels) as temporary, temporary.open("wb") as stream:
                np.save(stream, original.labels, allow_pickle=False)
        digest, labelled = array_digest(pixels, original.labels), original.labels is not None
        splits[split] = PreparedSplit(original.count, original.shape, digest, labelled)
    record = PreparedRecord(
        name=originals.name,
        splits=splits,
        classes=originals.classes,
        **asdict(originals.record),
        fingerprint=fingerprint,
        cascore=__version__,
    )
    write_json(work / _RECORD, record)
    (work / _PROGRESS).unlink(missing_ok=True)
