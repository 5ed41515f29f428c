"""Batches by step: the rows of step t follow from (seed, t) alone, whoever asks and whenever."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.training.parallel import Workers

__all__ = ["Batches", "ImageBatches", "PointBatches", "batch_rows"]

ALONE = Workers()


class Batches(Protocol):
    """What `train` asks for: this process's share of the clean batch of a step."""

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        ...

    def batch(self, step: int) -> Tensor:
        """Float [batch_size / processes, ...]."""
        ...


@dataclass(frozen=True, eq=False)
class ImageBatches:
    """Batches of float images in [0, 1] out of uint8 [N, C, H, W].

    Attributes:
        images: the set, in memory or mapped.
        batch_size: rows of the global batch.
        seed: of the order and the flips.
        flip: mirror each image with probability one half.
        workers: who else trains.
        device: where the batch goes.
        dtype: of the batch.
    """

    images: Tensor
    batch_size: int
    seed: int
    flip: bool = False
    workers: Workers = ALONE
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    def batch(self, step: int) -> Tensor:
        """The rows of `step`, each epoch in a new order."""
        rows = self.workers.rows(self.batch_size)
        count = len(self.images)
        # index_select copies whole images; indexing with [...] takes six times as long.
        chosen = self.images.index_select(
            0, batch_rows(count, self.batch_size, step, self.seed)[rows]
        ).to(self.device)
        if self.flip:  # while a pixel is one byte, not four
            source = KeyedNoise(self.seed, indices=rows).at(step)
            side = source.integers(len(rows), high=2, purpose=Purpose.FLIP, device=chosen.device)
            both = torch.cat([chosen, chosen.flip(-1)])
            here = torch.arange(len(rows), device=chosen.device)
            chosen = both.index_select(0, here + side * len(rows))
        return to_float(chosen).to(self.dtype)


@dataclass(frozen=True, eq=False)
class PointBatches:
    """Batches of float32 points [N, D]; the attributes are those of `ImageBatches`."""

    points: Tensor
    batch_size: int
    seed: int
    workers: Workers = ALONE
    device: torch.device | str = "cpu"

    def batch(self, step: int) -> Tensor:
        """The rows of `step`, each epoch in a new order."""
        rows = self.workers.rows(self.batch_size)
        chosen = batch_rows(len(self.points), self.batch_size, step, self.seed)[rows]
        return self.points[chosen].to(self.device)


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Which of `count` items form the global batch of `step`, int64 [batch_size].

    The batches are cut from one endless row of epochs, each a permutation of the whole set, so a
    batch may span two epochs and no item is left out.
    """
    if count < 1 or batch_size < 1:
        raise InputError(f"need at least one item and one row, not {count} and {batch_size}")
    position = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = position // count
    parts = [
        _epoch_order(count, epoch, seed)[position[epochs == epoch] % count]
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
    ]
    return torch.cat(parts)


@lru_cache(maxsize=4)
def _epoch_order(count: int, epoch: int, seed: int) -> Tensor:
    source = KeyedNoise(seed, indices=torch.arange(count)).at(epoch)
    keys = source.integers(count, high=2**31, purpose=Purpose.ORDER)
    return keys.argsort(stable=True)
