"""The card of a model folder: what the model is, in prose and numbers, from records alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.measurement import METRICS, Measurement, chain_words, in_words
from cascore.model.folder import ModelRecord, Score
from cascore.model.front_matter import Result, front_matter

_DATA = {
    "cifar-10": "CIFAR-10 (A. Krizhevsky, 2009)",
    "cifar-10-jpeg": "CIFAR-10 (A. Krizhevsky, 2009) as lossy JPEG, not the original pixels",
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
_NO_LICENCE = "Their author states no licence: cite A. Krizhevsky (2009)."
_UNLICENSED = ("cifar-10", "cifar-10-jpeg")
_NETWORKS = {"unet": "a U-Net", "ncsnv2": "an NCSNv2", "mlp": "a multilayer perceptron"}
_OWN = "run of cascore"
_COLUMNS = ("what", "sampler", "calls", "pictures", "against", "value", "real images score")
_CARD = """\
# {experiment.name}

A score model of {what}: {network} of width {experiment.network.width} that {sees} the noise level,
{parameters:,} parameters. It returns the expected clean datum of a noisy one, H(x, sigma), for
sigma from {schedule.first:g} to {schedule.last:g}.{pixels}

## Data

{data}

## Training

{record.step:,} updates of {objective}, batches of {train.batch_size}, Adam with learning rate
{train.learning_rate:g}, {levels},
computed in {train.precision}: {seen:,} images were seen, repetitions counted.
The file holds {weights}, in {stored}. {base}{kept}

Made from {record.source[name]} ({record.source[kind]}, SHA-256 {record.source[sha256]}).

## Sampling

FOLDER is this folder; of a model that comes with cascore its name will do.

```sh
cascore sample FOLDER --count 64 --seed 0
cascore evaluate FOLDER
cascore tune FOLDER --calls 12
```
{samplers}{classes}
From Python, `cascore.load("FOLDER").sample(seeds=range(16))` draws samples; the model's `denoiser`
is called as `denoiser(x, sigma)` and returns H(x, sigma).

## Quality

{quality}

## Limits

It draws {what} and nothing else: no other size, {refused} can be asked for.
It knows its training data and no more: it is no model of other {kind}, and its density is not to be
taken for the probability of real ones.
{foreign}
What it draws is like its training data, with their faults, and may repeat some of them.
"""
_SAMPLERS = "\nWith the settings of the paper's tables for this model:\n\n```sh\n{lines}\n```\n"
_CLASSES = """
Its classes are {names}. One is asked for with `--label`, all of them with `--label all`, and more
typical pictures of it with `--guidance 2`.
"""
_LEVELS = {
    "levels": "{} noise levels",
    "log-uniform": "noise levels drawn uniformly in log sigma",
    "log-normal": "noise levels drawn log-normally",
}
_UNMEASURED = """\
Nothing was measured when this folder was written; `cascore evaluate FOLDER` measures it where the
real images are at hand."""
_MEASURED = """{table}

Denoised samples. ± is one standard error; in the last column it is the spread of single
measurements of real images at the same counts, and ~ marks what is extrapolated. Copying: distance
to the nearest training image over that to held-out ones. {features}.
Numbers of other features or counts do not compare."""
_FOREIGN = """
The repositories that publish such checkpoints put their code under the MIT licence and state none
for the weights. Names and shapes of all tensors were checked; that the data set and the noise
levels are those named here was not, where the checkpoint does not hold them.
"""


def scores_of(
    measured: Sequence[Measurement], *, digest: str, source: str | None
) -> tuple[Score, ...]:
    """What measurements say of denoised samples of a model, all classes together.

    Args:
        measured: Evaluations of these weights.
        digest: SHA-256 of the weights.
        source: That of the checkpoint that they come from.

    Raises:
        InputError: An evaluation of other weights.
    """
    for number in measured:
        seen = None if number.model is None else number.model.digest
        if seen not in (digest, source):
            raise InputError(
                f"a record of {number.images.path} is of other weights ({str(seen)[:12]}...), not"
                f" of {str(source)[:12]}...: evaluate the newest checkpoint"
            )
    return tuple(
        Score(
            metric=number.metric,
            value=number.value,
            error=number.error,
            floor=number.floor,
            sampler="" if number.sampler is None else chain_words(number.sampler.settings),
            calls=None if number.sampler is None else number.sampler.calls,
            count=number.images.count,
            against=_against(number),
            features=_features(number),
        )
        for number in measured
        if number.images.form != "raw" and "class" not in number.settings
    )


def model_card(record: ModelRecord, *, parameters: int) -> str:
    """A model card in Markdown, below the hub's YAML."""
    experiment, network = record.experiment, record.experiment.network
    schedule = experiment.schedule
    hybrid = experiment.train.objective == "hybrid"
    kind = "images" if len(record.shape) == 3 else "points"
    samplers = "\n".join(
        f"cascore sample FOLDER {_options(sampler)}  # {name}"
        for name, sampler in record.samplers.items()
    )
    results = [
        Result(score.metric, f"{_label(score)} against {score.against}", score.value)
        for score in record.scores
        if score.value is not None
    ]
    return front_matter(record, results) + _CARD.format(
        record=record,
        experiment=experiment,
        schedule=schedule,
        train=experiment.train,
        stored=record.source.get("stored", "float32"),
        kind=kind,
        what=f"{kind} of shape {'×'.join(map(str, record.shape))}",
        network=_NETWORKS[network.kind],
        sees="sees" if network.conditional else "does not see",
        parameters=parameters,
        pixels=_pixels(record),
        data=_data(record),
        objective="denoising score matching" + " and a discriminator" * hybrid,
        levels=_LEVELS[experiment.train.sigmas].format(schedule.levels),
        classes=_CLASSES.format(names=", ".join(record.data["classes"])) if network.labels else "",
        refused="no other class or text" if network.labels else "no class, label or text",
        seen=record.step * experiment.train.batch_size,
        weights=_weights(record),
        base=_base(record.source.get("base")),
        kept=_training(record.source, experiment.minutes),
        samplers=_SAMPLERS.format(lines=samplers) if samplers else "",
        quality=_warning(record) + (_quality(record.scores) or _UNMEASURED),
        foreign="" if record.source["kind"] == _OWN else _FOREIGN,
    )


