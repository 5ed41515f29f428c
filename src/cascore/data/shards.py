"""Pictures in webdataset shards, read where they are: for a set that is larger than a disk here.

    shard-000.tar    a.jpg a.cls b.jpg b.cls ...

What is on a disk as a whole is better a folder (`cascore.data.folder`), decoded once and mapped.
Here each picture is read out of its shard and decoded whenever its turn comes; what is kept is
where the pictures stand.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cascore.data.archives import Member, tar_members
from cascore.data.decoding import Target, decode_content
from cascore.data.images import Pixels, array_digest
from cascore.data.kept import Source, anew, kept_array
from cascore.data.listing import is_hidden, other_kind
from cascore.data.originals import file_facts
from cascore.errors import InputError
from cascore.foreign import parsing
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.preprocessing import FolderOptions
from cascore.training.batches import Batch, augmented, cut_from_epochs, epoch_rows
from cascore.training.parallel import ALONE, Workers

_LABEL, _LONGEST_LABEL = "cls", 20
_LARGEST = 2**28  # bytes of one image file

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shards:
    """Where pictures stand in the .tar files of a folder.

    Attributes:
        paths: The shards, in the order of their names.
        counts: Pictures of each, int64 [shards].
        places: First byte, number of bytes and label of each picture, int64 [pictures, 3], shard by
            shard; the label is -1 where there is none.
    """

    paths: Sequence[Path]
    counts: Tensor
    places: Tensor

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.places)

    @cached_property
    def starts(self) -> Tensor:
        """The number of the first picture of each shard, int64 [shards]."""
        return self.counts.cumsum(0) - self.counts


def find_shards(folder: Path, *, root: Path | None = None) -> Shards:
    """The pictures of the .tar files of a folder, as webdataset has them; no picture is read.

    A picture `KEY.jpg` (or .png, ...) has its label, a number, in `KEY.cls` beside it; all pictures
    have one, or none has. Other members are passed over. What was found is kept in `root` (None:
    DATA_ROOT, if that can be written) until a shard changes its name, size or time.

    Raises:
        InputError: no shard or no picture, damage, links, names that lead out, labels that are no
            numbers, of some pictures only or of none, or a picture whose name has a second dot.
    """
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise InputError(f"there is no shard in {folder}; looked for names in .tar")
    scanned: list[Places] = []

    def places_by_shard() -> list[Places]:
        if not scanned:
            scanned.extend(map(places_in, paths))
        return scanned

    def lengths() -> list[Places]:
        return [np.array([len(places)]) for places in places_by_shard()]

    def kept(what: str, items: Callable[[], list[Places]], *shape: int) -> Places:
        source = Source(folder, ["shards", what], file_facts(paths))
        array = kept_array(source, root, items, dtype=np.int64, shape=shape)
        if array is None:
            return np.concatenate(items())
        if array_digest(array.array) != array.digest:
            raise InputError(f"{array.path} is not what was written; {anew(array.path)}")
        return np.array(array.array)

    counts = kept("counts", lengths, len(paths))
    if not counts.any():
        raise InputError(f"no shard in {folder} holds an image")
    places = kept("places", places_by_shard, int(counts.sum()), 3)
    require_labels(places, folder)
    return Shards(tuple(paths), torch.from_numpy(counts), torch.from_numpy(places))


def require_labels(places: Places, where: Path) -> None:
    """Raise InputError where some pictures have a label and others have none."""
    labelled = int((places[:, 2] >= 0).sum())
    if labelled not in (0, len(places)):
        raise InputError(
            f"{labelled:,} of {len(places):,} images in {where} have a label (.{_LABEL}): give one"
            " to all of them, or to none"
        )


def places_in(path: Path) -> Places:
    """First byte, number of bytes and label of each picture of a shard, int64 [pictures, 3].

    The label is -1 where there is none.

    Raises:
        InputError: as `find_shards` raises it of a shard.
    """
    places = []
    with path.open("rb") as content:
        shown = (part for part in tar_members(path) if not is_hidden(PurePosixPath(part.name)))
        for key, members in groupby(shown, key=lambda member: _split(member)[0]):
            parts = {_split(member)[1]: member for member in members}
            images = _images(key, parts, path)
            label = _label(content, parts.get(f".{_LABEL}"), path)
            places += [(image.start, image.size, label) for image in images]
    return np.array(places, dtype=np.int64).reshape(-1, 3)


def _images(key: str, parts: Mapping[str, Member], path: Path) -> list[Member]:
    """The picture of a key, if it has one; where a picture or a label would be lost, a refusal."""
    pictures = {
        suffix: part
        for suffix, part in parts.items()
        if other_kind(PurePosixPath(part.name)) is None
    }
    images = [part for suffix, part in pictures.items() if suffix.count(".") == 1]
    if len(images) > 1 or sum(image.size for image in images) > _LARGEST:
        raise InputError(
            f"{path} holds {len(images)} images {key}.*; expected one, of at most"
            f" {_LARGEST:,} bytes"
        )
    lost = [part.name for suffix, part in parts.items() if suffix in (f".{_LABEL}", *pictures)]
    if lost and not images:
        raise InputError(
            f"{path} holds {lost[0]} and beside it no image {key}.jpg (or .png, ...): a key ends at"
            " the first dot of a name, and its files follow one another; rename or pack them anew"
        )
    return images


def _split(member: Member) -> tuple[str, str]:
    """Webdataset's key, which goes up to the first dot of the name's last part, and the rest."""
    path = PurePosixPath(member.name)
    key, dot, suffix = path.name.partition(".")
    return str(path.parent / key), f"{dot}{suffix}".lower()


def _label(content: IO[bytes], member: Member | None, path: Path) -> int:
    if member is None:
        return -1
    content.seek(member.start)
    text = content.read(min(member.size, _LONGEST_LABEL))
    if not text.strip().isdigit() or member.size > _LONGEST_LABEL or int(text) >= 2**31:
        raise InputError(f"{member.name} in {path} holds {text!r}; expected the number of a class")
    return int(text)


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardBatches:
    """Float batches of the pictures of shards, in a keyed order: data for `cascore.train`.

    In every epoch the shards have a new order, and of `window` shards at a time the pictures come
    mixed, each once. Which pictures form a step's batch is a function of (seed, step): a training
    that goes on reads nothing of what came before.

    Attributes:
        shards: The pictures.
        options: How each is brought to one shape; the size is needed, and the mode auto is colour.
        batch_size: Rows of the global batch.
        seed: Key of the order and of the flips.
        window: The shards that are mixed; as many pictures as the shuffle buffer of a stream.
        flip: Whether each image is mirrored with probability one half.
        labelled: Whether a batch has labels.
        workers: The processes that share the batch.
        device: Where the batch is put.
    """

    shards: Shards
    options: FolderOptions
    batch_size: int
    seed: int
    window: int = 16
    flip: bool = False
    labelled: bool = False
    workers: Workers = ALONE
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InputError(f"need at least one shard to mix, not {self.window}")
        if self.options.size is None:
            raise InputError("pictures in shards need a size: FolderOptions(size=64)")
        if self.options.skip_broken or not self.options.labels:
            raise InputError(
                "skip_broken and labels=False are for folders: batches of shards hold every"
                " picture, and labels if they are labelled=True; leave these options out"
            )
        if self.labelled and bool(self.shards.places[0, 2] < 0):
            raise InputError(f"the images beside {self.shards.paths[0]} have no labels (.{_LABEL})")

    def batch(self, step: int) -> Batch:
        """The rows of `step` that are this process's."""
        rows = self.workers.rows(self.batch_size)
        chosen = self.numbers(step)[rows]
        pixels = torch.from_numpy(self._decoded(chosen)).to(self.device)
        noise = KeyedNoise(self.seed, indices=rows).at(step)
        pixels, _ = augmented(pixels, noise, flip=self.flip)
        labels = self.shards.places[chosen, 2].to(self.device) if self.labelled else None
        return Batch(to_float(pixels), labels)

    def numbers(self, step: int) -> Tensor:
        """Which pictures form the global batch of a step, counted through all shards, int64 [N]."""
        return cut_from_epochs(self.shards.count, self.batch_size, step, self._of_epoch)

    def _of_epoch(self, epoch: int, places: Tensor) -> Tensor:
        """The pictures that stand at these places of an epoch."""
        counts, count = self.shards.counts, len(self.shards.counts)
        noise = KeyedNoise(self.seed, indices=range(count)).at(epoch)
        order = noise.integers(count, high=2**31, purpose=Purpose.SHARD).argsort(stable=True)
        windows = torch.split(order, self.window)
        ends = torch.stack([counts[window].sum() for window in windows]).cumsum(0)
        of = torch.searchsorted(ends, places, right=True)
        numbers = torch.empty_like(places)
        for number in sorted({*of.tolist()}):
            window, here = windows[number], of == number
            within = counts[window].cumsum(0)
            place = places[here] - ends[number] + within[-1]
            turn = epoch * len(windows) + number
            mixed = epoch_rows(int(within[-1]), self.seed, turn, place)
            slot = torch.searchsorted(within, mixed, right=True)
            shard = window[slot]
            numbers[here] = self.shards.starts[shard] + mixed - within[slot] + counts[shard]
        return numbers

    def _decoded(self, chosen: Tensor) -> Pixels:
        """Pixels [N, C, H, W] of pictures by their numbers, decoded on all cores."""
        size, channels = self.options.size, 1 if self.options.mode == "grey" else 3
        assert size is not None
        target = Target(channels, size, size, self.options.crop, self.options.filter)

        def decode(content: tuple[bytes, str]) -> Pixels:
            return decode_content(content[0], name=content[1], target=target)

        with ThreadPoolExecutor() as pool:
            return np.stack([*pool.map(decode, self._contents(chosen.tolist()))])

    def _contents(self, chosen: list[int]) -> list[tuple[bytes, str]]:
        """The bytes of each picture and its name in words; every shard is opened once."""
        contents: dict[int, tuple[bytes, str]] = {}
        ordered = sorted({*chosen})
        shards = torch.searchsorted(self.shards.starts, torch.tensor(ordered), right=True) - 1
        for shard, group in groupby(zip(ordered, shards.tolist(), strict=True), itemgetter(1)):
            path = self.shards.paths[shard]
            with parsing(path, "a shard"), path.open("rb") as stream:
                for number, _ in group:
                    start, size, _ = self.shards.places[number].tolist()
                    stream.seek(start)
                    contents[number] = stream.read(size), f"the image at byte {start:,} of {path}"
        return [contents[number] for number in chosen]
