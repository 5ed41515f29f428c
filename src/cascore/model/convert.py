"""Model folders out of published checkpoints, and out of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.outputs import require_new
from cascore.experiment.presets import PUBLISHED, SAMPLERS
from cascore.experiment.run_folder import CHECKPOINTS, read_data, read_experiment
from cascore.experiment.settings import Experiment, Sampler, Schedule
from cascore.files import file_digest
from cascore.measurement import Measurement
from cascore.model.checkpoint_file import CheckpointFile, read_checkpoint_file
from cascore.model.folder import network_of, write_model_folder
from cascore.model.record import ModelRecord, Weights
from cascore.networks.published import from_published
from cascore.schedule import geometric_sigmas
from cascore.training.checkpoint import Checkpoint, checkpoint_record, checkpoints, read_tensors
from cascore.training.state import require_same_shapes

__all__ = ["Conversion", "convert_checkpoint", "convert_run", "published_pixels"]

# Levels in a checkpoint are float32: rounded to 2^-24, and computed there as exp of a line.
_ROUNDING = 1e-5


class Conversion(NamedTuple):
    """A model folder that was written, its record, and what a person should know of it."""

    folder: Path
    record: ModelRecord
    notices: tuple[str, ...]


def published_pixels(data: str) -> tuple[float, float]:
    """The range of the pixels that a published network of this data set was trained on."""
    # The authors' loader of Stacked-MNIST normalizes to [-1, 1], unlike all of their others.
    return (-1.0, 1.0) if data == "stacked-mnist" else (0.0, 1.0)


def convert_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    experiment: Experiment,
    shape: tuple[int, int, int],
    pixel_range: tuple[float, float],
    weights: Weights,
) -> Conversion:
    """A model folder from a `.pth` file of either repository.

    Args:
        checkpoint: the file.
        out: the new folder.
        experiment: what the file is of; its noise levels in the units of `pixel_range`.
        shape: of an image.
        pixel_range: of the pixels that the network was trained on.
        weights: which of the file's weights to take.

    Returns:
        What was written; its experiment has noise levels for pixels in [0, 1].

    Raises:
        InputError: a file that cannot or must not be read, or is of another network.
    """
    require_new(out)
    file = read_checkpoint_file(checkpoint)
    schedule, notices = _levels(file.score.get("sigmas"), experiment.schedule, checkpoint)
    experiment = replace(experiment, schedule=schedule)
    samplers = _samplers(experiment, shape, pixel_range)
    low, high = pixel_range
    first, last = schedule.first / (high - low), schedule.last / (high - low)
    experiment = replace(experiment, schedule=replace(schedule, first=first, last=last))
    network = network_of(build.build_denoiser(experiment.network, shape, seed=0))
    _require_divisible(network, shape)
    state = _state(network, _chosen(file, weights, checkpoint), checkpoint)
    opponent = None
    if file.discriminator is not None:
        module = build.build_discriminator(experiment.adversarial, shape, seed=0)
        opponent = _state(module, file.discriminator, checkpoint)
    record = ModelRecord(
        shape=shape,
        pixel_range=pixel_range,
        experiment=experiment,
        step=file.step,
        weights=weights,
        digest="",  # of the file that is written now
        data={"name": experiment.data.name},
        source={
            "kind": _kind(file, experiment),
            "name": checkpoint.name,
            "sha256": file_digest(checkpoint),
        },
        samplers=samplers,
        discriminator=None,
        software={},
    )
    written = write_model_folder(out, record, weights=state, discriminator=opponent)
    return Conversion(out, written, tuple(notices))


def convert_run(
    run: Path, out: Path, *, weights: Weights, measured: Sequence[Measurement] = ()
) -> Conversion:
    """A model folder from the newest checkpoint of a run of ours.

    Args:
        run: its folder.
        out: the new folder.
        weights: which of the checkpoint's to take.
        measured: records of evaluations of this checkpoint, for the card.

    Raises:
        InputError: no run, no checkpoint yet, one that is damaged, or records of other weights.
    """
    require_new(out)
    experiment, data = read_experiment(run), read_data(run)
    saved = checkpoints(run / CHECKPOINTS)
    if not saved:
        raise InputError(f"{run} has no checkpoint yet: train it first")
    newest, shape = saved[-1], tuple(data["shape"])
    network = network_of(build.build_denoiser(experiment.network, shape, seed=0))
    prefix = {"ema": "ema", "raw": "denoiser"}[weights]
    state = _own(network, newest.tensors, f"{prefix}.network.")
    opponent = None
    if experiment.train.objective == "hybrid":
        module = build.build_discriminator(experiment.adversarial, shape, seed=0)
        opponent = _own(module, newest.tensors, "discriminator.")
    pixel_range = (0.0, 1.0) if len(shape) == 3 else None
    record = ModelRecord(
        shape=shape,
        pixel_range=pixel_range,
        experiment=replace(
            experiment,
            data=replace(experiment.data, name=_without_path(experiment.data.name), root=None),
        ),
        step=newest.step,
        weights=weights,
        digest="",  # of the file that is written now
        data=_without_paths(data),
        source={
            "kind": "run of cascore",
            "name": f"{newest.folder.name}/{newest.tensors.name}",
            "sha256": file_digest(newest.tensors),
            "training": _training(newest),
        },
        samplers=_samplers(experiment, shape, pixel_range),
        discriminator=None,
        software={},
    )
    written = write_model_folder(
        out, record, weights=state, discriminator=opponent, measured=measured
    )
    return Conversion(out, written, ())


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the checkpoint says of the machine that trained, and for how long it did."""
    found = checkpoint_record(checkpoint)
    names = ("seconds", "processes", "threads", "machine", "torch")
    return {name: found[name] for name in names if found.get(name) is not None}


