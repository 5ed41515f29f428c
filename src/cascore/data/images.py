"""The record of a set of images."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cascore.data.records import DataRecord, array_digest
from cascore.errors import InputError

__all__ = ["ImageSet"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of an image data set.

    Attributes:
        name: The name it was loaded by.
        split: "train" or "test".
        images: uint8 [N, C, H, W], C 1 or 3; a map of a file on disk where it is large.
        labels: int64 [N], each an index into classes, or None.
        record: Source, split rule and preparation.
        classes: What each label is called; empty without labels.

    Raises:
        InputError: A dtype or a shape other than these.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    record: DataRecord
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(
                f"images of {self.name!r} are {images.dtype} of shape {tuple(images.shape)};"
                " expected uint8 [N, C, H, W] with C 1 or 3"
            )
        if labels is None:
            return
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise InputError(
                f"labels of {self.name!r} are {labels.dtype} of shape {tuple(labels.shape)};"
                f" expected int64 [{len(images)}], one per image"
            )

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pixels and labels: equal digests, equal sets. Reads all pixels once."""
        labels = None if self.labels is None else self.labels.numpy()
        return array_digest(self.images.numpy(), labels)
