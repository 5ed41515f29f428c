"""CIFAR-10 as encoded images: the hub's parquet files, and folders of PNG files."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascore.data.decoding import opened_image, require_8_bits
from cascore.data.folder import find_images
from cascore.data.originals import FileFacts, Original, file_facts
from cascore.data.records import SPLITS
from cascore.errors import InputError, MissingExtraError

__all__ = ["FoundImages", "find_folders", "find_parquet"]

_IMAGE_COLUMNS = ("img", "image")
_BATCH = 256  # rows of a parquet file at a time

Pixels = npt.NDArray[np.uint8]


class FoundImages(NamedTuple):
    """Both splits, the names of the classes, what was read, what split it, and its files."""

    train: Original
    test: Original
    classes: tuple[str, ...]
    what: str
    rule: str
    files: tuple[FileFacts, ...]


def find_parquet(source: Path, *, classes: tuple[str, ...]) -> FoundImages | None:
    """The parquet files train-*.parquet and test-*.parquet anywhere below a folder, if any.

    Rows hold a column img (or image) with the bytes of an image file, and a column label.

    Raises:
        InputError: One split is missing, or a file is not of this form.
        MissingExtraError: pyarrow is not installed.
    """
    paths = {split: sorted(source.rglob(f"{split}-*.parquet")) for split in SPLITS}
    if not any(paths.values()):
        return None
    for split, found in paths.items():
        if not found:
            raise InputError(f"{source} holds no file {split}-*.parquet; get it too")
    train, test = (_parquet_split(paths[split], classes) for split in SPLITS)
    files = file_facts([*paths["train"], *paths["test"]], below=source)
    rule = "official: the files train-* and test-*"
    return FoundImages(train, test, classes, "parquet files of the hub", rule, files)


def find_folders(source: Path) -> FoundImages | None:
    """The image folders train and test of a folder, if it has both.

    Labels are the subfolders in alphabetical order, which for CIFAR-10 is the official order, if
    every image lies in one and both splits have the same.
    """
    if not all((source / split).is_dir() for split in SPLITS):
        return None
    paths = {split: find_images(source / split) for split in SPLITS}
    nested = all(len(path.parts) > 1 for found in paths.values() for path in found)
    names = {split: {path.parts[0] for path in found} for split, found in paths.items()}
    if nested and names["train"] != names["test"]:
        raise InputError(
            f"the subfolders of {source / 'train'} and of {source / 'test'} differ:"
            f" {', '.join(sorted(names['train'] ^ names['test']))} is in one only"
        )
    classes = tuple(sorted(names["train"])) if nested else ()
    splits = []
    for split in SPLITS:
        files = [source / split / path for path in paths[split]]
        labels = [classes.index(path.parts[0]) for path in paths[split]] if nested else None
        splits.append(_file_split(files, None if labels is None else np.array(labels)))
    facts = file_facts((source / s / path for s in SPLITS for path in paths[s]), below=source)
    rule = "as found: the folders train and test"
    return FoundImages(splits[0], splits[1], classes, "folders of images", rule, facts)


def _file_split(files: Sequence[Path], labels: npt.NDArray[np.int64] | None) -> Original:
    def blocks(start: int) -> Iterator[Pixels]:
        for path in files[start:]:
            yield _decoded(path, str(path))

    return Original(count=len(files), shape=(3, 32, 32), labels=labels, blocks=blocks)


def _parquet_split(paths: Sequence[Path], classes: tuple[str, ...]) -> Original:
    labels = np.concatenate([_read_labels(path, classes) for path in paths])
    if not len(labels):
        raise InputError(f"{paths[0]} holds no images; get it anew")

    def blocks(start: int) -> Iterator[Pixels]:
        number = 0
        for path in paths:
            for rows in _rows(path, _image_column(path)):
                for row in rows:
                    if number >= start:
                        yield _decoded(_content(row, path), f"row {number} of {path}")
                    number += 1

    return Original(count=len(labels), shape=(3, 32, 32), labels=labels, blocks=blocks)


def _decoded(content: Path | bytes, name: str) -> Pixels:
    with opened_image(content, name=name) as image:
        require_8_bits(image, name=name)
        if image.size != (32, 32):
            raise InputError(
                f"{name} is {image.width} x {image.height}; the images of cifar-10 are 32 x 32"
            )
        return _pixels(image)


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]


def _content(row: object, path: Path) -> bytes:
    content = row.get("bytes") if isinstance(row, dict) else row
    if not isinstance(content, bytes):
        raise InputError(f"{path} holds no bytes of images but {type(content).__name__}")
    return content


def _read_labels(path: Path, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    labels = [label for rows in _rows(path, "label") for label in rows]
    for label in labels:
        if type(label) is not int or not 0 <= label < len(classes):
            raise InputError(f"{path} holds the label {label!r}; expected 0 to {len(classes) - 1}")
    return np.array(labels, dtype=np.int64)


def _image_column(path: Path) -> str:
    names: list[str] = _reading(path, lambda file: file.schema_arrow.names)
    for name in _IMAGE_COLUMNS:
        if name in names:
            return name
    raise InputError(f"{path} has the columns {', '.join(names)}; expected img and label")


def _rows(path: Path, column: str) -> Iterator[list[object]]:
    """One column of a parquet file, a few rows at a time."""
    groups: int = _reading(path, lambda file: file.num_row_groups)
    for group in range(groups):
        table = _reading(path, partial(_read_group, group=group, column=column))
        for batch in table.to_batches(max_chunksize=_BATCH):
            if batch.num_columns != 1:
                raise InputError(f"{path} has no column {column}; expected img and label")
            yield batch.column(0).to_pylist()


def _read_group(file: Any, *, group: int, column: str) -> Any:
    return file.read_row_group(group, [column])


def _reading(path: Path, ask: Callable[[Any], Any]) -> Any:
    """What a parquet file answers; whatever goes wrong becomes an InputError that names it."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            what="reading parquet files", package="pyarrow", extra="data"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            return ask(file)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as parquet: {error}; get it anew") from error
