"""A folder of images as a data set: which split, which shape, which labels."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from cascore.data.decoding import Header, Target, decode_one, fault, read_header
from cascore.data.images import SPLITS, DataRecord, ImageSet, Pixels, require_split
from cascore.data.listing import ListedImage, find_images, passed_over_words
from cascore.data.originals import FileFacts, Original, Originals, file_facts, mapped_array
from cascore.errors import InputError
from cascore.files import replaced_file
from cascore.preprocessing import FolderOptions

_TRAIN, _HELD_OUT = "train", ("test", "val", "valid", "validation")
"""First-level folders that are splits, if there is one of each kind."""
_TEST_SHARE = 10  # one image in ten
_MAPPED_ABOVE = 256 * 2**20  # bytes
_AHEAD = 256  # images that may be decoded before they are asked for
_NAMED = 10  # images or classes in a message
_MANY_CLASSES, _FEW_IMAGES = 1000, 10


@dataclass(frozen=True, eq=False)
class Contents:
    """What a folder holds, as the names and headers of its images say; no pixel is decoded."""

    folder: Path
    headers: tuple[Header, ...]
    """In the order of their names."""
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
        return [h for h in self.headers if split in ("all", self._split(h.path))]

    def _split(self, path: PurePosixPath) -> str:
        if self.held_out:
            return "test" if path.parts[0] in self.held_out else "train"
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).digest()
        return "test" if int.from_bytes(digest[:8], "big") % _TEST_SHARE == 0 else "train"

    @property
    def rule(self) -> str:
        """What decides the split, in words."""
        if self.held_out:
            return f"as found: the folders {_TRAIN} and {', '.join(sorted(self.held_out))}"
        return f"test where SHA-256 of the relative path, first 8 bytes, mod {_TEST_SHARE} is 0"


def read_folder(folder: Path, *, skip_broken: bool = False) -> Contents:
    """The names and headers of all images below a folder.

    Images that cannot be read raise one InputError that names them all; or, if they are to be
    skipped, every image is decoded once to find them.
    """
    listing = find_images(folder)
    inside, held_out, depth = _split_folders(listing.images)
    broken: dict[ListedImage, InputError] = {}
    if skip_broken:
        broken = _faults(folder, inside)
        if len(broken) == len(inside):
            raise InputError(f"none of the {len(inside)} images in {folder} can be read")
    try:
        headers = [read_header(folder, image) for image in inside if image not in broken]
    except InputError as error:
        raise _refusal(folder, inside, error) from None
    passed_over = Counter(listing.passed_over)
    if beside := len(listing.images) - len(inside):
        passed_over[f"beside {_TRAIN} and {', '.join(sorted(held_out))}"] = beside
    names = tuple(image.name for image in broken)
    return Contents(folder, tuple(headers), passed_over, names, held_out, depth)


def _split_folders(
    images: Sequence[ListedImage],
) -> tuple[Sequence[ListedImage], frozenset[str], int]:
    """The images of the set, the folders of what is held out, and how deep the classes lie."""
    tops = {image.name.parts[0] for image in images if len(image.name.parts) > 1}
    train = {top for top in tops if top.lower() == _TRAIN}
    held_out = frozenset(top for top in tops if top.lower() in _HELD_OUT)
    inside = [image for image in images if image.name.parts[0] in train | held_out]
    if train and held_out:
        return inside, held_out, 1
    return images, frozenset(), int(bool(train) and len(inside) == len(images))


def _faults(folder: Path, images: Sequence[ListedImage]) -> dict[ListedImage, InputError]:
    """The images that cannot be read, and why, known by decoding all."""
    with ThreadPoolExecutor() as pool:
        faults = pool.map(partial(fault, folder), images)
        return {image: error for image, error in zip(images, faults, strict=True) if error}


def _refusal(folder: Path, images: Sequence[ListedImage], first: InputError) -> InputError:
    """All images that cannot be read, where one has been found."""
    names = [str(image.name) for image in _faults(folder, images)]
    advice = "--skip-broken (of a training --data.skip-broken) leaves out what cannot be read"
    if len(names) <= 1:
        return InputError(f"{first}; {advice}")
    return InputError(
        f"{len(names):,} of {len(images):,} images in {folder} cannot be read: {_listed(names)};"
        f" {advice}. Of one of them: {first}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def load_folder(
    folder: Path, split: str, *, options: FolderOptions, root: Path | None = None
) -> ImageSet:
    """All images under a folder, in the order of their names, uint8 [N, C, H, W].

    Names that start with a dot are passed over; linked folders are followed. The first frame of a
    moving picture counts. Photos are turned upright as their EXIF tag says, transparent pixels
    are laid over white, of 16 bits a channel the high byte is taken. Labels are the subfolders, if
    every image lies in one.

    Folders train and test (or val, valid, validation) are the splits, with the classes below them.
    Without them the split is fixed by each image's path relative to the folder, so adding an image
    moves no other; about one image in ten is for the test.

    `split` is "train", "test", or "all": every image, for a folder that is to be judged. `root` is
    the folder for the decoded pixels of a split above 256 MiB, which are then mapped from disk;
    None keeps them in memory. Broken images, images that do not fit together, and a split without
    any raise InputError.
    """
    if split != "all":
        require_split(split)
    contents = read_folder(folder, skip_broken=options.skip_broken)
    loaded = load_contents(contents, splits=(split,), options=options, root=root)
    return loaded[split]


def load_contents(
    contents: Contents,
    *,
    splits: Sequence[str] | None = None,
    options: FolderOptions,
    root: Path | None = None,
) -> Mapping[str, ImageSet]:
    """The images of a folder whose headers were read; as `load_folder`, of several splits.

    Without names of splits it is those that have images: train, and test if any is held out.
    """
    target, classes = _target(contents, options), contents.classes if options.labels else ()
    if splits is None:
        splits = [split for split in SPLITS if contents.of_split(split)]
    loaded = {}
    for split in splits:
        headers = contents.of_split(split)
        if not headers:
            raise _empty(contents, split)
        original = folder_original(contents, headers, target, classes)
        shape = (original.count, *original.shape)
        if root is not None and math.prod(shape) > _MAPPED_ABOVE:
            facts = [target, _facts(contents.folder, headers)]
            key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
            pixels = _mapped(original, root / f"folder-{key}.npy")
        else:
            pixels = np.empty(shape, dtype=np.uint8)
            _fill(pixels, original)
        loaded[split] = ImageSet(
            name=f"folder:{contents.folder}",
            split=split,
            images=torch.from_numpy(pixels),
            labels=None if original.labels is None else torch.from_numpy(original.labels),
            record=_record(contents, headers, target, options, split=split),
            classes=classes,
        )
    return loaded


def _empty(contents: Contents, split: str) -> InputError:
    return InputError(
        f"none of the {len(contents.headers)} images in {contents.folder} falls into the {split}"
        " split, which is decided by a hash of each image's path and gives the test about one in"
        f" {_TEST_SHARE}; use the other split, or add images"
    )


def find_folder(folder: Path, *, name: str, options: FolderOptions) -> Originals:
    """A folder as the originals of a prepared set, of the same images as `load_folder`."""
    contents, target = surveyed(folder, options)
    classes = contents.classes if options.labels else ()
    chosen = {split: headers for split in SPLITS if (headers := contents.of_split(split))}
    if "train" not in chosen:
        raise _empty(contents, "train")
    return Originals(
        name=name,
        splits={
            split: folder_original(contents, headers, target, classes)
            for split, headers in chosen.items()
        },
        record=_record(contents, contents.headers, target, options, split="train"),
        classes=classes,
        files=_facts(folder, contents.headers),
    )


def surveyed(folder: Path, options: FolderOptions) -> tuple[Contents, Target]:
    """The headers of a folder's images, and the one shape that they are brought to."""
    contents = read_folder(folder, skip_broken=options.skip_broken)
    return contents, _target(contents, options)


