"""Which files of a folder are images, under names that are the same on every system."""

import os
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from cascore.errors import InputError

_SUFFIXES = (*(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),)
_KINDS = 5  # named of what is passed over


class ListedImage(NamedTuple):
    """One file below a folder: its path there, and the same as a name in Unicode's form NFC.

    Some systems store names decomposed (NFD): the name decides order, split and class, so that a
    copy of a folder is the same data.
    """

    file: Path
    name: PurePosixPath


class Listing(NamedTuple):
    """The images below a folder in the order of their names, and how many of what else."""

    images: tuple[ListedImage, ...]
    passed_over: Mapping[str, int]


def find_images(folder: Path) -> Listing:
    """The images below a folder, through linked folders too, each of which is entered once.

    Names that start with a dot are hidden and do not count. No folder, one that cannot be read, and
    one without images raise InputError.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give folder:PATH the path of one")
    images, passed_over = list[ListedImage](), Counter[str]()
    for path in _files(folder, passed_over):
        kind = _other_kind(path)
        if kind is None:
            images.append(_listed(path.relative_to(folder)))
        else:
            passed_over[kind] += 1
    if not images:
        raise InputError(
            f"there is no image in {folder}; looked for names in {' '.join(_SUFFIXES)}"
            + (f"; {passed_over_words(passed_over)}" if passed_over else "")
        )
    return Listing(tuple(sorted(images, key=lambda image: (image.name, image.file))), passed_over)


def _files(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """All files that are not hidden; links that are not followed are counted."""
    above, entered, waiting = folder.resolve(), set[tuple[int, int]](), deque([folder])
    while waiting:  # real folders first: what a link leads to is then known to be new or not
        start = waiting.popleft()
        if start != folder and above.is_relative_to(start.resolve()):
            passed_over["link to a folder above"] += 1
            continue
        for parent, folders, files in os.walk(start, onerror=_refuse):
            status = Path(parent).stat()
            if (status.st_dev, status.st_ino) in entered:
                if parent == str(start):
                    passed_over["link to a folder that is there already"] += 1
                folders.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += (path for name in folders if (path := Path(parent, name)).is_symlink())
            yield from (Path(parent, name) for name in files if not name.startswith("."))


def _other_kind(path: Path) -> str | None:
    """What a file is if it is no image, in a word; None of one whose name says it is."""
    if not path.is_file():
        return "broken link" if path.is_symlink() else "no file"
    return other_kind(path)


def other_kind(name: PurePath) -> str | None:
    """What a file is by its name if it is no image, in a word; None of an image."""
    suffix = name.suffix.lower()
    return None if suffix in _SUFFIXES else suffix or "without a suffix"


def is_hidden(name: PurePath) -> bool:
    """Whether a name within an archive does not count: it is hidden, or of what a Mac adds."""
    return any(part.startswith((".", "__MACOSX")) for part in name.parts)


def passed_over_words(passed_over: Mapping[str, int]) -> str:
    """What was passed over, in words: "passed over 33 other files: 30 .heic, 3 .txt"."""
    kinds = Counter(passed_over).most_common()
    named = [f"{count:,} {kind}" for kind, count in kinds[:_KINDS]]
    if rest := sum(count for _, count in kinds[_KINDS:]):
        named.append(f"{rest:,} of other kinds")
    total = sum(passed_over.values())
    return f"passed over {total:,} other file{'s' * (total != 1)}: {', '.join(named)}"


def _listed(path: Path) -> ListedImage:
    written = path.as_posix()
    name = unicodedata.normalize("NFC", written)
    if name == written and isinstance(path, PurePosixPath):
        return ListedImage(path, path)  # half of the memory
    return ListedImage(path, PurePosixPath(name))


def _refuse(error: OSError) -> None:
    raise InputError(f"folder {error.filename} cannot be read: {error.strerror}; change its rights")
