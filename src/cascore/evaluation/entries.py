"""The numbers of a comparison: found in files of records, and called by what tells them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascore.errors import InputError
from cascore.measurement import METRICS, Measurement, ReferenceFacts, read_measurements

__all__ = ["Entry", "find_entries"]


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
    record: Measurement


def find_entries(
    paths: Sequence[Path], *, metric: str, form: str, split: str | None
) -> list[Entry]:
    """The numbers of a metric in files of records, or in folders that hold such files.

    Args:
        paths: Files, folders of files, or runs (whose `evaluations/` are taken).
        metric: A name of METRICS.
        form: raw, denoised or both, of samples; images of other programs are always taken.
        split: Of the reference: train, test or all; None takes train where there are several.

    Raises:
        InputError: No path, no such metric, files that cannot be read, or a path without such a
            number.
    """
    if metric not in METRICS:
        raise InputError(f"there is no number {metric!r}; known are {', '.join(METRICS)}")
    entries = []
    for path in paths:
        found = [
            (file, record)
            for file in _files(path)
            for record in _of_split(
                [
                    each
                    for each in read_measurements(file)
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
    if not entries:
        raise InputError("there is nothing to compare: name files of records, or runs")
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


def _forms(record: Measurement) -> tuple[str, ...]:
    form = record.images.form
    return ("raw", "denoised") if form == "images" else (form,)


def _of_split(records: Sequence[Measurement], split: str | None) -> list[Measurement]:
    if split is not None:
        return [each for each in records if split in {one.split for one in each.references}]
    first = [each for each in records if "train" in {one.split for one in each.references}]
    return first or list(records)


def _labels(entries: Sequence[tuple[Path, Measurement]]) -> list[str]:
    """Names that tell the entries apart, as short as that allows."""
    whole = [_parts(file, record) for file, record in entries]
    constant = {name for name in whole[0] if len({parts[name] for parts in whole}) == 1}

    def named(without: set[str]) -> list[str]:
        return [
            ", ".join(text for name, text in parts.items() if text and name not in without)
            for parts in whole
        ]

    labels = named(constant | {"file"})
    if len(set(labels)) < len(labels):
        labels = named(constant)
    return [label or parts["path"] for label, parts in zip(labels, whole, strict=True)]


def _parts(file: Path, record: Measurement) -> dict[str, str]:
    model, sampler, images = record.model, record.sampler, record.images
    return {
        "path": images.path,
        "step": "" if model is None else f"step {model.step}",
        "sampler": "" if sampler is None else _sampler_words(sampler.settings),
        "levels": "" if sampler is None else f"{sampler.settings.get('spacing')} levels",
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


def _reference_words(reference: ReferenceFacts) -> str:
    count = "unknown count" if reference.count is None else f"{reference.count}"
    split = reference.split or "unknown split"
    return f"{reference.name} {split} {count} ({reference.digest[:12]})"
