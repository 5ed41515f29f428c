"""Pictures in one file, an archive, an array, a table or a shard, written out as a folder.

What reads images reads folders (`cascore.data.folder`); so what others hand on in one file is
unpacked once. Image files keep their bytes; classes become subfolders, and the splits that files
are named by become the folders train and test.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch

from cascore.data.archives import opened_zip, read_zip_member
from cascore.data.contents import HELD_OUT, TRAIN, listed
from cascore.data.decoding import opened_image
from cascore.data.listing import is_hidden, other_kind, passed_over_words
from cascore.data.shards import places_in, require_labels
from cascore.errors import InputError, MissingExtraError
from cascore.foreign import parsing, read_npz
from cascore.pixels import encode_png
from cascore.plain import parse_json

_LARGEST = 2**28  # bytes of one image file
_LABELS = "dataset.json"  # of EDM's and StyleGAN's archives
_AT_ONCE = 16  # rows of a table
_LARGEST_GROUP = 2**32  # bytes of rows that a parquet file holds together
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_NO_LABEL = (None, -1)
_ARRAYS = ("arr_0", "arr_1", "images", "labels")
_DENSEST = 100  # times smaller than its arrays a file of pictures may be


class PackedImage(NamedTuple):
    """One picture: where it goes below the folder, and the bytes of its file."""

    name: PurePosixPath
    content: bytes


class Packed(NamedTuple):
    """What a file holds: how many pictures, one after the other, and what is left out, in words."""

    total: int
    images: Iterator[PackedImage]
    remarks: Sequence[str] = ()


def find_packed(source: Path) -> Packed:
    """The pictures of a file, or of a folder of tables or of shards.

    A .zip of image files, whose folders are kept, or are classes by number where it has EDM's
    dataset.json; an .npy of pixels, uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]; an .npz with
    such an array as arr_0 or images, and labels [N] as arr_1 or labels; .parquet files of the hub,
    with a column of image files and one of labels; shards of webdataset (`cascore.data.shards`), in
    .tar. Anything else, and what is damaged, raises InputError, here or while the images are taken.
    (The hub's .arrow files are not read: their reader believes damaged lengths.)
    """
    if not source.exists():
        raise InputError(f"there is no {source}; give the path of what is to be unpacked")
    if source.is_dir():
        if tables := _inside(source, "*.parquet"):
            return _from_tables(tables, source)
        if shards := _inside(source, "*.tar"):
            return _from_shards(shards, source)
        raise InputError(
            f"{source} is a folder without .parquet or .tar files; a folder of images needs no"
            " unpacking: folder:PATH"
        )
    kinds: Mapping[str, Callable[[Path], Packed]] = {
        ".zip": _from_zip, ".npy": _from_npy, ".npz": _from_npz,
        ".parquet": lambda path: _from_tables([path], path),
        ".tar": lambda path: _from_shards([path], path),
    }  # fmt: skip
    suffix = source.suffix.lower()
    if suffix not in kinds:
        raise InputError(f"{source} is none of {', '.join(kinds)}: unpack it with what made it")
    return kinds[suffix](source)


# --- archives of images ---------------------------------------------------------------------------


def _from_zip(path: Path) -> Packed:
    with opened_zip(path) as archive:
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
        shown = [name for name in files if name != _LABELS and not is_hidden(PurePosixPath(name))]
        kinds = [(name, other_kind(PurePosixPath(name))) for name in shown]
        names = [name for name, kind in kinds if kind is None]
        passed_over = Counter(kind for _, kind in kinds if kind is not None)
        remarks = [passed_over_words(passed_over)] if passed_over else []
        if not names:
            raise InputError("; ".join([f"{path} holds no image file", *remarks]))
        labels: Mapping[str, int] = {}
        if _LABELS in archive.namelist():
            content = read_zip_member(archive, _LABELS, path=path, limit=_LARGEST)
            labels = _labels(parse_json(content, f"{_LABELS} in {path}"), path)
    missing = [name for name in names if name not in labels]
    if labels and missing:
        raise InputError(f"{_LABELS} in {path} has no label for {missing[0]}")

    folder_of = _by_number(labels.values())

    def images() -> Iterator[PackedImage]:
        with opened_zip(path) as archive:
            for name in names:
                content = read_zip_member(archive, name, path=path, limit=_LARGEST)
                with opened_image(content, name=f"{name} in {path}"):
                    pass  # it is one
                place = PurePosixPath(name)
                if labels:
                    place = PurePosixPath(folder_of(labels[name]), *place.parts)
                yield PackedImage(place, content)

    return Packed(len(names), images(), remarks)


def _labels(value: Any, path: Path) -> Mapping[str, int]:
    """The class of each image by EDM's `{"labels": [[name, number], ...]}`; null of none."""
    rows = value.get("labels") if isinstance(value, dict) else ()
    match rows:
        case None:
            return {}
        case [*pairs] if all(map(_is_pair, pairs)):
            counts = Counter(name for name, _ in pairs)
            if twice := [name for name, count in counts.items() if count > 1]:
                raise InputError(
                    f"{_LABELS} in {path} names {twice[0]} twice; leave one label of it"
                )
            return dict(pairs)
    raise InputError(f"{_LABELS} in {path} holds no list of [name, number] as labels")


def _is_pair(value: Any) -> bool:
    match value:
        case [str(), int(number)]:
            return number >= 0
    return False


def _by_number(labels: Iterable[int]) -> Callable[[int], str]:
    """The folder of a class: its number, as wide as the largest, so that names are in its order."""
    width = len(str(max(labels, default=0)))
    return lambda label: f"{label:0{width}d}"


# --- arrays of pixels -----------------------------------------------------------------------------


def _from_npy(path: Path) -> Packed:
    with parsing(path, "an array (.npy)"):
        pixels = np.lib.format.open_memmap(path, mode="r")
    return _from_pixels(pixels, None, path)


def _from_npz(path: Path) -> Packed:
    most = _DENSEST * path.stat().st_size
    with parsing(path, "arrays (.npz)"):
        arrays = read_npz(path, dict.fromkeys(_ARRAYS, most))
    pixels, labels = (
        next((arrays[name] for name in names if name in arrays), None)
        for names in (("arr_0", "images"), ("arr_1", "labels"))
    )
    if pixels is None:
        raise InputError(f"{path} holds no array arr_0 or images")
    return _from_pixels(pixels, labels, path)


def _from_pixels(pixels: Any, labels: Any, path: Path) -> Packed:
    shape, channels_last = pixels.shape, pixels.ndim == 4 and pixels.shape[3] in (1, 3)
    fits = pixels.ndim == 3 or channels_last or (pixels.ndim == 4 and shape[1] in (1, 3))
    if pixels.dtype != np.uint8 or not fits or 0 in shape:
        raise InputError(
            f"{path} holds {pixels.dtype} of shape {list(shape)}; expected uint8 [N, H, W],"
            " [N, H, W, C] or [N, C, H, W] of 1 or 3 channels"
        )
    names = [""] * len(pixels)
    if labels is not None:
        if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise InputError(f"{path} holds {len(pixels)} images and as labels no class for each")
        numbers = labels.tolist()
        names = [*map(_by_number(numbers), numbers)]

    def images() -> Iterator[PackedImage]:
        for number, (name, image) in enumerate(zip(names, pixels, strict=True)):
            array = torch.from_numpy(np.array(image))
            array = array[None] if array.ndim == 2 else array
            content = encode_png(array.movedim(-1, 0) if channels_last else array)
            yield PackedImage(PurePosixPath(name, f"{number:08d}.png"), content)

    return Packed(len(pixels), images())


# --- files of many --------------------------------------------------------------------------------


class _File(NamedTuple):
    """One of the files: the split that it is of, and what its pictures' names begin with."""

    path: Path
    split: str
    stem: str


def _inside(source: Path, pattern: str) -> list[Path]:
    """The files of a folder, without hidden ones."""
    paths = sorted(source.rglob(pattern))
    return [path for path in paths if not is_hidden(path.relative_to(source))]


def _files(paths: Sequence[Path], source: Path) -> tuple[list[_File], list[str]]:
    """The files with their splits, where train and a held-out one are among them, and remarks.

    Then files of no split are left out: what they hold may be in the test too.
    """
    files = []
    for path in paths:
        name = path.relative_to(source if source.is_dir() else source.parent)
        files.append(_File(path, _split(name), "-".join(name.with_suffix("").parts)))
    if not {TRAIN} < {file.split for file in files} - {""}:
        return [file._replace(split="") for file in files], []
    other = [str(file.path.relative_to(source)) for file in files if not file.split]
    remark = f"left out files that are neither of train nor held out: {listed(other)}"
    return [file for file in files if file.split], [remark] if other else []


def _split(name: Path) -> str:
    """The split that the first folder says, or else the first word of the file's name, if any."""
    *folders, last = (part.lower() for part in name.parts)
    words = (*folders, re.split(r"[-_.]", last)[0])
    return next((word for word in words if word in (TRAIN, *HELD_OUT)), "")


def _numbered(content: bytes, where: str, stem: PurePosixPath, number: int) -> PackedImage:
    """An image file out of one of many, named by that, its number and its own format."""
    with opened_image(content, name=where) as image:
        kind = str(image.format).lower()
    suffix = {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}.get(kind, kind)
    return PackedImage(stem.with_name(f"{stem.name}-{number:08d}.{suffix}"), content)


# --- shards of webdataset -------------------------------------------------------------------------


def _from_shards(paths: Sequence[Path], source: Path) -> Packed:
    files, remarks = _files(paths, source)
    places = [places_in(file.path) for file in files]
    every = np.concatenate(places)
    if not len(every):
        raise InputError(f"no shard in {source} holds an image")
    require_labels(every, source)
    folder_of = _by_number(every[:, 2].tolist())

    def images() -> Iterator[PackedImage]:
        for (path, split, name), rows in zip(files, places, strict=True):
            with parsing(path, "a shard"), path.open("rb") as shard:
                for number, (start, size, label) in enumerate(rows.tolist()):
                    shard.seek(start)
                    stem = PurePosixPath(split, folder_of(label) if label >= 0 else "", name)
                    where = f"the image at byte {start:,} of {path}"
                    yield _numbered(shard.read(size), where, stem, number)

    return Packed(len(every), images(), remarks)


# --- tables of the hub ----------------------------------------------------------------------------


class _Table(NamedTuple):
    """A file of rows with image files, and with labels if there are any.

    The classes have names, which the labels number, or none; `bare` rows of it have no label.
    """

    file: _File
    rows: int
    image: str
    label: str | None
    names: Sequence[str]
    labels: Collection[Any]
    bare: int


def _from_tables(paths: Sequence[Path], source: Path) -> Packed:
    files, remarks = _files(paths, source)
    tables = [_table(file) for file in files]
    total, bare = sum(table.rows for table in tables), sum(table.bare for table in tables)
    if not any(table.labels for table in tables):
        tables = [table._replace(label=None) for table in tables]
    elif bare:
        remarks.append(f"left out {bare:,} of {total:,} images, which have no label (null or -1)")
        total -= bare
    nameless = [table for table in tables if not table.names]
    numbers = {label for table in nameless for label in table.labels}  # one class in all files
    whole = all(isinstance(number, int) and number >= 0 for number in numbers)
    folder_of: Callable[[Any], str] = _by_number(numbers) if whole else str
    images = (image for table in tables for image in _table_images(table, folder_of))
    return Packed(total, images, remarks)


def _table(file: _File) -> _Table:
    path = file.path
    with _opened(path) as (schema, rows, batches):
        files = [name for name in schema.names if _holds_files(schema.field(name).type)]
        if not files:
            raise InputError(
                f"{path} has the columns {', '.join(schema.names)}; expected one with image files"
            )
        label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
        names, labels = _class_names(schema.metadata or {}, label, path), Counter[Any]()
        for batch in [] if label is None else batches([label]):
            labels.update(batch.column(0).to_pylist())
    bare = sum(labels.pop(none, 0) for none in _NO_LABEL)
    return _Table(file, rows, files[0], label, names, labels, bare)


def _table_images(table: _Table, folder_of: Callable[[Any], str]) -> Iterator[PackedImage]:
    number, columns = 0, [table.image, *([table.label] if table.label else [])]
    with _opened(table.file.path) as (_, _, batches):
        for batch in batches(columns):
            values = [batch.column(name).to_pylist() for name in columns]
            for file, *label in zip(*values, strict=True):
                if not any(value in _NO_LABEL for value in label):
                    classes = (_class(value, table.names, folder_of) for value in label)
                    stem = PurePosixPath(table.file.split, *classes, table.file.stem)
                    yield _table_image(table, file, stem, number)
                number += 1


def _table_image(table: _Table, value: Any, stem: PurePosixPath, number: int) -> PackedImage:
    content = value.get("bytes") if isinstance(value, dict) else value
    where = f"row {number} of {table.file.path}"
    if not isinstance(content, bytes):
        raise InputError(f"{where} holds no bytes of an image file")
    return _numbered(content, where, stem, number)


def _class(label: Any, names: Sequence[str], folder_of: Callable[[Any], str]) -> str:
    """The name of a subfolder for a label."""
    known = isinstance(label, int) and 0 <= label < len(names)
    text = names[label] if known else str(label) if names else folder_of(label)
    name = re.sub(r"[/\\\x00-\x1f]+", "-", text).strip()
    return f"_{name}" if not name or name.startswith(".") else name


def _class_names(metadata: Mapping[bytes, bytes], label: str | None, path: Path) -> Sequence[str]:
    """The names of the classes as the library `datasets` writes them into the schema."""
    content = metadata.get(b"huggingface")
    known = None if content is None else parse_json(content, f"the schema of {path}")
    for key in ("info", "features", label, "names"):
        known = known.get(key) if isinstance(known, dict) else None
    return [str(name) for name in known] if isinstance(known, list) else []


def _holds_files(kind: Any) -> bool:
    """Whether a column's type is bytes, or a structure with bytes among its fields."""
    import pyarrow

    of = pyarrow.types
    inside = of.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return bool(of.is_binary(kind) or of.is_large_binary(kind) or inside)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, int, Callable[[list[str]], Iterator[Any]]]]:
    """The schema of a table, its rows, and what reads columns of it a few rows at a time."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(what="a parquet file", package="pyarrow", extra="data") from None
    with parsing(path, "parquet"), parquet.ParquetFile(path) as file:
        groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
        if any(group.total_byte_size > _LARGEST_GROUP for group in groups):
            raise InputError(f"{path} has a row group of more than {_LARGEST_GROUP} bytes")

        def batches(names: list[str]) -> Iterator[Any]:
            yield from file.iter_batches(batch_size=_AT_ONCE, columns=names)

        yield file.schema_arrow, file.metadata.num_rows, batches
