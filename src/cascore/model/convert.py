"""Model folders out of published checkpoints, and out of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.fine_tuning import read_base
from cascore.experiment.learned import read_learned
from cascore.experiment.outputs import software
from cascore.experiment.presets import PUBLISHED, SAMPLERS
from cascore.experiment.run_folder import (
    read_checkpoint,
    read_data,
    read_experiment,
    read_variances,
    write_variances,
)
from cascore.experiment.settings import Experiment, Network, Sampler, Schedule
from cascore.files import file_digest, replaced_folder, require_new, write_text
from cascore.hub import is_on_hub
from cascore.locks import new_folder
from cascore.measurement import Measurement
from cascore.model.advice import ADVICE, Choice, read_choices, write_choice
from cascore.model.card import model_card, scores_of
from cascore.model.checkpoint_file import read_checkpoint_file
from cascore.model.folder import (
    DISCRIMINATOR,
    MODEL,
    WEIGHTS,
    ModelRecord,
    Weights,
    fitting_tensors,
    network_of,
)
from cascore.model.post_hoc import post_hoc_average
from cascore.networks.published import from_published
from cascore.networks.recognised import recognised
from cascore.plain import write_json
from cascore.preprocessing import is_folder
from cascore.schedule import geometric_sigmas
from cascore.training.checkpoint import unverified, verified_record, write_tensors
from cascore.training.state import require_same_shapes

# Levels in a checkpoint are float32: rounded to 2^-24, and computed there as exp of a line.
_ROUNDING = 1e-5
_WRITTEN_LATER: Mapping[str, Any] = {"digest": "", "discriminator": None, "software": {}}
"""What `write_model_folder` fills in."""
_OF_TRAINING = ("seconds", "processes", "threads", "machine", "torch")
"""What a card tells of a checkpoint's record."""


