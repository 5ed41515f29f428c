"""A folder of images as a data set: which files, which split, which shape, which labels."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch

from cascore.data.decoding import Header, Target, decode_one, read_header
from cascore.data.images import DataRecord, ImageSet, require_split
from cascore.data.originals import (
    Original,
    Originals,
    Pixels,
    file_facts,
    from_items,
    mapped_array,
)
from cascore.errors import InputError
from cascore.files import replaced_file
from cascore.preprocessing import FolderOptions

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_TEST_SHARE = 10  # one image in ten
_MAPPED_ABOVE = 256 * 2**20  # bytes


def load_folder(
    folder: Path, split: str, *, options: FolderOptions, root: Path | None = None
) -> ImageSet:
    """All images under a folder, in the order of their paths, uint8 [N, C, H, W].

    Names that start with a dot are passed over, and so are links to folders. The first frame of a
    moving picture counts. Photos are turned upright as their EXIF tag says, transparent pixels
    are laid over white. Labels are the first-level subfolders, if every image lies in one.

    The split is fixed by each image's path relative to the folder, so adding an image moves no
    other; about one image in ten is for the test.

    Args:
        folder: Where to look, recursively.
        split: "train", "test", or "all": every image, for a folder that is to be judged.
        options: Size, crop, filter and mode.
        root: Folder for the decoded pixels of a split above 256 MiB, which are then mapped from
            disk; None keeps them in memory.

    Raises:
        InputError: No folder, no image, a broken image, or images that do not fit together.
    """
    if split != "all":
        require_split(split)
    headers, target, classes = _surveyed(folder, options)
    chosen = _chosen(folder, headers, split)
    size = len(chosen) * target.channels * target.height * target.width
    if root is not None and size > _MAPPED_ABOVE:
        pixels = _decode_mapped(folder, chosen, target=target, cache=root)
    else:
        pixels = np.empty((len(chosen), *target[:3]), dtype=np.uint8)
        _fill(pixels, folder, chosen, target=target)
    labels = _labels(chosen, classes)
    return ImageSet(
        name=f"folder:{folder}",
        split=split,
        images=torch.from_numpy(pixels),
        labels=None if labels is None else torch.from_numpy(labels),
        record=_record(folder, chosen, target=target, options=options),
        classes=classes,
    )


def find_folder(folder: Path, *, name: str, options: FolderOptions) -> Originals:
    """A folder as the originals of a prepared set, of the same images as `load_folder`."""
    headers, target, classes = _surveyed(folder, options)

    def original(split: str) -> Original:
        chosen = _chosen(folder, headers, split)

        def items(start: int) -> Iterator[Pixels]:
            for header in chosen[start:]:
                yield decode_one(folder, header, target=target)

        return from_items(len(chosen), items, shape=target[:3], labels=_labels(chosen, classes))

    return Originals(
        name=name,
        train=original("train"),
        test=original("test"),
        record=_record(folder, headers, target=target, options=options),
        classes=classes,
        files=file_facts((folder / header.path for header in headers), below=folder),
    )


def _surveyed(folder: Path, options: FolderOptions) -> tuple[list[Header], Target, tuple[str, ...]]:
    """Every image's header, the one shape that both splits are brought to, the subfolders."""
    headers = [read_header(folder, path) for path in find_images(folder)]
    if options.size is None:
        height, width = _common_size(folder, headers)
    else:
        height = width = options.size
    grey = _common_grey(folder, headers) if options.mode == "auto" else options.mode == "grey"
    target = Target(
        channels=1 if grey else 3,
        height=height,
        width=width,
        crop=None if options.size is None else options.crop,
        filter=None if options.size is None else options.filter,
    )
    nested = all(len(header.path.parts) > 1 for header in headers)
    classes = sorted({header.path.parts[0] for header in headers}) if nested else []
    return headers, target, tuple(classes)


