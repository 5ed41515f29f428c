"""Numbers side by side: found in files, refused if their provenance differs, ranked, and drawn."""

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascore.errors import InputError, MissingExtraError
from cascore.files import replaced_file
from cascore.measurement import METRICS, Floor, Measurement, chain_words, read_measurements
from cascore.plain import printable
from cascore.stats import Estimate, independent_difference, verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """A number that takes part in a comparison."""

    label: str
    source: Path
    measurement: Measurement
    rank: int | None = None
    """1 + how many others are better (`stats.verdict`); None before ranking, and for a metric that
    is best neither high nor low."""
    tied: bool = False
    """Whether it is not shown to be worse than the first."""


# --- finding --------------------------------------------------------------------------------------


def find_rows(paths: Sequence[Path], *, metric: str, form: str, split: str | None) -> list[Row]:
    """The numbers of a metric in files of measurements, folders of files, or runs.

    Of those by class it is that of all classes together.
    `form` is raw, denoised or both, of samples; images of other programs are always taken. `split`
    is that of the reference; None takes train where there are several. Nothing to compare, and
    files that cannot be read, raise InputError.
    """
    if metric not in METRICS:
        raise InputError(f"there is no number {metric!r}; known are {', '.join(METRICS)}")
    if not paths:
        raise InputError("there is nothing to compare: name files of records, or runs")
    numbers: list[tuple[Path, Measurement]] = []
    for path in paths:
        in_path = [
            (file, measurement)
            for file in _files(path)
            for measurement in _chosen(read_measurements(file), metric, form, split)
        ]
        if not in_path:
            what = f"{metric} of {'images' if form == 'both' else f'{form} samples'}"
            where = "" if split is None else f" against the split {split}"
            raise InputError(f"{path} holds no record of {what}{where}")
        numbers += in_path
    return [
        Row(label, file, measurement)
        for label, (file, measurement) in zip(_labels(numbers), numbers, strict=True)
    ]


# Their names are known where torch is imported, which a table of numbers need not wait for.
_LOG, _OF_A_MODEL = "evaluations.jsonl", ("experiment.json", "model.json")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    log, inner = path / _LOG, path / "evaluations"
    files = sorted(inner.glob("*.json"))
    if not files and log.is_file():
        files = [log]  # of a training that was evaluated on the way
    if not files and not any((path / name).is_file() for name in _OF_A_MODEL):
        files = sorted(path.glob("*.json"))
    if not files:
        raise InputError(f"{path} holds no record (.json); cascore evaluate writes them")
    return files


def _chosen(
    measurements: Sequence[Measurement], metric: str, form: str, split: str | None
) -> list[Measurement]:
    chosen = [
        m
        for m in measurements
        if m.metric == metric
        and (form == "both" or m.images.form in (form, "images"))
        and "class" not in m.settings  # numbers of all classes are compared
    ]
    of_split = [m for m in chosen if (split or "train") in {real.split for real in m.references}]
    return of_split if of_split or split is not None else chosen


def _labels(numbers: Sequence[tuple[Path, Measurement]]) -> list[str]:
    """Names that tell the numbers apart, as short as that allows."""
    whole = [_parts(file, measurement) for file, measurement in numbers]
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


def _parts(file: Path, measurement: Measurement) -> dict[str, str]:
    model, sampler, images = measurement.model, measurement.sampler, measurement.images
    extractor, selection = measurement.extractor, measurement.selection
    return {
        "path": images.path,
        "step": "" if model is None else f"step {model.step}",
        "sampler": "" if sampler is None else chain_words(sampler.settings),
        "calls": "" if sampler is None else f"{sampler.calls} calls",
        "form": images.form,
        "seed": "" if images.first_seed is None else f"seed {images.first_seed}",
        "count": f"{images.count} images",
        "extractor": "" if extractor is None else extractor.name,
        "reference": " ".join(
            f"{x.name} {x.split or 'unknown split'} {x.count or 'unknown count'} ({x.digest[:12]})"
            for x in measurement.references
        ),
        "selection": "" if selection is None else f"best of {selection.candidates}",
        "file": file.name,
    }


# --- what must agree ------------------------------------------------------------------------------


def _words(values: Iterable[object]) -> str:
    return ", ".join("none" if value is None else str(value) for value in values)


def _json(settings: Mapping[str, Any]) -> str:
    """Without the value of a perfect generator, which follows from the count."""
    return json.dumps({n: v for n, v in settings.items() if n != "perfect"}, sort_keys=True)


FIELDS: Mapping[str, Callable[[Measurement], str]] = {
    "form": lambda m: m.images.form,
    "count": lambda m: str(m.images.count),
    "preprocessing": lambda m: _json(m.images.preprocessing),
    "settings": lambda m: _json(m.settings),
    "extractor": lambda m: _words([m.extractor]),
    "reference": lambda m: _words(f"{x.name} (digest {x.digest[:12]})" for x in m.references),
    "split": lambda m: _words(x.split for x in m.references),
    "reference-count": lambda m: _words(x.count for x in m.references),
    "provenance": lambda m: _words(x.provenance for x in m.references),
    "selection": lambda m: (
        "not selected"
        if m.selection is None
        else f"best of {m.selection.candidates} by {m.selection.metric}"
    ),
}
"""What must agree for numbers to be ranked: a name to accept it by, and its value in words."""


