"""The card of a model folder: what the model is, in prose, from records alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cascore.experiment.settings import Network, Sampler
from cascore.measurement import Measurement
from cascore.model.card_numbers import numbers_table
from cascore.model.record import ModelRecord

__all__ = ["model_card"]

_DATA = {
    "cifar-10": "CIFAR-10 (A. Krizhevsky, 2009)",
    "celeba": "CelebA (Z. Liu et al., 2015), for non-commercial research only",
    "ffhq": "Flickr-Faces-HQ (T. Karras et al., NVIDIA, 2019), CC BY-NC-SA 4.0",
    "lsun-church": "LSUN, outdoor churches (F. Yu et al., 2015)",
    "lsun-bedroom": "LSUN, bedrooms (F. Yu et al., 2015)",
    "lsun-tower": "LSUN, towers (F. Yu et al., 2015)",
    "stacked-mnist": "3-Stacked-MNIST, three MNIST digits as colour channels",
}
_LICENCES = {
    "digits": "Creative Commons Attribution 4.0 (CC BY 4.0): name its authors",
    "stacked-digits": "Creative Commons Attribution 4.0 (CC BY 4.0): name its authors",
    "fashion-mnist": "the MIT licence (Copyright 2017 Zalando SE)",
    "stacked-fashion-mnist": "the MIT licence (Copyright 2017 Zalando SE)",
}
"""Of the data that may travel with their licence's name."""
_UNKNOWN = "cascore does not know under what licence."
_UNMEASURED = (
    "Nothing was measured when this folder was written; `cascore evaluate FOLDER` measures it"
    " where the real images are at hand."
)


def model_card(
    record: ModelRecord, *, parameters: int, measured: Sequence[Measurement] = ()
) -> str:
    """A model card in Markdown.

    Args:
        record: of the model.
        parameters: of its network.
        measured: evaluations of these weights.

    Raises:
        InputError: an evaluation of other weights.
    """
    experiment = record.experiment
    sections = (
        (f"# {experiment.name}", _what(record, parameters)),
        ("## Data", _data(record)),
        ("## Training", _training(record)),
        ("## Sampling", "\n\n".join(_sampling(record))),
        ("## Quality", numbers_table(record, measured) or _UNMEASURED),
        ("## Limits", "\n\n".join(_limits(record))),
    )
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections) + "\n"


def _what(record: ModelRecord, parameters: int) -> str:
    experiment = record.experiment
    schedule = experiment.schedule
    shape, kind = "×".join(map(str, record.shape)), _network(experiment.network)
    what = "images" if len(record.shape) == 3 else "points"
    text = (
        f"A score model of {what} of shape {shape}: {kind}, {parameters:,} parameters. It returns"
        " the expected clean datum of a noisy one, H(x, sigma), for sigma from"
        f" {schedule.first:g} to {schedule.last:g}."
    )
    if record.pixel_range is not None:
        text += " Pixels are floats in [0, 1]."
    if record.other_pixels is not None:
        low, high = record.other_pixels
        text += (
            f" The network itself was trained on pixels in [{low:g}, {high:g}]; cascore converts"
            " from and to [0, 1], and the sigmas here are in those units."
        )
    return text


def _network(network: Network) -> str:
    sees = "sees" if network.conditional else "does not see"
    kind = {"unet": "a U-Net", "ncsnv2": "an NCSNv2", "mlp": "a multilayer perceptron"}
    return f"{kind[network.kind]} of width {network.width} that {sees} the noise level"


def _data(record: ModelRecord) -> str:
    name = record.experiment.data.name
    made: Mapping[str, Any] = record.data.get("record") or {}
    if "source" in made:
        text = f"{name}: {made['source']}."
    elif name in _DATA:
        text = f"{_DATA[name]}."
    else:
        text = f"{name}; {_UNKNOWN}"
    if "count" in record.data and "digest" in record.data:
        text += f" {record.data['count']:,} training data with digest {record.data['digest']}."
    else:
        text += " The checkpoint holds no count or digest of the data that it was trained on."
    if name in _LICENCES:
        text += f" The data are under {_LICENCES[name]}."
    return text


def _training(record: ModelRecord) -> str:
    experiment, source = record.experiment, record.source
    train = experiment.train
    objective = {
        "plain": "denoising score matching",
        "hybrid": "denoising score matching and a discriminator",
    }[train.objective]
    which = {
        "ema": "the exponential moving average of the weights",
        "raw": "the weights of the last step, not their average",
    }[record.weights]
    kept = (
        "These settings are those of the run."
        if source.get("kind") == "run of cascore"
        else "Only the step was read from the checkpoint; the other settings are those published"
        " for this network."
    )
    made = f"Made from {source.get('name')} ({source.get('kind')}, SHA-256 {source.get('sha256')})."
    return (
        f"{record.step:,} updates of {objective}, batches of {train.batch_size},"
        f" Adam with learning rate {train.learning_rate:g}, {experiment.schedule.levels} noise"
        f" levels, computed in {train.precision}: {record.step * train.batch_size:,} images were"
        f" seen, repetitions counted. The file holds {which} (decay {train.ema_decay:g}), in"
        f" float32. {kept}{_spent(source.get('training') or {})}\n\n{made}"
    )


def _spent(training: Mapping[str, Any]) -> str:
    """How long it took and on what, as far as the checkpoint says."""
    if not training:
        return ""
    names = ("processes", "threads", "machine", "torch")
    machine = ", ".join(f"{name} {training[name]}" for name in names if name in training)
    took = (
        f"Training took {training['seconds'] / 60:,.1f} minutes"
        if "seconds" in training
        else "Its time was not recorded"
    )
    return f" {took}; {machine}."


def _sampling(record: ModelRecord) -> Iterator[str]:
    yield (
        "FOLDER is this folder; of a model that comes with cascore its name will do.\n\n"
        "```sh\ncascore sample FOLDER --count 64 --seed 0\ncascore evaluate FOLDER\n"
        "cascore tune FOLDER --calls 12\n```"
    )
    if record.samplers:
        lines = [
            f"cascore sample FOLDER {_flags(settings)}  # {name}"
            for name, settings in record.samplers.items()
        ]
        code = "\n".join(lines)
        yield f"With the settings of the paper's tables for this model:\n\n```sh\n{code}\n```"
    yield (
        "From Python, `cascore.load(folder)` returns the model; its `denoiser` is called as"
        " `denoiser(x, sigma)` and returns H(x, sigma)."
    )


def _flags(sampler: Sampler) -> str:
    """The options of `cascore sample` for these settings."""
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in asdict(sampler).items()
        if value != getattr(Sampler(), name)
    )


def _limits(record: ModelRecord) -> Iterator[str]:
    what = "images" if len(record.shape) == 3 else "points"
    shape = "×".join(map(str, record.shape))
    yield (
        f"It draws {what} of shape {shape} and nothing else: no other size, no class, label or text"
        " can be asked for. It knows its training data and no more: it is no model of other"
        f" {what}, and its density is not to be taken for the probability of real ones."
    )
    if record.source.get("kind") != "run of cascore":
        yield (
            "The repositories that publish such checkpoints put their code under the MIT licence"
            " and state none for the weights. Names and shapes of all tensors were checked; that"
            " the data set and the noise levels are those named here was not, where the checkpoint"
            " does not hold them."
        )
    yield "What it draws is like its training data, with their faults, and may repeat some of them."
