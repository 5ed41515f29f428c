"""Data sets by name: `load(name, split)` gives an `ImageSet` (uint8) or a `PointSet` (float32).

| name | what | from |
| --- | --- | --- |
| `digits` | 8x8 grey handwritten digits, 1,437 + 360 | inside the package |
| `fashion-mnist`, `mnist` | 28x28 grey, 60,000 + 10,000 | IDX files in `root` |
| `folder:PATH` | any images | the files under PATH |
| `25-gaussians`, `swiss-roll` | points in the plane, 10,000 + 2,000 | drawn |
"""

import difflib
from pathlib import Path

from cascore.datasets.digits import load_digits
from cascore.datasets.folder import FolderOptions, load_folder
from cascore.datasets.idx import FASHION_MNIST, MNIST, load_idx
from cascore.datasets.images import ImageSet
from cascore.datasets.points import POINT_SETS, PointSet, load_point_set
from cascore.datasets.records import DataRecord, require_split
from cascore.errors import InputError

__all__ = [
    "DataRecord",
    "FolderOptions",
    "ImageSet",
    "PointSet",
    "load",
    "load_images",
    "load_points",
    "names",
]

_IDX_SOURCES = {source.name: source for source in (FASHION_MNIST, MNIST)}
_FOLDER = "folder:"
_ORIGINAL = FolderOptions()


def names() -> tuple[str, ...]:
    """The names that `load` knows, besides folder:PATH."""
    return ("digits", *_IDX_SOURCES, *POINT_SETS)


def load(
    name: str,
    split: str,
    *,
    root: Path | str | None = None,
    folder: FolderOptions = _ORIGINAL,
) -> ImageSet | PointSet:
    """One split of a data set; train and test share no item.

    Args:
        name: One of `names()`, or folder:PATH.
        split: "train" or "test".
        root: Folder of the IDX files, or for the decoded pixels of a large image folder; sets
            that need neither take no notice of it.
        folder: For folder:PATH only: how its images are brought to one shape.

    Raises:
        InputError: No such name or split, files that are missing or broken, folder options for
            a data set that is not a folder.
    """
    require_split(split)
    root = None if root is None else Path(root)
    if name.startswith(_FOLDER) and name != _FOLDER:
        return load_folder(Path(name.removeprefix(_FOLDER)), split, options=folder, root=root)
    if name not in names():
        raise InputError(_unknown(name))
    if folder != _ORIGINAL:
        raise InputError(f"folder options are for folder:PATH; {name!r} has one fixed form")
    if name in POINT_SETS:
        return load_point_set(name, split)
    if name in _IDX_SOURCES:
        return load_idx(_IDX_SOURCES[name], split, root=root)
    return load_digits(split)


def load_images(
    name: str,
    split: str,
    *,
    root: Path | str | None = None,
    folder: FolderOptions = _ORIGINAL,
) -> ImageSet:
    """`load`, for a caller that needs images: a set of points is an InputError."""
    if name in POINT_SETS:
        raise InputError(f"{name!r} is a set of points, not of images; load it with load_points")
    loaded = load(name, split, root=root, folder=folder)
    assert isinstance(loaded, ImageSet)
    return loaded


def load_points(name: str, split: str) -> PointSet:
    """`load`, for a caller that needs points: a set of images is an InputError."""
    if name not in POINT_SETS:
        raise InputError(f"{name!r} is not a set of points; those are {', '.join(POINT_SETS)}")
    return load_point_set(name, split)


def _unknown(name: str) -> str:
    known = (*names(), f"{_FOLDER}PATH")
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"there is no data set {name!r}; known are {', '.join(known)}{hint}"
