"""Features of any number of images: streamed into moments, or into a file that can be resumed.

Images come as one tensor (which may be a memory map) or as an iterable of tensors of any lengths,
such as a sampler's batches. Either is cut into batches of one size first, so the lengths in which
images arrive move no bit of a result. What other batch sizes move is rounding, because a
convolution may be computed by another algorithm.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.files import write_text
from cascore.metrics.moments import FeatureExtractor, FeatureMoments

__all__ = ["Images", "extract_features", "feature_moments", "save_features"]

Images = Tensor | Iterable[Tensor]
Progress = Callable[[int], None]

_SAVE_EVERY = 10.0  # seconds of work that a power cut may cost


def feature_moments(
    extractor: FeatureExtractor,
    images: Images,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> FeatureMoments:
    """Moments of the features of images, `batch_size` at a time; no feature is kept.

    Args:
        extractor: For example `load_extractor("digits")`.
        images: uint8 [N, C, H, W] as the extractor expects them, or such tensors one after the
            other; N may be 0.
        batch_size: Bounds the memory; moves the result by rounding only.
        progress: Called with the number of images done.

    Raises:
        InputError: batch_size below 1, or whatever the extractor refuses.
    """
    moments = FeatureMoments.empty(extractor.dimension, extractor=extractor.identity)
    for batch in _batches(images, batch_size):
        moments = moments.update(_features(extractor, batch))
        if progress is not None:
            progress(moments.count)
    return moments


def extract_features(
    extractor: FeatureExtractor,
    images: Images,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Tensor:
    """Features float32 [N, D] of images, in memory: 8 kB an image for Inception.

    Args:
        extractor: As for `feature_moments`.
        images: Likewise.
        batch_size: Bounds the memory of the work; moves the result by rounding only.
        progress: Called with the number of images done.

    Raises:
        InputError: batch_size below 1, or whatever the extractor refuses.
    """
    rows, done = [torch.empty(0, extractor.dimension)], 0
    for batch in _batches(images, batch_size):
        rows.append(_features(extractor, batch))
        done += len(batch)
        if progress is not None:
            progress(done)
    return torch.cat(rows)


def save_features(
    extractor: FeatureExtractor,
    images: Images,
    path: Path | str,
    *,
    count: int | None = None,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Tensor:
    """Features float32 [N, D] of images as a map of the file `path`, made now or made before.

    While it grows the file is called PATH.part; PATH.json beside it says whose features it holds,
    of how many images, and the SHA-256 of those. Called again after an interruption, the images
    that were done are read and compared but not extracted; called again after the end, none is.
    Resumed at the same batch size, the file is that of an uninterrupted run to the bit. The map
    is private: a write to it does not reach the disk.

    Args:
        extractor: As for `feature_moments`.
        images: Likewise; an iterable must start from the first image at every call.
        path: A name that ends in .npy.
        count: How many images an iterable holds; a tensor knows.
        batch_size: Bounds the memory of the work; moves the result by rounding only.
        progress: Called with the number of images done.

    Raises:
        InputError: Files of other images or of another extractor under this name, more or fewer
            images than `count`, no folder to write to, or whatever the extractor refuses.
    """
    path = Path(path)
    if isinstance(images, Tensor):
        count = len(images)
    if path.suffix != ".npy" or count is None or count < 0:
        raise InputError(
            f"features are saved to a file that ends in .npy, for a known number of images; got"
            f" {path.name!r} and count {count}"
        )
    store = _Store(path, extractor=extractor, count=count)
    try:
        store.open()
        digest, seen = hashlib.sha256(), 0
        for batch in _batches(images, batch_size, cut=store.done):
            seen += len(batch)
            if seen > count:
                raise InputError(f"there are more images than the {count} that were announced")
            digest.update(_content(batch))
            if seen <= store.done:
                if seen == store.done and digest.hexdigest() != store.digest:
                    raise store.conflict("of other images")
                continue
            store.add(_features(extractor, batch), digest=digest.hexdigest())
            if progress is not None:
                progress(store.done)
        if seen < count:
            raise InputError(f"there are {seen} images, fewer than the {count} that were announced")
        return store.finish()
    except OSError as error:
        raise InputError(f"cannot keep features in {path}: {error}") from error
    finally:
        store.save()


class _Store:
    """The growing file of `save_features`, and its record."""

    def __init__(self, path: Path, *, extractor: FeatureExtractor, count: int) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.record = path.with_name(path.name + ".json")
        self.facts = {"extractor": asdict(extractor.identity), "count": count}
        self.shape = (count, extractor.dimension)
        self.done, self.digest = 0, hashlib.sha256().hexdigest()
        self._rows: Any = None
        self._saved_at = time.monotonic()

    def open(self) -> None:
        """Find what an earlier call left, or make a new file."""
        if self.record.is_file():
            try:
                known = json.loads(self.record.read_text(encoding="utf-8"))
                facts = {name: known[name] for name in self.facts}
                done, digest = int(known["done"]), str(known["images"])
            except (LookupError, TypeError, ValueError) as error:
                raise self.conflict(f"with a record that cannot be read ({error!r})") from error
            if facts != self.facts:
                raise self.conflict(f"of {facts} where these are of {self.facts}")
            self._rows = self._read(self.path if self.path.is_file() else self.part)
            self.done, self.digest = done, digest
        elif self.path.exists():
            raise self.conflict("without a record")
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = np.lib.format.open_memmap(
                self.part, mode="w+", dtype=np.float32, shape=self.shape
            )

    def add(self, features: Tensor, *, digest: str) -> None:
        """Append rows; now and then, and at the end, make them last."""
        self._rows[self.done : self.done + len(features)] = features.numpy()
        self.done += len(features)
        self.digest = digest
        if time.monotonic() - self._saved_at > _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Rows first, then the record that vouches for them."""
        if self._rows is None or self.path.exists():
            return
        self._rows.flush()
        record = {**self.facts, "done": self.done, "images": self.digest}
        write_text(self.record, json.dumps(record, indent=2) + "\n")
        self._saved_at = time.monotonic()

    def finish(self) -> Tensor:
        """Give the file its name; the map of it."""
        self.save()
        self._rows = None
        if not self.path.exists():
            self.part.replace(self.path)
        return torch.from_numpy(np.load(self.path, mmap_mode="c", allow_pickle=False))

    def conflict(self, what: str) -> InputError:
        """The error for files that are there and are not ours."""
        return InputError(
            f"{self.path} or its .part file holds features {what}; name another file, or delete"
            f" it together with {self.record.name}"
        )

    def _read(self, path: Path) -> Any:
        try:  # read-only first: NumPy would lengthen a file that is cut off to write to it
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self.conflict(f"that cannot be read ({error})") from error
        if rows.shape != self.shape or rows.dtype != np.float32:
            raise self.conflict(f"{rows.dtype} of shape {rows.shape}, not float32 of {self.shape}")
        return rows if path == self.path else np.load(path, mmap_mode="r+", allow_pickle=False)


