"""`cascore convert`: a model directory from a published checkpoint or from a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cascore.errors import InputError
from cascore.experiment.presets import PUBLISHED
from cascore.experiment.run_folder import is_run
from cascore.measurement import read_measurements
from cascore.model.convert import (
    Conversion,
    convert_checkpoint,
    convert_run,
    published_pixels,
)
from cascore.model.folder import DISCRIMINATOR, is_model_folder
from cascore.model.record import Weights
from cascore.progress import Display

__all__ = ["convert"]


def convert(
    source: Path,
    out: Path,
    *,
    network: str | None,
    weights: Weights,
    size: int | None,
    first: float | None,
    last: float | None,
    levels: int | None,
    data: str | None,
    records: Sequence[Path],
) -> int:
    """Write a model directory and say what is in it."""
    overrides = {"size": size, "first": first, "last": last, "levels": levels, "data": data}
    given = [f"--{name}" for name, value in overrides.items() if value is not None]
    if source.is_dir():
        _require_run(source, given + ["--network"] * (network is not None))
        measured = [record for file in records for record in read_measurements(file)]
        done = convert_run(source, out, weights=weights, measured=measured)
    else:
        if records:
            raise InputError("--records is for a run: a checkpoint file has no evaluations of ours")
        if network is None:
            raise InputError(
                f"name the network of {source} with --network: one of {', '.join(PUBLISHED)}"
            )
        experiment, (channels, height, _) = PUBLISHED[network]
        schedule = experiment.schedule
        experiment = replace(
            experiment,
            data=replace(experiment.data, name=experiment.data.name if data is None else data),
            schedule=replace(
                schedule,
                first=schedule.first if first is None else first,
                last=schedule.last if last is None else last,
                levels=schedule.levels if levels is None else levels,
            ),
        )
        side = height if size is None else size
        if side < 1:
            raise InputError(f"--size must be at least 1, not {side}")
        done = convert_checkpoint(
            source,
            out,
            experiment=experiment,
            shape=(channels, side, side),
            pixel_range=published_pixels(experiment.data.name),
            weights=weights,
        )
    _tell(done)
    return 0


def _require_run(source: Path, given: list[str]) -> None:
    if is_model_folder(source):
        raise InputError(f"{source} is a model directory already: cascore sample {source}")
    if not is_run(source):
        raise InputError(
            f"{source} is neither a checkpoint file nor a run of cascore train: no experiment.json"
        )
    if given:
        raise InputError(f"a run has settings of its own: leave out {', '.join(given)}")


def _tell(done: Conversion) -> None:
    display, record = Display(), done.record
    for notice in done.notices:
        display.say(notice)
    if record.other_pixels is not None:
        schedule = record.experiment.schedule
        display.say(
            f"the network was trained on pixels in {list(record.other_pixels)}; in [0, 1] its"
            f" noise levels are {schedule.first:g} to {schedule.last:g}"
        )
    if record.discriminator is not None:
        display.say(f"the discriminator was converted too: {DISCRIMINATOR}")
    which = {"ema": "average of the weights", "raw": "weights of the last step"}[record.weights]
    display.say(f"{which}, step {record.step}; next: cascore sample {done.folder}")
    Console(soft_wrap=True, highlight=False, markup=False).print(done.folder)
