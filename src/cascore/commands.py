"""What each command does: results on standard output, progress on standard error, an exit code."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch import distributed as dist

from cascore.console import Display
from cascore.datasets import ImageSet
from cascore.datasets.folder import FolderOptions, load_folder
from cascore.errors import InputError
from cascore.experiments import build
from cascore.experiments.config import Data, Experiment, Sampler, to_json
from cascore.experiments.evaluate import Judge, Judged, new_judge
from cascore.experiments.generate import generate, seeds_from
from cascore.experiments.outputs import file_digest, require_new, write_record, write_samples
from cascore.experiments.run import Model, load_model, read_experiment, training_run
from cascore.metrics import load_extractor
from cascore.pixels import to_uint8
from cascore.training import Workers
from cascore.training.checkpoint import checkpoints

__all__ = ["describe", "evaluate", "info", "quickstart", "sample", "train"]


def train(experiment: Experiment, folder: Path, *, device: str) -> int:
    """Train or continue a run; a first interrupt saves and stops, a second one stops at once."""
    with _joined(build.select_device(device)) as (place, workers), _asked_to_stop() as signals:
        display = Display(None if workers.rank == 0 else Console(quiet=True))
        metrics = training_run(
            experiment,
            folder,
            device=place,
            workers=workers,
            should_stop=lambda: bool(signals),
            notify=display.say,
        )
        settings = experiment.train
        for _ in display.training(metrics, total=settings.steps, batch_size=settings.batch_size):
            pass
        saved = checkpoints(folder / "checkpoints")[-1]
        if signals:
            display.say(f"stopped and saved at step {saved.step}; the same command goes on")
            return 128 + signals[0]
        display.say(f"trained to step {saved.step}: {folder}; next: cascore sample {folder}")
    return 0


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that came; handlers only take a note, which is read between steps."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _joined(device: torch.device) -> Iterator[tuple[torch.device, Workers]]:
    """The processes that torchrun started, or this one alone."""
    if not dist.is_torchelastic_launched():
        yield device, Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        if device.type == "cuda":
            device = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(device)
        yield device, Workers(rank=dist.get_rank(), count=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def describe(experiment: Experiment, *, device: str) -> int:
    """Print the resolved experiment, parameter counts and a time estimate measured here."""
    place = build.select_device(device)
    data = build.load_data(experiment.data, "train")
    shape = build.data_shape(data)
    state = build.build_state(experiment, shape, device=place)
    steps = build.trial_steps(experiment, state, data, device=place)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - started)
    typical = sorted(seconds[1:])[2]
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(to_json(experiment), end="")
    console.print(f"data: {data.count} items of shape {list(shape)}, digest {data.digest[:16]}")
    console.print(f"score network: {_parameters(state.denoiser):,} parameters")
    if state.discriminator is not None:
        console.print(f"discriminator: {_parameters(state.discriminator):,} parameters")
    total = typical * experiment.train.steps
    console.print(
        f"time: {typical * 1e3:.0f} ms a step on {place} with {torch.get_num_threads()} threads,"
        f" about {_duration(total)} for {experiment.train.steps} steps"
    )
    return 0


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def sample(
    run: Path,
    sampler: Sampler,
    *,
    out: Path | None,
    first_seed: int,
    count: int,
    batch_size: int,
    device: str,
) -> int:
    """Draw pictures and write them with their record."""
    seeds = seeds_from(first_seed, count)
    place = build.select_device(device)
    model = load_model(run, device=place)
    name = f"step-{model.step}-{sampler.label}-seed-{first_seed}-count-{count}"
    folder = out or run / "samples" / "".join(c if c.isalnum() else "-" for c in name)
    require_new(folder)
    samples = _draw(model, sampler, seeds, batch_size=batch_size, place=place)
    record = {
        **_provenance(run, model, sampler, nfe=samples.nfe),
        "first_seed": first_seed,
        "count": count,
    }
    write_samples(samples, folder, seeds=seeds, record=record)
    Display().say(f"{count} samples at {samples.nfe} network calls each ({sampler.label})")
    Console(soft_wrap=True, highlight=False, markup=False).print(folder)
    return 0


def _draw(model: Model, sampler: Sampler, seeds: range, *, batch_size: int, place: torch.device):  # type: ignore[no-untyped-def]
    schedule = model.experiment.schedule
    calls = build.network_calls(sampler, schedule)
    with Display().counting("sampling", calls * len(seeds)) as advance:
        return generate(
            model.denoiser,
            shape=model.shape,
            seeds=seeds,
            sampler=sampler,
            schedule=schedule,
            device=place,
            batch_size=batch_size,
            progress=advance,
        )


def _provenance(run: Path, model: Model, sampler: Sampler, *, nfe: int) -> dict[str, object]:
    checkpoint = checkpoints(run / "checkpoints")[-1]
    return {
        "run": str(run),
        "experiment": asdict(model.experiment),
        "step": model.step,
        "checkpoint": file_digest(checkpoint.tensors),
        "sampler": build.settings_of(sampler),
        "nfe": nfe,
    }


def evaluate(
    path: Path,
    sampler: Sampler,
    *,
    data: str | None,
    root: str | None,
    out: Path | None,
    first_seed: int,
    count: int,
    batch_size: int,
    device: str,
) -> int:
    """Judge a run's samples, or a folder of images, and write the record."""
    if (path / "experiment.json").is_file():
        seeds = seeds_from(first_seed, count)
        place = build.select_device(device)
        model = load_model(path, device=place)
        settings = model.experiment.data
        if data is not None:
            settings = replace(settings, name=data)
        judge = _judge(replace(settings, root=root or settings.root), count)
        samples = _draw(model, sampler, seeds, batch_size=batch_size, place=place)
        images = {"raw": to_uint8(samples.raw), "denoised": to_uint8(samples.denoised)}
        record = _provenance(path, model, sampler, nfe=samples.nfe) | {"first_seed": first_seed}
        title = f"{path}: {sampler.label}, {samples.nfe} calls, {count} images"
        out = out or path / "evaluation.json"
    else:
        if data is None:
            raise InputError(
                f"{path} is no run of cascore train; to judge a folder of images, name the real"
                " images to compare with: --data digits"
            )
        loaded = load_folder(path, "all", options=FolderOptions())
        judge = _judge(Data(name=data, root=root), loaded.count)
        images = {"images": loaded.images}
        record = {"images": str(path), "images_digest": loaded.digest}
        title = f"{path}: {loaded.count} images"
    _report(images, judge, title=title, record=record, out=out)
    return 0