def _features(extractor: FeatureExtractor, batch: Tensor) -> Tensor:
    features = extractor(batch)
    expected = (len(batch), extractor.dimension)
    if tuple(features.shape) != expected:
        raise InputError(
            f"the extractor {extractor.identity} returned shape {tuple(features.shape)} for"
            f" {len(batch)} images; expected {expected}"
        )
    return features.detach().cpu().float()


def _content(batch: Tensor) -> bytes:
    """Shape and pixels of each image, so that the cut into batches does not matter."""
    header = f"{batch.dtype} {tuple(batch.shape[1:])};".encode()
    return b"".join(header + image.tobytes() for image in batch.cpu().contiguous().numpy())


def _batches(images: Images, batch_size: int, *, cut: int = 0) -> Iterator[Tensor]:
    """Images in batches of `batch_size`, the last one shorter; none lies across image `cut`."""
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected at least 1")
    waiting: list[Tensor] = []
    wanted = min(batch_size, cut) or batch_size
    given = 0
    shape: torch.Size | None = None
    for part in (images,) if isinstance(images, Tensor) else images:
        shape = part.shape[1:] if shape is None else shape
        if part.shape[1:] != shape:
            raise InputError(
                f"images of mixed sizes: {list(shape)}, then {list(part.shape[1:])}; bring them to"
                " one size first, as the data set folder:PATH does"
            )
        while len(part):
            have = sum(map(len, waiting))
            waiting.append(part[: wanted - have])
            part = part[wanted - have :]
            if sum(map(len, waiting)) < wanted:
                break
            yield torch.cat(waiting) if len(waiting) > 1 else waiting[0]
            given += wanted
            waiting, wanted = [], batch_size if given >= cut else min(batch_size, cut - given)
    if waiting:
        yield torch.cat(waiting)
