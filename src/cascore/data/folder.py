"""A folder of images as a data set: which split, which shape, which labels."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cascore.data.contents import Contents, examine_folder, listed, read_folder, refusal
from cascore.data.decoding import Header, Target, decode_one
from cascore.data.images import (
    SPLITS,
    DataRecord,
    ImageSet,
    Pixels,
    Recorded,
    array_digest,
    require_split,
)
from cascore.data.kept import Source, anew, kept_array, worth_keeping
from cascore.data.listing import ListedImage, passed_over_words
from cascore.data.originals import Original, Originals
from cascore.errors import InputError
from cascore.plain import printable
from cascore.preprocessing import FolderOptions
from cascore.ranges import require_memory

_AHEAD = 256  # images that may be decoded before they are asked for
_MANY_CLASSES, _FEW_IMAGES = 1000, 10


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

    `split` is "train", "test", or "all": every image, for a folder that is to be judged. What takes
    a second or more to decode is kept in `root` (None: DATA_ROOT, if that can be written) until a
    file changes, and mapped from there; otherwise images are in memory. Broken images, images that
    do not fit together, and a split without any raise InputError.
    """
    if split != "all":
        require_split(split)
    contents = read_folder(folder, skip_broken=options.skip_broken, root=root)
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

    Without names of splits it is train, and test if any is held out; one without images raises
    InputError.
    """
    target, classes = _target(contents, options), contents.classes if options.labels else ()
    loaded = {}
    for split, headers in _chosen(contents, splits).items():
        original = folder_original(contents, headers, target, classes)
        pixels, recorded = _pixels(contents, split, target, original, root)
        loaded[split] = ImageSet(
            name=f"folder:{contents.folder}",
            split=split,
            images=torch.from_numpy(pixels),
            labels=None if original.labels is None else torch.from_numpy(original.labels),
            record=_record(contents, headers, target, options, split=split),
            classes=classes,
            recorded=recorded,
        )
    return loaded


def _pixels(
    contents: Contents, split: str, target: Target, original: Original, root: Path | None
) -> tuple[Pixels, Recorded | None]:
    """Pixels [N, C, H, W], kept in a file and mapped from it where they take long to decode."""
    every, shape = contents.headers, (original.count, *original.shape)
    side = target.height * target.width
    work = sum(max(header.width * header.height, side) for header in every)
    if worth_keeping(len(every), work):  # then of a small split too
        labelled = original.labels is not None
        facts = [contents.facts[header.file] for header in contents.of_split(split)]
        classes = contents.classes if labelled else ()  # they number the labels
        kept = kept_array(
            Source(contents.folder, [split, *target, labelled], [*facts, *classes]),
            *(root, lambda: original.items(0)),
            dtype=np.uint8,
            shape=shape,
            digest=lambda pixels: array_digest(pixels, original.labels),
        )
        if kept is not None:
            return kept.array, Recorded(kept.digest, anew(kept.path))
    require_memory(original.count, math.prod(original.shape), "images")
    pixels = np.empty(shape, dtype=np.uint8)
    for slot, image in zip(pixels, original.items(0), strict=True):
        slot[:] = image
    return pixels, None


def _chosen(contents: Contents, splits: Sequence[str] | None) -> Mapping[str, list[Header]]:
    """The images of each split; without names of splits train, and test if any is held out."""
    if splits is None:
        splits = SPLITS if contents.of_split("test") else SPLITS[:1]
    chosen = {split: contents.of_split(split) for split in splits}
    for split, headers in chosen.items():
        if not headers:
            raise InputError(
                f"none of the {len(contents.headers)} images in {contents.folder} falls into the"
                f" {split} split ({contents.rule}); use the other split, or add images"
            )
    return chosen


def find_folder(folder: Path, *, name: str, options: FolderOptions) -> Originals:
    """A folder as the originals of a prepared set, of the same images as `load_folder`."""
    contents, target = surveyed(folder, options)
    classes = contents.classes if options.labels else ()
    return Originals(
        name=name,
        splits={
            split: folder_original(contents, headers, target, classes)
            for split, headers in _chosen(contents, None).items()
        },
        record=_record(contents, contents.headers, target, options, split="train"),
        classes=classes,
        files=tuple(contents.facts[header.file] for header in contents.headers),
    )


def surveyed(folder: Path, options: FolderOptions) -> tuple[Contents, Target]:
    """The headers of a folder's images, and the one shape that they are brought to."""
    contents = examine_folder(folder, skip_broken=options.skip_broken)
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
            raise refusal(contents.folder, listed, error) from None

    labels = [classes.index(contents.class_of(header)) for header in headers] if classes else None
    return Original(len(headers), target[:3], items, None if labels is None else np.array(labels))


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
        names = listed([*map(str, contents.broken)])
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
        remarks += _remarks_of_classes(contents, split=split)
    return DataRecord(
        source=f"folder {contents.folder}",
        split=contents.rule,
        preparation=tuple(done),
        remarks=tuple(map(printable, remarks)),  # names of files need not be UTF-8
    )


def _remarks_of_classes(contents: Contents, *, split: str) -> Iterator[str]:
    if not contents.classes:
        return
    counts = Counter(map(contents.class_of, contents.headers))
    if len(counts) > _MANY_CLASSES:
        yield f"{len(counts):,} subfolders are {len(counts):,} classes; are they meant as such?"
    few = [name for name in contents.classes if counts[name] < _FEW_IMAGES]
    if few:
        yield (
            f"{len(few):,} of {len(counts):,} classes have fewer than {_FEW_IMAGES} images:"
            f" {listed(few)}"
        )
    trained = set(map(contents.class_of, contents.of_split("train")))
    untrained = [name for name in contents.classes if name not in trained]
    if split != "all" and untrained:
        yield (
            f"{len(untrained):,} of {len(counts):,} classes have no image to train on:"
            f" {listed(untrained)}"
        )
