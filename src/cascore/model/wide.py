"""Many pictures, by one process or many: each draws parts of them into files, whole or absent.

A part is a batch, so pictures are those of `Model.draw`, bit for bit on one machine, whoever draws
which. What was killed goes on with the parts that are there.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from cascore.data.images import array_digest
from cascore.errors import InputError
from cascore.experiment.chain import require_room
from cascore.experiment.settings import Sampler
from cascore.files import remove_folder, remove_leftovers, replaced_file
from cascore.foreign import parsing
from cascore.model.loading import Model
from cascore.pixels import to_uint8
from cascore.plain import json_text
from cascore.progress import Display
from cascore.training import ALONE, Workers
from cascore.training.checkpoint import write_tensors


class Drawn(NamedTuple):
    """Pictures of a model, uint8 [N, C, H, W]; or points, float32 [N, D].

    Attributes:
        raw, denoised: The two outcomes of the same chains.
        nfe: Network evaluations of each.
    """

    raw: Tensor
    denoised: Tensor
    nfe: int


class ShareDrawn(Exception):  # noqa: N818
    """Raised in all processes but the first, which goes on alone, once their parts are drawn."""


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
) -> Drawn:
    """Draw what `Model.draw` draws, this process its share; the first process gets all.

    Args:
        seeds: Of the pictures; process r of n draws batches r, r + n, ... of them.
        parts: Folder for the batches, of `parts_beside`; the file system is one for all processes.
        labels: The class of each picture, int64 [len(seeds)].
        workers: The processes that draw.
        display: Shows the progress of this process's share.

    Raises:
        InputError: As `Model.draw`, or a part that cannot be read when all are drawn.
        ShareDrawn: This is not the first process.
    """
    require_room(len(seeds), model.shape)  # `Model.draw` asks for a part of them alone
    folder = parts / _identity(model, seeds, sampler, labels, guidance, batch_size)
    folder.mkdir(parents=True, exist_ok=True)
    if workers.rank == 0:
        remove_leftovers(parts.parent, of=parts.name)
        for other in parts.iterdir():  # of other settings, or unfinished
            if other != folder:
                remove_folder(other)
        remove_leftovers(folder)
    workers.barrier()
    firsts = range(0, len(seeds), batch_size)
    paths = [folder / f"part-{number:08d}.safetensors" for number in range(len(firsts))]
    share = range(workers.rank, len(firsts), workers.count)
    rows = [slice(first, first + batch_size) for first in firsts]
    calls = model.chain(sampler).calls
    total = calls * sum(len(seeds[rows[n]]) for n in share)
    nobody = nullcontext(lambda calls: None)
    with display.counting("sampling", total) if display else nobody as advance:
        for number in share:
            of = rows[number]
            with suppress(InputError):  # absent, or damaged
                _read(paths[number])
                advance(calls * len(seeds[of]))
                continue
            samples = model.draw(
                seeds[of],
                sampler,
                labels=None if labels is None else labels[of],
                guidance=guidance,
                batch_size=batch_size,
                callback=lambda step, sigma, x, h: advance(len(x)),
            )
            images = len(model.shape) == 3
            raw, denoised = (
                to_uint8(values) if images else values for values in (samples.raw, samples.denoised)
            )
            _write(Drawn(raw, denoised, samples.nfe), paths[number])
    workers.barrier()
    if workers.rank > 0:
        raise ShareDrawn
    drawn = [_read(path) for path in paths]
    return Drawn(
        torch.cat([part.raw for part in drawn]),
        torch.cat([part.denoised for part in drawn]),
        drawn[0].nfe,
    )


def _identity(
    model: Model,
    seeds: range,
    sampler: Sampler,
    labels: Tensor | None,
    guidance: float,
    batch_size: int,
) -> str:
    """What decides the pictures, as a name."""
    told = None if labels is None else labels.tolist()
    chain = asdict(model.chain(sampler))
    ends = [seeds.start, seeds.stop]
    text = json_text(
        [model.digest, chain, ends, told, guidance, batch_size, str(model.device.type)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write(part: Drawn, path: Path) -> None:
    facts = {"nfe": str(part.nfe), "digest": _digest(part)}
    tensors = {"raw": part.raw, "denoised": part.denoised}
    with replaced_file(path) as temporary:
        write_tensors(tensors, temporary, target=path, metadata=facts)


def _read(path: Path) -> Drawn:
    """A part as it was written; one that is absent or damaged raises InputError."""
    with parsing(path, "a part of pictures", "draw it again"), safe_open(path, "pt") as file:
        facts = file.metadata() or {}
        part = Drawn(file.get_tensor("raw"), file.get_tensor("denoised"), int(facts["nfe"]))
    if _digest(part) != facts.get("digest"):
        raise InputError(f"{path} is not what was written: run the same command again")
    return part


def _digest(part: Drawn) -> str:
    return array_digest(part.raw.numpy(), part.denoised.numpy())
