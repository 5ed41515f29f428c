"""The main job, end to end: train on real digits, sample three ways, judge, and write one page."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cascore.data import ImageSet, load_images
from cascore.evaluation.reference import Reference, drawn, load_reference
from cascore.experiment import build
from cascore.experiment.generate import chain_frames, generate, seeds_from
from cascore.experiment.outputs import file_name, software, write_samples
from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.settings import Experiment, Sampler
from cascore.measurement import at_floor
from cascore.metrics import load_classifier, memorisation_ratio, nearest_neighbours
from cascore.model.loading import Model, load_model
from cascore.pixels import to_float, to_uint8
from cascore.progress import Display
from cascore.report.gallery import shipped_gallery
from cascore.report.page import (
    Distance,
    Film,
    LossCurve,
    NeighbourRow,
    Report,
    SamplerRow,
    require_report_packages,
    write_report,
)

__all__ = ["FULL", "Scale", "run_quickstart"]

SHOWN = 49  # pictures on a sheet
QUERIES, NEIGHBOURS = 6, 5


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the run is.

    Attributes:
        experiment: what is trained.
        samplers: the rows of the page, the last of which gives the film and the neighbours.
        count: pictures of each sampler, all judged.
    """

    experiment: Experiment
    samplers: Sequence[Sampler]
    count: int


FULL = Scale(
    experiment=PRESETS["digits"],
    samplers=(
        Sampler(method="als", steps=20, n_sigma=5),
        Sampler(method="cas", order=1, steps=100, kappa=1.5),
        Sampler(method="cas", order=2, steps=10),
    ),
    count=512,
)


def run_quickstart(folder: Path, *, scale: Scale, device: torch.device, display: Display) -> Path:
    """Train (or go on), sample, judge and write `folder/report.html`; its path."""
    require_report_packages()  # before minutes of training, not after
    page, experiment = folder / "report.html", scale.experiment
    settings = experiment.train
    started = time.monotonic()
    metrics = training_run(experiment, folder, device=device, notify=display.say)
    new_steps = 0
    for _ in display.training(metrics, total=settings.steps, batch_size=settings.batch_size):
        new_steps += 1
    if not new_steps and page.is_file():
        display.say("trained and judged before; delete the folder to start afresh")
        return page
    trained = time.monotonic() - started
    model = load_model(folder, device=device)
    train, test = (load_images(experiment.data.name, split) for split in ("train", "test"))
    classifier = load_classifier(experiment.data.name)
    judge = load_reference(experiment.data, count=scale.count, device=device)
    rows = [
        _sampled(model, sampler, judge, folder, device=device, display=display)
        for sampler in scale.samplers
    ]
    report = Report(
        title="cascore quickstart",
        headline=_headline(rows),
        facts=_facts(model, train, scale, trained_seconds=trained, device=device),
        real=train.images[_evenly(train.count, SHOWN)],
        rows=rows,
        neighbours=_neighbours(rows[-1], train),
        memorisation_ratio=_copying(rows[-1].images_denoised, train, test),
        film=_film(model, scale.samplers[-1], device),
        losses=_losses(folder),
        extractor=f"{classifier.dimension} features of a classifier of the digits"
        f" ({classifier.accuracy:.1%} right on held-out images) that comes with cascore",
        next_steps=_next_steps(folder),
        gallery=shipped_gallery(
            model,
            rows[-1].images_denoised,
            scale.samplers[-1],
            judge,
            shown=SHOWN,
            device=device,
            display=display,
        ),
    )
    # The page shows a sheet of each sampler, not all the pictures that were judged.
    shown = [
        replace(
            row,
            images_raw=row.images_raw[:SHOWN],
            images_denoised=row.images_denoised[:SHOWN],
        )
        for row in rows
    ]
    return write_report(replace(report, rows=shown), page)


def _evenly(count: int, wanted: int) -> torch.Tensor:
    """Indices spread over a set, the same each time."""
    return torch.linspace(0, count - 1, min(count, wanted)).long()


def _sampled(
    model: Model,
    sampler: Sampler,
    judge: Reference,
    folder: Path,
    *,
    device: torch.device,
    display: Display,
) -> SamplerRow:
    seeds = seeds_from(0, judge.count)
    schedule = model.experiment.schedule
    calls = build.network_calls(sampler, schedule)
    started = time.monotonic()
    label = build.label_of(sampler)
    with display.counting(f"{label}, {calls} calls", calls * judge.count) as advance:
        samples = generate(
            model.denoiser,
            shape=model.shape,
            seeds=seeds,
            sampler=sampler,
            schedule=schedule,
            device=device,
            progress=advance,
        )
    seconds = time.monotonic() - started
    target = folder / "samples" / file_name(f"step {model.step} {label} {calls} calls")
    if not target.exists():
        record = {"sampler": build.settings_of(sampler), "nfe": samples.nfe, "first_seed": 0}
        write_samples(samples, target, seeds=seeds, record=record)
    raw, denoised = to_uint8(samples.raw), to_uint8(samples.denoised)
    raw_features, denoised_features = judge.see(raw), judge.see(denoised)
    return SamplerRow(
        name=build.label_of(sampler),
        settings=_settings(sampler),
        nfe=samples.nfe,
        images_raw=raw,
        images_denoised=denoised,
        to_train_raw=_distance(judge, raw_features, "train"),
        to_train_denoised=_distance(judge, denoised_features, "train"),
        to_held_out_raw=_distance(judge, raw_features, "test"),
        to_held_out_denoised=_distance(judge, denoised_features, "test"),
        seconds=seconds,
        count=judge.count,
    )


