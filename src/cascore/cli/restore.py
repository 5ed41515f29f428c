"""`cascore restore`: pictures that agree with what is left of one."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cascore.cli import options
from cascore.cli.common import chosen_sampler, plain_console
from cascore.errors import InputError
from cascore.experiment.settings import Chain, Sampler
from cascore.model.pretrained import find_model, place_for, spoken_name
from cascore.progress import Display

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Restore a picture: draw pictures of a model that agree with what is seen of it.

    Examples:
    cascore restore fashion-mnist shirt.png --task inpaint --mask hole.png
    cascore restore runs/photos old.png --task colorize
    cascore restore fashion-mnist shirt.png --task super-resolve --factor 4 --degrade
    cascore restore cifar-10 grey.png --task colorize --label horse

    Each picture that is drawn is one answer; their mean and their spread say what is sure and what
    is invented. With --degrade the picture is whole: it is degraded first, and the answers are
    compared with it.
    """

    path: options.ModelName
    picture: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="PICTURE")]]
    """What is seen: an image file."""
    task: options.Task
    """What is missing: some pixels, the colour, resolution, sharpness, or all but a few numbers."""
    mask: Path | None = None
    """inpaint: an image that is white where pixels are missing."""
    factor: int | None = None
    """super-resolve: how many pixels become one, in each direction (default: 4)."""
    blur: float | None = None
    """deblur: deviation of the Gaussian blur, in pixels (default: 1)."""
    numbers: int | None = None
    """compressed: how many random projections are seen (default: a tenth of the pixels)."""
    noise: float = 0.02
    """Deviation of the noise in what is seen, in pixels of [0, 1]."""
    degrade: bool = False
    """The picture is whole: degrade it first, as the task says; compressed always does."""
    label: str | None = None
    """The class of what is in the picture, of a model that knows classes."""
    guidance: float = 1.0
    """How far towards the class: 1 as it was learned; any other costs two evaluations a call."""
    count: int = 8
    """How many pictures to draw."""
    seed: int = 0
    """Of the first picture."""
    out: Path | None = None
    """New folder (default: within that of the model, or samples/NAME)."""
    checkpoint: options.Checkpoint = "auto"
    batch_size: options.BatchSize = 64
    like: options.Like = None
    sampler: options.Samplers = field(default_factory=Sampler)
    device: options.Device = "auto"

    @property
    def _question(self) -> str:
        """What is asked of which picture, in words that tell it from other questions."""
        from cascore.experiment.outputs import told_apart

        words = [self.task, told_apart(self.picture.stem)]
        if self.mask is not None:
            words.append(f"mask {told_apart(self.mask.stem)}")
        numbers: dict[str, float | None] = {
            "factor": self.factor,
            "blur": self.blur,
            "numbers": self.numbers,
        }
        numbers["noise"] = None if self.noise == Restore.noise else self.noise
        words += [f"{name} {value:g}" for name, value in numbers.items() if value is not None]
        return " ".join([*words, *["degraded"] * self.degrade])

    def run(self, typed: str) -> int:
        """Draw the pictures, and write them with their mean, their spread and a record."""
        from cascore.experiment import build
        from cascore.experiment.chain import seeds_from
        from cascore.experiment.outputs import write_restoration
        from cascore.locks import new_folder
        from cascore.model.loading import load
        from cascore.model.restore import observe, operator_of, restore

        path, display = find_model(self.path), Display()
        sampler = chosen_sampler(self.sampler, self.like, path)
        device = build.select_device(self.device)
        model = load(path, device=device, checkpoint=self.checkpoint, notify=display.say)
        if len(model.shape) != 3:
            raise InputError(f"{self.path} makes points, and restoration is of pictures")
        operator = operator_of(
            self.task,
            model.shape,
            mask=self.mask,
            factor=self.factor,
            blur=self.blur,
            numbers=self.numbers,
        )
        degrade = self.degrade or self.task == "compressed"
        observation = observe(
            self.picture, operator, model.shape, noise=self.noise, degrade=degrade
        )
        for remark in observation.remarks:
            display.say(remark)
        advice = model.advised(sampler)
        if advice.notice is not None:
            display.say(advice.notice)
        sampler = advice.sampler
        chain = model.chain(sampler)
        folder = self.out or place_for(path, "samples") / self._folder_name(chain, model.step)
        seeds = seeds_from(self.seed, self.count)
        with new_folder(folder, "restoring"):
            samples = restore(
                model,
                observation,
                seeds,
                sampler,
                task=self.task,
                batch_size=self.batch_size,
                label=self.label,
                guidance=self.guidance,
                display=display,
            )
            record: dict[str, object] = {
                "run": spoken_name(path),
                "checkpoint": model.digest,
                "picture": str(self.picture),
                "task": self.task,
                "mask": None if self.mask is None else str(self.mask),
                "factor": self.factor,
                "blur": self.blur,
                "numbers": self.numbers,
                "degraded": degrade,
                "noise": self.noise,
                "label": self.label,
                "guidance": None if self.label is None else self.guidance,
                "sampler": asdict(chain),
                "nfe": samples.nfe,
                "first_seed": self.seed,
                "count": self.count,
                "command": typed,
            }
            whole = observation.whole
            if whole is not None:
                record["psnr"] = _decibels(samples.denoised, whole, display)
            seen = observation.shown(model.shape)
            write_restoration(samples, folder, seeds=seeds, record=record, seen=seen, whole=whole)
        display.say(f"all on one sheet: {folder / 'restored.png'}")
        plain_console().print(folder)
        return 0

    def _folder_name(self, chain: Chain, step: int) -> str:
        from cascore.experiment.outputs import file_name, told_apart

        name = f"{self._question} {chain.label} {chain.calls} calls seed {self.seed}"
        if self.label is not None:
            name += f" {told_apart(self.label)} guidance {self.guidance:g}"
        return file_name(f"{name} count {self.count} step {step}")


def _decibels(drawn: "Tensor", whole: "Tensor", display: Display) -> dict[str, float]:
    """How near the pictures are to the whole one, each and their mean; it is told, too."""
    from cascore.model.restore import psnr

    mean = drawn.clamp(0, 1).mean(dim=0, keepdim=True)
    found = {"draws": psnr(drawn, whole), "mean": psnr(mean, whole)}
    display.say(
        f"against the whole picture: {found['draws']:.1f} dB for one drawn,"
        f" {found['mean']:.1f} dB for their mean"
    )
    return found
