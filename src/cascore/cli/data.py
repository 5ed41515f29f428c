"""`cascore data`: original files to prepared sets, and what a trainer needs to know of a set."""

import errno
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cascore.cli import options
from cascore.cli.common import plain_console, to_type
from cascore.errors import InputError
from cascore.files import replaced_folder
from cascore.locks import new_folder, one_file, one_writer
from cascore.preprocessing import FolderOptions, folder_path, is_folder
from cascore.progress import Display

if TYPE_CHECKING:
    from torch import Tensor

    from cascore.data import ImageSet
    from cascore.data.diameter import Diameter

SHOWN = 100  # images on a sheet
WIDE = 1200  # pixels of a sheet, about


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Turn a data set's original files into one mapped file for each split.

    Example: cascore data prepare cifar-10 --source cifar-10-binary.tar.gz

    A new name makes a set of a folder of images, brought to one shape:
    cascore data prepare mine --source photos --size 32
    """

    name: tyro.conf.Positional[str]
    """A known data set, or a new name for a folder of images."""
    source: Path | None = None
    """Its original files: an archive or a folder; docs/data.md says which."""
    download: bool = False
    """Fetch the files first, where a program may."""
    root: Path = Path("data")
    """The data root, which gets a folder of the set's name."""
    folder: options.Folders = field(default_factory=FolderOptions)

    def run(self) -> int:
        """Fetch if asked to, prepare, and print the folder of the set."""
        from cascore.data import DATA_ROOT
        from cascore.data.catalogue import find_originals
        from cascore.data.prepared import NAME, prepare

        name, source, root, display = self.name, self.source, self.root, Display()
        if self.download:
            if source is not None:
                raise InputError("give --source or --download, not both")
            source = _download(name, root / "downloads", display)
        if NAME.fullmatch(name):  # else it is refused below
            with one_writer(root / name, "looking at its files"):
                pass  # where nothing can be written, that is told before all files are read
        display.say(f"looking at the files of {name}")
        originals = find_originals(name, source, folder=self.folder)
        display.say(f"{name}: {originals.record.source}")
        for remark in originals.record.remarks:
            display.say(remark)
        with display.counting(f"preparing {name}", originals.count) as advance:
            folder = prepare(originals, root=root, progress=advance, notify=display.say)
        where = () if root == DATA_ROOT else ("--root", root)
        display.say(f"look at it: {to_type('data', 'show', name, *where)}")
        plain_console().print(folder)
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a contact sheet of a data set and work out what a trainer needs to know of it."""

    name: tyro.conf.Positional[str]
    """A data set, or folder:PATH."""
    root: Path | None = None
    """The data root, or the folder of the original files (default: data)."""
    out: Path | None = None
    """Folder for sheet.png (default: data-sheets/NAME)."""
    images: options.Folders = field(default_factory=FolderOptions)

    def run(self) -> int:
        """Write a contact sheet, and print the numbers."""
        from cascore.experiment.outputs import file_name

        if is_folder(self.name):
            folder_path(self.name)  # refuses what names none, before a place is made
        sheet = (self.out or Path("data-sheets") / file_name(self.name)) / "sheet.png"
        with one_file(sheet, "drawing a sheet"):
            self._show(sheet)
        return 0

    def _show(self, sheet: Path) -> None:
        from cascore.data.diameter import image_diameter
        from cascore.pixels import save_png

        sets = self._sets()
        train = next(iter(sets.values()))
        with Display().counting("largest distance", train.count) as advance:
            diameter = image_diameter(train.images, progress=advance) if train.count > 1 else None
        save_png(_sheet(train), sheet)
        console = plain_console()
        for part in sets.values():
            shape = " x ".join(map(str, part.shape))
            console.print(f"{part.split}: {part.count:,} images, {shape}, {_classes(part)}")
            console.print(f"  digest {part.digest}")
        console.print(f"source: {train.record.source}")
        console.print(f"split: {train.record.split}")
        console.print(f"preparation: {'; '.join(train.record.preparation) or 'none'}")
        for remark in train.record.remarks:
            console.print(f"note: {remark}")
        if diameter is not None:
            for line in _levels(train, diameter):
                console.print(line)
        console.print(f"sheet: {sheet}")

    def _sets(self) -> "Mapping[str, ImageSet]":
        """The splits of the set; a folder's images at the largest size that enlarges none."""
        from cascore.data import load_image_splits
        from cascore.data.contents import read_folder
        from cascore.data.folder import load_contents
        from cascore.experiment.choose import fitting_options, survey_folder

        if not is_folder(self.name):
            return load_image_splits(self.name, root=self.root, folder=self.images)
        path, skip_broken = folder_path(self.name), self.images.skip_broken
        contents = read_folder(path, skip_broken=skip_broken, root=self.root)
        fitting = fitting_options(survey_folder(contents), self.images)
        return load_contents(contents, options=fitting, root=self.root)


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Read a prepared set whole, and compare its digests with those it was written with."""

    name: tyro.conf.Positional[str]
    """A prepared set."""
    root: Path = Path("data")
    """The data root."""

    def run(self) -> int:
        """Print what is as it was prepared; what is not ends in an error that names all of it."""
        from cascore.data.prepared import is_prepared, load_prepared, read_record

        if not is_prepared(self.name, self.root):
            raise InputError(f"{self.root} holds no prepared set {self.name!r}")
        faults = []
        for split in read_record(self.root / self.name).splits:
            try:
                images = load_prepared(self.name, split, root=self.root)
                whole = f"{split}: {images.count:,} images as prepared, digest {images.digest}"
                plain_console().print(whole)
            except InputError as error:
                faults.append(str(error))
        if faults:
            raise InputError("; ".join(dict.fromkeys(faults)))
        return 0


@dataclass(frozen=True, kw_only=True)
class Unpack:
    """Write the pictures of an archive, an array, a table or shards out as a folder of image files.

    Example: cascore data unpack pictures.zip photos
    """

    source: tyro.conf.Positional[Path]
    """A .zip of images (with the labels of EDM's dataset.json), an .npy or .npz of pixels, a
    .parquet file of a data set of the hub, a .tar of webdataset, or the folder of such tables or
    shards."""
    out: tyro.conf.Positional[Path]
    """New folder; classes become subfolders of it."""

    def run(self) -> int:
        """Write the folder, whole or not at all, and say what it is good for."""
        from cascore.data.packed import find_packed

        display = Display()
        with new_folder(self.out, "unpacking"), replaced_folder(self.out) as folder:
            packed = find_packed(self.source)
            for remark in packed.remarks:
                display.say(remark)
            with display.counting(f"unpacking {self.source}", packed.total) as advance:
                for name, content in packed.images:
                    _write_new(folder / name, content, f"{self.source} holds {name}")
                    advance(1)
        display.say(f"look at it: {to_type('data', 'show', f'folder:{self.out}')}")
        plain_console().print(self.out)
        return 0


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """Prepare data sets, unpack, look at and verify them."""

    action: Prepare | Unpack | Show | Verify
    """What to do."""

    def run(self, typed: str) -> int:
        """Do one of them."""
        return self.action.run()


def _write_new(path: Path, content: bytes, held: str) -> None:
    """Write a new file; a name that none can have is refused in words that begin with `held`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{held} twice, or as a file and a folder; rename it there") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(f"{held}, a name too long for a file; rename it there") from None


def _download(name: str, folder: Path, display: Display) -> Path:
    """The folder or file that holds what was fetched."""
    from cascore.data.downloads import DOWNLOADS
    from cascore.fetching import download

    if name not in DOWNLOADS:
        raise InputError(
            f"{name} cannot be fetched by a program, only {', '.join(DOWNLOADS)} can;"
            " docs/data.md says where to get the others by hand; then name them with --source"
        )
    files, target = DOWNLOADS[name], folder / name.removeprefix("stacked-")
    with display.counting(f"fetching {name}, bytes", sum(f.size for f in files)) as advance:
        advice = "or get the file by hand and name it with --source"
        download(files, target, advice=advice, progress=advance)
    return target / files[0].name if len(files) == 1 else target


def _sheet(images: "ImageSet") -> "Tensor":
    """A hundred images spread over the set, drawn large enough to see."""
    import torch

    from cascore.pixels import grid

    chosen = torch.linspace(0, images.count - 1, min(images.count, SHOWN)).long()
    columns = max(1, round(len(chosen) ** 0.5))
    scale = max(1, WIDE // (columns * images.shape[2]))
    return grid(images.images[chosen], columns=columns, scale=min(scale, 8))


def _classes(part: "ImageSet") -> str:
    if part.labels is None:
        return "no labels"
    counts = part.labels.bincount(minlength=len(part.classes))
    return f"{len(counts)} classes of {int(counts.min()):,} to {int(counts.max()):,}"


def _levels(images: "ImageSet", diameter: "Diameter") -> Iterator[str]:
    """Techniques 1 and 2 in words, and as settings."""
    from cascore.experiment.choose import LAST
    from cascore.schedule import level_count

    low, high, (first, second) = diameter.low, diameter.high, diameter.pair
    pair = f"images {first} and {second} of train"
    if diameter.exact:
        yield f"sigma_1 by Technique 1: {low:.2f}, exact: the distance of {pair}"
    else:
        yield (
            f"sigma_1 by Technique 1: from {low:.2f} to {high:.2f}. {pair.capitalize()} are"
            f" {low:.2f} apart; by the triangle inequality no two are further than {high:.2f};"
            f" {diameter.compared:,} distances were computed, all would take too long"
        )
    dimension = math.prod(images.shape)
    for sigma_1 in dict.fromkeys(math.ceil(10 * distance) / 10 for distance in (low, high)):
        if sigma_1 > LAST:
            count, ends = level_count(dimension, sigma_1, LAST), f"{sigma_1:.1f} to {LAST:g}"
            yield f"levels by Technique 2 from {ends} in {dimension} dimensions: {count}"
            yield f"  --schedule.first {sigma_1:.1f} --schedule.levels {count}"
