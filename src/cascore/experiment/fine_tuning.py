"""Fine-tuning: a run that begins with the weights of another model, its base, and says so."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from cascore.errors import InputError
from cascore.experiment.build import Subject, build_state
from cascore.experiment.run_folder import CHECKPOINTS, is_run
from cascore.experiment.settings import Experiment, Network
from cascore.networks.labels import LabelEmbedding
from cascore.plain import from_plain, read_json, write_json
from cascore.training import TrainState
from cascore.training.checkpoint import save_checkpoint

BASE = "base.json"
"""In the folder of a run: the record of its base."""
_SHOWN = 8  # of what does not fit


@dataclass(frozen=True, kw_only=True)
class BaseRecord:
    """Whose weights a run began with."""

    name: str
    """What the model was called: a name, a path, or an address on the hub."""
    step: int
    """Its updates."""
    digest: str
    """SHA-256 of the file of its weights."""
    unlike: tuple[str, ...] = ()
    """What does not fit, in words."""

    @property
    def words(self) -> str:
        """The base in a few words."""
        return f"{self.name} (step {self.step:,}, SHA-256 {self.digest[:16]}...)"

    @property
    def remarks(self) -> list[str]:
        """What to say of a run that begins so."""
        begins = f"begins with the weights of {self.words}"
        if not self.unlike:
            return [f"{begins}: all of them fit"]
        more = len(self.unlike) - _SHOWN
        rest = [f"and {more} more, all of them in {BASE}"] if more > 0 else []
        return [f"{begins}, where they fit:", *self.unlike[:_SHOWN], *rest]


class Base(NamedTuple):
    """A trained model whose weights another training begins with.

    `pixels` are those of its network, where they are not [0, 1].
    """

    name: str
    step: int
    digest: str
    denoiser: nn.Module
    experiment: Experiment
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    pixels: tuple[float, float] | None


class Begun(NamedTuple):
    """A state with the weights of a base, and the record of where they are from."""

    record: BaseRecord
    state: TrainState


def begin_from(base: Base, state: TrainState, subject: Subject, network: Network) -> Begun:
    """Give a new state the weights of a base, where name and shape are the same.

    A class has the vector of the base's class of that name; one that the base does not know begins
    as no class does there.

    Raises:
        InputError: data or a network of another kind than the base's, data of other channels, or
            nothing that fits.
    """
    require_channels(base, subject.shape)
    if (kind := base.experiment.network.kind) != network.kind:
        raise InputError(
            f"{base.name} is a {kind}, whose weights have no place in a {network.kind}: give"
            f" --network.kind {kind}, or another --from"
        )
    given, unlike = base.denoiser, [*_other_meanings(base, network)]
    if network.labels and base.classes:
        given = _of_classes(given, base.classes, subject.classes)
        new = [name for name in subject.classes if name not in base.classes]
        if new:
            unlike.append(
                f"begins as no class, because the other does not know it: {', '.join(new)}"
            )
    unlike += state.start_from(given)
    record = BaseRecord(name=base.name, step=base.step, digest=base.digest, unlike=tuple(unlike))
    return Begun(record, state)


def foretold(
    base: Base | None, experiment: Experiment, subject: Subject, folder: Path
) -> Sequence[str]:
    """What a run would say of its base; what `training_run` refuses is refused."""
    if is_run(folder):
        require_same_base(folder, base)
    if base is None or is_run(folder):
        return ()
    state = build_state(experiment, subject, device=torch.device("cpu"))
    return begin_from(base, state, subject, experiment.network).record.remarks


def require_channels(base: Base, shape: tuple[int, ...]) -> None:
    """Refuse a base of another kind of data, or of other channels, than of this shape."""
    if len(base.shape) != len(shape):
        kind, other = ("points", "images") if len(base.shape) == 1 else ("images", "points")
        raise InputError(f"{base.name} is a model of {kind}, and these data are {other}")
    if base.shape[0] != shape[0]:
        what, advice = "coordinates", ""
        if len(shape) == 3:
            mode = "grey" if base.shape[0] == 1 else "rgb"
            what, advice = "channels", f"; a folder's pictures get as many by --data.mode {mode}"
        raise InputError(
            f"{base.name} is a model of data with {what}: {base.shape[0]}, and these have"
            f" {shape[0]}, which no training changes{advice}"
        )


def _other_meanings(base: Base, network: Network) -> Iterator[str]:
    """What means another thing in the new network, though it has the same shape."""
    theirs = base.experiment.network
    for name, what in (
        ("conditional", "one network sees the noise level, the other does not"),
        ("preconditioned", "one network is in EDM's form, the other in the paper's"),
        ("spectral", "one network's form is made of the spectrum of its data, the other's is not"),
    ):
        if getattr(theirs, name) != getattr(network, name):
            yield f"{what}: the same weights mean another thing (--network.{name})"
    if base.pixels is not None:
        low, high = base.pixels
        yield f"the other's network sees pixels in [{low:g}, {high:g}], this one in [0, 1]"


def _of_classes(denoiser: nn.Module, theirs: Sequence[str], ours: Sequence[str]) -> nn.Module:
    """A copy of a denoiser that knows other classes: those of the same name, else as no class."""
    none = len(theirs)
    rows = [*(theirs.index(name) if name in theirs else none for name in ours), none]
    known = copy.deepcopy(denoiser)
    for module in known.modules():
        if isinstance(module, LabelEmbedding):
            module.keep_rows(rows)
    return known


def write_base(folder: Path, begun: Begun, *, processes: int) -> None:
    """Write the record of a base and the weights as step 0, which the run then goes on from."""
    write_json(folder / BASE, begun.record)
    save_checkpoint(begun.state, folder / CHECKPOINTS, processes=processes, seconds=0.0)


def read_base(folder: Path) -> BaseRecord | None:
    """Whose weights a run began with; None of its own."""
    path = folder / BASE
    return from_plain(BaseRecord, read_json(path), str(path)) if path.is_file() else None


def require_same_base(folder: Path, base: Base | None) -> None:
    """Refuse a base for a run that began with another, or with none; no base is the run's own."""
    stored = read_base(folder)
    if base is None or (stored is not None and stored.digest == base.digest):
        return
    began = "weights of its own" if stored is None else f"the weights of {stored.words}"
    raise InputError(
        f"{folder} began with {began}, not with those of {base.name} (step {base.step:,}, SHA-256"
        f" {base.digest[:16]}...): leave --from out to go on, or choose another folder with --out"
    )
