"""`cascore convert`: a model folder from a published checkpoint or from a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.cli import options
from cascore.cli.common import plain_console, to_type
from cascore.errors import InputError
from cascore.experiment.presets import PUBLISHED
from cascore.measurement import read_measurements
from cascore.progress import Display

if TYPE_CHECKING:
    from cascore.model.convert import Conversion


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Make a model folder from a published checkpoint (.pth), or from a run.

    Example: cascore convert checkpoint_300000.pth models/cifar10 --network song-ermon-cifar10

    Nothing in the checkpoint is executed. The overrides are for networks that were trained on
    other data with the code of either repository.
    """

    source: tyro.conf.Positional[Path]
    """Checkpoint file of ermongroup/ncsnv2 or AlexiaJM/AdversarialConsistentScoreMatching, or the
    folder of a run of `cascore train`."""
    out: tyro.conf.Positional[Path]
    """New folder of the model."""
    network: options.Network | None = None
    """What the checkpoint is of; a run knows it."""
    weights: Literal["ema", "raw"] = "ema"
    """The average of the weights, or those of the last step."""
    half: bool = False
    """Of a run: round the weights to float16, half the bytes; single pixels may move."""
    ema_length: float | Literal["best"] | None = None
    """Of a run with --train.ema-profiles: the length of the average, as a share of the updates;
    best: that of the least error on held-out images, which are read."""
    size: int | None = None
    """Height and width of the images, where they are not those of the network's name."""
    first: float | None = None
    """sigma_1 of the training, where it is another."""
    last: float | None = None
    """sigma_L of the training, where it is another."""
    levels: int | None = None
    """L of the training, where it is another."""
    data: str | None = None
    """Name of the data set, where it is another."""
    records: tuple[Path, ...] = ()
    """Of a run: files that `cascore evaluate` wrote of that checkpoint, for the card."""

    def run(self, typed: str) -> int:
        """Write a model folder and say what is in it."""
        from cascore.model.folder import DISCRIMINATOR

        done = self._of_run() if self.source.is_dir() else self._of_checkpoint()
        display, schedule = Display(), done.record.experiment.schedule
        for notice in done.notices:
            display.say(notice)
        if (pixels := done.record.other_pixels) is not None:
            display.say(
                f"the network was trained on pixels in {list(pixels)}; in [0, 1] its noise levels"
                f" are {schedule.first:g} to {schedule.last:g}"
            )
        if done.record.discriminator is not None:
            display.say(f"the discriminator was converted too: {DISCRIMINATOR}")
        which = {"ema": "average of the weights", "raw": "weights of the last step"}[self.weights]
        display.say(f"{which}, step {done.record.step}; next: {to_type('sample', self.out)}")
        plain_console().print(self.out)
        return 0

    def _of_run(self) -> "Conversion":
        from cascore.model.convert import convert_run, require_of_average
        from cascore.model.folder import is_model_folder

        source = self.source
        if is_model_folder(source):
            raise InputError(f"{source} is a model folder already: {to_type('sample', source)}")
        overrides = ("size", "first", "last", "levels", "data", "network")
        given = [f"--{name}" for name in overrides if getattr(self, name) is not None]
        if given:
            raise InputError(f"a run has settings of its own: leave out {', '.join(given)}")
        length = self.ema_length
        require_of_average(self.weights, length)  # before the best one is looked for
        if length == "best":
            length = self._best_length()
        measured = [record for file in self.records for record in read_measurements(file)]
        return convert_run(
            source,
            self.out,
            weights=self.weights,
            half=self.half,
            ema_length=length,
            measured=measured,
        )

    def _best_length(self) -> float:
        from cascore.model.post_hoc import losses_by_length

        display = Display()
        losses = losses_by_length(self.source, notify=display.say)
        for length, loss in losses.items():
            display.say(f"length {length:g}: held-out loss {loss:.5g}")
        return min(losses, key=lambda length: losses[length])

    def _of_checkpoint(self) -> "Conversion":
        from cascore.model.convert import convert_checkpoint, published_pixels

        if not self.source.exists():
            raise InputError(f"there is no file or folder {self.source}")
        if self.records or self.half or self.ema_length is not None:
            raise InputError("--records, --half and --ema-length are for a run of cascore train")
        if self.network is None:
            raise InputError(
                f"name the network of {self.source} with --network: one of {', '.join(PUBLISHED)}"
            )
        experiment, (channels, height, _) = PUBLISHED[self.network]
        names = [name for name in ("first", "last", "levels") if getattr(self, name) is not None]
        schedule = replace(experiment.schedule, **{name: getattr(self, name) for name in names})
        data = replace(experiment.data, name=self.data or experiment.data.name)
        side = height if self.size is None else self.size
        return convert_checkpoint(
            self.source,
            self.out,
            experiment=replace(experiment, data=data, schedule=schedule),
            shape=(channels, side, side),
            pixel_range=published_pixels(data.name),
            weights=self.weights,
        )
