"""What a folder of images holds, known before a pixel is decoded: names, sizes, splits, classes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cascore.data.decoding import Header, fault, read_header
from cascore.data.images import SPLITS, array_digest
from cascore.data.kept import Source, anew, kept_array, worth_keeping
from cascore.data.listing import ListedImage, find_images
from cascore.data.originals import FileFacts, facts_of
from cascore.errors import InputError
from cascore.plain import is_text

TRAIN, HELD_OUT = "train", ("test", "val", "valid", "validation")
"""What is called so is a split, where there is one of each kind."""
_TEST_SHARE = 10  # one image in ten
_NAMED = 10  # images or classes in a message
_PIXELS = 5  # to a byte of a JPEG file, about


@dataclass(frozen=True, eq=False)
class Contents:
    """What a folder holds, as the names and headers of its images say; no pixel is decoded."""

    folder: Path
    headers: tuple[Header, ...]
    """In the order of their names."""
    facts: Mapping[Path, FileFacts]
    """Of every image, by its file: as they were before it was read."""
    passed_over: Mapping[str, int]
    """How many files of what kind are no images of the set."""
    broken: tuple[PurePosixPath, ...]
    """Images that were left out because they cannot be read."""
    held_out: frozenset[str]
    """First-level folders whose images are held out; without any, a hash of the name decides."""
    depth: int
    """Folders above those of the classes: 1 below train and test, else 0."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The subfolders, if every image lies in one."""
        if any(len(header.path.parts) <= self.depth + 1 for header in self.headers):
            return ()
        return tuple(sorted({self.class_of(header) for header in self.headers}))

    def class_of(self, header: Header) -> str:
        """The name of the subfolder that an image lies in."""
        return header.path.parts[self.depth]

    def of_split(self, split: str) -> list[Header]:
        """The images of train or test, or all of them."""
        return [*self.headers] if split == "all" else self._by_split[split]

    @cached_property
    def _by_split(self) -> Mapping[str, list[Header]]:
        parts: dict[str, list[Header]] = {split: [] for split in SPLITS}
        for header in self.headers:
            parts[self._split(header.path)].append(header)
        return parts

    def _split(self, path: PurePosixPath) -> str:
        if self.held_out:
            return "test" if path.parts[0] in self.held_out else "train"
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).digest()
        return "test" if int.from_bytes(digest[:8], "big") % _TEST_SHARE == 0 else "train"

    @property
    def rule(self) -> str:
        """What decides the split, in words."""
        if self.held_out:
            return f"as found: the folders {TRAIN} and {', '.join(sorted(self.held_out))}"
        return f"test where SHA-256 of the relative path, first 8 bytes, mod {_TEST_SHARE} is 0"


class _Found(NamedTuple):
    """The images of a set, and where the names of their folders put them."""

    images: Sequence[ListedImage]
    facts: Sequence[FileFacts]
    passed_over: Mapping[str, int]
    held_out: frozenset[str]
    depth: int


def read_folder(folder: Path, *, skip_broken: bool = False, root: Path | None = None) -> Contents:
    """The names and headers of all images below a folder.

    Images that cannot be read raise one InputError that names them all; or, if they are to be
    skipped, every image is decoded once to find them. Of a large folder that is kept in `root`
    (None: DATA_ROOT, if that can be written) until a file changes. A folder whose name is not UTF-8
    raises InputError.
    """
    found = _find(folder)
    return _contents(folder, found, _kept_headers(folder, found, skip_broken, root))


def examine_folder(folder: Path, *, skip_broken: bool = False) -> Contents:
    """As `read_folder`, keeping nothing."""
    found = _find(folder)
    return _contents(folder, found, _headers(folder, found.images, skip_broken))


def _find(folder: Path) -> _Found:
    listing = find_images(folder)
    _require_text(folder, listing.images)
    inside, held_out, depth = _split_folders(listing.images)
    passed_over = Counter(listing.passed_over)
    if beside := len(listing.images) - len(inside):
        passed_over[f"beside {TRAIN} and {', '.join(sorted(held_out))}"] = beside
    facts = [facts_of(folder / image.file, image.file.as_posix()) for image in inside]
    return _Found(inside, facts, passed_over, held_out, depth)