def _pixels(record: ModelRecord) -> str:
    text = "" if record.pixel_range is None else " Pixels are floats in [0, 1]."
    if record.other_pixels is None:
        return text
    low, high = record.other_pixels
    return (
        f"{text} The network itself was trained on pixels in [{low:g}, {high:g}]; cascore converts"
        " from and to [0, 1], and the sigmas here are in those units."
    )


def _data(record: ModelRecord) -> str:
    name, data = record.experiment.data.name, record.data
    made: Mapping[str, Any] = data.get("record") or {}
    unknown = f"{name}; cascore does not know under what licence"
    text = f"{name}: {made['source']}." if "source" in made else f"{_DATA.get(name, unknown)}."
    if "count" in data and "digest" in data:
        text += f" {data['count']:,} training data with digest {data['digest']}."
    else:
        text += " The checkpoint holds no count or digest of the data that it was trained on."
    if name in _UNLICENSED:
        return f"{text} {_NO_LICENCE}"
    return text + (f" The data are under {_LICENCES[name]}." if name in _LICENCES else "")


def _weights(record: ModelRecord) -> str:
    decay, length = record.experiment.train.ema_decay, record.source.get("ema_length")
    if length is not None:
        return f"a power-function average of the weights of relative length {length:g} (EDM2)"
    return {
        "ema": f"the exponential moving average of the weights (decay {decay:g})",
        "raw": f"the weights of the last step, not their average (decay {decay:g})",
    }[record.weights]


def _base(base: Mapping[str, Any] | None) -> str:
    """Whose weights the training began with."""
    if base is None:
        return ""
    return (
        f"It is fine-tuned: it began with the weights of {base['name']} (step {base['step']:,},"
        f" SHA-256 {base['digest']}), so what that was trained on may show in it. "
    )


def _training(source: Mapping[str, Any], minutes: float) -> str:
    """Whose settings these are, and what the training took."""
    if source.get("kind") != _OWN:
        return (
            "Only the step was read from the checkpoint; the other settings are those published for"
            " this network."
        )
    text, spent = "These settings are those of the run.", dict(source.get("training") or {})
    if minutes:
        text = (
            f"These settings are those of the run, which was for {minutes:g} minutes: its learning"
            " rates followed the time left, so the settings alone do not replay it."
        )
    if not spent:
        return text
    seconds = spent.pop("seconds", None)
    took = "Its time was not recorded"
    if seconds is not None:
        took = f"Training took {seconds / 60:,.1f} minutes"
    return f"{text} {took}; {', '.join(f'{name} {spent[name]}' for name in spent)}."


def _options(sampler: Sampler) -> str:
    """The options of `cascore sample` for these settings."""
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in asdict(sampler).items()
        if value != getattr(Sampler(), name)
    )


def _warning(record: ModelRecord) -> str:
    """What its training found wrong with it, before all numbers."""
    warning = str(record.source.get("warning", ""))
    return f"**{warning[:1].upper()}{warning[1:]}**\n\n" if warning else ""


def _quality(scores: Sequence[Score]) -> str:
    """A table of them; empty if there are none."""
    if not scores:
        return ""
    lines = [_COLUMNS, ("---",) * 2 + ("---:",) * 2 + ("---",) + ("---:",) * 2, *map(_row, scores)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    features = sorted({score.features for score in scores if score.features})
    told = f"Features of {' and '.join(features)}" if features else ""
    return _MEASURED.format(table=table, features=told)


def _row(score: Score) -> tuple[str, ...]:
    floor = score.floor
    return (
        _label(score),
        score.sampler,
        "" if score.calls is None else f"{score.calls:,}",
        f"{score.count:,}",
        score.against,
        in_words(score.value, score.error),
        "" if floor is None else "~" * floor.extrapolated + in_words(floor.mean, floor.spread),
    )


def _label(score: Score) -> str:
    return METRICS[score.metric].label if score.metric in METRICS else score.metric


def _features(number: Measurement) -> str:
    seen = number.extractor
    return "" if seen is None else f"{seen.name} ({seen.digest[:12]})"


def _against(number: Measurement) -> str:
    """How many real images of which split it was measured with."""
    return ", ".join(
        f"{'' if real.count is None else f'{real.count:,} '}{real.split or real.name}"
        for real in number.references
    )
