"""Much work, by one process or many: numbered parts of it, each a file that is whole or absent.

What a part holds follows from its number and not from who makes it: pictures are batches of
`Model.draw`, features those of batches of images, bit for bit on one machine. What was killed goes
on with the parts that are there.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from cascore.data.images import array_digest
from cascore.errors import InputError
from cascore.experiment.chain import require_room
from cascore.experiment.settings import Sampler
from cascore.files import remove_folder, remove_leftovers, replaced_file
from cascore.foreign import parsing
from cascore.metrics.features import BATCH, FeatureExtractor, extract_features
from cascore.model.loading import Model
from cascore.pixels import to_uint8
from cascore.plain import json_text
from cascore.progress import Display
from cascore.training import ALONE, Workers
from cascore.training.checkpoint import write_tensors

_SEEN = 4 * BATCH  # images of a part: whole batches, and to write it costs a hundredth of seeing

Part = Mapping[str, Tensor]
"""What a file of a part holds, by name."""


class ShareDone(Exception):  # noqa: N818
    """Raised in all processes but the first, which goes on alone, once their shares are done."""


def first_goes_on(workers: Workers) -> None:
    """End the other processes' part in a work that all have shared (ShareDone)."""
    if workers.rank > 0:
        raise ShareDone


# --- parts of any work ----------------------------------------------------------------------------


@contextmanager
def parts_beside(place: Path) -> Iterator[Path]:
    """The hidden folder of the parts of what is to be made at `place`; removed once that is there.

    After an error or a kill it stays for the next who makes the same; the caller holds the lock.
    """
    folder = _parts(place)
    yield folder
    discard_parts(place)


def discard_parts(place: Path) -> None:
    """Remove the parts of what is there already, and what a kill left of such a removal."""
    folder = _parts(place)
    if folder.is_dir():
        remove_folder(folder)
    remove_leftovers(place.parent, of=folder.name)


def _parts(place: Path) -> Path:
    return place.with_name(f".{place.name}.parts")


def opened_parts(parts: Path, kind: str, facts: object, *, workers: Workers = ALONE) -> Path:
    """The folder in `parts` for a kind of part that these facts decide; all processes ask together.

    Those of the same kind and of other facts, and what is unfinished, are removed.
    """
    name = hashlib.sha256(json_text(facts).encode()).hexdigest()[:32]
    folder = parts / f"{kind}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    if workers.rank == 0:
        remove_leftovers(parts.parent, of=parts.name)
        remove_leftovers(parts)
        for other in parts.glob(f"{kind}-*"):
            if other != folder:
                remove_folder(other)
        remove_leftovers(folder)
    workers.barrier()
    return folder


def kept_part(path: Path, make: Callable[[], Part]) -> Part:
    """The part of that path, made where it is absent or damaged."""
    try:
        return read_part(path)
    except InputError:
        part = make()
        _write(part, path)
        return part


def read_part(path: Path) -> Part:
    """A part as it was written; one that is absent or damaged raises InputError."""
    with parsing(path, "a part of shared work", "do it again"), safe_open(path, "pt") as file:
        part = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest = (file.metadata() or {}).get("digest")
    if _digest(part) != digest:
        raise InputError(f"{path} is not what was written: run the same command again")
    return part


def _write(part: Part, path: Path) -> None:
    with replaced_file(path) as temporary:
        write_tensors(part, temporary, target=path, metadata={"digest": _digest(part)})


def _digest(part: Part) -> str:
    return array_digest(*(part[name].numpy() for name in sorted(part)))


def _shared(
    sizes: Sequence[int],
    folder: Path,
    make: Callable[[int, Callable[[int], None]], Part],
    *,
    title: str,
    workers: Workers,
    display: Display | None,
) -> list[Path]:
    """Make parts of these sizes, process r of n those numbered r, r + n, ...; the files of all.

    `make` is given a part's number, and what to tell how much of it is done.
    """
    paths = [folder / f"part-{number:08d}.safetensors" for number in range(len(sizes))]
    share = range(workers.rank, len(sizes), workers.count)
    nobody = nullcontext(lambda more: None)
    with display.counting(title, sum(sizes[n] for n in share)) if display else nobody as advance:
        for number in share:
            told = 0

            def tell(more: int) -> None:
                nonlocal told
                told += more
                advance(more)

            kept_part(paths[number], partial(make, number, tell))
            advance(sizes[number] - told)
    workers.barrier()
    return paths


