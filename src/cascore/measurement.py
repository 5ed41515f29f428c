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
from cascore.files import write_text
from cascore.plain import from_plain, read_json, read_json_lines, to_plain, write_json
from cascore.stats import Better, Estimate

SCHEMA = "cascore.record/1"
"""Name and version of the schema on the disk; a record of another one is refused."""

Form = Literal["raw", "denoised", "images"]
"""Last states of the chains, these denoised, or images of which cascore does not know."""

Setting = int | float | str | None | Mapping[str, Any]
"""Value of a sampler's setting."""


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation may hold."""

    group: str
    """What `--metrics` calls it; one name may stand for several numbers."""
    label: str
    better: Better | None
    """None for a number that is best neither high nor low."""
    needs: Literal["moments", "images", "splits", "classifier", "inception", "classes"]
    """A real set's features or their moments; images of a real set; training and held-out images; a
    classifier of the images; the logits of the extractor inception; or pictures asked for by class,
    and real images with labels."""
    over: int = 0
    """More images than this are needed on both sides."""
    unit: int = 1
    """What is printed is the value times this."""


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
    "agreement": Metric("classes", "of the class asked for", "higher", "classes"),
    "class-recall": Metric("classes", "recall within classes", "higher", "classes", over=3),
    "class-coverage": Metric("classes", "coverage within classes", "higher", "classes", over=5),
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
    """The Fréchet distance between real images and other real images, at the same counts."""

    mean: float
    """Over random splits."""
    spread: float
    """Standard deviation of a single split's distance."""
    repeats: int
    """Random splits."""
    extrapolated: bool
    """Whether there were too few real images to measure these counts."""

    @property
    def band(self) -> tuple[float, float]:
        """Two spreads to either side of the mean: where real images score."""
        return self.mean - 2 * self.spread, self.mean + 2 * self.spread


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The images that a number is of: of a run or a model folder of cascore, or files."""

    source: Literal["run", "model", "folder"]
    path: str
    form: Form
    count: int
    digest: str
    """SHA-256 of their pixels, uint8."""
    first_seed: int | None
    """Image i has seed first_seed + i; None for files."""
    preprocessing: Mapping[str, Any]
    """How files were brought to one shape: size, crop, filter, mode; empty if they had one."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The model that made the images."""

    name: str
    digest: str
    """SHA-256 of the file of its weights."""
    step: int
    """Updates of the score network."""
    checkpoint: str
    """Which checkpoint was asked for: auto, newest, best, or a step."""
    experiment: Mapping[str, Any]
    """Settings of its training; the chain's levels span those of the schedule."""
    data: Mapping[str, Any]
    """What it was trained on, as far as that is known."""


@dataclass(frozen=True, kw_only=True)
class SamplerFacts:
    """Every setting of the sampler, resolved to what was in force, and what a sample cost."""

    settings: Mapping[str, Setting]
    nfe: int
    """Evaluations of the network."""

    @property
    def calls(self) -> int:
        """Network calls of a chain; cascore 0.3 noted none, and knew no guidance, of two a call."""
        noted = self.settings.get("calls")
        return noted if isinstance(noted, int) else self.nfe


def chain_words(settings: Mapping[str, Setting]) -> str:
    """A chain in a few words, from the settings in force; its levels where not the paper's."""
    spacing, guidance = settings.get("spacing", "geometric"), settings.get("guidance")
    spaced = "" if spacing == "geometric" else f", {spacing} levels"
    if isinstance(guidance, int | float):
        spaced += f", by class, guidance {guidance:g}"
    if settings.get("method") == "als":
        return f"ALS, n_sigma {settings.get('n_sigma')}{spaced}"
    sizes = {name: settings.get(name) for name in ("eta", "epsilon", "kappa")}
    step = "".join(
        f", {name} {size:.4g}" if isinstance(size, int | float) else f", {name} {size}"
        for name, size in sizes.items()
        if size is not None
    )
    return f"CAS, order {settings.get('order')}{step}{spaced}"


@dataclass(frozen=True, kw_only=True)
class ReferenceFacts:
    """Real images that the number compares with; what is not known of them is None."""

    kind: Literal["data", "statistics"]
    name: str
    """Name of the data set, or path of the file of statistics."""
    split: str | None
    """train, test or all."""
    count: int | None
    """Images compared with, drawn at random from those available in the split."""
    available: int | None
    digest: str
    """SHA-256 of the split's pixels and labels, or of the file."""
    settings: Mapping[str, Any]
    """Settings of the data set: root, size, crop, filter, mode, as far as given."""
    preparation: tuple[str, ...]
    """What was done to its images, in words."""
    provenance: Literal["known", "unknown"]
    """unknown for statistics that do not say where they come from."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the checkpoint was chosen: the last of those that tie with the best of `candidates`.

    They were compared on other samples than those of the record. The best of many is luckier than
    one.
    """

    metric: str
    value: float
    step: int
    candidates: int