def _decode_mapped(
    folder: Path, headers: Sequence[Header], *, target: Target, cache: Path
) -> Pixels:
    """Pixels [N, C, H, W] mapped from a file in `cache`, which is decoded only when new.

    The file's name holds a digest of each image's path, size and time of change, and of the
    target. The map is private: a write to it does not reach the disk.
    """
    facts = file_facts((folder / header.path for header in headers), below=folder)
    key = hashlib.sha256(json.dumps([target, facts]).encode()).hexdigest()[:32]
    stored = cache / f"folder-{key}.npy"
    shape = (len(headers), *target[:3])
    if not stored.is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"root {cache} cannot be a folder for pixels: {error}") from error
        with replaced_file(stored) as temporary:
            pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            _fill(pixels, folder, headers, target=target)
            pixels.flush()
            del pixels
    return mapped_array(stored, dtype=np.uint8, shape=shape, advice="delete it and load again")


def _fill(pixels: Pixels, folder: Path, headers: Sequence[Header], *, target: Target) -> None:
    for slot, header in zip(pixels, headers, strict=True):
        slot[:] = decode_one(folder, header, target=target)


def find_images(folder: Path) -> list[PurePosixPath]:
    """The image files below a folder, relative to it, in the order of their paths."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give folder:PATH the path of one")
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    paths = sorted(
        PurePosixPath(path.as_posix())
        for path in relative
        if path.suffix.lower() in _SUFFIXES and not any(p.startswith(".") for p in path.parts)
    )
    if not paths:
        raise InputError(
            f"there is no image in {folder}; looked for names in {' '.join(_SUFFIXES)}"
        )
    return paths


def _chosen(folder: Path, headers: Sequence[Header], split: str) -> list[Header]:
    """The images of a split, which SHA-256 of an image's relative path decides."""
    chosen = []
    for header in headers:
        digest = hashlib.sha256(str(header.path).encode("utf-8", "surrogateescape")).digest()
        in_test = int.from_bytes(digest[:8], "big") % _TEST_SHARE == 0
        if split in ("all", "test" if in_test else "train"):
            chosen.append(header)
    if not chosen:
        raise InputError(
            f"none of the {len(headers)} images in {folder} falls into the {split} split, which is"
            f" decided by a hash of each image's path and gives the test about one in"
            f" {_TEST_SHARE}; use the other split, or add images"
        )
    return chosen


def _common_size(folder: Path, headers: Sequence[Header]) -> tuple[int, int]:
    first = headers[0]
    for other in headers:
        if (other.width, other.height) != (first.width, first.height):
            raise InputError(
                f"images in {folder} differ in size: {first.path} is {first.width} x"
                f" {first.height}, {other.path} is {other.width} x {other.height};"
                " give the size to bring them all to with --size (of a training --data.size)"
            )
    return first.height, first.width


def _common_grey(folder: Path, headers: Sequence[Header]) -> bool:
    first = headers[0]
    for other in headers:
        if other.grey != first.grey:
            grey, colour = (other, first) if other.grey else (first, other)
            raise InputError(
                f"{folder} mixes grey and colour: {grey.path} is grey, {colour.path} is not;"
                ' convert them, or give FolderOptions mode="rgb" or mode="grey" (on the command'
                " line --mode, or --data.mode)"
            )
    return first.grey


def _labels(headers: Sequence[Header], classes: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    if not classes:
        return None
    return np.array([classes.index(header.path.parts[0]) for header in headers])


def _record(
    folder: Path, headers: Sequence[Header], *, target: Target, options: FolderOptions
) -> DataRecord:
    transparent = sum(header.transparent for header in headers)
    turned = sum(header.turned for header in headers)
    converted = sum(header.grey != (target.channels == 1) for header in headers)
    steps = (
        (turned, f"turned upright as EXIF says: {turned} images"),
        (transparent, f"transparency laid over white: {transparent} images"),
        (converted, f"converted to {options.mode}: {converted} images"),
        (target.crop == "center", "centre crop to a square"),
        (target.filter, f"{target.filter} to {target.height} x {target.width}"),
    )
    return DataRecord(
        source=f"folder {folder}",
        split=f"test where SHA-256 of the relative path, first 8 bytes, mod {_TEST_SHARE} is 0",
        preparation=tuple(text for done, text in steps if done),
    )