# --- pictures -------------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """Pictures of a model, uint8 [N, C, H, W]; or points, float32 [N, D].

    Attributes:
        raw, denoised: The two outcomes of the same chains.
        nfe: Network evaluations of each.
    """

    raw: Tensor
    denoised: Tensor
    nfe: int


@dataclass(frozen=True)
class DrawnParts:
    """Pictures of a model in files, `batch_size` in each and fewer in the last.

    Attributes:
        folder: Of the files; its name follows from what decides the pictures.
        paths: The files in order.
        count: How many pictures there are.
    """

    folder: Path
    paths: Sequence[Path]
    count: int
    batch_size: int

    @property
    def nfe(self) -> int:
        """Network evaluations of each."""
        return int(read_part(self.paths[0])["nfe"])

    def rows(self, rows: slice) -> Drawn:
        """Pictures that follow one another; a file that cannot be read raises InputError."""
        start, stop, _ = rows.indices(self.count)
        first, last = start // self.batch_size, -(-stop // self.batch_size)
        parts = [read_part(path) for path in self.paths[first:last]]
        within = slice(start - first * self.batch_size, stop - first * self.batch_size)
        raw, denoised = (
            torch.cat([part[form] for part in parts])[within] for form in ("raw", "denoised")
        )
        return Drawn(raw, denoised, int(parts[0]["nfe"]))


def draw_widely(
    model: Model,
    seeds: range,
    sampler: Sampler,
    parts: Path,
    *,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    batch_size: int = 256,
    workers: Workers = ALONE,
    display: Display | None = None,
) -> DrawnParts:
    """Draw what `Model.draw` draws, this process its share.

    Args:
        seeds: Of the pictures; process r of n draws batches r, r + n, ... of them.
        parts: Folder for the batches, of `parts_beside`; the file system is one for all processes.
        labels: The class of each picture, int64 [len(seeds)].
        workers: The processes that draw.
        display: Shows the progress of this process's share.

    Raises:
        InputError: As `Model.draw`.
    """
    require_room(len(seeds), model.shape)  # `Model.draw` asks for a part of them alone
    chain = model.chain(sampler)
    facts = {
        "weights": model.digest,
        "chain": asdict(chain),
        "mean": model.data_mean.flatten().tolist(),
        "seeds": [seeds.start, seeds.stop],
        "labels": None if labels is None else labels.tolist(),
        "guidance": guidance,
        "batch_size": batch_size,
        "device": model.device.type,
        "precision": model.precision,
        "compiled": model.compiled,
    }
    folder = opened_parts(parts, "pictures", facts, workers=workers)
    rows = [slice(first, first + batch_size) for first in range(0, len(seeds), batch_size)]
    images = len(model.shape) == 3

    def draw(number: int, tell: Callable[[int], None]) -> Part:
        of = rows[number]
        samples = model.draw(
            seeds[of],
            sampler,
            labels=None if labels is None else labels[of],
            guidance=guidance,
            batch_size=batch_size,
            callback=lambda step, sigma, x, h: tell(len(x)),
        )
        raw, denoised = (
            to_uint8(values) if images else values for values in (samples.raw, samples.denoised)
        )
        return {"raw": raw, "denoised": denoised, "nfe": torch.tensor(samples.nfe)}

    paths = _shared(
        [chain.calls * len(seeds[of]) for of in rows],
        folder,
        draw,
        title="sampling",
        workers=workers,
        display=display,
    )
    return DrawnParts(folder, paths, len(seeds), batch_size)


# --- features -------------------------------------------------------------------------------------


def see_widely(
    extractor: FeatureExtractor,
    images: Callable[[slice], Mapping[Any, Tensor]],
    parts: Path,
    *,
    kind: str,
    count: int,
    digest: str,
    device: torch.device,
    workers: Workers = ALONE,
    display: Display | None = None,
) -> list[Path]:
    """See images, this process its share; the files of their features in order, by `read_part`.

    Args:
        extractor: What sees them; the features are those of `extract_features`.
        images: Of some rows uint8 [n, C, H, W], by the names that their features get.
        parts: Folder for the features, of `parts_beside`.
        kind: A name for these images within the folder.
        count: How many images there are.
        digest: What decides their pixels.
        device: Where they are seen.
        workers: The processes that see.
        display: Shows the progress of this process's share.
    """
    facts = [asdict(extractor.identity), digest, count, device.type]
    folder = opened_parts(parts, kind, facts, workers=workers)
    rows = [slice(first, min(first + _SEEN, count)) for first in range(0, count, _SEEN)]

    def see(number: int, tell: Callable[[int], None]) -> Part:
        seen = images(rows[number])
        return {name: extract_features(extractor, pixels) for name, pixels in seen.items()}

    return _shared(
        [of.stop - of.start for of in rows],
        folder,
        see,
        title="features",
        workers=workers,
        display=display,
    )
