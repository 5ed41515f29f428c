"""`cascore sample`: pictures from a run, a model folder or a model that comes with cascore."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from cascore.cli import options
from cascore.cli.common import chosen_sampler, display_of, plain_console
from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.model.pretrained import find_model, place_for, spoken_name

if TYPE_CHECKING:
    from cascore.model.advice import Advised
    from cascore.model.loading import Model
    from cascore.training import Workers


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from a trained model: PNGs, sheets and a record."""

    path: options.ModelName
    out: Path | None = None
    """New folder for the pictures (default: within that folder, or samples/NAME)."""
    count: int | None = None
    """How many pictures (default: 64, or 8 of each of several classes, which share them)."""
    label: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]|all")] = None
    """Classes to draw, of a model that knows them; several share the pictures, a row each."""
    guidance: float = 1.0
    """How far towards the class: 1 as it was learned, above it more typical and less varied, at two
    evaluations of the network a call."""
    seed: int = 0
    """Of the first picture; picture i has seed + i, and looks the same in any batch."""
    checkpoint: options.Checkpoint = "auto"
    batch_size: options.BatchSize = 256
    precision: options.Precisions = "float32"
    compiled: options.Compiled = False
    like: options.Like = None
    sampler: options.Samplers = field(default_factory=Sampler)
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Draw pictures and write them with their record."""
        from cascore.experiment import build
        from cascore.experiment.chain import seeds_from
        from cascore.experiment.outputs import file_name, told_apart, write_samples
        from cascore.locks import one_writer
        from cascore.model.loading import load
        from cascore.model.wide import ShareDone, draw_widely, first_goes_on, parts_beside
        from cascore.training import PATIENCE, held_by_first, joined_processes

        path = find_model(self.path)
        sampler = chosen_sampler(self.sampler, self.like, path)
        device = build.select_device(self.device)
        with joined_processes(device, patience=PATIENCE) as (device, workers):
            display = display_of(workers)
            model = load(
                path,
                device=device,
                checkpoint=self.checkpoint,
                precision=self.precision,
                compiled=self.compiled,
                notify=display.say,
            )
            named = model.classes if self.label == ("all",) else self.label or ()
            rows = max(1, len(named))
            count = (8 * rows if rows > 1 else 64) if self.count is None else self.count
            seeds = seeds_from(self.seed, count)
            labels = model.labels(self.label, count)
            advice = model.advised(sampler)
            chain = model.chain(advice.sampler)
            name = f"{chain.label} {chain.calls} calls seed {self.seed} count {count}"
            if self.label is not None:
                name += f" {told_apart(' '.join(self.label))} guidance {self.guidance:g}"
            name += f" {self.precision}" * (self.precision != "float32")
            folder = self.out or place_for(path, "samples") / file_name(f"{name} step {model.step}")
            lock = one_writer(folder, "sampling")
            with suppress(ShareDone), held_by_first(lock, workers, what=folder, device=device):
                self._require_new(folder, workers)
                if advice.notice is not None:
                    display.say(advice.notice)
                started = time.monotonic()
                with parts_beside(folder) as parts:
                    drawn = draw_widely(
                        model,
                        seeds,
                        advice.sampler,
                        parts,
                        labels=labels,
                        guidance=self.guidance,
                        batch_size=self.batch_size,
                        workers=workers,
                        display=display,
                    )
                    first_goes_on(workers)
                    samples = drawn.rows(slice(None))
                    record = {
                        **_facts(model, path, advice),
                        "nfe": samples.nfe,
                        "first_seed": self.seed,
                        "count": count,
                        "labels": list(named),
                        "guidance": self.guidance if named else None,
                        "precision": self.precision,
                        "compiled": self.compiled,
                    }
                    columns = count // rows if rows > 1 else None
                    write_samples(samples, folder, seeds=seeds, record=record, columns=columns)
                display.say(
                    f"{count} samples of {spoken_name(path)}"
                    f" at {samples.nfe} network evaluations each"
                    f" ({chain.label}) in {time.monotonic() - started:.1f} s"
                )
                if len(model.shape) == 3:
                    sheet = folder / "denoised.png"
                    display.say(f"all on one sheet: {sheet}; the record: record.json")
                plain_console().print(folder)
        return 0

    def _require_new(self, folder: Path, workers: "Workers") -> None:
        """Refuse a folder that is there; then nothing is left of how it was made."""
        from cascore.files import require_new
        from cascore.model.wide import discard_parts

        drawn = (folder / "record.json").is_file()
        if drawn and workers.rank == 0:
            discard_parts(folder)
        if drawn and self.out is None:
            raise InputError(
                f"{folder} holds these pictures already, sheet denoised.png: others with --seed, or"
                " the same elsewhere with --out"
            )
        require_new(folder)


def _facts(model: "Model", path: Path, advice: "Advised") -> dict[str, Any]:
    """What the record says of the model and of its sampler."""
    return {
        "run": spoken_name(path),
        "experiment": asdict(model.experiment),
        "step": model.step,
        "checkpoint": model.digest,
        "data": dict(model.data),
        "sampler": asdict(model.chain(advice.sampler)),
        "tuned": None if advice.choice is None else asdict(advice.choice),
    }
