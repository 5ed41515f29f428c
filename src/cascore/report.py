"""`cascore quickstart`: train on real digits, sample three ways, measure, and write one page.

The page is one HTML file that needs nothing else: images and charts are in it and it names no
address, so it can be kept, mailed and read offline. Its numbers are also records of the run, which
`cascore compare` and `cascore verify` read. Jinja2 draws it and comes with the extra `report`.
"""

import base64
import importlib
import math
import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cascore import pixels
from cascore.errors import MissingExtraError
from cascore.evaluation.evaluate import evaluate, reference_for
from cascore.evaluation.reference import Reference
from cascore.experiment.outputs import file_name, software
from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.run_folder import METRICS
from cascore.experiment.settings import EvaluationSettings, Experiment, Sampler
from cascore.files import write_text
from cascore.measurement import Measurement, chain_words, write_measurements
from cascore.metrics import nearest_neighbours
from cascore.model.folder import read_model_record
from cascore.model.loading import Model, load
from cascore.plain import read_log
from cascore.progress import Display
from cascore.stats import independent_difference, verdict

_DIGITS = PRESETS["digits"]
EXPERIMENT = replace(
    _DIGITS,
    name="quickstart",
    network=replace(_DIGITS.network, conditional=True, preconditioned=True),
    train=replace(_DIGITS.train, steps=1500, batch_size=64, sigmas="log-normal", warmup=100),
)
"""A network that sees the noise learns in a third of the time what the paper's form does."""
SAMPLERS = (
    Sampler(method="als", calls=100, n_sigma=5),
    Sampler(method="cas", order=1, calls=100, kappa=1.5),
    Sampler(method="cas", order=2, calls=10),
)
"""The rows of the page; the last gives the film, the neighbours and the comparisons."""
SHIPPED = ("cifar-10", "fashion-mnist-aware")
"""Models that come with cascore, whose pictures the page shows first."""
_COUNT = 512  # pictures of each sampler, all measured
_ROWS, _COLUMNS = 5, 8  # of pictures of a shipped model; of one that knows classes, a row each
_SHOWN, _QUERIES, _NEIGHBOURS = 49, 6, 5
_FAR = 3.0  # times the floor: where every sampler is beyond, none is called better
_LINES = 58  # dark grey between images suits a light page and a dark one

Row = Mapping[Any, Any]
"""What the page says of a sampler; a measurement for each (form, split). See `_row`."""


def run_quickstart(
    folder: Path,
    *,
    device: torch.device,
    display: Display,
    experiment: Experiment = EXPERIMENT,
    samplers: Sequence[Sampler] = SAMPLERS,
    shipped: Sequence[str] = SHIPPED,
    count: int = _COUNT,
) -> Path:
    """Train (or go on), draw `count` pictures with each sampler, measure; the page's path."""
    require_jinja()  # before minutes of training, not after
    page, settings, started = folder / "report.html", experiment.train, time.monotonic()
    steps = training_run(experiment, folder, device=device, notify=display.say)
    shown = display.training(steps, total=settings.steps, batch_size=settings.batch_size)
    if not sum(1 for _ in shown) and page.is_file():
        display.say("trained and judged before; delete the folder to start afresh")
        return page
    seconds, model = time.monotonic() - started, load(folder, device=device)
    evaluation = EvaluationSettings(path=folder, count=count)
    reference = reference_for(evaluation, model, device=device)
    assert reference.floors  # computed now, so that the first sampler's time is its own
    rows = [
        _row(model, folder, sampler, reference, device=device, display=display)
        for sampler in samplers
    ]
    train, last = reference.sets["train"].images, rows[-1]
    lines = read_log(folder / METRICS).values
    write_text(
        page,
        render(
            headline=headline([row["denoised", "train"] for row in rows]),
            facts=_facts(model, reference, seconds=seconds, device=device),
            real=train[torch.linspace(0, len(train) - 1, min(len(train), _SHOWN)).long()],
            shipped=[_shipped(name, device=device, display=display) for name in shipped],
            rows=rows,
            neighbours=_neighbours(last["images"]["denoised"][:_QUERIES], train),
            copying=last["copying"],
            film=_film(model, samplers[-1]),
            losses=[(line["step"], line["dsm"]) for line in lines],
            extractor=f"{reference.extractor.dimension} features of the classifier"
            f" {reference.extractor.identity.name} that comes with cascore",
            folder=shlex.quote(str(folder)),
        ),
    )
    return page


