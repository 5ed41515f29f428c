"""Measurements computed again: equal, within uncertainty, or different and where."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from cascore.errors import InputError
from cascore.evaluation.compare import FIELDS
from cascore.evaluation.evaluate import evaluate
from cascore.experiment.chain import recorded
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.measurement import METRICS, Measurement
from cascore.model.loading import Model, load
from cascore.model.pretrained import find_model
from cascore.preprocessing import FolderOptions, is_folder
from cascore.progress import Display

_TOLERANCE = 1e-4  # relative, of a number without a standard error

Outcome = Literal["equal", "within uncertainty", "different", "not computed"]
"""Equal to the bit; within one standard error; different; what it follows from is not there now."""


@dataclass(frozen=True)
class Verified:
    """What came of a measurement."""

    measurement: Measurement
    """As it was."""
    value: float | None
    """As it is now; None if it was not computed, or is infinite."""
    outcome: Outcome
    changes: tuple[str, ...]
    """What the number follows from and is not what it was, in words."""


def verify(
    measurements: Sequence[Measurement],
    *,
    root: str | None,
    device: torch.device,
    display: Display | None = None,
) -> list[Verified]:
    """Compute measurements again from what they say they follow from; the data are now in `root`.

    A model that is not the one of the measurement is found out before anything is computed. Numbers
    of one evaluation are computed together, and a model is loaded once. On another device than
    before, numbers move by rounding. A path, data set or extractor that cannot be found raises
    InputError.
    """
    models: dict[tuple[Path, str], Model | str] = {}
    verified: dict[int, Verified] = {}
    for indices, settings in _together(measurements, root):
        part, key = [measurements[index] for index in indices], (settings.path, settings.checkpoint)
        if part[0].model is not None and key not in models:
            models[key] = _loaded(settings, part[0], device)
        model = models.get(key)
        if isinstance(model, str):
            results = [Verified(number, None, "not computed", (model,)) for number in part]
        else:
            evaluation = evaluate(settings, device=device, model=model, display=display)
            now = {_key(number): number for number in evaluation.measurements}
            results = [_compared(number, now.get(_key(number))) for number in part]
        verified |= zip(indices, results, strict=True)
    return [verified[index] for index in range(len(measurements))]


def _together(
    measurements: Sequence[Measurement], root: str | None
) -> list[tuple[list[int], EvaluationSettings]]:
    """Indices of what one evaluation answers, and its settings; numbers of pixels join any.

    Those that were compared with no real images take the root of others of the same data.
    """
    roots = {m.data: real.settings.get("root") for m in measurements for real in m.references}
    every = [
        settings_of_measurement(m, root=root or (None if m.references else roots.get(m.data)))
        for m in measurements
    ]
    groups: dict[str, dict[str | None, list[int]]] = {}
    for index, settings in enumerate(every):
        images = repr(replace(settings, metrics=None, extractor=None, as_published=False))
        groups.setdefault(images, {}).setdefault(settings.extractor, []).append(index)
    answers = []
    for by_extractor in groups.values():
        of_pixels = by_extractor.pop(None, [])
        for extractor, indices in by_extractor.items() or [(None, [])]:
            indices, of_pixels = indices + of_pixels, []
            metrics = {name for index in indices for name in every[index].metrics or ()}
            settings = replace(
                every[indices[0]],
                extractor=extractor,
                metrics=tuple(sorted(metrics)),
                as_published=any(every[index].as_published for index in indices),
            )
            answers.append((indices, settings))
    return answers


def _loaded(
    settings: EvaluationSettings, measurement: Measurement, device: torch.device
) -> Model | str:
    """The model of a measurement, or why it cannot be asked again."""
    assert measurement.model is not None  # files have none
    try:
        model = load(settings.path, device=device, checkpoint=settings.checkpoint)
    except InputError as error:
        return str(error)
    was = measurement.model
    if model.digest == was.digest:
        return model
    return (
        f"the weights of {measurement.images.path} at step {model.step} have the digest"
        f" {model.digest[:12]}, were {was.digest[:12]} at step {was.step}"
    )


def _key(measurement: Measurement) -> tuple[Any, ...]:
    splits = tuple(reference.split for reference in measurement.references)
    return measurement.metric, measurement.images.form, splits, measurement.settings.get("class")


def settings_of_measurement(
    measurement: Measurement, *, root: str | None = None
) -> EvaluationSettings:
    """The settings of an evaluation that gives the number again; InputError for unknown ones."""
    if measurement.metric not in METRICS:
        raise InputError(
            f"there is no number {measurement.metric!r}; known are {', '.join(METRICS)}"
        )
    images, metric = measurement.images, METRICS[measurement.metric]
    first = measurement.references[0].settings if measurement.references else {}
    of_folder = is_folder(measurement.data)  # not of statistics of one, whose file has its own
    folders = {name: x for name, x in first.items() if of_folder and name != "root"}
    seen = None if metric.needs in ("classifier", "splits") else measurement.extractor
    if measurement.metric == "agreement":  # its extractor is the classifier that judges
        seen = None
    try:
        options = FolderOptions(**{**folders, **images.preprocessing})
    except TypeError as error:
        raise InputError(f"the record's preprocessing is unknown: {error}") from None
    model, chain = measurement.model, measurement.sampler
    checkpoint = "auto"
    if model is not None and images.source != "model":
        checkpoint = "best" if model.checkpoint == "best" else str(model.step)
    return EvaluationSettings(
        path=find_model(images.path),
        data=measurement.data,
        root=root or first.get("root"),
        folder=options,
        extractor=None if seen is None else seen.name,
        metrics=(metric.group,),
        as_published=measurement.metric == "modes-kl-as-published",
        checkpoint=checkpoint,
        guidance=None if chain is None else _guidance(chain.settings),
        sampler=Sampler() if chain is None else recorded(chain.settings, "the record's sampler"),
        seed=images.first_seed or 0,
        count=images.count,
        batch_size=measurement.computation.batch_size,
        precision=measurement.computation.precision,
        compiled=measurement.computation.compiled,
    )


def _guidance(settings: Mapping[str, Any]) -> float | None:
    weight = settings.get("guidance")
    if weight is not None and type(weight) not in (int, float):
        raise InputError(f"the record's guidance is {weight!r:.60}; expected a number")
    return None if weight is None else float(weight)


def _compared(was: Measurement, now: Measurement | None) -> Verified:
    if now is None:
        return Verified(was, None, "not computed", ("this evaluation has no such number now",))
    other = _other_meaning(was, now)
    changes = (*other, *_other_rounding(was, now))
    return Verified(was, now.value, "different" if other else _outcome(was, now), changes)


def _outcome(was: Measurement, now: Measurement) -> Outcome:
    if was.value == now.value:
        return "equal"
    if was.value is None or now.value is None:
        return "different"
    allowed = _TOLERANCE * abs(was.value) if was.error is None else was.error
    return "within uncertainty" if abs(now.value - was.value) <= allowed else "different"


def _other_meaning(was: Measurement, now: Measurement) -> tuple[str, ...]:
    """What makes it another number, whatever its value."""
    pairs: list[tuple[str, Any, Any]] = []
    for a, b in zip(was.references, now.references, strict=True):
        name = f"{a.name} {a.split or ''}".strip()
        pairs.append((f"the real images {name}", a.digest[:12], b.digest[:12]))
        pairs.append((f"the count of {name}", a.count, b.count))
    if was.extractor is not None and now.extractor is not None:
        name = f"the extractor {was.extractor.name}"
        pairs.append((name, was.extractor.digest[:12], now.extractor.digest[:12]))
    if was.images.source == "folder":
        name = f"the images of {was.images.path}"
        pairs.append((name, was.images.digest[:12], now.images.digest[:12]))
        pairs.append((f"their count in {was.images.path}", was.images.count, now.images.count))
    settings = FIELDS["settings"]
    pairs.append(("the metric's settings", settings(was), settings(now)))
    return _changes(pairs)


def _other_rounding(was: Measurement, now: Measurement) -> tuple[str, ...]:
    """What may move the number by rounding."""
    before = {**was.software, **asdict(was.computation)}
    after = {**now.software, **asdict(now.computation)}
    pairs = [(name, before.get(name), value) for name, value in after.items()]
    if was.images.source != "folder":
        pairs.append(("pixels of the samples", was.images.digest[:12], now.images.digest[:12]))
    return _changes(pairs)


def _changes(pairs: Sequence[tuple[str, Any, Any]]) -> tuple[str, ...]:
    return tuple(f"{name} was {a}, is {b}" for name, a, b in pairs if str(a) != str(b))