def _settings(sampler: Sampler) -> str:
    levels = f"{sampler.steps} levels"
    if sampler.method == "als":
        return f"annealed Langevin, {levels}, {sampler.n_sigma} steps each, Technique 4"
    rule = "the paper's rule" if sampler.order == 1 else "two-step rule"
    return f"consistent annealed, {levels}, {rule}, kappa {build.resolved(sampler).kappa:g}"


def _distance(judge: Reference, features: torch.Tensor, split: str) -> Distance:
    distance, floor = judge.frechet(features, split), judge.floors[split]
    assert floor is not None  # there are enough digits
    return Distance(
        value=distance.mean,
        floor_mean=floor.mean,
        floor_spread=floor.spread,
        at_floor=at_floor(distance.mean, floor),
        extrapolated=floor.extrapolated,
    )


def _copying(images: torch.Tensor, train: ImageSet, test: ImageSet) -> float:
    size = min(train.count, test.count)
    sets = (images, drawn(train.images, size), drawn(test.images, size))
    return memorisation_ratio(*map(to_float, sets), seed=0).ratio


def _headline(rows: Sequence[SamplerRow]) -> str:
    first, last = rows[0], rows[-1]
    before, after = (row.to_train_denoised for row in (first, last))
    ends = "closer to real digits than" if after.value <= before.value else "not as close as"
    return (
        f"Consistent sampling in {last.nfe} network calls comes {ends} annealed Langevin sampling"
        f" in {first.nfe}: {after.value:.2f} against {before.value:.2f}, where real digits score"
        f" {after.floor_mean:.2f}."
    )


def _facts(
    model: Model, train: ImageSet, scale: Scale, *, trained_seconds: float, device: torch.device
) -> list[tuple[str, str]]:
    settings, versions = model.experiment.train, software()
    parameters = sum(each.numel() for each in model.denoiser.parameters())
    height, width = train.shape[1:]
    return [
        ("Data", f"{train.count:,} real {width}×{height} handwritten digits"),
        ("Score network", f"U-Net, {parameters:,} parameters"),
        ("Training", f"{model.step:,} steps of {settings.batch_size} images"),
        ("Training time", f"{trained_seconds:.0f} s"),
        ("Machine", f"{device.type}, {torch.get_num_threads()} threads, {versions['machine']}"),
        ("Versions", f"cascore {versions['cascore']}, torch {versions['torch']}"),
        ("Seeds", f"one training (seed {settings.seed}), pictures 0 to {scale.count - 1}"),
    ]


def _neighbours(row: SamplerRow, train: ImageSet) -> list[NeighbourRow]:
    queries = row.images_denoised[:QUERIES]
    found = nearest_neighbours(to_float(queries), to_float(train.images), k=NEIGHBOURS)
    return [
        NeighbourRow(sample=query, neighbours=train.images[index], distances=distance.tolist())
        for query, index, distance in zip(queries, found.index, found.distance, strict=True)
    ]


def _film(model: Model, sampler: Sampler, device: torch.device) -> Film:
    frames = chain_frames(
        model.denoiser,
        shape=model.shape,
        seed=0,
        sampler=sampler,
        schedule=model.experiment.schedule,
        device=device,
    )
    return Film(
        sigmas=[frame.sigma for frame in frames],
        x=to_uint8(torch.cat([frame.x for frame in frames])),
        denoised=to_uint8(torch.cat([frame.denoised for frame in frames])),
    )


def _losses(folder: Path) -> LossCurve:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    each = [json.loads(line) for line in lines]
    return LossCurve(
        steps=[line["step"] for line in each],
        values=[line["dsm"] for line in each],
        note="Eq. 1, summed over pixels, at noise levels drawn at random; most of what is left is"
        " noise that no network could remove.",
    )


def _next_steps(folder: Path) -> list[tuple[str, str]]:
    return [
        (f"cascore sample {folder} --steps 25 --kappa 3", "more calls, more noise"),
        ("cascore train digits --train.steps 6000 --out runs/long", "train three times longer"),
        ("cascore train digits-adversarial", "add the discriminator of the hybrid objective"),
        (f"cascore evaluate {folder} --steps 8", "judge any sampler setting, with its record"),
    ]
