"""Batches by step: the rows of step t follow from (seed, t) alone, whoever asks and whenever."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.training.parallel import ALONE, Workers

_USUAL_SIZE = 128
_SORTED = 2**20  # items, the most whose order is sorted: half a second of a core each epoch
_AT_ONCE = 2**16  # keys


class Batch(NamedTuple):
    """Clean data, float [rows, ...], and what the denoiser is told of them.

    Labels are int64 [rows]; -1 is no class. The augmentation is float [rows, 3]: 1 for a picture
    that was mirrored, then how far it was moved to the right and down, in eighths of its width and
    height.
    """

    clean: Tensor
    labels: Tensor | None = None
    augmentation: Tensor | None = None


@runtime_checkable
class Batches(Protocol):
    """What the training loop asks for: this process's share of the clean batch of a step."""

    def batch(self, step: int) -> Tensor | tuple[Tensor, Tensor] | Batch:
        """Float [rows of this process, ...], as many in every process; a `Batch` if more is told.

        A pair of data and labels will do for one.
        """
        ...


class _Images(Protocol):
    """An image set: uint8 [N, C, H, W], and labels [N] or None."""

    @property
    def images(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor | None: ...


class _Points(Protocol):
    """A set of points: float [N, D]."""

    @property
    def points(self) -> Tensor: ...


TrainingData = Batches | Tensor | _Images | _Points | Iterable[Any]


@dataclass(frozen=True, eq=False)
class KeyedBatches:
    """Float batches out of a tensor in memory or mapped; each epoch has a new order.

    Attributes:
        items: [N, ...]; uint8 is taken for pixels and brought to [0, 1].
        batch_size: Rows of the global batch.
        seed: Key of the order and of the flips.
        flip: Whether each image is mirrored with probability one half.
        shift: Every other image, by chance, is moved by up to so many pixels each way, uniformly;
            what comes in at an edge is its reflection.
        told: Whether a batch says how it was mirrored and moved.
        workers: The processes that share the batch.
        device: Where the batch is put.
        dtype: Type of the batch; by default that of the items, float32 for uint8.
        labels: Of the items, int64 [N]; with them a batch is a pair.
    """

    items: Tensor
    batch_size: int
    seed: int
    flip: bool = False
    shift: int = 0
    told: bool = False
    workers: Workers = ALONE
    device: torch.device | str = "cpu"
    dtype: torch.dtype | None = None
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.shift and self.shift >= min(self.items.shape[-2:]):
            raise InputError(
                f"pictures of {self.items.shape[-2]} x {self.items.shape[-1]} pixels cannot be"
                f" shifted by {self.shift}: take a few"
            )

    @cached_property
    def _rows(self) -> Tensor:
        return self.workers.rows(self.batch_size)

    @cached_property
    def _noise(self) -> KeyedNoise:
        return KeyedNoise(self.seed, indices=self._rows)

    @cached_property
    def _items(self) -> Tensor:
        """The items, on the GPU where they take no more than a quarter of what is free there."""
        device = torch.device(self.device)
        if device.type == "cuda" and 4 * self.items.nbytes <= torch.cuda.mem_get_info(device)[0]:
            return self.items.to(device)
        return self.items

    def batch(self, step: int) -> Tensor | tuple[Tensor, Tensor] | Batch:
        """The rows of `step` that are this process's."""
        chosen = batch_rows(len(self._items), self.batch_size, step, self.seed)[self._rows]
        # index_select copies whole images; indexing with [...] takes six times as long.
        batch = sent(self._items.index_select(0, sent(chosen, self._items.device)), self.device)
        # While a pixel is one byte, not four.
        noise = self._noise.at(step)
        batch, augmentation = augmented(batch, noise, flip=self.flip, shift=self.shift)
        batch = _as_float(batch)
        batch = batch if self.dtype is None else batch.to(self.dtype)
        labels = None if self.labels is None else sent(self.labels[chosen], self.device)
        if self.told:
            return Batch(batch, labels, augmentation.to(batch.dtype))
        return batch if labels is None else (batch, labels)


class _IteratedBatches:
    """The batches of an iterable in its own order, from its beginning again when it ends."""

    def __init__(self, batches: Iterable[Any], like: Tensor, labelled: bool) -> None:
        self.batches, self.device, self.dtype = batches, like.device, like.dtype
        self.labelled = labelled
        self.iterator: Iterator[Any] = iter(batches)

    def batch(self, step: int) -> Tensor | tuple[Tensor, Tensor]:
        """The next batch, whatever the step."""
        batch = next(self.iterator, None)
        if batch is None:
            again = iter(self.batches)
            batch = None if again is self.iterator else next(again, None)
            if batch is None:
                raise InputError(
                    f"the batches ended before update {step + 1} and do not start again: give a"
                    " tensor, a list of batches or a DataLoader, or fewer steps"
                )
            self.iterator = again
        labels: Any = None
        if isinstance(batch, tuple | list):
            batch, labels = batch[0], batch[1] if len(batch) > 1 else None
        if not isinstance(batch, Tensor) or batch.ndim == 0:
            raise InputError(
                f"a batch must be a tensor [N, ...], or a tuple or list that begins with one, not"
                f" {type(batch).__name__}"
            )
        batch = _as_float(sent(batch, self.device)).to(self.dtype)
        if not self.labelled:
            return batch
        if not isinstance(labels, Tensor) or labels.shape != batch.shape[:1]:
            raise InputError(
                f"the denoiser knows classes, so a batch must be a pair, {len(batch)} images and"
                " their labels, int64 [N]"
            )
        return batch, sent(labels, self.device)


def as_batches(
    data: TrainingData,
    *,
    batch_size: int | None,
    seed: int,
    workers: Workers,
    like: Tensor,
    labelled: bool = False,
) -> Batches:
    """The batches of whatever `train` was given: keyed ones of a tensor, or an iterable's own.

    Batches that are made here have the dtype and the device of `like`, and labels if `labelled`.

    Raises:
        InputError: a batch size for data that come in batches, data that are none of these, or data
            without labels where they are asked for.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    items = data if isinstance(data, Tensor) else None
    for name in ("images", "points"):
        items = getattr(data, name, items)
    if isinstance(items, Tensor):
        _as_float(items[:1])  # refuses what has no place in a float batch
        labels = getattr(data, "labels", None) if labelled else None
        if labelled and labels is None:
            raise InputError(
                "the denoiser knows classes, and these data have no labels: give an image set that"
                " has them, or batches of pairs, images and labels"
            )
        return KeyedBatches(
            items,
            _USUAL_SIZE if batch_size is None else batch_size,
            seed,
            workers=workers,
            device=like.device,
            dtype=like.dtype,
            labels=labels,
        )
    if batch_size is not None:
        raise InputError("batch_size is for a tensor or a data set; these data come in batches")
    if isinstance(data, Batches):
        return data
    if isinstance(data, Dataset):
        raise InputError("a Dataset has items, not batches: give torch's DataLoader of it")
    if not isinstance(data, Iterable):
        raise InputError(
            f"the data must be a tensor [N, ...], an image or point set, or an iterable of batches,"
            f" not {type(data).__name__}"
        )
    return _IteratedBatches(data, like, labelled)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device, for which neither the processor nor a GPU waits."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _as_float(batch: Tensor) -> Tensor:
    if batch.dtype == torch.uint8:
        return to_float(batch)
    if not batch.is_floating_point():
        raise InputError(f"data must be float, or uint8 for pixels, not {batch.dtype}")
    return batch


def augmented(
    batch: Tensor, noise: KeyedNoise, *, flip: bool, shift: int = 0
) -> tuple[Tensor, Tensor]:
    """Images mirrored and moved as `KeyedBatches` says, and how it was done, as a `Batch` says."""
    count = len(batch)
    done = torch.zeros(count, 3, device=batch.device)
    if flip:
        side = noise.integers(count, high=2, purpose=Purpose.FLIP, device=batch.device)
        both = torch.cat([batch, batch.flip(-1)])
        here = torch.arange(count, device=side.device)
        batch = both.index_select(0, here + side * count)
        done[:, 0] = side
    if shift:
        places = (2 * shift + 1) ** 2
        drawn = noise.integers(count, high=2 * places, purpose=Purpose.SHIFT, device=batch.device)
        right, down = drawn % (2 * shift + 1), drawn // (2 * shift + 1)
        moved = torch.stack([right, down], dim=1) - shift
        moved = torch.where((drawn < places)[:, None], moved, 0)
        height, width = batch.shape[-2:]
        batch = shifted(batch, moved)
        done[:, 1], done[:, 2] = 8 * moved[:, 0] / width, 8 * moved[:, 1] / height
    return batch, done


def shifted(images: Tensor, moved: Tensor) -> Tensor:
    """Images [N, C, H, W] moved to the right and down by int64 [N, 2], reflected at their edges."""
    for axis, by in ((3, moved[:, 0]), (2, moved[:, 1])):
        last = images.shape[axis] - 1
        place = torch.arange(last + 1, device=images.device) - by[:, None]
        place = last - (last - place.abs()).abs()
        index = place[:, None, None, :] if axis == 3 else place[:, None, :, None]
        images = images.gather(axis, index.expand(images.shape))
    return images


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Which of `count` items form the global batch of `step`, int64 [batch_size].

    No item is left out of an epoch, each of which is a permutation of the whole set.
    """
    return cut_from_epochs(count, batch_size, step, partial(epoch_rows, count, seed))


def cut_from_epochs(
    count: int, batch_size: int, step: int, of_epoch: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """The batch of a step, cut from one endless row of epochs of `count` items: it may span two.

    `of_epoch(epoch, places)` says which items stand at these places of an epoch.
    """
    if count < 1 or batch_size < 1:
        raise InputError(f"need at least one item and one row, not {count} and {batch_size}")
    position = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = position // count
    parts = [
        of_epoch(epoch, position[epochs == epoch] % count)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
    ]
    return torch.cat(parts)


def epoch_rows(count: int, seed: int, epoch: int, places: Tensor) -> Tensor:
    """Which of `count` items stand at these places of a keyed permutation, int64 as the places.

    Of up to 2^20 items it is the stable order of keys, one drawn for each. Of more it is
    `KeyedNoise.permuted`, which costs as much as there are places.
    """
    if count <= _SORTED:
        return _epoch_order(count, epoch, seed)[places]
    return KeyedNoise(seed, indices=places).at(epoch).permuted(count, purpose=Purpose.ORDER)


@lru_cache(maxsize=4)
def _epoch_order(count: int, epoch: int, seed: int) -> Tensor:
    parts = (KeyedNoise(seed, indices=part) for part in torch.split(torch.arange(count), _AT_ONCE))
    keys = [
        part.at(epoch).integers(part.count, high=2**31, purpose=Purpose.ORDER) for part in parts
    ]
    return torch.cat(keys).argsort(stable=True)
