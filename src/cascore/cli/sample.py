"""`cascore sample`: pictures from a run, a model folder or a model that comes with cascore."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from cascore.cli import options
from cascore.cli.common import chosen_sampler, plain_console
from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.model.pretrained import find_model, place_for, spoken_name
from cascore.progress import Display


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a trained model: PNGs, sheets and a record."""

    path: options.ModelName
    out: Path | None = None
    """New folder for the pictures (default: within that folder, or samples/NAME)."""
    count: int | None = None
    """How many pictures (default: 64, or 8 of each of several classes, which share them)."""
    label: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]|all")] = ()
    """Classes to draw, of a model that knows them; several share the pictures, a row each."""
    guidance: float = 1.0
    """How far towards the class: 1 as it was learned, above it more typical and less varied, at two
    evaluations of the network a call."""
    seed: int = 0
    """Of the first picture; picture i has seed + i, and looks the same in any batch."""
    checkpoint: options.Checkpoint = "auto"
    batch_size: options.BatchSize = 256
    like: options.Like = None
    sampler: options.Samplers = field(default_factory=Sampler)
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Draw pictures and write them with their record."""
        from cascore.experiment import build
        from cascore.experiment.chain import seeds_from
        from cascore.experiment.outputs import file_name, write_samples
        from cascore.locks import new_folder
        from cascore.model.loading import load

        path, display = find_model(self.path), Display()
        sampler = chosen_sampler(self.sampler, self.like, path)
        device = build.select_device(self.device)
        model = load(path, device=device, checkpoint=self.checkpoint, notify=display.say)
        named = model.classes if self.label == ("all",) else self.label
        rows = max(1, len(named))
        count = (8 * rows if rows > 1 else 64) if self.count is None else self.count
        seeds = seeds_from(self.seed, count)
        labels = model.labels(self.label or None, count)
        advice = model.advised(sampler)
        sampler = advice.sampler
        chain = model.chain(sampler)
        name = f"{chain.label} {chain.calls} calls seed {self.seed} count {count}"
        if labels is not None:
            name += f" {' '.join(self.label)} guidance {self.guidance:g}"
        folder = self.out or place_for(path, "samples") / file_name(f"{name} step {model.step}")
        if self.out is None and (folder / "record.json").is_file():
            raise InputError(
                f"{folder} holds these pictures already, sheet denoised.png: others with --seed, or"
                " the same elsewhere with --out"
            )
        with new_folder(folder, "sampling"):
            if advice.notice is not None:
                display.say(advice.notice)
            started = time.monotonic()
            samples = model.draw(
                seeds,
                sampler,
                labels=labels,
                guidance=self.guidance,
                batch_size=self.batch_size,
                display=display,
            )
            seconds = time.monotonic() - started
            record = {
                "run": spoken_name(path),
                "experiment": asdict(model.experiment),
                "step": model.step,
                "checkpoint": model.digest,
                "data": dict(model.data),
                "sampler": asdict(chain),
                "nfe": samples.nfe,
                "tuned": None if advice.choice is None else asdict(advice.choice),
                "first_seed": self.seed,
                "count": count,
                "labels": list(named),
                "guidance": self.guidance if named else None,
            }
            columns = count // rows if rows > 1 else None
            write_samples(samples, folder, seeds=seeds, record=record, columns=columns)
        display.say(
            f"{count} samples of {spoken_name(path)} at {samples.nfe} network calls each"
            f" ({chain.label}) in {seconds:.1f} s"
        )
        if len(model.shape) == 3:
            display.say(f"all on one sheet: {folder / 'denoised.png'}; the record: record.json")
        plain_console().print(folder)
        return 0