def _require_text(folder: Path, images: Sequence[ListedImage]) -> None:
    """Refuse folders whose names are not UTF-8: records name the set and its classes."""
    inside = (image.name.parent for image in images if not str(image.name).isascii())
    for path in (folder, *map(folder.joinpath, inside)):
        if not is_text(str(path)):
            raise InputError(
                f"the name of the folder {path} is not text in UTF-8, so no record can hold it;"
                " rename the folder"
            )


def _contents(folder: Path, found: _Found, headers: Sequence[Header | None]) -> Contents:
    return Contents(
        folder,
        headers=tuple(header for header in headers if header is not None),
        facts={image.file: of for image, of in zip(found.images, found.facts, strict=True)},
        passed_over=found.passed_over,
        broken=tuple(
            image.name
            for image, header in zip(found.images, headers, strict=True)
            if header is None
        ),
        held_out=found.held_out,
        depth=found.depth,
    )


def _headers(folder: Path, images: Sequence[ListedImage], skip_broken: bool) -> list[Header | None]:
    """The header of each image; None of one that is broken, where that is to be skipped."""
    broken: Mapping[ListedImage, InputError] = {}
    if skip_broken:
        broken = _faults(folder, images)
        if len(broken) == len(images):
            raise InputError(f"none of the {len(images)} images in {folder} can be read")
    try:
        return [None if image in broken else read_header(folder, image) for image in images]
    except InputError as error:
        raise refusal(folder, images, error) from None


def _kept_headers(
    folder: Path, found: _Found, skip_broken: bool, root: Path | None
) -> list[Header | None]:
    """The headers as they were kept, or as they are read and kept; small folders are read."""
    images = found.images
    decoded = _PIXELS * sum(size for _, size, _ in found.facts) if skip_broken else 0

    def rows() -> Iterable[npt.NDArray[np.int64]]:
        for header in _headers(folder, images, skip_broken):
            yield np.array([0] * _NUMBERS if header is None else header[2:])

    if not worth_keeping(len(images), decoded):
        return _headers(folder, images, skip_broken)
    source = Source(folder, ["headers", skip_broken], found.facts)
    kept = kept_array(source, root, rows, dtype=np.int64, shape=(len(images), _NUMBERS))
    if kept is None:
        return _headers(folder, images, skip_broken)
    if array_digest(kept.array) != kept.digest:
        raise InputError(f"{kept.path} is not what was written; {anew(kept.path)}")
    return [
        Header(*image, width, height, *map(bool, words)) if width else None
        for image, (width, height, *words) in zip(
            images, map(np.ndarray.tolist, kept.array), strict=True
        )
    ]


_NUMBERS = len(Header._fields) - 2  # what a header says beside the file and its name


def _split_folders(
    images: Sequence[ListedImage],
) -> tuple[Sequence[ListedImage], frozenset[str], int]:
    """The images of the set, the folders of what is held out, and how deep the classes lie."""
    tops = {image.name.parts[0] for image in images if len(image.name.parts) > 1}
    train = {top for top in tops if top.lower() == TRAIN}
    held_out = frozenset(top for top in tops if top.lower() in HELD_OUT)
    inside = [image for image in images if image.name.parts[0] in train | held_out]
    if train and held_out:
        return inside, held_out, 1
    return images, frozenset(), int(bool(train) and len(inside) == len(images))


def _faults(folder: Path, images: Sequence[ListedImage]) -> dict[ListedImage, InputError]:
    """The images that cannot be read, and why, known by decoding all."""
    with ThreadPoolExecutor() as pool:
        faults = pool.map(partial(fault, folder), images)
        return {image: error for image, error in zip(images, faults, strict=True) if error}


def refusal(folder: Path, images: Sequence[ListedImage], first: InputError) -> InputError:
    """All images that cannot be read, where one has been found."""
    names = [str(image.name) for image in _faults(folder, images)]
    advice = "--skip-broken (of a training --data.skip-broken) leaves out what cannot be read"
    if len(names) <= 1:
        return InputError(f"{first}; {advice}")
    return InputError(
        f"{len(names):,} of {len(images):,} images in {folder} cannot be read: {listed(names)};"
        f" {advice}. Of one of them: {first}"
    )


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
