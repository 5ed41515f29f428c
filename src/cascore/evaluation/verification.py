"""Records computed again: equal, within uncertainty, or different and where."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from cascore.data import FolderOptions
from cascore.errors import InputError
from cascore.evaluation.evaluate import evaluate
from cascore.evaluation.question import Counting, Question
from cascore.experiment.settings import Sampler
from cascore.measurement import METRICS, Measurement
from cascore.model.loading import load_model
from cascore.model.pretrained import find_model
from cascore.plain import from_plain

__all__ = ["Verdict", "Verified", "question_of", "verify"]

_TOLERANCE = 1e-4  # relative, of a number without a standard error

Verdict = Literal["equal", "within uncertainty", "different", "not computed"]


@dataclass(frozen=True)
class Verified:
    """What came of a record.

    Attributes:
        record: As it was.
        value: As it is now; None if it was not computed, or is infinite.
        verdict: equal to the bit; within one standard error; different; or not computed, because
            what it follows from is not there any more.
        changes: What the number follows from and is not what it was, in words.
    """

    record: Measurement
    value: float | None
    verdict: Verdict
    changes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the number was found again."""
        return self.verdict in ("equal", "within uncertainty")


def verify(
    records: Sequence[Measurement],
    *,
    root: str | None,
    device: torch.device,
    counting: Counting,
) -> list[Verified]:
    """Compute records again from what they say they follow from.

    A model that is not the one of the record is found out before anything is computed. Numbers of
    one evaluation are computed together.

    Args:
        records: Of one or several evaluations.
        root: Of the data now; None takes the one of the record.
        device: Where to sample; on another device than the record's, numbers move by rounding.
        counting: Shows progress.

    Raises:
        InputError: A path, data set or extractor that cannot be found.
    """
    found: dict[int, Verified] = {}
    for indices in _together(records, root):
        part = [records[index] for index in indices]
        found |= zip(indices, _verify(part, root, device, counting), strict=True)
    return [found[index] for index in range(len(records))]


def _together(records: Sequence[Measurement], root: str | None) -> list[list[int]]:
    """Indices of records that one evaluation answers: those without features join any."""
    groups: dict[str, dict[str | None, list[int]]] = {}
    for index, record in enumerate(records):
        question = question_of(record, root=root)
        images = repr(replace(question, metrics=None, extractor=None))
        groups.setdefault(images, {}).setdefault(question.extractor, []).append(index)
    found = []
    for by_extractor in groups.values():
        free = by_extractor.pop(None, [])
        parts = list(by_extractor.values()) or [[]]
        parts[0] += free
        found += parts
    return found


def _verify(
    records: Sequence[Measurement], root: str | None, device: torch.device, counting: Counting
) -> list[Verified]:
    gone = _other_model(records[0])
    if gone:
        return [Verified(record, None, "not computed", gone) for record in records]
    numbers = {record.metric for record in records}
    questions = [question_of(record, root=root) for record in records]
    question = replace(
        questions[0],
        metrics=tuple(sorted({METRICS[name].asked for name in numbers})),
        extractor=next((each.extractor for each in questions if each.extractor), None),
        as_published="modes-kl-as-published" in numbers,
    )
    now = evaluate(question, device=device, counting=counting, command="").records
    by_key = {_key(record): record for record in now}
    return [_compared(record, by_key.get(_key(record))) for record in records]


def _key(record: Measurement) -> tuple[Any, ...]:
    splits = tuple(reference.split for reference in record.references)
    return record.metric, record.images.form, splits


def question_of(record: Measurement, *, root: str | None = None) -> Question:
    """The question that a record answers.

    Raises:
        InputError: A number or settings that this cascore does not know.
    """
    if record.metric not in METRICS:
        raise InputError(f"there is no number {record.metric!r}; known are {', '.join(METRICS)}")
    images = record.images
    settings = dict(record.references[0].settings) if record.references else {}
    settings_root = settings.pop("root", None)
    of_features = METRICS[record.metric].asked not in ("modes", "memorisation")
    return Question(
        path=find_model(images.path),
        data=record.data,
        root=root or settings_root,
        folders=_options({**settings, **images.preprocessing}),
        extractor=record.extractor.name if of_features and record.extractor else None,
        metrics=(METRICS[record.metric].asked,),
        checkpoint=_checkpoint(record),
        sampler=Sampler() if record.sampler is None else _sampler(record.sampler.settings),
        first_seed=images.first_seed or 0,
        count=images.count,
        batch_size=record.computation.batch_size,
    )