def _row(
    model: Model,
    folder: Path,
    sampler: Sampler,
    reference: Reference,
    *,
    device: torch.device,
    display: Display,
) -> Row:
    """Samples of a sampler and their distances, by (form, split), which are also written."""
    chain, started = model.chain(sampler), time.monotonic()
    display.say(f"{chain.label}, {chain.calls} network calls")
    settings = EvaluationSettings(
        path=folder, sampler=sampler, count=reference.count, metrics=("frechet", "memorisation")
    )
    evaluation = evaluate(
        settings,
        device=device,
        model=model,
        reference=reference,
        display=display,
        command="cascore quickstart",
    )
    numbers = evaluation.measurements
    file = file_name(f"quickstart {chain.label} {chain.calls} calls step {model.step}")
    write_measurements(folder / "evaluations" / f"{file}.json", numbers)
    return {
        "name": chain.label,
        "settings": f"{chain.levels} {chain.spacing} levels",
        "nfe": chain.calls,
        "count": reference.count,
        "seconds": time.monotonic() - started,
        "images": evaluation.images,
        "copying": next(n.value for n in reversed(numbers) if n.metric == "memorisation"),
        **{(n.images.form, n.references[0].split): n for n in numbers if n.metric == "frechet"},
    }


def headline(numbers: Sequence[Measurement]) -> tuple[str, str]:
    """How far from the floor samples are, and which come closer, if they are near enough.

    Of the Fréchet distance of each sampler's denoised samples to the training images; all have a
    floor, and the last is compared with each of the others.
    """
    best, last = min(numbers, key=lambda number: number.estimate.mean), numbers[-1]
    floor, distance = best.floor, best.estimate.mean
    assert floor is not None
    score = f"{distance:.2f} against {floor.mean:.2f} ± {floor.spread:.2f}"
    first = f"The closest samples score {distance / floor.mean:.1f} times what real digits score:"
    if best.at_floor:
        first = "The closest samples score what real digits score among themselves:"
    if distance > _FAR * floor.mean:
        claim = "Every sampler is far from real digits, so none of them is called better."
        return f"{first} {score}.", claim
    if len(numbers) == 1:
        return f"{first} {score}.", ""
    clauses = []
    for other in numbers[:-1]:
        result = verdict(independent_difference(last.estimate, other.estimate))
        result = "tie" if last.at_floor and other.at_floor else result
        words = {"better": "comes closer than", "worse": "stays farther than", "tie": "ties with"}
        clauses.append(f"{words[result]} {_words(other)}")
    return f"{first} {score}.", f"{_words(last)} {' and '.join(clauses)}."


def _words(number: Measurement) -> str:
    """What drew the samples, and their distance."""
    assert number.sampler is not None  # a model was sampled
    words, distance = chain_words(number.sampler.settings), number.estimate
    calls = f"{number.sampler.calls} network calls"
    return f"{words} in {calls} ({distance.mean:.2f} ± {distance.error:.2f})"


def _facts(
    model: Model, reference: Reference, *, seconds: float, device: torch.device
) -> list[tuple[str, str]]:
    settings, versions, train = model.experiment.train, software(), reference.sets["train"]
    parameters = sum(tensor.numel() for tensor in model.denoiser.parameters())
    height, width = train.shape[1:]
    return [
        ("Data", f"{train.count:,} real {width}×{height} handwritten digits"),
        ("Score network", f"{parameters:,} parameters"),
        ("Training", f"{model.step:,} updates with {settings.batch_size} images each"),
        ("Training time", f"{seconds:.0f} s"),
        ("Machine", f"{device.type}, {torch.get_num_threads()} threads, {versions['machine']}"),
        ("Versions", f"cascore {versions['cascore']}, torch {versions['torch']}"),
        ("Seeds", f"one training (seed {settings.seed}), pictures 0 to {reference.count - 1}"),
    ]


def _shipped(name: str, *, device: torch.device, display: Display) -> Mapping[str, Any]:
    """Pictures of a model that comes with cascore, drawn here, and what its card says of them."""
    model = load(name, device=device)
    record, chain = read_model_record(model.folder), model.chain(Sampler())
    display.say(f"{name}, {chain.calls} network calls")
    rows = len(model.classes) or _ROWS
    label = "all" if model.classes else None
    samples = model.sample(range(rows * _COLUMNS), label=label, progress=False)
    return {
        "name": name,
        "images": pixels.to_uint8(samples.denoised),
        "classes": model.classes,
        "nfe": chain.calls,
        "score": next(score for score in record.scores if score.metric == "frechet"),
    }


def _neighbours(queries: Tensor, train: Tensor) -> list[Mapping[str, Any]]:
    near = nearest_neighbours(pixels.to_float(queries), pixels.to_float(train), k=_NEIGHBOURS)
    return [
        {"sample": query, "images": train[index], "distances": distances.tolist()}
        for query, index, distances in zip(queries, near.index, near.distance, strict=True)
    ]