Precision = Literal["float32", "tf32", "bfloat16"]
"""Of a network's products: float32; tf32, in which a GPU keeps 10 bits of mantissa, and any other
device all; or bfloat16, which has 7. Whatever else is computed is float32."""


@dataclass(frozen=True, kw_only=True)
class Computation:
    """What moves a number by rounding, where anything does."""

    device: str
    threads: int
    batch_size: int
    precision: Precision = "float32"
    """Of the network of a model."""
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of some images; those of files have no model, sampler or selection."""

    metric: str
    """A name of METRICS."""
    value: float | None
    """None where it is infinite (a memorisation ratio can be)."""
    error: float | None
    """Its standard error; None where there is none."""
    settings: Mapping[str, Any]
    """Settings of the metric."""
    floor: Floor | None
    """What real images score in place of the judged ones, of a Fréchet distance; None where there
    are too few real images to know it."""
    data: str
    """The real images, and the classifier, by the name that they were asked for."""
    images: ImageFacts
    model: ModelFacts | None
    sampler: SamplerFacts | None
    extractor: ExtractorIdentity | None
    """What made features of them; None for numbers of pixels."""
    references: tuple[ReferenceFacts, ...]
    """What they were compared with: one set, two for memorisation, none for modes."""
    selection: Selection | None
    """None for a checkpoint that no number chose."""
    computation: Computation
    software: Mapping[str, Any]
    command: str
    """What was typed."""

    def __post_init__(self) -> None:
        for name in ("value", "error"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise InputError(f"{name} is {number}; expected a finite number or none")
        if self.error is not None and self.error < 0:
            raise InputError(f"error is {self.error}; expected at least 0, or none")

    @property
    def estimate(self) -> Estimate:
        """Value and error; what is infinite or unknown of them as a float.

        The error of an Inception score is of the scatter of a few parts: their number is known.
        """
        value = math.inf if self.value is None else self.value
        parts = self.settings.get("splits")
        freedom = parts - 1 if isinstance(parts, int) else math.inf
        return Estimate(value, math.nan if self.error is None else self.error, freedom)

    @property
    def at_floor(self) -> bool:
        """Whether other real images score as much: at most mean + 2 spread.

        One far *below* the floor passes too, but is no success: the samples are closer to the
        reference than new real images are. Look at `memorisation_ratio` then.
        """
        value, floor = self.value, self.floor
        return value is not None and floor is not None and value <= floor.band[1]

    @property
    def label(self) -> str:
        """The metric in words."""
        return METRICS[self.metric].label if self.metric in METRICS else self.metric


def in_words(value: float | None, error: float | None) -> str:
    """A number and its error as text, to the digits that a table needs."""
    if value is None:
        return "infinite"
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")


def measurement_from_plain(values: Any, where: str) -> Measurement:
    """A measurement from a JSON object; an InputError names `where` and the field at fault."""
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.60}; expected a record")
    schema = values.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{where}.schema is {schema!r:.60}; this cascore reads {SCHEMA!r}, records of numbers"
            " that cascore evaluate --out writes"
        )
    return from_plain(
        Measurement, {name: value for name, value in values.items() if name != "schema"}, where
    )


def _plain(measurement: Measurement) -> dict[str, Any]:
    return {"schema": SCHEMA, **to_plain(measurement)}


def measurement_line(measurement: Measurement) -> str:
    """The measurement as a line of a `.jsonl` file."""
    return json.dumps(_plain(measurement), allow_nan=False) + "\n"


def write_measurements(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write a file of measurements, whole or not at all: a list, or of .jsonl one to a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        write_text(path, "".join(map(measurement_line, measurements)))
    else:
        write_json(path, [_plain(measurement) for measurement in measurements])


def read_measurements(path: Path) -> list[Measurement]:
    """The measurements of a file: a list of them, a single one, or one to a line (`.jsonl`)."""
    plain = read_json_lines(path) if path.suffix == ".jsonl" else read_json(path)
    several = plain if isinstance(plain, list) else [plain]
    if not several:
        raise InputError(f"{path} holds no record")
    return [measurement_from_plain(values, f"{path}[{i}]") for i, values in enumerate(several)]
