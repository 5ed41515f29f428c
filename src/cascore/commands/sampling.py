"""`cascore sample`: pictures from a run or a model directory."""

import time
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from cascore.errors import InputError
from cascore.evaluation.advice import advised
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.outputs import file_name, require_new, write_samples
from cascore.experiment.presets import SAMPLERS, require_fitting
from cascore.experiment.run_folder import is_run, read_experiment
from cascore.experiment.settings import Sampler
from cascore.model.folder import is_model_folder, read_model_record
from cascore.model.loading import Model, load_model
from cascore.model.pretrained import place_for, spoken_name
from cascore.progress import Display
from cascore.sampling import Samples

__all__ = ["draw", "paper_sampler", "provenance", "sample"]


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
    advice, display = advised(sampler, run, model), Display()
    sampler = advice.sampler
    calls = build.network_calls(sampler, model.experiment.schedule)
    label = build.label_of(sampler)
    name = f"{label} {calls} calls seed {first_seed} count {count} step {model.step}"
    folder = out or place_for(run, "samples") / file_name(name)
    if out is None and (folder / "record.json").is_file():
        raise InputError(
            f"{folder} holds these pictures already, sheet denoised.png: others with --seed, or the"
            " same elsewhere with --out"
        )
    require_new(folder)
    if advice.notice is not None:
        display.say(advice.notice)
    started = time.monotonic()
    samples = draw(model, sampler, seeds, batch_size=batch_size, place=place)
    seconds = time.monotonic() - started
    record = {
        **provenance(run, model, sampler, nfe=samples.nfe),
        "tuned": None if advice.choice is None else asdict(advice.choice),
        "first_seed": first_seed,
        "count": count,
    }
    write_samples(samples, folder, seeds=seeds, record=record)
    display.say(
        f"{count} samples of {spoken_name(run)} at {samples.nfe} network calls each"
        f" ({label}) in {seconds:.1f} s"
    )
    if len(model.shape) == 3:
        display.say(f"all on one sheet: {folder / 'denoised.png'}; the record: record.json")
    Console(soft_wrap=True, highlight=False, markup=False).print(folder)
    return 0


def paper_sampler(name: str, path: Path) -> Sampler:
    """A sampler of the paper by name, for a model whose levels its step size was tuned for.

    Raises:
        InputError: the model has other noise levels, and the step size depends on them.
    """
    if is_run(path):
        require_fitting(name, read_experiment(path).schedule)
    elif is_model_folder(path):
        record = read_model_record(path)
        if name in record.samplers:  # in the units of its pixels
            return Sampler(**record.samplers[name])
        require_fitting(name, record.experiment.schedule)
    return SAMPLERS[name]


def draw(
    model: Model, sampler: Sampler, seeds: range, *, batch_size: int, place: torch.device
) -> Samples:
    """Sample one datum for each seed, showing progress."""
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


def provenance(run: Path, model: Model, sampler: Sampler, *, nfe: int) -> dict[str, object]:
    """What samples of a model follow from, for a record."""
    return {
        "run": spoken_name(run),
        "experiment": asdict(model.experiment),
        "step": model.step,
        "checkpoint": model.digest,
        "data": dict(model.data),
        "sampler": build.settings_of(sampler),
        "nfe": nfe,
    }
