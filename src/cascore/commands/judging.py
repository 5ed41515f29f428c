"""`cascore evaluate`: a run's samples, or a folder of images, against real images."""

import math
import re
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor

from cascore.commands.sampling import draw, provenance
from cascore.console import Display
from cascore.datasets import ImageSet
from cascore.datasets.folder import FolderOptions, load_folder
from cascore.errors import InputError
from cascore.experiments import build
from cascore.experiments.config import Data, Sampler
from cascore.experiments.evaluate import Judge, Judged, new_judge
from cascore.experiments.generate import seeds_from
from cascore.experiments.models import is_model, load_model
from cascore.experiments.outputs import write_record
from cascore.metrics import load_extractor
from cascore.pixels import to_uint8

__all__ = ["evaluate"]


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
    if is_model(path):
        seeds = seeds_from(first_seed, count)
        place = build.select_device(device)
        model = load_model(path, device=place)
        settings = model.experiment.data
        if data is not None:
            settings = replace(settings, name=data)
        judge = _judge(replace(settings, root=root or settings.root), count)
        _require_same_shape(judge, model.shape, settings.name)
        samples = draw(model, sampler, seeds, batch_size=batch_size, place=place)
        images = {"raw": to_uint8(samples.raw), "denoised": to_uint8(samples.denoised)}
        record = provenance(path, model, sampler, nfe=samples.nfe) | {"first_seed": first_seed}
        title = f"{path}: {sampler.label}, {samples.nfe} calls, {count} images"
        name = f"{sampler.label} {samples.nfe} calls seed {first_seed} count {count}"
        out = out or path / "evaluations" / (re.sub(r"[^a-z0-9.]+", "-", name.lower()) + ".json")
    else:
        if (path / "record.json").is_file():
            raise InputError(
                f"{path} holds samples of cascore twice: judge {path / 'denoised'} or"
                f" {path / 'raw'}"
            )
        if data is None:
            raise InputError(
                f"{path} is neither a run nor a model directory; to judge a folder of images, name"
                " the real images to compare with: --data digits"
            )
        loaded = load_folder(path, "all", options=FolderOptions())
        judge = _judge(Data(name=data, root=root), loaded.count)
        images = {"images": loaded.images}
        record = {"images": str(path), "images_digest": loaded.digest}
        title = f"{path}: {loaded.count} images"
    _report(images, judge, title=title, record=record, out=out)
    return 0


def _require_same_shape(judge: Judge, shape: tuple[int, ...], name: str) -> None:
    """Before minutes of sampling, not after."""
    if judge.train.shape != shape:
        raise InputError(
            f"the model makes images of shape {list(shape)}, {name} has {list(judge.train.shape)}:"
            " they cannot be compared"
        )


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
    for column in ("", "to train", "floor", "to held-out", "floor", "copying"):
        table.add_column(column, justify="left" if not column else "right")
    results: dict[str, object] = {}
    for name, each in images.items():
        near, far, ratio = judge.to_train(each), judge.to_test(each), judge.memorisation(each)
        table.add_row(name, *_cells(near), *_cells(far), f"{ratio:.3f}")
        results[name] = {
            "frechet_to_train": asdict(near),
            "frechet_to_test": asdict(far),
            "memorisation_ratio": ratio if math.isfinite(ratio) else None,
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
        out.parent.mkdir(parents=True, exist_ok=True)
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