def _judge(data: Data, count: int) -> Judge:
    train, test = build.load_data(data, "train"), build.load_data(data, "test")
    if not (isinstance(train, ImageSet) and isinstance(test, ImageSet)):
        raise InputError(f"{data.name} is a set of points; only images are judged so far")
    return new_judge(extractor=load_extractor(data.name), train=train, test=test, count=count)


def _report(
    images: dict[str, Tensor],
    judge: Judge,
    *,
    title: str,
    record: dict[str, object],
    out: Path | None,
) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("", "to training images", "floor", "to held-out images", "floor", "copying"):
        table.add_column(column, justify="left" if not column else "right")
    results: dict[str, object] = {}
    for name, each in images.items():
        near, far, ratio = judge.to_train(each), judge.to_test(each), judge.memorisation(each)
        table.add_row(name, *_cells(near), *_cells(far), f"{ratio:.3f}")
        results[name] = {
            "frechet_to_train": asdict(near),
            "frechet_to_test": asdict(far),
            "memorisation_ratio": ratio,
        }
    console = Console()
    console.print(table)
    console.print(
        f"Fréchet distance of {judge.extractor.identity.name} classifier features. Floor: what"
        " real images score at these counts (~: extrapolated); = marks a distance at the floor,"
        " not to be ranked. Copying: nearest-neighbour distance to training over held-out images;"
        " about 1 is not copying.",
        highlight=False,
    )
    if out is not None:
        whole = {
            **record,
            "metric": "frechet",
            "count": judge.count,
            "extractor": asdict(judge.extractor.identity),
            "reference": {
                each.split: {"name": each.name, "count": each.count, "digest": each.digest}
                for each in (judge.train, judge.test)
            },
            "results": results,
        }
        write_record(out, whole)
        Display().say(f"record: {out}")


def _cells(judged: Judged) -> tuple[str, str]:
    floor = judged.floor
    mark, tilde = ("=" if judged.at_floor else ""), ("~" if floor.extrapolated else "")
    return f"{mark}{judged.value:.3f}", f"{tilde}{floor.mean:.3f} ± {floor.spread:.3f}"


def info(run: Path) -> int:
    """Print what a run is."""
    experiment = read_experiment(run)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(to_json(experiment), end="")
    saved = checkpoints(run / "checkpoints")
    console.print(f"checkpoints: {', '.join(str(each.step) for each in saved) or 'none yet'}")
    if saved:
        model = load_model(run, device=torch.device("cpu"))
        console.print(f"score network: {_parameters(model.denoiser):,} parameters")
        console.print(f"datum: {list(model.shape)}; weights: {file_digest(saved[-1].tensors)}")
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    if lines:
        console.print(f"last: {json.dumps(json.loads(lines[-1]))}")
    return 0


def quickstart(folder: Path, *, device: str) -> int:
    """Train, sample, judge, and write the page."""
    from cascore.experiments.quickstart import FULL, run_quickstart

    page = run_quickstart(folder, scale=FULL, device=build.select_device(device), display=Display())
    Console(soft_wrap=True, highlight=False, markup=False).print(f"open {page}")
    return 0
