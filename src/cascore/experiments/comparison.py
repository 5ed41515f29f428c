"""Numbers side by side, ranked only where their provenance agrees and their errors allow."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascore.errors import InputError
from cascore.experiments.metric_choice import GROUPS
from cascore.experiments.records import Record, Reference, read_records

__all__ = [
    "FIELDS",
    "TIE",
    "Entry",
    "Mismatch",
    "Ranked",
    "find_entries",
    "mismatches",
    "rank",
    "require_comparable",
]

TIE = 3.0
"""Numbers nearer than so many combined standard errors are a tie."""

_BETTER: Mapping[str, int] = {
    "frechet": -1,
    "kernel": -1,
    "precision": 1,
    "recall": 1,
    "coverage": 1,
    "modes": 1,
    "modes-kl": -1,
    "modes-kl-as-published": -1,
    "inception-score": 1,
}
"""1 where more is better, -1 where less is; the others are best neither high nor low."""


@dataclass(frozen=True)
class Entry:
    """A number that takes part in a comparison.

    Attributes:
        label: What to call it.
        source: The file that it is from.
        record: The number.
    """

    label: str
    source: Path
    record: Record


@dataclass(frozen=True)
class Mismatch:
    """A field in which numbers differ that must agree.

    Attributes:
        field: Its name, one of FIELDS.
        values: In words, each with the label of the first entry that has it.
    """

    field: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Ranked:
    """An entry and its place.

    Attributes:
        entry: The number.
        rank: 1 + how many others are better beyond the errors; None for a metric without better.
        tied: Whether it cannot be told from the best.
        at_floor: Whether it cannot be told from real images.
    """

    entry: Entry
    rank: int | None
    tied: bool
    at_floor: bool


def find_entries(
    paths: Sequence[Path], *, metric: str, form: str, split: str | None
) -> list[Entry]:
    """The numbers of a metric in files of records, or in folders that hold such files.

    Args:
        paths: Files, folders of files, or runs (whose `evaluations/` are taken).
        metric: A name of `GROUPS`.
        form: raw, denoised or both, of samples; images of other programs are always taken.
        split: Of the reference: train, test or all; None takes train where there are several.

    Raises:
        InputError: No such metric, files that cannot be read, or a path without such a number.
    """
    if metric not in GROUPS:
        raise InputError(f"there is no number {metric!r}; known are {', '.join(GROUPS)}")
    entries = []
    for path in paths:
        found = [
            (file, record)
            for file in _files(path)
            for record in _of_split(
                [
                    each
                    for each in read_records(file)
                    if each.metric == metric and form in ("both", *_forms(each))
                ],
                split,
            )
        ]
        if not found:
            what = f"{metric} of {'images' if form == 'both' else f'{form} samples'}"
            where = "" if split is None else f" against the split {split}"
            raise InputError(f"{path} holds no record of {what}{where}")
        entries += found
    return [
        Entry(label, file, record)
        for label, (file, record) in zip(_labels(entries), entries, strict=True)
    ]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    folder = path / "evaluations" if (path / "evaluations").is_dir() else path
    files = sorted(folder.glob("*.json"))
    if not files:
        raise InputError(f"{folder} holds no record (.json); cascore evaluate writes them")
    return files


def _forms(record: Record) -> tuple[str, ...]:
    form = record.images.form
    return ("raw", "denoised") if form == "images" else (form,)


def _of_split(records: Sequence[Record], split: str | None) -> list[Record]:
    if split is not None:
        return [each for each in records if split in {one.split for one in each.references}]
    first = [each for each in records if "train" in {one.split for one in each.references}]
    return first or list(records)


def _labels(entries: Sequence[tuple[Path, Record]]) -> list[str]:
    """Names that tell the entries apart, as short as that allows."""
    whole = [_parts(file, record) for file, record in entries]
    constant = {name for name in whole[0] if len({parts[name] for parts in whole}) == 1}
    labels = [
        ", ".join(text for name, text in parts.items() if text and name not in constant)
        for parts in whole
    ]
    return [label or parts["path"] for label, parts in zip(labels, whole, strict=True)]


def _parts(file: Path, record: Record) -> dict[str, str]:
    model, sampler, images = record.model, record.sampler, record.images
    return {
        "path": images.path,
        "step": "" if model is None else f"step {model.step}",
        "sampler": "" if sampler is None else _sampler_words(sampler.settings),
        "nfe": "" if sampler is None else f"{sampler.nfe} calls",
        "form": images.form,
        "seed": "" if images.first_seed is None else f"seed {images.first_seed}",
        "count": f"{images.count} images",
        "extractor": "" if record.extractor is None else record.extractor.name,
        "reference": " ".join(_reference_words(each) for each in record.references),
        "selection": "" if record.selection is None else f"best of {record.selection.candidates}",
        "file": file.name,
    }


def _sampler_words(settings: Mapping[str, Any]) -> str:
    if settings.get("method") == "als":
        return f"ALS n_sigma {settings.get('n_sigma')}"
    knobs = [f"{k} {settings[k]}" for k in ("kappa", "eta", "epsilon") if settings.get(k)]
    return f"CAS order {settings.get('order')} {' '.join(knobs)}"


def _reference_words(reference: Reference) -> str:
    count = "unknown count" if reference.count is None else f"{reference.count}"
    split = reference.split or "unknown split"
    return f"{reference.name} {split} {count} ({reference.digest[:12]})"


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


FIELDS: Mapping[str, Callable[[Record], str]] = {
    "form": lambda r: r.images.form,
    "count": lambda r: str(r.images.count),
    "preprocessing": lambda r: json.dumps(r.images.preprocessing, sort_keys=True),
    "settings": lambda r: json.dumps(_own_settings(r), sort_keys=True),
    "extractor": lambda r: _or_none(r.extractor),
    "reference": lambda r: "; ".join(f"{x.name} (digest {x.digest[:12]})" for x in r.references),
    "split": lambda r: ", ".join(_or_none(x.split) for x in r.references),
    "reference-count": lambda r: ", ".join(_or_none(x.count) for x in r.references),
    "provenance": lambda r: ", ".join(x.provenance for x in r.references),
    "selection": lambda r: _selection_words(r),
}
"""What must agree for numbers to be ranked: a name to accept it by, and its value in words."""


def _own_settings(record: Record) -> dict[str, Any]:
    """Without what follows from the count."""
    return {name: value for name, value in record.settings.items() if name != "perfect"}


def _selection_words(record: Record) -> str:
    if record.selection is None:
        return "not selected"
    return f"best of {record.selection.candidates} by {record.selection.metric}"


def mismatches(entries: Sequence[Entry], *, accepted: Sequence[str] = ()) -> list[Mismatch]:
    """The fields in which numbers differ that must agree, but for those that are accepted.

    Raises:
        InputError: A field to accept that is none.
    """
    unknown = [name for name in accepted if name not in FIELDS]
    if unknown:
        raise InputError(f"there is no field {unknown[0]!r} to accept; known: {', '.join(FIELDS)}")
    found = []
    for name, words in FIELDS.items():
        first: dict[str, str] = {}
        for entry in entries:
            first.setdefault(words(entry.record), entry.label)
        if len(first) > 1 and name not in accepted:
            found.append(Mismatch(name, tuple((label, value) for value, label in first.items())))
    return found


def require_comparable(entries: Sequence[Entry], *, accepted: Sequence[str] = ()) -> None:
    """Raise InputError, naming fields and values, unless numbers may be ranked."""
    found = mismatches(entries, accepted=accepted)
    if found:
        lines = [
            f"  {each.field}: " + " | ".join(f"{value} ({label})" for label, value in each.values)
            for each in found
        ]
        names = " ".join([*accepted, *(each.field for each in found)])
        raise InputError(
            "these numbers cannot be ranked, because their provenance differs:\n"
            + "\n".join(lines)
            + "\nmeasure them alike; or, if you know that it does no harm here, accept it:"
            f" --accept {names}"
        )


def rank(entries: Sequence[Entry]) -> list[Ranked]:
    """Entries from best to worst; those within TIE combined standard errors are not told apart.

    Of a metric that has no better, in the order of the values. Infinite values come last.
    """
    direction = _BETTER.get(entries[0].record.metric)

    def badness(entry: Entry) -> float:
        value = entry.record.value
        return math.inf if value is None else value * -(direction or -1)

    ordered = sorted(entries, key=badness)
    best = ordered[0]
    return [
        Ranked(
            entry=entry,
            rank=None
            if direction is None
            else 1
            + sum(badness(other) < badness(entry) and not _tied(other, entry) for other in ordered),
            tied=entry is not best and _tied(best, entry),
            at_floor=_at_floor(entry.record),
        )
        for entry in ordered
    ]


def _tied(a: Entry, b: Entry) -> bool:
    if a.record.value is None or b.record.value is None:
        return a.record.value is b.record.value
    errors = [each.record.error or 0.0 for each in (a, b)]
    return abs(a.record.value - b.record.value) <= TIE * math.hypot(*errors)


def _at_floor(record: Record) -> bool:
    floor = record.floor
    if floor is None or record.value is None:
        return False
    return record.value <= floor.mean + 2 * floor.spread
