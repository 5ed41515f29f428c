"""Prepared data sets: one mapped uint8 file for each split, with labels and a record.

    ROOT/NAME/train.npy, test.npy                  uint8 [N, C, H, W]
    ROOT/NAME/train-labels.npy, test-labels.npy    int64 [N], where there are labels
    ROOT/NAME/record.json                          what they are, digests included

A preparation grows in ROOT/.NAME.partial, goes on there when it was interrupted, and takes its
name in one step when it is whole.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from cascore import __version__
from cascore.data.images import SPLITS, DataRecord, ImageSet, array_digest
from cascore.data.originals import Original, Originals, mapped_array
from cascore.errors import InputError
from cascore.files import write_text

__all__ = ["NAME", "is_prepared", "load_prepared", "prepare", "read_record"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")  # a folder of the root, and nothing beside it
_RECORD, _PROGRESS = "record.json", "progress.json"
_FORMAT = 1  # grows when the same originals would come out as other pixels
_NOTE_SECONDS = 5.0  # of work that a crash of the machine may cost


def is_prepared(name: str, root: Path) -> bool:
    """Whether `root` holds a prepared set of that name."""
    return bool(NAME.fullmatch(name)) and (root / name / _RECORD).is_file()


def load_prepared(name: str, split: str, *, root: Path) -> ImageSet:
    """One split of a prepared set, its pixels a private map of the file.

    Raises:
        InputError: A file is missing, damaged, or not what the record says.
    """
    folder = root / name
    record = read_record(folder)
    part = record["splits"][split]
    shape = (part["count"], *part["shape"])
    pixels = _mapped(folder / f"{split}.npy", dtype=np.uint8, shape=shape)
    labels = None
    if part["labels"]:
        path = folder / f"{split}-labels.npy"
        labels = np.array(_mapped(path, dtype=np.int64, shape=shape[:1]))
        if labels.min() < 0 or labels.max() >= len(record["classes"]):
            raise InputError(f"{path} holds labels that have no class; {_anew(folder)}")
    return ImageSet(
        name=name,
        split=split,
        images=torch.from_numpy(pixels),
        labels=None if labels is None else torch.from_numpy(labels),
        record=DataRecord(
            source=record["source"],
            split=record["split"],
            preparation=tuple(record["preparation"]),
        ),
        classes=tuple(record["classes"]),
    )


def prepare(
    originals: Originals,
    *,
    root: Path,
    progress: Callable[[int], None] = lambda more: None,
    notify: Callable[[str], None] = lambda message: None,
) -> Path:
    """Write ROOT/NAME from the original files; what an interrupted run has done is kept.

    Args:
        originals: The set.
        root: The data root; made if absent.
        progress: Called with how many more images are done.
        notify: Told in words what a person should know.

    Returns:
        The folder of the prepared set.

    Raises:
        InputError: An image is broken, or the folder holds something else.
    """
    folder, fingerprint = root / originals.name, _fingerprint(originals)
    if is_prepared(originals.name, root):
        if read_record(folder)["fingerprint"] != fingerprint:
            raise InputError(
                f"{folder} was prepared from other files or in another way; delete it,"
                " or choose another root"
            )
        progress(originals.count)
        notify(f"{folder} was prepared before")
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no prepared set; choose another root")
    work = root / f".{originals.name}.partial"
    work.mkdir(parents=True, exist_ok=True)
    done = _read_progress(work, fingerprint)
    if sum(done.values()):
        notify(f"going on after {sum(done.values()):,} images of an interrupted preparation")
    for split, original in zip(SPLITS, (originals.train, originals.test), strict=True):
        _write_pixels(
            work / f"{split}.npy",
            original,
            done=done[split],
            progress=progress,
            note=partial(_note, work, fingerprint, done, split),
        )
        done[split] = original.count
    _write_rest(work, originals, fingerprint)
    work.replace(folder)
    return folder


def read_record(folder: Path) -> Mapping[str, Any]:
    """The record of a prepared set.

    Raises:
        InputError: No record, or not one of this format.
    """
    path = folder / _RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for split in SPLITS:
            part = record["splits"][split]
            numbers = [part["count"], *part["shape"]]
            if len(numbers) != 4 or not all(type(n) is int and n > 0 for n in numbers):
                raise ValueError(f"its {split} split has the shape {numbers}")
            if type(part["labels"]) is not bool or type(part["digest"]) is not str:
                raise ValueError(f"its {split} split does not say whether it has labels")
        texts = [record[key] for key in ("name", "source", "split", "fingerprint")]
        texts += [*record["preparation"], *record["classes"]]
        if not all(type(text) is str for text in texts):
            raise ValueError("a text is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not the record of a prepared set ({type(error).__name__}: {error});"
            f" {_anew(folder)}"
        ) from None
    checked: Mapping[str, Any] = record
    return checked


def _anew(folder: Path) -> str:
    return f"delete {folder} and prepare it anew"


def _fingerprint(originals: Originals) -> str:
    """Equal for the same files prepared in the same way."""
    record = originals.record
    facts = [
        _FORMAT,
        originals.name,
        *(record.split, record.preparation, originals.classes, sorted(originals.files)),
        *((each.count, each.shape) for each in (originals.train, originals.test)),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read_progress(work: Path, fingerprint: str) -> dict[str, int]:
    """How many images of each split are on the disk from an interrupted run of the same."""
    try:
        found = json.loads((work / _PROGRESS).read_text(encoding="utf-8"))
        if found["fingerprint"] == fingerprint:
            return {split: int(found["done"][split]) for split in SPLITS}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing was noted yet
    return dict.fromkeys(SPLITS, 0)


def _note(work: Path, fingerprint: str, done: Mapping[str, int], split: str, count: int) -> None:
    facts = {"fingerprint": fingerprint, "done": {**done, split: count}}
    write_text(work / _PROGRESS, json.dumps(facts))


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
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (original.count, *original.shape),
        }
        np.lib.format.write_array_header_1_0(stream, header)
        item = int(np.prod(original.shape))
        start = stream.tell()
        if stream.seek(0, os.SEEK_END) < start + done * item:
            done = 0  # it is not what was noted
        stream.seek(start + done * item)
        stream.truncate()
        progress(done)
        last = time.monotonic()
        try:
            for block in original.blocks(done):
                if block.dtype != np.uint8 or block.shape[1:] != original.shape:
                    raise AssertionError(f"{block.dtype} {block.shape} for {original.shape}")
                stream.write(np.ascontiguousarray(block).data)
                done += len(block)
                progress(len(block))
                if time.monotonic() - last > _NOTE_SECONDS:
                    _settle(stream, note, done)
                    last = time.monotonic()
        finally:
            _settle(stream, note, done)
    if done != original.count:
        raise AssertionError(f"{done} images for {original.count}")


def _settle(stream: IO[bytes], note: Callable[[int], None], done: int) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    note(done)


def _write_rest(work: Path, originals: Originals, fingerprint: str) -> None:
    """Labels and record, the digests taken from what is on the disk."""
    splits = {}
    for split, original in zip(SPLITS, (originals.train, originals.test), strict=True):
        shape = (original.count, *original.shape)
        pixels = _mapped(work / f"{split}.npy", dtype=np.uint8, shape=shape)
        if original.labels is not None:
            with (work / f"{split}-labels.npy").open("wb") as stream:
                np.save(stream, original.labels, allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
        splits[split] = {
            "count": original.count,
            "shape": list(original.shape),
            "digest": array_digest(pixels, original.labels),
            "labels": original.labels is not None,
        }
    record = {
        "name": originals.name,
        "splits": splits,
        "classes": list(originals.classes),
        "source": originals.record.source,
        "split": originals.record.split,
        "preparation": list(originals.record.preparation),
        "fingerprint": fingerprint,
        "cascore": __version__,
    }
    write_text(work / _RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    (work / _PROGRESS).unlink(missing_ok=True)
