"""A set of images, and what every data set has: a split, a digest of its numbers, its origin."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.spectrum import Spectrum

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

SPLITS = ("train", "test")
DATA_ROOT = Path("data")  # where sets are kept, unless the user says otherwise
_IMAGES = 1000  # counted at a time


@dataclass(frozen=True)
class DataRecord:
    """Where a data set came from and what was done to it; `dataclasses.asdict` makes it JSON.

    `source` is what was read or drawn, with its credit, `split` the rule that decides what is train
    and what is test, `preparation` what was done to the items, in order, `remarks` what a person
    should know of them.
    """

    source: str
    split: str
    preparation: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Recorded(NamedTuple):
    """The digest that a set was written with, and what to do if it has another one."""

    digest: str
    advice: str


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of an image data set, as it was loaded by name.

    `images` are uint8 [N, C, H, W], C 1 or 3, a map of a file on disk where they are large;
    `labels` are int64 [N], each an index into `classes`, which say what it is called, or None.
    `recorded` is the digest that a set mapped from a file was written with; one that differs is
    refused.
    Other types and shapes raise InputError.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    record: DataRecord
    classes: tuple[str, ...] = ()
    recorded: Recorded | None = None

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
    def arrays(self) -> tuple[Pixels, Labels | None]:
        """Images and labels, shared with numpy."""
        return self.images.numpy(), None if self.labels is None else self.labels.numpy()

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
    def mean_and_deviation(self) -> tuple[float, float]:
        """Of all pixels, in [0, 1], exact. Reads all pixels once."""
        counts = np.zeros(256, dtype=np.int64)
        for part in np.array_split(self.images.numpy(), -(-self.count // _IMAGES)):
            counts += np.bincount(part.reshape(-1), minlength=256)
        shares, values = counts / counts.sum(), np.arange(256) / 255
        mean = float(shares @ values)
        return mean, float(shares @ (values - mean) ** 2) ** 0.5

    @cached_property
    def spectrum(self) -> Spectrum:
        """`Spectrum.of` the images. Reads 10,000 of them, twice."""
        return Spectrum.of(self.images)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pixels and labels: equal digests, equal sets. Reads all pixels once.

        Of a set whose pixels or labels are not those that were written: an InputError.
        """
        digest = array_digest(*self.arrays)
        if self.recorded is not None and digest != self.recorded.digest:
            raise InputError(
                f"the {self.split} images of {self.name} are not those that were prepared: their"
                f" SHA-256 is {digest[:16]}..., not {self.recorded.digest[:16]}...;"
                f" {self.recorded.advice}"
            )
        return digest


def array_digest(*arrays: npt.NDArray[Any] | None) -> str:
    """SHA-256, in hexadecimal, of the dtype, shape and little-endian bytes of each array."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
            continue
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(array.data)
    return digest.hexdigest()


def require_split(split: str) -> None:
    """Raise InputError unless split is one of SPLITS."""
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}; expected 'train' or 'test'")
