"""Data sets by name: `load(name, split)` gives an `ImageSet` (uint8) or a `PointSet` (float32).

| name | what | from |
| --- | --- | --- |
| `digits` | 8x8 grey handwritten digits, 1,437 + 360 | inside the package |
| `fashion-mnist`, `mnist` | 28x28 grey, 60,000 + 10,000 | IDX files in `root`, or prepared |
| `cifar-10` | 32x32 colour, 50,000 + 10,000 | prepared |
| `lsun-church` | 64x64 colour, 126,227 + 300 | prepared |
| `celeba` | 64x64 colour, 162,770 + 19,962 | prepared |
| `stacked-mnist`, `stacked-fashion-mnist` | 28x28, three grey as RGB, 60,000 + 10,000 | theirs |
| `stacked-digits` | 8x8, three digits as RGB, 20,000 + 5,000 | inside the package |
| `folder:PATH` | any images | the files under PATH |
| any other name | what `cascore data prepare NAME` made of a folder of images | prepared |
| `25-gaussians`, `swiss-roll` | points in the plane, 10,000 + 2,000 | drawn |

"Prepared" sets are folders of `root` that `prepare` wrote; every set but the points may be one.
"""

import difflib
from pathlib import Path

from cascore.data.digits import load_digits
from cascore.data.folder import FolderOptions, load_folder
from cascore.data.idx import FASHION_MNIST, MNIST, load_idx
from cascore.data.images import ImageSet
from cascore.data.points import POINT_SETS, PointSet, load_point_set
from cascore.data.preparation import (
    DATA_ROOT,
    KNOWN,
    NEEDS_PREPARATION,
    find_originals,
    how_to_prepare,
)
from cascore.data.prepared import is_prepared, load_prepared, prepare
from cascore.data.records import DataRecord, require_split
from cascore.data.stacked import STACKED, stack
from cascore.errors import InputError

__all__ = [
    "DATA_ROOT",
    "DataRecord",
    "FolderOptions",
    "ImageSet",
    "PointSet",
    "find_originals",
    "load",
    "load_images",
    "load_points",
    "names",
    "prepare",
]

_IDX_SOURCES = {source.name: source for source in (FASHION_MNIST, MNIST)}
_FOLDER = "folder:"
_ORIGINAL = FolderOptions()


def names() -> tuple[str, ...]:
    """The names that `load` knows, besides folder:PATH and the prepared sets of a root."""
    return (*KNOWN, *POINT_SETS)


def load(
    name: str,
    split: str,
    *,
    root: Path | str | None = None,
    folder: FolderOptions = _ORIGINAL,
) -> ImageSet | PointSet:
    """One split of a data set; train and test share no item.

    Args:
        name: One of `names()`, folder:PATH, or the name of a set prepared in `root`.
        split: "train" or "test".
        root: The data root, with a folder for each prepared set (default: DATA_ROOT); also the
            folder of the IDX files, or for the decoded pixels of a large image folder.
        folder: For folder:PATH only: how its images are brought to one shape.

    Raises:
        InputError: No such name or split, files that are missing or broken, folder options for
            a data set that is not a folder.
    """
    require_split(split)
    root = None if root is None else Path(root)
    if name.startswith(_FOLDER) and name != _FOLDER:
        return load_folder(Path(name.removeprefix(_FOLDER)), split, options=folder, root=root)
    place = DATA_ROOT if root is None else root
    prepared = name not in POINT_SETS and is_prepared(name, place)
    if name not in names() and not prepared:
        raise InputError(_unknown(name, place))
    if folder != _ORIGINAL:
        raise InputError(f"folder options are for folder:PATH; {name!r} has one fixed form")
    if name in POINT_SETS:
        return load_point_set(name, split)
    if prepared:
        return load_prepared(name, split, root=place)
    if name in NEEDS_PREPARATION:
        raise InputError(how_to_prepare(name, place))
    if name in STACKED:
        return stack(name, load_images(STACKED[name], split, root=root))
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


def _unknown(name: str, root: Path) -> str:
    known = (*names(), f"{_FOLDER}PATH")
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"there is no data set {name!r}; known are {', '.join(known)}, and what"
        f" cascore data prepare wrote into {root}{hint}"
    )