def _options(settings: Mapping[str, Any]) -> FolderOptions:
    try:
        return FolderOptions(**settings)
    except TypeError as error:
        raise InputError(f"the record's preprocessing is unknown: {error}") from None


def _sampler(settings: Mapping[str, Any]) -> Sampler:
    settings = {name: value for name, value in settings.items() if name != "tuned"}
    return from_plain(Sampler, settings, "the record's sampler")


def _checkpoint(record: Measurement) -> str:
    model = record.model
    if model is None or record.images.source == "model":
        return "newest"
    return "best" if model.checkpoint == "best" else str(model.step)


def _other_model(record: Measurement) -> tuple[str, ...]:
    """Why the record's model cannot be asked again; empty if it can, or if there was none."""
    was = record.model
    if was is None:
        return ()
    path = find_model(record.images.path)
    try:
        model = load_model(path, device=torch.device("cpu"), checkpoint=_checkpoint(record))
    except InputError as error:
        return (str(error),)
    if model.digest != was.digest:
        return (
            f"the weights of {record.images.path} at step {model.step} have the digest"
            f" {model.digest[:12]}, were {was.digest[:12]} at step {was.step}",
        )
    return ()


def _compared(was: Measurement, now: Measurement | None) -> Verified:
    if now is None:
        return Verified(was, None, "not computed", ("this evaluation has no such number now",))
    other = _other_meaning(was, now)
    changes = (*other, *_other_rounding(was, now))
    return Verified(was, now.value, "different" if other else _verdict(was, now), changes)


def _verdict(was: Measurement, now: Measurement) -> Verdict:
    if was.value == now.value:
        return "equal"
    if was.value is None or now.value is None:
        return "different"
    allowed = _TOLERANCE * abs(was.value) if was.error is None else was.error
    return "within uncertainty" if abs(now.value - was.value) <= allowed else "different"


def _other_meaning(was: Measurement, now: Measurement) -> tuple[str, ...]:
    """What makes it another number, whatever its value."""
    pairs = [
        (f"the real images {a.name} {a.split or ''}".strip(), a.digest[:12], b.digest[:12])
        for a, b in zip(was.references, now.references, strict=True)
    ]
    pairs += [
        (f"the count of {a.name} {a.split or ''}".strip(), str(a.count), str(b.count))
        for a, b in zip(was.references, now.references, strict=True)
    ]
    if was.extractor is not None and now.extractor is not None:
        name = f"the extractor {was.extractor.name}"
        pairs.append((name, was.extractor.digest[:12], now.extractor.digest[:12]))
    if was.images.source == "folder":
        name = f"the images of {was.images.path}"
        pairs.append((name, was.images.digest[:12], now.images.digest[:12]))
        pairs.append((f"their count in {was.images.path}", *_counts(was, now)))
    pairs.append(("the metric's settings", str(dict(was.settings)), str(dict(now.settings))))
    return _changes(pairs)


def _counts(was: Measurement, now: Measurement) -> tuple[str, str]:
    return str(was.images.count), str(now.images.count)


def _other_rounding(was: Measurement, now: Measurement) -> tuple[str, ...]:
    """What may move the number by rounding."""
    before = {**was.software, **asdict(was.computation)}
    after = {**now.software, **asdict(now.computation)}
    pairs = [(name, str(before.get(name)), str(value)) for name, value in after.items()]
    if was.images.source != "folder":
        pairs.append(("pixels of the samples", was.images.digest[:12], now.images.digest[:12]))
    return _changes(pairs)


def _changes(pairs: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    return tuple(f"{name} was {a}, is {b}" for name, a, b in pairs if a != b)
