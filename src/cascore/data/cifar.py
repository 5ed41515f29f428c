"""CIFAR-10 from any form in which it is handed around.

The binary distribution and the pickles of the Python one, each as the archive or unpacked; the
parquet files of the hub; folders of PNG files. All hold the same 60,000 images, though the
folders and the parquet files may hold them in another order.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cascore.data.archives import read_tar
from cascore.data.cifar_images import find_folders, find_parquet
from cascore.data.originals import (
    FileFacts,
    Original,
    Originals,
    counts_note,
    file_facts,
    from_arrays,
)
from cascore.data.records import SPLITS, DataRecord
from cascore.data.unpickling import unpickle_arrays
from cascore.errors import InputError

__all__ = ["CLASSES", "find_cifar10"]

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_SIZE = 3 * 32 * 32
_LARGEST = 128 * 2**20  # bytes of one batch; those of CIFAR-10 have 31 MB
_OFFICIAL = (50_000, 10_000)
_RULE = "official: the five training batches and the test batch"
_STEMS = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_ADVICE = (
    "give as --source cifar-10-binary.tar.gz or cifar-10-python.tar.gz, packed or unpacked, a"
    " folder with the parquet files of the hub, or one with the image folders train and test"
)

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class _Form(NamedTuple):
    """A distribution in six files: what they are called, their folder, how one is read."""

    suffix: str
    folder: str
    read: Callable[[bytes, str], Arrays]
    what: str


def find_cifar10(source: Path) -> Originals:
    """Both splits of CIFAR-10, uint8 [N, 3, 32, 32], from whichever form `source` is.

    Raises:
        InputError: None of the forms, or files that are missing or broken.
        MissingExtraError: Parquet files, and pyarrow is not installed.
    """
    if source.is_file() and source.name.endswith((".tar.gz", ".tgz")):
        return _from_batches(source, _from_archive(source), file_facts([source]))
    if source.is_file() and source.suffix == ".parquet":
        source = source.parent
    if not source.is_dir():
        raise InputError(f"cifar-10 cannot be read from {source}; {_ADVICE}")
    for form in _FORMS:
        for folder in (source / form.folder, source):
            if (folder / f"test_batch{form.suffix}").is_file():
                paths = [
                    folder / f"{stem}{form.suffix}" for part in SPLITS for stem in _STEMS[part]
                ]
                found = {path.name: path.read_bytes() for path in paths if path.is_file()}
                return _from_batches(
                    folder, (form, found), file_facts(p for p in paths if p.is_file())
                )
    if found_images := find_parquet(source, classes=CLASSES) or find_folders(source):
        train, test, classes, what, rule, files = found_images
        return _originals(train, test, classes=classes, what=what, rule=rule, files=files)
    raise InputError(f"{source} holds no form of cifar-10; {_ADVICE}")


def _from_archive(path: Path) -> tuple[_Form, dict[str, bytes]]:
    """The distribution that an archive is, and its batches by name."""
    names = {f"{s}{form.suffix}": form for form in _FORMS for p in SPLITS for s in _STEMS[p]}
    found: dict[str, bytes] = {}
    for name, content in read_tar(path, lambda name: _LARGEST if name in names else None):
        if name.name in found:
            raise InputError(f"{path} holds {name.name} twice; get it anew")
        found[name.name] = content
    for form in _FORMS:
        if f"test_batch{form.suffix}" in found:
            return form, found
    raise InputError(f"{path} holds no batches of cifar-10; {_ADVICE}")


def _from_batches(
    path: Path, found: tuple[_Form, Mapping[str, bytes]], files: tuple[FileFacts, ...]
) -> Originals:
    form, contents = found
    splits = {}
    for split, stems in _STEMS.items():
        read = []
        for stem in stems:
            name = f"{stem}{form.suffix}"
            if name not in contents:
                raise InputError(f"{path} lacks {name}; get it anew")
            read.append(form.read(contents[name], f"{name} of {path}"))
        pixels = np.concatenate([each for each, _ in read]).reshape(-1, 3, 32, 32)
        splits[split] = from_arrays(pixels, np.concatenate([each for _, each in read]))
    return _originals(
        splits["train"], splits["test"], classes=CLASSES, what=form.what, rule=_RULE, files=files
    )


def _originals(
    train: Original,
    test: Original,
    *,
    classes: tuple[str, ...],
    what: str,
    rule: str,
    files: tuple[FileFacts, ...],
) -> Originals:
    counts = counts_note(train.count, test.count, official=_OFFICIAL)
    return Originals(
        name="cifar-10",
        train=train,
        test=test,
        record=DataRecord(
            source=f"CIFAR-10, A. Krizhevsky (2009), {what}; {counts}",
            split=rule,
        ),
        classes=classes,
        files=files,
    )


def _read_binary(content: bytes, name: str) -> Arrays:
    """A batch of the binary distribution: records of one byte of label and 3,072 of pixels."""
    count, rest = divmod(len(content), _SIZE + 1)
    if rest or not count:
        raise InputError(
            f"{name} has {len(content)} bytes, which is no number of records of {_SIZE + 1};"
            " it is truncated or something else: get it anew"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(count, _SIZE + 1)
    return records[:, 1:], _checked_labels(records[:, 0].astype(np.int64), name)


def _read_pickle(content: bytes, name: str) -> Arrays:
    """A batch of the Python distribution: a dictionary with data, uint8 [N, 3072], and labels."""
    found = unpickle_arrays(content, path=name)
    entries: Mapping[object, object] = found if isinstance(found, dict) else {}
    data = entries.get(b"data", entries.get("data"))
    labels = entries.get(b"labels", entries.get("labels"))
    if (
        not isinstance(data, np.ndarray)
        or data.ndim != 2
        or data.shape[1] != _SIZE
        or not len(data)
    ):
        shape = data.shape if isinstance(data, np.ndarray) else "no array"
        raise InputError(f"{name} holds as data {shape}; expected uint8 [N, {_SIZE}]")
    if not isinstance(labels, list) or not all(type(each) is int for each in labels):
        raise InputError(f"{name} holds no list of labels; get it anew")
    if len(labels) != len(data):
        raise InputError(f"{name} holds {len(data)} images but {len(labels)} labels; get it anew")
    return data, _checked_labels(np.array(labels), name)


def _checked_labels(labels: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.int64]:
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        wrong = labels[(labels < 0) | (labels >= len(CLASSES))][0]
        raise InputError(f"{name} holds the label {wrong}; expected 0 to 9: get it anew")
    return labels


_FORMS = (
    _Form(".bin", "cifar-10-batches-bin", _read_binary, "the binary distribution"),
    _Form("", "cifar-10-batches-py", _read_pickle, "the Python distribution"),
)
