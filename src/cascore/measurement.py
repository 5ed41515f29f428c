"""A measured number, everything it follows from, and the table of the numbers that there are.

A file of measurements is a JSON list, one object for each number; `.jsonl` holds one to a line.
Every measurement stands for itself: cut one out of the list and it can still be compared and
verified. Nothing here needs torch.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cascore.errors import InputError
from cascore.plain import from_plain, read_json, read_json_lines, to_plain, write_json
from cascore.stats import Better, Estimate

__all__ = [
    "METRICS",
    "METRIC_NAMES",
    "SCHEMA",
    "Computation",
    "ExtractorIdentity",
    "Floor",
    "Form",
    "ImageFacts",
    "Measurement",
    "Metric",
    "ModelFacts",
    "ReferenceFacts",
    "SamplerFacts",
    "Selection",
    "Setting",
    "at_floor",
    "measurement_from_plain",
    "measurement_line",
    "read_measurements",
    "write_measurements",
]

SCHEMA = "cascore.record/1"
"""Name and version of the schema on the disk; a record of another one is refused."""

Form = Literal["raw", "denoised", "images"]
"""Last states of the chains, these denoised, or images of which cascore does not know."""

Setting = int | float | str | None | Mapping[str, Any]
"""Value of a sampler's setting."""


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation may hold.

    Attributes:
        group: What `--metrics` calls it; one name may stand for several numbers.
        label: What a person reads.
        better: None for a number that is best neither high nor low.
        needs: A real set's features or their moments; images of a real set; training and held-out
            images; a classifier of the images; or the logits of the extractor inception.
        over: More images than this are needed on both sides.
        unit: What is printed is the value times this.
    """

    group: str
    label: str
    better: Better | None
    needs: Literal["moments", "images", "splits", "classifier", "inception"]
    over: int = 0
    unit: int = 1


METRICS: Mapping[str, Metric] = {
    "frechet": Metric("frechet", "Fréchet distance", "lower", "moments"),
    "kernel": Metric("kernel", "kernel distance", "lower", "images", unit=1000),
    "precision": Metric("precision-recall", "precision", "higher", "images", over=3),
    "recall": Metric("precision-recall", "recall", "higher", "images", over=3),
    "density": Metric("density-coverage", "density", None, "images", over=5),
    "coverage": Metric("density-coverage", "coverage", "higher", "images", over=5),
    "modes": Metric("modes", "modes reached", "higher", "classifier"),
    "modes-kl": Metric("modes", "KL of modes", "lower", "classifier"),
    "modes-kl-as-published": Metric("modes", "KL as published", "lower", "classifier"),
    "memorisation": Metric("memorisation", "copying, training / held-out", None, "splits"),
    "inception-score": Metric("inception-score", "Inception score", "higher", "inception"),
}
"""Every number by its name in records."""

METRIC_NAMES = tuple(dict.fromkeys(metric.group for metric in METRICS.values()))
"""What can be asked for."""


@dataclass(frozen=True)
class ExtractorIdentity:
    """What made the features: features of different identities are never compared."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name!r} (digest {self.digest[:12]})"


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The Fréchet distance between real images and other real images, at the same counts.

    Attributes:
        mean: Mean over random splits.
        spread: Standard deviation of a single split's distance.
        repeats: Random splits.
        extrapolated: True if there were too few real images to measure these counts.
    """

    mean: float
    spread: float
    repeats: int
    extrapolated: bool

    @property
    def band(self) -> tuple[float, float]:
        """Two spreads to either side of the mean: where real images score."""
        return self.mean - 2 * self.spread, self.mean + 2 * self.spread


def at_floor(distance: float | None, floor: Floor | None) -> bool:
    """Whether a distance cannot be told from that of real images: at most mean + 2 spread.

    A distance far *below* the floor passes too, but is no success: the samples are closer to the
    reference than new real images are. Look at `memorisation_ratio` then.
    """
    return distance is not None and floor is not None and distance <= floor.band[1]


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The images that a number is of.

    Attributes:
        source: What made them: a run or a model folder of cascore, or a folder of files.
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
        name: Name of the experiment.
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
    """Every setting of the sampler, resolved to what was in force, and its network calls."""

    settings: Mapping[str, Setting]
    nfe: int


@dataclass(frozen=True, kw_only=True)
class ReferenceFacts:
    """Real images that the number compares with.

    Attributes:
        kind: A data set, or a file of statistics.
        name: Name of the data set, or path of the file.
        split: train, test or all; None where it is not known.
        count: Images compared with; None where it is not known.
        available: Images of the split, of which `count` were drawn at random.
        digest: SHA-256 of the split's pixels and labels, or of the file.
        settings: Settings of the data set: root, size, crop, filter, mode, as far as given.
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
    """How the checkpoint was chosen: the last of those that tie with the best of `candidates`.

    Attributes:
        metric: What was compared, on other samples than those of the record.
        value: Value of the chosen one.
        step: Step of the chosen one.
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
class Measurement:
    """One number.

    Attributes:
        metric: A name of METRICS.
        value: The number; None where it is infinite (a memorisation ratio can be).
        error: Its standard error; None where there is none.
        settings: Settings of the metric.
        floor: What real images score in place of the judged ones, of a Fréchet distance; None
            where there are too few real images to know it.
        data: The real images, and the classifier, by the name that they were asked for.
        images: What was measured.
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
    floor: Floor | None
    data: str
    images: ImageFacts
    model: ModelFacts | None
    sampler: SamplerFacts | None
    extractor: ExtractorIdentity | None
    references: tuple[ReferenceFacts, ...]
    selection: Selection | None
    computation: Computation
    software: Mapping[str, Any]
    command: str

    def __post_init__(self) -> None:
        for name in ("value", "error"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise InputError(f"{name} is {number}; expected a finite number or none")

    @property
    def estimate(self) -> Estimate:
        """Value and error; what is infinite or unknown of them as a float."""
        value = math.inf if self.value is None else self.value
        return Estimate(value, math.nan if self.error is None else self.error)

    @property
    def at_floor(self) -> bool:
        """Whether it cannot be told from what real images score, and is not to be ranked."""
        return at_floor(self.value, self.floor)

    @property
    def label(self) -> str:
        """The metric in words."""
        return METRICS[self.metric].label if self.metric in METRICS else self.metric


def measurement_from_plain(values: Any, where: str) -> Measurement:
    """A measurement from a JSON object; `where` names it in messages.

    Raises:
        InputError: Another schema; a field that is missing, unknown or of another kind, named.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.60}; expected a record")
    schema = values.get("schema")
    if schema != SCHEMA:
        raise InputError(f"{where}.schema is {schema!r:.60}; this cascore reads {SCHEMA!r}")
    return from_plain(
        Measurement, {name: value for name, value in values.items() if name != "schema"}, where
    )


def _plain(measurement: Measurement) -> dict[str, Any]:
    return {"schema": SCHEMA, **to_plain(measurement)}


def measurement_line(measurement: Measurement) -> str:
    """The measurement as a line of a `.jsonl` file."""
    return json.dumps(_plain(measurement), allow_nan=False) + "\n"


def write_measurements(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write a file of measurements, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [_plain(measurement) for measurement in measurements])


def read_measurements(path: Path) -> list[Measurement]:
    """The measurements of a file: a list of them, a single one, or one to a line (`.jsonl`).

    Raises:
        InputError: A file that is missing or holds anything but records of this schema, named.
    """
    plain = read_json_lines(path) if path.suffix == ".jsonl" else read_json(path)
    several = plain if isinstance(plain, list) else [plain]
    if not several:
        raise InputError(f"{path} holds no record")
    return [measurement_from_plain(values, f"{path}[{i}]") for i, values in enumerate(several)]
