"""LSUN church outdoor from its LMDB databases, whose values are encoded images.

An LMDB file is mapped into memory and trusted by the library that reads it: pages that are missing
at its end would end the process. So the two meta pages are read first, and the file must be as
long as they say.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cascore.data.decoding import opened_image, resize_then_crop
from cascore.data.images import DataRecord, Pixels
from cascore.data.originals import Original, Originals, counts_note, file_facts
from cascore.errors import InputError, MissingExtraError
from cascore.foreign import parsing

_SIZE = 64
_FOLDERS = {"train": "church_outdoor_train_lmdb", "test": "church_outdoor_val_lmdb"}
_OFFICIAL = (126_227, 300)
SOURCE = (
    "the folder of church_outdoor_train_lmdb and church_outdoor_val_lmdb, from github.com/fyu/lsun,"
    " by hand: two archives, 2.5 GB together, which have to be unpacked"
)

# A page's header, then of each meta: magic, version, address, size of the map, two databases of
# 48 bytes of which the first begins with the page's size, last page, transaction.
_META = struct.Struct("<16x II 8x 8x I 44x 48x Q Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1


def find_lsun_church(source: Path) -> Originals:
    """Both databases below a folder: train, and the validation set as test; no labels."""
    files = {split: source / name / "data.mdb" for split, name in _FOLDERS.items()}
    for file in files.values():
        require_whole(file)
    splits = {split: _split(file) for split, file in files.items()}
    counts = counts_note(splits, official=_OFFICIAL)
    return Originals(
        name="lsun-church",
        splits=splits,
        record=DataRecord(
            source=f"LSUN church outdoor, F. Yu et al. (2015), arXiv 1506.03365; {counts}",
            split="official: train is church_outdoor_train_lmdb, test is church_outdoor_val_lmdb",
            preparation=("shorter side to 64, Pillow's bilinear", "centre crop to 64 x 64"),
        ),
        files=file_facts(files.values(), below=source),
    )


def require_whole(file: Path) -> None:
    """Raise InputError unless an LMDB file is there and as long as its newest meta page says."""
    if not file.is_file():
        folder = file.parent
        raise InputError(
            f"lsun-church needs {folder.name}/data.mdb in {folder.parent}; --source is {SOURCE}"
        )
    size = file.stat().st_size
    with file.open("rb") as stream:
        magic, version, page, last, transaction = _read_meta(stream)
        if magic != _MAGIC:
            raise InputError(
                f"{file} is no LMDB database: {magic:#x} where its magic number, {_MAGIC:#x}, is"
                " expected; get it anew"
            )
        if version != _VERSION or page not in {2**k for k in range(9, 17)}:
            raise InputError(
                f"{file} has LMDB's format {version} and pages of {page} bytes; expected"
                f" format {_VERSION} and a power of two: get it anew"
            )
        stream.seek(page)
        magic, version, _, other_last, other_transaction = _read_meta(stream)
    if (magic, version) == (_MAGIC, _VERSION) and other_transaction > transaction:
        last = other_last
    if size < (last + 1) * page:
        raise InputError(
            f"{file} is truncated: {size} bytes, where its {last + 1} pages of {page} bytes take"
            f" {(last + 1) * page}; get it anew"
        )


def _read_meta(stream: IO[bytes]) -> tuple[int, ...]:
    """Magic, version, size of a page, last page and transaction; zeros behind the file's end."""
    return _META.unpack(stream.read(_META.size).ljust(_META.size, b"\0"))


def _split(file: Path) -> Original:
    count = sum(1 for _ in _read(file, 0, values=False))
    if not count:
        raise InputError(f"{file} holds no images; get it anew")

    def items(start: int) -> Iterator[Pixels]:
        for key, content in _read(file, start, values=True):
            name = f"image {key.decode('ascii', 'replace')} of {file}"
            with opened_image(content, name=name) as image:
                yield resize_then_crop(image, size=_SIZE)

    return Original(count, (3, _SIZE, _SIZE), items)


def _read(file: Path, start: int, *, values: bool) -> Iterator[tuple[bytes, bytes]]:
    """Keys in their order from number `start` on, and values if they are asked for."""
    try:
        import lmdb
    except ImportError:
        raise MissingExtraError(what="LSUN", package="lmdb", extra="data") from None
    with (
        parsing(file, "LMDB"),
        lmdb.open(
            str(file.parent), readonly=True, lock=False, readahead=False, create=False
        ) as environment,
        environment.begin() as transaction,
    ):
        for number, key in enumerate(transaction.cursor().iternext(keys=True, values=False)):
            if number >= start:
                yield key, transaction.get(key, b"") if values else b""
