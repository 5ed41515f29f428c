"""From a name and a path to originals: what `cascore data prepare` can do, and where to get it."""

import difflib
from pathlib import Path

from cascore.data.celeba import find_celeba
from cascore.data.cifar import find_cifar10
from cascore.data.digits import load_digits
from cascore.data.folder import FolderOptions, find_folder
from cascore.data.idx import FASHION_MNIST, MNIST, find_files, load_idx
from cascore.data.lsun import find_lsun_church
from cascore.data.originals import Originals, file_facts, from_sets
from cascore.data.points import POINT_SETS
from cascore.data.prepared import NAME
from cascore.data.stacked import STACKED, stack
from cascore.errors import InputError

__all__ = ["DATA_ROOT", "KNOWN", "NEEDS_PREPARATION", "find_originals", "how_to_prepare"]

DATA_ROOT = Path("data")  # where prepared sets are, unless the user says otherwise
_IDX = {source.name: source for source in (MNIST, FASHION_MNIST)}
NEEDS_PREPARATION = {
    "cifar-10": (
        "the archive cifar-10-binary.tar.gz (or the Python one, the hub's parquet files, or"
        " image folders)",
        "www.cs.toronto.edu/~kriz/cifar.html, or with --download instead of --source",
    ),
    "lsun-church": (
        "the folder of church_outdoor_train_lmdb and church_outdoor_val_lmdb",
        "github.com/fyu/lsun, by hand: two archives, 2.5 GB together, which have to be unpacked",
    ),
    "celeba": (
        "the folder of img_align_celeba.zip and list_eval_partition.txt",
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html, by hand: its terms are for a person to accept",
    ),
}
KNOWN = ("digits", *_IDX, *NEEDS_PREPARATION, *STACKED)
_ORIGINAL = FolderOptions()


def how_to_prepare(name: str, root: Path) -> str:
    """What to run, and where to get the files, before a set that is not prepared can be loaded."""
    what, where = NEEDS_PREPARATION[name]
    place = "" if root == DATA_ROOT else f" --root {root}"
    return (
        f"{name} is not prepared in {root}; run: cascore data prepare {name} --source PATH{place},"
        f" where PATH is {what}, from {where}"
    )


def find_originals(
    name: str, source: Path | None, *, folder: FolderOptions = _ORIGINAL
) -> Originals:
    """The original files of a known data set, or of a folder of images under a new name.

    Args:
        name: A known set, or a new name of small letters, digits, dots, dashes and underscores.
        source: Where the files are; digits and stacked-digits need none.
        folder: For a folder of images: how they are brought to one shape.

    Raises:
        InputError: A name that cannot be, a source that is missing or broken.
    """
    require_name(name)
    if name in ("digits", "stacked-digits"):
        return _from_package(name, source)
    if source is None:
        raise InputError(f"{name} is made from files: say where they are with --source PATH")
    if not source.exists():
        raise InputError(f"there is no {source}; give --source the path of the files of {name}")
    if name not in KNOWN:
        return find_folder(source, name=name, options=folder)
    if folder != _ORIGINAL:
        raise InputError(f"folder options are for folders of images; {name!r} has one fixed form")
    finders = {"cifar-10": find_cifar10, "lsun-church": find_lsun_church, "celeba": find_celeba}
    return finders[name](source) if name in finders else _from_idx(name, source)


def require_name(name: str) -> None:
    """Raise InputError unless a prepared set may have that name."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a prepared set; take small letters, digits, dots, dashes and"
            " underscores, and name the folder of images with --source"
        )
    if name in POINT_SETS:
        raise InputError(f"{name} is drawn when it is loaded; there is nothing to prepare")
    close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8)
    if name not in KNOWN and close:
        raise InputError(
            f"{name!r} is no known set but reads like {close[0]!r}; for a folder of images of your"
            " own, take a name that cannot be mistaken"
        )


def _from_package(name: str, source: Path | None) -> Originals:
    if source is not None:
        raise InputError(f"{name} comes with the package; leave --source out")
    train, test = load_digits("train"), load_digits("test")
    if name in STACKED:
        train, test = stack(name, train), stack(name, test)
    return from_sets(train, test, files=())


def _from_idx(name: str, source: Path) -> Originals:
    idx = _IDX[STACKED.get(name, name)]
    train, test = (load_idx(idx, split, root=source) for split in ("train", "test"))
    files = [path for split in ("train", "test") for path in find_files(idx, split, root=source)]
    if name in STACKED:
        train, test = stack(name, train), stack(name, test)
    return from_sets(train, test, files=file_facts(files))