class Conversion(NamedTuple):
    """The record of a model folder that was written, and what a person should know of it."""

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

    The noise levels of `experiment` are in the units of `pixel_range`, the pixels that the network
    was trained on; those of the record that is written are for pixels in [0, 1].

    Raises:
        InputError: A file that cannot or must not be read, or is of another network.
    """
    require_new(out)
    file = read_checkpoint_file(checkpoint)
    chosen = file.score if weights == "raw" else file.ema
    if chosen is None:
        raise InputError(
            f"{checkpoint} holds no average of the weights: take those of the last step with"
            " --weights raw"
        )
    network_settings, found = _network(chosen, experiment, checkpoint)
    schedule, notices = _levels(file.score.get("sigmas"), experiment.schedule, checkpoint)
    notices = (*found, *notices)
    experiment = replace(experiment, network=network_settings, schedule=schedule)
    samplers = _samplers(experiment, shape, pixel_range)
    low, high = pixel_range
    first, last = schedule.first / (high - low), schedule.last / (high - low)
    experiment = replace(experiment, schedule=replace(schedule, first=first, last=last))
    subject = build.Subject(shape=shape)
    network = network_of(build.build_denoiser(experiment.network, subject, seed=0))
    divisor = int(getattr(network, "divisor", 1))
    if shape[1] % divisor or shape[2] % divisor:
        raise InputError(
            f"images of {shape[1]}×{shape[2]} do not fit this network, whose sizes are multiples"
            f" of {divisor}: give the size it was trained on with --size"
        )
    state = _published_state(network, chosen, checkpoint)
    opponent = None
    if file.discriminator is not None:
        module = build.build_discriminator(experiment.adversarial, shape, seed=0)
        opponent = _published_state(module, file.discriminator, checkpoint)
    # Only Song and Ermon's networks carry their noise levels.
    song_ermon = "sigmas" in file.score and experiment.network.kind == "ncsnv2"
    origin = "ermongroup/ncsnv2" if song_ermon else "AlexiaJM/AdversarialConsistentScoreMatching"
    record = ModelRecord(
        shape=shape,
        pixel_range=pixel_range,
        experiment=experiment,
        step=file.step,
        weights=weights,
        data={"name": experiment.data.name},
        source={
            "kind": f"checkpoint of {origin}",
            "name": checkpoint.name,
            "sha256": file_digest(checkpoint),
        },
        samplers=samplers,
        **_WRITTEN_LATER,
    )
    written = write_model_folder(out, record, weights=state, discriminator=opponent)
    return Conversion(written, notices)


def convert_run(
    run: Path,
    out: Path,
    *,
    weights: Weights,
    half: bool = False,
    ema_length: float | None = None,
    checkpoint: str = "auto",
    measured: Sequence[Measurement] = (),
) -> Conversion:
    """A model folder from a checkpoint of a run, with the evaluations of it in the card.

    The checkpoint is one that `load` takes. `half` rounds the weights to float16, half the bytes;
    they are float32 again when loaded. `ema_length` makes the average anew (`post_hoc_average`).
    What was tuned goes with the very weights that it was tuned for.

    Raises:
        InputError: No run, no checkpoint yet, one that is damaged, records of other weights, or a
            length of the average that cannot be made, or beside the raw weights.
    """
    require_new(out)
    require_of_average(weights, ema_length)
    experiment, data = read_experiment(run), read_data(run)
    notices: list[str] = []
    newest, made, selection = read_checkpoint(run, checkpoint, verified_record, notices.append)
    if made.digest is None:
        notices.append(unverified(newest))
    shape = tuple(data["shape"])
    subject = build.Subject.recorded(shape, data)
    network = network_of(build.build_denoiser(experiment.network, subject, seed=0))
    prefix = {"ema": "ema", "raw": "denoiser"}[weights]
    if ema_length is None:
        state = fitting_tensors(network, newest.tensors, prefix=f"{prefix}.network.")
    else:
        averaged = post_hoc_average(run, newest, ema_length, notify=notices.append)
        state = {
            name.removeprefix("network."): tensor
            for name, tensor in averaged.items()
            if name.startswith("network.")
        }
        require_same_shapes(network.state_dict(), state, what=f"the average of {run}")
    stored = torch.float16 if half else torch.float32
    state = {name: tensor.to(stored) for name, tensor in state.items()}
    opponent = None
    if experiment.train.objective == "hybrid":
        module = build.build_discriminator(experiment.adversarial, shape, seed=0)
        opponent = fitting_tensors(module, newest.tensors, prefix="discriminator.")
    pixel_range = (0.0, 1.0) if len(shape) == 3 else None
    source = made.digest or file_digest(newest.tensors)
    # The weights that are loaded from the run, to the bit.
    same = weights == "ema" and not half and ema_length is None
    choices = read_choices(run / ADVICE) if same else {}
    training, learned = {name: getattr(made, name) for name in _OF_TRAINING}, read_learned(run)
    base = read_base(run)
    settings, known = without_paths(experiment, data)
    record = ModelRecord(
        shape=shape,
        pixel_range=pixel_range,
        experiment=settings,
        step=newest.step,
        weights=weights,
        data=known,
        source={
            "kind": "run of cascore",
            "name": f"{newest.folder.name}/{newest.tensors.name}",
            "sha256": source,
            "stored": str(stored).removeprefix("torch."),
            "training": {name: value for name, value in training.items() if value is not None},
            **({} if learned is None or not learned.words else {"warning": learned.words}),
            **({} if ema_length is None else {"ema_length": ema_length}),
            **({} if base is None else {"base": asdict(replace(base, name=_bare_name(base.name)))}),
        },
        samplers=_samplers(experiment, shape, pixel_range),
        selection=selection,
        **_WRITTEN_LATER,
    )
    written = write_model_folder(
        out,
        record,
        weights=state,
        discriminator=opponent,
        variances=read_variances(run),
        measured=measured,
        tuned={calls: x for calls, x in choices.items() if x.weights == source},
    )
    return Conversion(written, tuple(notices))


def require_of_average(weights: Weights, ema_length: float | str | None) -> None:
    """Raise InputError for a length of the average where weights without an average are wanted."""
    if weights == "raw" and ema_length is not None:
        raise InputError(
            f"--weights raw are those of the last step, and --ema-length {ema_length} is of an"
            " average: leave one of them out"
        )


def write_model_folder(
    folder: Path,
    record: ModelRecord,
    *,
    weights: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None,
    variances: Tensor | None = None,
    measured: Sequence[Measurement] = (),
    tuned: Mapping[int, Choice] | None = None,
) -> ModelRecord:
    """Write a model folder, whole or not at all, of the weights of the bare network.

    The choices that were tuned for these weights are by number of calls; they get their new digest.

    Returns:
        The record as it was written, its digests and versions filled in.

    Raises:
        InputError: Something is there already, or evaluations of other weights.
    """
    with new_folder(folder, "converting"), replaced_folder(folder) as temporary:
        digests = {}
        for name, tensors in ((WEIGHTS, weights), (DISCRIMINATOR, discriminator)):
            if tensors is not None:
                write_tensors(tensors, temporary / name, target=folder)
                digests[name] = file_digest(temporary / name)
        record = replace(
            record,
            digest=digests[WEIGHTS],
            discriminator=digests.get(DISCRIMINATOR),
            software=software(),
        )
        record = replace(
            record,
            scores=scores_of(
                measured,
                digest=record.digest,
                # Numbers of the checkpoint are not those of another average.
                source=None if "ema_length" in record.source else record.source.get("sha256"),
            ),
        )
        write_json(temporary / MODEL, record)
        if variances is not None:
            write_variances(variances, temporary)
        for calls, choice in (tuned or {}).items():
            write_choice(temporary / ADVICE, calls, replace(choice, weights=record.digest))
        parameters = sum(tensor.numel() for tensor in weights.values())
        card = model_card(record, parameters=parameters)
        write_text(temporary / "README.md", card)
    return record


def without_paths(
    experiment: Experiment, data: Mapping[str, Any]
) -> tuple[Experiment, dict[str, Any]]:
    """Settings, and what is known of their data, without the paths of the machine that trained.

    They mean nothing where the model goes, and may be private.
    """
    bare = replace(experiment.data, name=_without_path(experiment.data.name), root=None)
    known = {**data, "name": _without_path(str(data["name"]))}
    if is_folder(known["name"]):
        known["record"] = {**data.get("record", {}), "source": "a folder of images", "remarks": []}
    return replace(experiment, data=bare), known


def _without_path(name: str) -> str:
    return f"folder:{Path(name.removeprefix('folder:')).name}" if is_folder(name) else name


def _bare_name(model: str) -> str:
    return model if is_on_hub(model) else Path(model).name


def _published_state(
    module: nn.Module, tensors: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
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


def _network(
    tensors: Mapping[str, Tensor], expected: Experiment, path: Path
) -> tuple[Network, tuple[str, ...]]:
    """The settings of the network as the weights have them, if they are of the one that was named.

    Another width is the checkpoint's own; multipliers are too, where no published network has them.
    Weights of no known network are left to whoever compares them tensor by tensor.
    """
    named, found = expected.network, recognised(tensors)
    if found is None:
        return named, ()
    own: dict[str, Any] = {"width": found.width, "multipliers": found.multipliers}
    if found.kind == "unet":
        own |= {"blocks": found.blocks, "attention": found.attention}
    fitting = [
        name
        for name, (published, shape) in PUBLISHED.items()
        if published.network.kind == found.kind
        and published.network.multipliers == found.multipliers
        and shape[0] == found.channels
    ]
    same = (named.kind, named.multipliers) == (found.kind, found.multipliers)
    if named.kind != found.kind or (fitting and not same):
        advice = f"name it with --network: {' or '.join(fitting)}" if fitting else "none is like it"
        raise InputError(
            f"{path} holds {found.words}, not the network of {expected.name}: {advice}"
        )
    network = replace(named, **own)
    if network == named:
        return named, ()
    return network, (f"the network is {found.words}, as its weights have it",)


def _levels(
    stored: Tensor | None, expected: Schedule, path: Path
) -> tuple[Schedule, tuple[str, ...]]:
    """The levels that the checkpoint itself holds, if it does; they win over those expected."""
    if stored is None:
        return expected, ()
    sigmas = stored.double().flatten()
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
    published = geometric_sigmas(expected.first, expected.last, expected.levels)
    if len(published) == len(sigmas) and _close(sigmas, published):
        return expected, ()
    notice = (
        f"the checkpoint's own noise levels are used, {len(sigmas)} from {first:g} to {last:g}, not"
        f" {expected.levels} from {expected.first:g} to {expected.last:g} as asked for or published"
    )
    return Schedule(first=first, last=last, levels=len(sigmas)), (notice,)


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(((a / b - 1).abs() < _ROUNDING).all())


def _samplers(
    experiment: Experiment, shape: tuple[int, ...], pixel_range: tuple[float, float] | None
) -> dict[str, Sampler]:
    """The paper's settings for this model, if it is the paper's: same data, network and levels."""

    def facts(of: Experiment, its_shape: tuple[int, ...]) -> tuple[object, ...]:
        return of.data.name, of.network, of.schedule, its_shape

    published = PUBLISHED.get(experiment.name)
    if published is None or facts(*published) != facts(experiment, shape):
        return {}
    low, high = pixel_range or (0.0, 1.0)
    prefix = experiment.name.removesuffix("-adversarial")
    # epsilon is in squared units of the pixels that the network was trained on.
    return {
        name: replace(sampler, epsilon=sampler.epsilon and sampler.epsilon / (high - low) ** 2)
        for name, sampler in SAMPLERS.items()
        if name.startswith((f"{prefix}-cas-", f"{prefix}-als-"))
    }