def require_comparable(rows: Sequence[Row], *, accepted: Sequence[str] = ()) -> None:
    """Refuse numbers that differ in one of FIELDS, unless it is accepted.

    The InputError names every such field, its values, and a file of each.
    """
    unknown = [name for name in accepted if name not in FIELDS]
    if unknown:
        raise InputError(f"there is no field {unknown[0]!r} to accept; known: {', '.join(FIELDS)}")
    different: dict[str, str] = {}
    for name, words in FIELDS.items():
        sources: dict[str, Path] = {}
        for row in rows:
            sources.setdefault(words(row.measurement), row.source)
        if len(sources) > 1 and name not in accepted:
            different[name] = "; ".join(f"{value} in {file}" for value, file in sources.items())
    if different:
        lines = "".join(f"  {name}: {values}\n" for name, values in different.items())
        raise InputError(
            f"these numbers cannot be ranked, because their provenance differs:\n{lines}"
            "measure them alike; or, if you know that it does no harm here, accept it:"
            f" --accept {' '.join([*accepted, *different])}"
        )


# --- ranking and drawing --------------------------------------------------------------------------


def rank(rows: Sequence[Row]) -> list[Row]:
    """The rows from best to worst, with ranks; ties are those of `stats.verdict`.

    Of a metric that has no better, in the order of the values. Infinite values come last.
    """
    better = METRICS[rows[0].measurement.metric].better

    def badness(row: Row) -> float:
        value = row.measurement.estimate.mean
        return -value if better == "higher" and math.isfinite(value) else value

    ordered = sorted(rows, key=badness)
    return [
        replace(
            row,
            tied=row is not ordered[0] and _ties(ordered[0].measurement, row.measurement),
            rank=None if better is None else 1 + sum(
                badness(other) < badness(row) and not _ties(other.measurement, row.measurement)
                for other in ordered
            ),
        )
        for row in ordered
    ]  # fmt: skip


def _ties(a: Measurement, b: Measurement) -> bool:
    if a.value is None or b.value is None:
        return a.value is b.value
    return verdict(independent_difference(a.estimate, b.estimate)) == "tie"


_INK, _SOFT, _RULE, _BAND = "#1f2430", "#5b6475", "#d9dde5", "#e7efe6"
_DOT, _TIED = "#1f5fa8", "#7fa6d6"


def comparison_chart(ranked: Sequence[Row], path: Path, *, title: str, across: str) -> None:
    """Draw the finite numbers, best on top, and what real images score where that is one number."""
    shown = [row for row in ranked if row.measurement.value is not None]
    colours = [_SOFT if row.rank not in (1, None) else _TIED if row.tied else _DOT for row in shown]
    dots = [
        (row.label, row.measurement.estimate, colour)
        for row, colour in zip(shown, colours, strict=True)
    ]
    floors = {row.measurement.floor for row in shown}
    floor = floors.pop() if len(floors) == 1 else None
    dot_chart(dots, path, title=title, across=across, floor=floor)


def dot_chart(
    dots: Sequence[tuple[str, Estimate, str]],
    path: Path,
    *,
    title: str,
    across: str,
    floor: Floor | None,
) -> None:
    """Draw labels, numbers with bars of one standard error, and their colours from the top down.

    Below is what the axis measures, behind it the floor as a band. The file is a .png, .svg or
    .pdf; another ending, and matplotlib not installed, raise InputError.
    """
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"a chart is written to .png, .svg or .pdf, not to {path.name}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(what="a chart", package="matplotlib", extra="report") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names are text, in which a $ begins no formula.
    with (
        rc_context({"text.parse_math": False}),
        replaced_file(path) as temporary,
        temporary.open("wb") as stream,
    ):
        figure = _drawn(Figure(), dots, title=printable(title), across=across, floor=floor)
        figure.savefig(stream, format=path.suffix[1:], dpi=160, facecolor="white")


def _drawn(
    figure: "Figure",
    dots: Sequence[tuple[str, Estimate, str]],
    *,
    title: str,
    across: str,
    floor: Floor | None,
) -> "Figure":
    lines = textwrap.wrap(title, 84)
    figure.set_size_inches(7.4, 1.2 + 0.34 * len(dots) + 0.17 * (len(lines) - 1))
    figure.set_layout_engine("constrained")
    # Over the whole figure and not the axes, whose left edge depends on the labels.
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10.5, color=_INK)
    axes = figure.add_subplot()
    if floor is not None:
        low, high = floor.band
        axes.axvspan(max(0.0, low), high, color=_BAND, linewidth=0, label="real images")
        figure.legend(loc="outside lower right", frameon=False, fontsize=8.5, labelcolor=_SOFT)
    for height, (_, number, colour) in enumerate(dots):
        bar = [0.0 if math.isnan(number.error) else number.error]
        axes.errorbar(
            [number.mean], [height], xerr=bar, fmt="o", color=colour, capsize=3.5, elinewidth=1.6
        )
    axes.set_yticks(range(len(dots)), labels=[printable(label) for label, _, _ in dots])
    axes.set_ylim(len(dots) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel(across, fontsize=9.5, color=_SOFT)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="x", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure
