"""CelebA's aligned faces, from the folder or the zip archive, cropped as Song & Ermon do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cascore.data.archives import opened_zip, read_zip_member
from cascore.data.decoding import crop_then_resize, opened_image
from cascore.data.images import SPLITS, DataRecord, Pixels
from cascore.data.originals import Original, Originals, counts_note, file_facts
from cascore.errors import InputError
from cascore.foreign import parsing

_CROP, _SIZE = 140, 64
_IMAGES, _PARTITION = "img_align_celeba", "list_eval_partition.txt"
_NUMBERS = {"0": "train", "1": "valid", "2": "test"}
_OFFICIAL = (162_770, 19_962)
_LARGEST = 16 * 2**20  # bytes of one JPEG
SOURCE = (
    f"the folder of {_IMAGES}.zip (or its unpacked folder) and {_PARTITION}, from"
    " mmlab.ie.cuhk.edu.hk/projects/CelebA.html, by hand: its terms are for a person to accept"
)


def find_celeba(source: Path) -> Originals:
    """Train and test of the official partition, without labels; its validation part is left out."""
    folder = source.parent if source.is_file() else source
    images = source if source.is_file() else _find_images(folder)
    partition = folder / _PARTITION
    names = _read_partition(partition)
    chosen = [name for split in SPLITS for name in names[split]]
    with _opened(images) as (_, present):
        missing = [name for name in chosen if name not in present]
    if missing:
        raise InputError(
            f"{len(missing)} images that {partition} lists are not in {images}, the first is"
            f" {missing[0]}; --source is {SOURCE}"
        )
    splits = {split: _split(images, names[split]) for split in SPLITS}
    counts = counts_note(splits, official=_OFFICIAL)
    files = [images / name for name in chosen] if images.is_dir() else [images]
    return Originals(
        name="celeba",
        splits=splits,
        record=DataRecord(
            source=f"CelebA, aligned and cropped, Z. Liu et al. (2015), arXiv 1411.7766; {counts}",
            split=f"official: 0 and 2 of {_PARTITION}; 1, the validation part, is left out",
            preparation=("centre crop to 140 x 140", "to 64 x 64, Pillow's bilinear"),
        ),
        files=file_facts([partition, *files]),
    )


def _find_images(folder: Path) -> Path:
    # Some unpackers put the archive's own folder into one of the same name.
    for images in (folder / _IMAGES / _IMAGES, folder / _IMAGES, folder / f"{_IMAGES}.zip"):
        if images.exists():
            return images
    raise InputError(f"celeba needs {_IMAGES} or {_IMAGES}.zip in {folder}; --source is {SOURCE}")


def _read_partition(path: Path) -> dict[str, list[str]]:
    """The names of each part, in the order of the file."""
    with parsing(path, "a list of names", f"--source is {SOURCE}"):
        lines = path.read_text(encoding="utf-8").splitlines()
    names: dict[str, list[str]] = {part: [] for part in _NUMBERS.values()}
    for number, line in enumerate(lines, start=1):
        match line.split():
            case []:
                pass
            case [name, part] if part in _NUMBERS and PurePosixPath(name).name == name:
                names[_NUMBERS[part]].append(name)
            case _:
                raise InputError(
                    f"line {number} of {path} is {line[:80]!r}; expected a file name and 0, 1 or 2"
                )
    for split in SPLITS:
        if not names[split]:
            raise InputError(f"{path} lists no image of the {split} part; get it anew")
    return names


def _split(images: Path, names: Sequence[str]) -> Original:
    def items(start: int) -> Iterator[Pixels]:
        with _opened(images) as (read, _):
            for name in names[start:]:
                label = f"{name} of {images}"
                with opened_image(read(name), name=label) as image:
                    yield crop_then_resize(image, crop=_CROP, size=_SIZE, name=label)

    return Original(len(names), (3, _SIZE, _SIZE), items)


@contextmanager
def _opened(images: Path) -> Iterator[tuple[Callable[[str], bytes | Path], frozenset[str]]]:
    """A function from a name to an image's file or content, and the names that there are."""
    if images.is_dir():
        present = frozenset(path.name for path in images.iterdir() if path.is_file())
        yield lambda name: images / name, present
        return
    with opened_zip(images) as archive:
        members = {
            PurePosixPath(member).name: member
            for member in archive.namelist()
            if not member.endswith("/") and not member.startswith("__MACOSX/")
        }
        yield (
            lambda name: read_zip_member(archive, members[name], path=images, limit=_LARGEST),
            frozenset(members),
        )