def _film(model: Model, sampler: Sampler) -> list[Mapping[str, Any]]:
    """Every network call of one chain."""
    frames: list[Mapping[str, Any]] = []

    def keep(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        frames.append({"sigma": sigma, "x": x.cpu(), "denoised": denoised.cpu()})

    model.draw([0], sampler, callback=keep)
    return frames


# --- the page -------------------------------------------------------------------------------------


def require_jinja() -> None:
    """Raise MissingExtraError before any work is done, if the page could not be drawn after it."""
    try:
        importlib.import_module("jinja2")
    except ImportError as error:
        raise MissingExtraError(what="The page", package="jinja2", extra="report") from error


def render(*, rows: Sequence[Row], losses: Sequence[tuple[float, float]], **parts: Any) -> str:
    """The page, a complete HTML document, of samplers, steps with their losses, and other parts.

    Parts are by the names of the template; images are uint8 [n, C, H, W].
    """
    require_jinja()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cascore", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(sheet=_sheet, tile=_tile, number=_number, floor_words=_floor_words)
    return environment.get_template("report.html.j2").render(
        rows=list(zip("ABCDEF", rows, strict=False)),
        quality=_quality_chart(rows),
        loss=_loss_chart(*zip(*losses, strict=True)),
        **parts,
    )


def _sheet(images: Tensor, columns: int | None = None) -> str:
    """A data: URI of images side by side, enlarged without smoothing.

    Without a number of columns a square of the first of them.
    """
    shown = images.cpu() if columns else images[:_SHOWN].cpu()
    columns = columns or min(8, math.ceil(math.sqrt(len(shown))))
    scale = max(1, round(640 / (columns * shown.shape[-1])))
    return _uri(pixels.grid(shown, columns=columns, scale=scale, padding=4, background=_LINES))


def _tile(image: Tensor) -> str:
    """A data: URI of one image, float in [0, 1] or uint8, enlarged without smoothing."""
    image = pixels.to_uint8(image) if image.is_floating_point() else image
    scale = max(1, 128 // image.shape[-1])
    return _uri(pixels.grid(image.cpu()[None], columns=1, scale=scale, padding=0))


def _uri(image: Tensor) -> str:
    return "data:image/png;base64," + base64.b64encode(pixels.encode_png(image)).decode("ascii")


def _number(value: float | None) -> str:
    """About three significant digits, without an exponent."""
    if value is None or not math.isfinite(value):
        return "not finite"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    return f"{value:,.{min(3, max(0, digits))}f}"


def _floor_words(number: Measurement) -> str:
    """How a distance stands to its floor; "" if above it."""
    if not number.at_floor or number.floor is None:
        return ""
    below = number.estimate.mean < number.floor.band[0]
    return "below the floor" if below else "at the floor"


_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 630, 34, 262  # the frame of a chart in its own units


def _axis(
    low: float, high: float, start: float, end: float
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """A logarithmic axis: where a value stands, and ticks at 1, 2, 5 times powers of ten."""

    def at(value: float) -> float:
        return round(start + (end - start) * math.log(value / low) / math.log(high / low), 1)

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return at, [(at(tick), f"{tick:,g}") for tick in ticks if low <= tick <= high]


def _quality_chart(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Distance to the training images against network calls, with the floor as a band."""
    pairs = [[max(row[f, "train"].value, 1e-6) for f in ("raw", "denoised")] for row in rows]
    low, high = rows[0]["denoised", "train"].floor.band
    values = [high, *(value for pair in pairs for value in pair)]
    calls = [row["nfe"] for row in rows]
    bottom, top = min(values) / 1.3, 1.3 * max(values)
    y, ticks = _axis(bottom, top, _BOTTOM, _TOP)
    x, _ = _axis(min(calls) / 1.5, 1.5 * max(calls), _LEFT, _RIGHT)
    aside = [calls[:index].count(number) for index, number in enumerate(calls)]
    return {
        "marks": [
            (x(number) + 26 * shift, *map(y, pair))
            for number, shift, pair in zip(calls, aside, pairs, strict=True)
        ],
        "band": (y(high), y(max(bottom, low))),
        "x_ticks": [(x(number), f"{number:,}") for number in sorted(set(calls))],
        "y_ticks": ticks,
    }


def _loss_chart(steps: Sequence[float], values: Sequence[float]) -> Mapping[str, Any]:
    """Means of short stretches of the loss."""
    length = -(-len(values) // 120)
    means = [
        statistics.fmean(values[start : start + length]) for start in range(0, len(values), length)
    ]
    y, ticks = _axis(min(means) / 1.1, 1.1 * max(means), _BOTTOM, _TOP)
    wide = (_RIGHT - _LEFT) / max(1, len(means) - 1)
    return {
        "line": " ".join(f"{_LEFT + i * wide:.1f},{y(mean)}" for i, mean in enumerate(means)),
        "x_ticks": [
            (_LEFT + (_RIGHT - _LEFT) * i / 4, f"{steps[0] + (steps[-1] - steps[0]) * i / 4:,.0f}")
            for i in range(5)
        ],
        "y_ticks": ticks,
    }
