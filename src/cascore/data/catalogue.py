"""The data sets that have names: how each is loaded, and from which files it can be prepared."""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cascore.data import celeba, cifar, lsun
from cascore.data.contents import read_folder
from cascore.data.digits import load_digits
from cascore.data.downloads import DOWNLOADS
from cascore.data.folder import find_folder, load_contents, load_folder
from cascore.data.idx import FASHION_MNIST, MNIST, find_files, load_idx
from cascore.data.images import DATA_ROOT, SPLITS, ImageSet, require_split
from cascore.data.originals import Originals, file_facts, from_array
from cascore.data.points import POINT_SETS, PointSet, load_point_set
from cascore.data.prepared import NAME, is_prepared, load_prepared, read_record
from cascore.data.stacked import STACKED, stack
from cascore.errors import InputError, nearest
from cascore.preprocessing import FolderOptions, folder_path, is_folder

_ORIGINAL = FolderOptions()
_IDX = {source.name: source for source in (MNIST, FASHION_MNIST)}
_FINDERS = {
    "cifar-10": (cifar.find_cifar10, cifar.SOURCE),
    cifar.JPEG_NAME: (cifar.find_cifar10_jpeg, cifar.JPEG_SOURCE),
    "lsun-church": (lsun.find_lsun_church, lsun.SOURCE),
    "celeba": (celeba.find_celeba, celeba.SOURCE),
}
"""How the original files of each set that must be prepared are read, and which they are."""
_KNOWN = ("digits", *_IDX, *_FINDERS, *STACKED)


def names() -> tuple[str, ...]:
    """The names that `load` knows, besides folder:PATH and the prepared sets of a root."""
    return (*_KNOWN, *POINT_SETS)


def load(
    name: str, split: str, *, root: Path | str | None = None, folder: FolderOptions = _ORIGINAL
) -> ImageSet | PointSet:
    """One split of a data set; train and test share no item.

    `name` is one of `names()`, folder:PATH, or that of a set prepared in `root`; one that is not
    there, or whose files are broken, raises InputError. `root` holds a folder for each prepared set
    (default: DATA_ROOT); it is also the folder of the IDX files, or for the decoded pixels of a
    large image folder. `folder`, for folder:PATH only, is how its images are brought to one shape.
    """
    require_split(split)
    root = None if root is None else Path(root)
    if is_folder(name):
        return load_folder(folder_path(name), split, options=folder, root=root)
    data_root = DATA_ROOT if root is None else root
    prepared = name not in POINT_SETS and is_prepared(name, data_root)
    if name not in names() and not prepared:
        if Path(name).is_dir():
            raise InputError(f"{name} is a folder; its images as a data set are folder:{name}")
        known = (*names(), "folder:PATH")
        raise InputError(
            f"there is no data set {name!r}{nearest(name, known)}; known are {', '.join(known)},"
            f" and what cascore data prepare wrote into {data_root}"
        )
    if folder != _ORIGINAL:
        raise InputError(f"folder options are for folder:PATH; {name!r} has one fixed form")
    if name in POINT_SETS:
        return load_point_set(name, split)
    if prepared:
        return load_prepared(name, split, root=data_root)
    if name in _FINDERS:
        option = "" if root is None or root == DATA_ROOT else f" --root {root}"
        raise InputError(
            f"{name} is not prepared in {data_root}; run: cascore data prepare {name} --source"
            f" PATH{option}, where PATH is {_FINDERS[name][1]}"
        )
    if name in STACKED:
        return stack(name, load_images(STACKED[name], split, root=root))
    return load_idx(_IDX[name], split, root=root) if name in _IDX else load_digits(split)


def load_image_splits(
    name: str, *, root: Path | str | None = None, folder: FolderOptions = _ORIGINAL
) -> Mapping[str, ImageSet]:
    """`load_images`, of every split that there is: train, and test where anything is held out.

    A folder's files are looked through once.
    """
    root = None if root is None else Path(root)
    if is_folder(name):
        contents = read_folder(folder_path(name), skip_broken=folder.skip_broken, root=root)
        return load_contents(contents, options=folder, root=root)
    data_root = DATA_ROOT if root is None else root
    prepared = read_record(data_root / name).splits if is_prepared(name, data_root) else SPLITS
    splits = (split for split in SPLITS if split in prepared)
    return {split: load_images(name, split, root=root, folder=folder) for split in splits}


def load_images(
    name: str, split: str, *, root: Path | str | None = None, folder: FolderOptions = _ORIGINAL
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


def find_originals(
    name: str, source: Path | None, *, folder: FolderOptions = _ORIGINAL
) -> Originals:
    """The original files of a known data set, or of a folder of images under a new name.

    `source` is where the files are; digits and stacked-digits need none. `folder` is how a folder's
    images are brought to one shape. A name that cannot be, and a source that is missing or broken,
    raise InputError.
    """
    _require_name(name)
    if STACKED.get(name, name) == "digits":
        if source is not None:
            raise InputError(f"{name} comes with the package; leave --source out")
        return _from_sets(name, [load_digits(split) for split in SPLITS], [])
    if source is None:
        fetched = ", or fetch them with --download" if name in DOWNLOADS else ""
        raise InputError(
            f"{name} is made from files: say where they are with --source PATH{fetched}"
        )
    if not source.exists():
        raise InputError(f"there is no {source}; give --source the path of the files of {name}")
    if name not in _KNOWN:
        return find_folder(source, name=name, options=folder)
    if folder != _ORIGINAL:
        raise InputError(f"folder options are for folders of images; {name!r} has one fixed form")
    if name in _FINDERS:
        return _FINDERS[name][0](source)
    idx = _IDX[STACKED.get(name, name)]
    sets = [load_idx(idx, split, root=source) for split in SPLITS]
    files = [path for split in SPLITS for path in find_files(idx, split, root=source)]
    return _from_sets(name, sets, files)


def _from_sets(name: str, sets: list[ImageSet], files: list[Path]) -> Originals:
    """Both splits of a set that fits in memory, stacked if the name says so."""
    train, test = (stack(name, part) if name in STACKED else part for part in sets)
    source = train.record.source
    if test.record.source != source:  # of IDX files the same credit, then the files
        source = f"{source}; {test.record.source.rpartition('; ')[2]}"
    return Originals(
        name=name,
        splits={part.split: from_array(*part.arrays) for part in (train, test)},
        record=replace(train.record, source=source),
        classes=train.classes,
        files=file_facts(files),
    )


def _require_name(name: str) -> None:
    """Raise InputError unless a prepared set may have that name."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a prepared set; take small letters, digits, dots, dashes and"
            " underscores, and name the folder of images with --source"
        )
    if name in POINT_SETS:
        raise InputError(f"{name} is drawn when it is loaded; there is nothing to prepare")
    close = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
    if name not in _KNOWN and close:
        raise InputError(
            f"{name!r} is no known set but reads like {close[0]!r}; for a folder of images of your"
            " own, take a name that cannot be mistaken"
        )