def _target(contents: Contents, options: FolderOptions) -> Target:
    """The one shape that both splits are brought to."""
    if options.size is None:
        height, width = _common_size(contents)
    else:
        height = width = options.size
    grey = _common_grey(contents) if options.mode == "auto" else options.mode == "grey"
    fitted = (None, None) if options.size is None else (options.crop, options.filter)
    return Target(1 if grey else 3, height, width, *fitted)


def folder_original(
    contents: Contents, headers: Sequence[Header], target: Target, classes: tuple[str, ...]
) -> Original:
    """Images of a folder, each brought to the target, with labels if there are classes."""

    def items(start: int) -> Iterator[Pixels]:
        decode = partial(decode_one, contents.folder, target=target)
        try:
            with ThreadPoolExecutor() as pool:
                for first in range(start, len(headers), _AHEAD):
                    yield from pool.map(decode, headers[first : first + _AHEAD])
        except InputError as error:
            listed = [ListedImage(header.file, header.path) for header in contents.headers]
            raise _refusal(contents.folder, listed, error) from None

    labels = [classes.index(contents.class_of(header)) for header in headers] if classes else None
    return Original(len(headers), target[:3], items, None if labels is None else np.array(labels))


def _mapped(original: Original, stored: Path) -> Pixels:
    """Pixels [N, C, H, W] mapped from a file, into which they are decoded only when it is new.

    The file's name holds a digest of each image's path, size and time of change, and of the
    target. The map is private: a write to it does not reach the disk.
    """
    shape = (original.count, *original.shape)
    if not stored.is_file():
        try:
            stored.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"root {stored.parent} cannot be a folder: {error}") from error
        with replaced_file(stored) as temporary:
            pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            _fill(pixels, original)
            pixels.flush()
            del pixels
    return mapped_array(stored, dtype=np.uint8, shape=shape, advice="delete it and load again")


