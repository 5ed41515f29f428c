"""A number and everything it follows from: the record of an evaluation, versioned, read strictly.

A file of records is a JSON list, one record for each number; `.jsonl` holds one to a line. Every
record stands for itself: cut one out of the list and it can still be compared and verified.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cascore.errors import InputError
from cascore.metrics import ExtractorIdentity
from cascore.plain import from_plain, read_json, read_json_lines, to_plain, write_json

__all__ = [
    "SCHEMA",
    "Computation",
    "FloorFacts",
    "Form",
    "JudgedImages",
    "ModelFacts",
    "Record",
    "Reference",
    "SamplerFacts",
    "Selection",
    "read_records",
    "record_from_plain",
    "record_to_plain",
    "write_records",
]

SCHEMA = "cascore.record/1"
"""Name and version of the schema; a record of another one is refused."""

Form = Literal["raw", "denoised", "images"]
"""Last states of the chains, these denoised, or images of which cascore does not know."""


@dataclass(frozen=True, kw_only=True)
class FloorFacts:
    """What real images score in place of the judged ones, as `cascore.metrics.Floor`."""

    mean: float
    spread: float
    repeats: int
    extrapolated: bool


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """The images that a number is of.

    Attributes:
        source: What made them: a run or a model directory of cascore, or a folder of files.
        path: The folder.
        form: Whether they were denoised.
        count: How many.
        digest: SHA-256 of their pixels, uint8.
        first_seed: Image i has seed first_seed + i; None for files.
        preprocessing: How files were brought to one shape: size, crop, filter, mode; empty for
            images taken as they are.
    """

    source: Literal["run", "model", "folder"]
    path: str
    form: Form
    count: int
    digest: str
    first_seed: int | None
    preprocessing: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The model that made the images.

    Attributes:
        name: Of the experiment.
        digest: SHA-256 of the file of its weights.
        step: Updates of the score network.
        checkpoint: Which checkpoint was asked for: newest, best, or a step.
        experiment: Settings of its training; the chain's levels span those of the schedule.
        data: What it was trained on, as far as that is known.
    """

    name: str
    digest: str
    step: int
    checkpoint: str
    experiment: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SamplerFacts:
    """Every setting of the sampler, kappa and spacing those in force, and its network calls."""

    settings: Mapping[str, Any]
    nfe: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Real images that the number compares with.

    Attributes:
        kind: A data set, or a file of statistics.
        name: Of the data set, or the path of the file.
        split: train, test or all; None where it is not known.
        count: Images compared with; None where it is not known.
        available: Images of the split, of which `count` were drawn at random.
        digest: SHA-256 of the split's pixels and labels, or of the file.
        settings: Of the data set: root, size, crop, filter, mode, as far as given.
        preparation: What was done to its images, in words.
        provenance: unknown for statistics that do not say where they come from.
    """

    kind: Literal["data", "statistics"]
    name: str
    split: str | None
    count: int | None
    available: int | None
    digest: str
    settings: Mapping[str, Any]
    preparation: tuple[str, ...]
    provenance: Literal["known", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the checkpoint was chosen: it had the best `value` of `metric` among `candidates`.

    Attributes:
        metric: What was compared, on other samples than those of the record.
        value: Of the chosen one.
        step: Of the chosen one.
        candidates: Checkpoints compared. The best of many is luckier than one.
    """

    metric: str
    value: float
    step: int
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Computation:
    """What moves a number by rounding, where anything does."""

    device: str
    threads: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number.

    Attributes:
        metric: What was measured.
        value: The number; None where it is infinite (a memorisation ratio can be).
        error: Its standard error; None where there is none.
        settings: Of the metric.
        floor: Of a Fréchet distance; None where there are too few real images to know it.
        data: The real images, and the classifier, by the name that they were asked for.
        images: What was judged.
        model: What made them; None for files.
        sampler: How they were drawn; None for files.
        extractor: What made features of them; None for numbers of pixels.
        references: What they were compared with: one set, two for memorisation, none for modes.
        selection: None for a checkpoint that no number chose.
        computation: Device, threads and batch size.
        software: Versions.
        command: What was typed.
    """

    metric: str
    value: float | None
    error: float | None
    settings: Mapping[str, Any]
    floor: FloorFacts | None
    data: str
    images: JudgedImages
    model: ModelFacts | None
    sampler: SamplerFacts | None
    extractor: ExtractorIdentity | None
    references: tuple[Reference, ...]
    selection: Selection | None
    computation: Computation
    software: Mapping[str, Any]
    command: str


def record_to_plain(record: Record) -> dict[str, Any]:
    """The record as a JSON object, with the schema's name."""
    return {"schema": SCHEMA, **to_plain(record)}


def record_from_plain(values: Any, where: str) -> Record:
    """A record from a JSON object.

    Args:
        values: What JSON gave.
        where: What to call it in a message.

    Raises:
        InputError: Another schema; a field that is missing, unknown or of another kind, named.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.60}; expected a record")
    schema = values.get("schema")
    if schema != SCHEMA:
        raise InputError(f"{where}.schema is {schema!r:.60}; this cascore reads {SCHEMA!r}")
    return from_plain(Record, {k: v for k, v in values.items() if k != "schema"}, where)


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write a file of records, whole or not at all."""
    plain = [record_to_plain(record) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, plain)


def read_records(path: Path) -> list[Record]:
    """The records of a file: a list of them, a single one, or one to a line (`.jsonl`).

    Raises:
        InputError: A file that is missing or holds anything but records of this schema, named.
    """
    plain = read_json_lines(path) if path.suffix == ".jsonl" else read_json(path)
    several: Iterable[Any] = plain if isinstance(plain, list) else [plain]
    records = [record_from_plain(each, f"{path}[{i}]") for i, each in enumerate(several)]
    if not records:
        raise InputError(f"{path} holds no record")
    return records
