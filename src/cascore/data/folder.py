"""A folder of images as a data set: which files, which split, which shape, which labels."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from cascore.data.decoding import Header, Target, decode_one, read_header
from cascore.data.images import SPLITS, DataRecord, ImageSet, Pixels, require_split
from cascore.data.originals import FileFacts, Original, Originals, file_facts, mapped_array
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

    `split` is "train", "test", or "all": every image, for a folder that is to be judged. `root` is
    the folder for the decoded pixels of a split above 256 MiB, which are then mapped from disk;
    None keeps them in memory. A broken image, and images that do not fit together, raise
    InputError.
    """
    if split != "all":
        require_split(split)
    headers, target, classes = surveyed(folder, options)
    chosen = _chosen(folder, headers, split)
    original = folder_original(folder, chosen, target, classes)
    shape = (original.count, *original.shape)
    if root is not None and math.prod(shape) > _MAPPED_ABOVE:
        facts = [target, _facts(folder, chosen)]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        pixels = _mapped(original, root / f"folder-{key}.npy")
    else:
        pixels = np.empty(shape, dtype=np.uint8)
        _fill(pixels, original)
    return ImageSet(
        name=f"folder:{folder}",
        split=split,
        images=torch.from_numpy(pixels),
        labels=None if original.labels is None else torch.from_numpy(original.labels),
        record=_record(folder, chosen, target, options),
        classes=classes,
    )


def find_folder(folder: Path, *, name: str, options: FolderOptions) -> Originals:
    """A folder as the originals of a prepared set, of the same images as `load_folder`."""
    headers, target, classes = surveyed(folder, options)
    chosen = {split: _chosen(folder, headers, split) for split in SPLITS}
    return Originals(
        name=name,
        splits={split: folder_original(folder, chosen[split], target, classes) for split in SPLITS},
        record=_record(folder, headers, target, options),
        classes=classes,
        files=_facts(folder, headers),
    )


def surveyed(folder: Path, options: FolderOptions) -> tuple[list[Header], Target, tuple[str, ...]]:
    """Every image's header, the one shape that both splits are brought to, the subfolders."""
    headers = [read_header(folder, path) for path in find_images(folder)]
    if options.size is None:
        height, width = _common_size(folder, headers)
    else:
        height = width = options.size
    grey = _common_grey(folder, headers) if options.mode == "auto" else options.mode == "grey"
    fitted = (None, None) if options.size is None else (options.crop, options.filter)
    target = Target(1 if grey else 3, height, width, *fitted)
    nested = all(len(header.path.parts) > 1 for header in headers)
    classes = sorted({header.path.parts[0] for header in headers}) if nested else []
    return headers, target, tuple(classes)


def folder_original(
    folder: Path, headers: Sequence[Header], target: Target, classes: tuple[str, ...]
) -> Original:
    """These images of a folder, each brought to the target."""

    def items(start: int) -> Iterator[Pixels]:
        for header in headers[start:]:
            yield decode_one(folder, header, target=target)

    labels = [classes.index(header.path.parts[0]) for header in headers] if classes else None
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
    return file_facts((folder / header.path for header in headers), below=folder)


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
    colour = [header.path for header in headers if not header.grey]
    grey = [header.path for header in headers if header.grey]
    if grey and colour:
        raise InputError(
            f"{folder} mixes grey and colour: {grey[0]} is grey, {colour[0]} is not;"
            ' convert them, or give FolderOptions mode="rgb" or mode="grey" (on the command'
            " line --mode, or --data.mode)"
        )
    return bool(grey)


def _record(
    folder: Path, headers: Sequence[Header], target: Target, options: FolderOptions
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