def _fill(pixels: Pixels, original: Original) -> None:
    for slot, image in zip(pixels, original.items(0), strict=True):
        slot[:] = image


def _facts(folder: Path, headers: Sequence[Header]) -> tuple[FileFacts, ...]:
    return file_facts((folder / header.file for header in headers), below=folder)


def _common_size(contents: Contents) -> tuple[int, int]:
    first = contents.headers[0]
    for other in contents.headers:
        if (other.width, other.height) != (first.width, first.height):
            raise InputError(
                f"images in {contents.folder} differ in size: {first.path} is {first.width} x"
                f" {first.height}, {other.path} is {other.width} x {other.height};"
                " give the size to bring them all to with --size (of a training --data.size)"
            )
    return first.height, first.width


def _common_grey(contents: Contents) -> bool:
    colour = [header.path for header in contents.headers if not header.grey]
    grey = [header.path for header in contents.headers if header.grey]
    if grey and colour:
        raise InputError(
            f"{contents.folder} mixes grey and colour: {grey[0]} is grey, {colour[0]} is not;"
            ' convert them, or give FolderOptions mode="rgb" or mode="grey" (on the command'
            " line --mode, or --data.mode)"
        )
    return bool(grey)


def _record(
    contents: Contents,
    headers: Sequence[Header],
    target: Target,
    options: FolderOptions,
    *,
    split: str,
) -> DataRecord:
    """What was done to some of the images, and what a person should know of all."""
    side, broken = target.height, len(contents.broken)

    def steps(of: Sequence[Header]) -> dict[str, int]:
        """What is done to an image, in words, and to how many."""
        small = sum(min(header.width, header.height) < side for header in of)
        return {
            "turned upright as EXIF says": sum(header.turned for header in of),
            "high byte of 16 bits taken": sum(header.deep for header in of),
            "transparency laid over white": sum(header.transparent for header in of),
            f"converted to {options.mode}": sum(h.grey != (target.channels == 1) for h in of),
            f"enlarged to {side} pixels": small if target.filter else 0,
        }

    done = [f"{text}: {count} images" for text, count in steps(headers).items() if count]
    if broken:
        done.insert(0, f"left out because they cannot be read: {broken} images")
    if target.crop == "center":
        done.append("centre crop to a square")
    if target.filter:
        done.append(f"{target.filter} to {target.height} x {target.width}")
    remarks = [passed_over_words(contents.passed_over)] if contents.passed_over else []
    if broken:
        names = _listed([*map(str, contents.broken)])
        remarks.append(f"{broken} images cannot be read and are left out: {names}")
    loud = ("high byte", "enlarged")
    total = len(contents.headers)
    remarks += [
        f"{text}: {count} of {total} images"
        for text, count in steps(contents.headers).items()
        if count and text.startswith(loud)
    ]
    if split != "all" and not contents.of_split("test"):
        remarks.append(
            f"none of the {total} images is held out: what needs held-out images is left out"
        )
    if options.labels:
        remarks += _remarks_of_classes(contents)
    return DataRecord(
        source=f"folder {contents.folder}",
        split=contents.rule,
        preparation=tuple(done),
        remarks=tuple(remarks),
    )


def _remarks_of_classes(contents: Contents) -> Iterator[str]:
    if not contents.classes:
        return
    counts = Counter(map(contents.class_of, contents.headers))
    if len(counts) > _MANY_CLASSES:
        yield f"{len(counts):,} subfolders are {len(counts):,} classes; are they meant as such?"
    few = [name for name in contents.classes if counts[name] < _FEW_IMAGES]
    if few:
        yield (
            f"{len(few):,} of {len(counts):,} classes have fewer than {_FEW_IMAGES} images:"
            f" {_listed(few)}"
        )