def _without_path(name: str) -> str:
    """A path of the machine that trained means nothing where the model goes, and may be private."""
    folder = name.removeprefix("folder:")
    return name if folder == name else f"folder:{Path(folder).name}"


def _without_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    name = str(data["name"])
    kept = {**data, "name": _without_path(name)}
    if kept["name"] != name or name.startswith("folder:"):
        kept["record"] = {**data.get("record", {}), "source": "a folder of images"}
    return kept


def _own(module: nn.Module, path: Path, prefix: str) -> dict[str, Tensor]:
    tensors = read_tensors(path, prefix=prefix)
    require_same_shapes(module.state_dict(), tensors, what=str(path))
    return tensors


def _kind(file: CheckpointFile, experiment: Experiment) -> str:
    # Only Song and Ermon's networks carry their noise levels.
    song_ermon = "sigmas" in file.score and experiment.network.kind == "ncsnv2"
    name = "ermongroup/ncsnv2" if song_ermon else "AlexiaJM/AdversarialConsistentScoreMatching"
    return f"checkpoint of {name}"


def _chosen(file: CheckpointFile, weights: Weights, path: Path) -> Mapping[str, Tensor]:
    if weights == "raw":
        return file.score
    if file.ema is None:
        raise InputError(
            f"{path} holds no average of the weights: take those of the last step with"
            " --weights raw"
        )
    return file.ema


def _state(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under our names; all of them there, of our shapes, and finite."""
    try:
        state = from_published(module, tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        shown = "\n  ".join(broken)
        raise InputError(
            f"{path}: {len(broken)} tensors hold NaN or infinity, take an earlier checkpoint:\n"
            f"  {shown}"
        )
    return state


def _require_divisible(network: nn.Module, shape: tuple[int, int, int]) -> None:
    divisor = int(getattr(network, "divisor", 1))
    if shape[1] % divisor or shape[2] % divisor:
        raise InputError(
            f"images of {shape[1]}×{shape[2]} do not fit this network, whose sizes are multiples"
            f" of {divisor}: give the size it was trained on with --size"
        )


def _levels(found: Tensor | None, expected: Schedule, path: Path) -> tuple[Schedule, list[str]]:
    """The levels that the checkpoint itself holds, if it does; they win over those expected."""
    if found is None:
        return expected, []
    sigmas = found.double().flatten()
    if not len(sigmas) or not bool((torch.isfinite(sigmas) & (sigmas > 0)).all()):
        raise InputError(f"{path}: its sigmas are not positive numbers")
    first, last = (float(f"{float(end):.7g}") for end in (sigmas[0], sigmas[-1]))
    if len(sigmas) == 1:
        last = first
    elif first <= last or not _close(sigmas, geometric_sigmas(first, last, len(sigmas))):
        raise InputError(
            f"{path}: its {len(sigmas)} sigmas, from {first:g} to {last:g}, are not a decreasing"
            " geometric sequence; cascore knows only geometric training levels (Eq. 2)"
        )
    own = Schedule(first=first, last=last, levels=len(sigmas))
    table = geometric_sigmas(expected.first, expected.last, expected.levels)
    if len(table) == len(sigmas) and _close(sigmas, table):
        return expected, []
    told = (
        f"the checkpoint's own noise levels are used, {_words(own)}, not {_words(expected)} as"
        " asked for or published"
    )
    return own, [told]


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(((a / b - 1).abs() < _ROUNDING).all())


def _words(schedule: Schedule) -> str:
    return f"{schedule.levels} from {schedule.first:g} to {schedule.last:g}"


def _samplers(
    experiment: Experiment, shape: tuple[int, ...], pixel_range: tuple[float, float] | None
) -> dict[str, Sampler]:
    """The paper's settings for this model, if it is the paper's: same data, network and levels."""
    name = experiment.name
    if name not in PUBLISHED or PUBLISHED[name][1] != shape:
        return {}
    table, _ = PUBLISHED[name]
    for part in ("data", "network", "schedule"):
        theirs, ours = getattr(table, part), getattr(experiment, part)
        if part == "data":
            theirs, ours = theirs.name, ours.name
        if theirs != ours:
            return {}
    low, high = pixel_range or (0.0, 1.0)
    prefix = name.removesuffix("-adversarial")
    found = {}
    for each, sampler in SAMPLERS.items():
        if each.startswith((f"{prefix}-cas-", f"{prefix}-als-")):
            # epsilon is in squared units of the pixels that the network was trained on.
            epsilon = sampler.epsilon
            scaled = None if epsilon is None else epsilon / (high - low) ** 2
            found[each] = replace(sampler, epsilon=scaled)
    return found
