"""The card of a model folder: what the model is, in prose and numbers, from records alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.measurement import Measurement
from cascore.model.folder import ModelRecord

_DATA = {
    "cifar-10": "CIFAR-10 (A. Krizhevsky, 2009)",
    "celeba": "CelebA (Z. Liu et al., 2015), for non-commercial research only",
    "ffhq": "Flickr-Faces-HQ (T. Karras et al., NVIDIA, 2019), CC BY-NC-SA 4.0",
    "lsun-church": "LSUN, outdoor churches (F. Yu et al., 2015)",
    "lsun-bedroom": "LSUN, bedrooms (F. Yu et al., 2015)",
    "lsun-tower": "LSUN, towers (F. Yu et al., 2015)",
    "stacked-mnist": "3-Stacked-MNIST, three MNIST digits as colour channels",
}
_CC_BY = "Creative Commons Attribution 4.0 (CC BY 4.0): name its authors"
_ZALANDO = "the MIT licence (Copyright 2017 Zalando SE)"
_LICENCES = {
    "digits": _CC_BY,
    "stacked-digits": _CC_BY,
    "fashion-mnist": _ZALANDO,
    "stacked-fashion-mnist": _ZALANDO,
}
_OWN = "run of cascore"
_COLUMNS = ("what", "sampler", "calls", "pictures", "against", "value", "real images score")
_UNMEASURED = (
    "Nothing was measured when this folder was written; `cascore evaluate FOLDER` measures it"
    " where the real images are at hand."
)


def model_card(
    record: ModelRecord, *, parameters: int, measured: Sequence[Measurement] = ()
) -> str:
    """A model card in Markdown.

    Args:
        record: what is known of the model.
        parameters: how many its network has.
        measured: evaluations of these weights.

    Raises:
        InputError: an evaluation of other weights.
    """
    sections = {
        f"# {record.experiment.name}": _model(record, parameters),
        "## Data": _data(record),
        "## Training": _training(record),
        "## Sampling": _sampling(record),
        "## Quality": _quality(record, measured) or _UNMEASURED,
        "## Limits": _limits(record),
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections.items()) + "\n"


def _what(record: ModelRecord) -> str:
    kind = "images" if len(record.shape) == 3 else "points"
    return f"{kind} of shape {'×'.join(map(str, record.shape))}"


def _model(record: ModelRecord, parameters: int) -> str:
    network, schedule = record.experiment.network, record.experiment.schedule
    kinds = {"unet": "a U-Net", "ncsnv2": "an NCSNv2", "mlp": "a multilayer perceptron"}
    text = (
        f"A score model of {_what(record)}: {kinds[network.kind]} of width {network.width} that"
        f" {'sees' if network.conditional else 'does not see'} the noise level, {parameters:,}"
        " parameters. It returns the expected clean datum of a noisy one, H(x, sigma), for sigma"
        f" from {schedule.first:g} to {schedule.last:g}."
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


def _data(record: ModelRecord) -> str:
    name, data = record.experiment.data.name, record.data
    made: Mapping[str, Any] = data.get("record") or {}
    if "source" in made:
        text = f"{name}: {made['source']}."
    elif name in _DATA:
        text = f"{_DATA[name]}."
    else:
        text = f"{name}; cascore does not know under what licence."
    if "count" in data and "digest" in data:
        text += f" {data['count']:,} training data with digest {data['digest']}."
    else:
        text += " The checkpoint holds no count or digest of the data that it was trained on."
    return text + (f" The data are under {_LICENCES[name]}." if name in _LICENCES else "")


def _training(record: ModelRecord) -> str:
    source, train = record.source, record.experiment.train
    objective = "denoising score matching" + " and a discriminator" * (train.objective == "hybrid")
    which = {
        "ema": "the exponential moving average of the weights",
        "raw": "the weights of the last step, not their average",
    }[record.weights]
    kept = (
        "These settings are those of the run."
        if source.get("kind") == _OWN
        else "Only the step was read from the checkpoint; the other settings are those published"
        " for this network."
    )
    spent: Mapping[str, Any] = source.get("training") or {}
    if spent:
        names = ("processes", "threads", "machine", "torch")
        machine = ", ".join(f"{name} {spent[name]}" for name in names if name in spent)
        seconds = spent.get("seconds")
        took = "Its time was not recorded"
        if seconds is not None:
            took = f"Training took {seconds / 60:,.1f} minutes"
        kept += f" {took}; {machine}."
    return (
        f"{record.step:,} updates of {objective}, batches of {train.batch_size},"
        f" Adam with learning rate {train.learning_rate:g}, {record.experiment.schedule.levels}"
        f" noise levels, computed in {train.precision}: {record.step * train.batch_size:,} images"
        f" were seen, repetitions counted. The file holds {which} (decay {train.ema_decay:g}), in"
        f" float32. {kept}\n\nMade from {source.get('name')} ({source.get('kind')}, SHA-256"
        f" {source.get('sha256')})."
    )


def _sampling(record: ModelRecord) -> str:
    text = (
        "FOLDER is this folder; of a model that comes with cascore its name will do.\n\n"
        "```sh\ncascore sample FOLDER --count 64 --seed 0\ncascore evaluate FOLDER\n"
        "cascore tune FOLDER --calls 12\n```\n\n"
    )
    if record.samplers:
        lines = "\n".join(
            f"cascore sample FOLDER {_options(sampler)}  # {name}"
            for name, sampler in record.samplers.items()
        )
        text += "With the settings of the paper's tables for this model:\n\n"
        text += f"```sh\n{lines}\n```\n\n"
    return text + (
        'From Python, `cascore.load("FOLDER").sample(seeds=range(16))` draws samples; the model\'s'
        " `denoiser` is called as `denoiser(x, sigma)` and returns H(x, sigma)."
    )


def _options(sampler: Sampler) -> str:
    """The options of `cascore sample` for these settings."""
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in asdict(sampler).items()
        if value != getattr(Sampler(), name)
    )


def _quality(record: ModelRecord, measured: Sequence[Measurement]) -> str:
    """A table of the evaluations of denoised samples; empty if there are none."""
    ours = (record.digest, record.source.get("sha256"))
    for number in measured:
        digest = None if number.model is None else number.model.digest
        if digest not in ours:
            raise InputError(
                f"a record of {number.images.path} is of other weights ({str(digest)[:12]}...), not"
                f" of {str(ours[1])[:12]}...: evaluate the newest checkpoint"
            )
    rows = [_row(number) for number in measured if number.images.form != "raw"]
    if not rows:
        return ""
    lines = [_COLUMNS, ("---",) * 2 + ("---:",) * 2 + ("---",) + ("---:",) * 2, *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    extractors = {number.extractor for number in measured if number.extractor is not None}
    features = sorted(f"Features of {seen.name} ({seen.digest[:12]})" for seen in extractors)
    return (
        f"{table}\n\nDenoised samples. ± is one standard error; in the last column it is the"
        " spread of single measurements of real images at the same counts, and ~ marks what is"
        " extrapolated. Copying: distance to the nearest training image over that to held-out ones."
        f" {'; '.join(features)}. Numbers of other features or counts do not compare."
    )


def _row(number: Measurement) -> tuple[str, ...]:
    sampler, floor = number.sampler, number.floor
    settings = {} if sampler is None else sampler.settings
    words = [str(settings.get("method", "")).upper()]
    if settings.get("method") == "cas":
        words[0] += f" order {settings.get('order')}"
    sizes = ("kappa", "eta", "epsilon")
    words += [f"{name} {settings[name]}" for name in sizes if settings.get(name) is not None][:1]
    words += [f"{settings['spacing']} levels"] if "spacing" in settings else []
    against = ", ".join(
        f"{'' if real.count is None else f'{real.count:,} '}{real.split or real.name}"
        for real in number.references
    )
    return (
        number.label,
        ", ".join(words),
        "" if sampler is None else f"{sampler.nfe:,}",
        f"{number.images.count:,}",
        against,
        _value(number.value, number.error),
        "" if floor is None else "~" * floor.extrapolated + _value(floor.mean, floor.spread),
    )


def _value(value: float | None, error: float | None) -> str:
    if value is None:
        return "infinite"
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")


def _limits(record: ModelRecord) -> str:
    kind = "images" if len(record.shape) == 3 else "points"
    text = (
        f"It draws {_what(record)} and nothing else: no other size, no class, label or text can be"
        " asked for. It knows its training data and no more: it is no model of other"
        f" {kind}, and its density is not to be taken for the probability of real ones.\n\n"
    )
    if record.source.get("kind") != _OWN:
        text += (
            "The repositories that publish such checkpoints put their code under the MIT licence"
            " and state none for the weights. Names and shapes of all tensors were checked; that"
            " the data set and the noise levels are those named here was not, where the checkpoint"
            " does not hold them.\n\n"
        )
    return (
        f"{text}What it draws is like its training data, with their faults, and may repeat some of"
        " them."
    )
