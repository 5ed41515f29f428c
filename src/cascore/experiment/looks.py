"""Looks at a training by the clock: what it draws, and its errors on pictures kept apart.

`looks.jsonl` of the run gets a line for each, `samples/` a sheet of pictures of the same seeds and,
at the end, the film of them.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cascore.data import ImageSet
from cascore.data.decoding import opened_image
from cascore.errors import InputError
from cascore.experiment.build import training_sigmas
from cascore.experiment.chain import generate
from cascore.experiment.periodic import sound_lines
from cascore.experiment.settings import Experiment, Sampler
from cascore.files import replaced_file, write_text
from cascore.metrics import extract_features, kernel_distance, random_convolution
from cascore.pixels import save_png, sheet, to_uint8
from cascore.plain import from_plain, json_line, read_log
from cascore.training import TrainState
from cascore.training.held_out import denoising_errors

LOOKS, SAMPLES, FILM = "looks.jsonl", "samples", "film.webp"
SIGMAS = (0.015, 0.05, 0.15, 0.5, 1.5, 5.0)
"""Where errors are measured: EDM's mean of log sigma, 0.15, and a deviation apart from it each;
`error_levels` are those of an experiment."""
_DENSITY = (0.135, 0.607, 1.0, 0.607, 0.135, 0.011)  # of EDM's law there
_PICTURES = 128  # of training and held-out pictures whose errors are measured
_REFERENCE = 512  # training pictures that drawn ones are compared with
_ROWS, _COLUMNS = 10, 8
_RISEN, _LOOKS_RISEN = 1.02, 3
_FRAME, _LAST_FRAME = 600, 3000  # milliseconds


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at a training; the errors are root mean squares of H - x per pixel."""

    step: int
    minutes: float
    """Of training so far."""
    sigmas: tuple[float, ...]
    """Levels of the errors, the same noise at each every time."""
    train: tuple[float, ...]
    """Errors on pictures that it learns."""
    held_out: tuple[float, ...] | None = None
    """Errors on pictures kept apart; None if there are none."""
    loss: float | None = None
    """EDM's loss of the held-out errors: their squares over c_out^2, in the law of its sigma."""
    saturated: float
    """Share of the drawn pixels at an end of their range."""
    distance: float
    """Kernel distance of drawn to training pictures, in features of random filters."""
    sheet: str
    """The file of the drawn pictures in `samples/`."""


class Yardstick(NamedTuple):
    """What the numbers of a look are compared with.

    The `floor` is the error of a distance between real pictures, whose mean is 0, `blank` the
    distance of the mean picture, `saturated` the share of real pixels at an end of their range.
    """

    floor: float
    blank: float
    saturated: float


class Looks:
    """Takes looks at a training, when they are due.

    Args:
        experiment: Of the run.
        folder: Of the run.
        train: The training images.
        held_out: Those kept apart, if there are any.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, train: ImageSet, held_out: ImageSet | None
    ) -> None:
        self._experiment, self._folder = experiment, folder
        self.train, self.held_out = train, held_out
        self._extractor = random_convolution()
        self._real = self._features(_spread(train, _REFERENCE)[0])

    def take(self, state: TrainState, *, minutes: float) -> Look:
        """Look at the averaged weights after so many minutes, and note what is seen."""
        drawn = self._drawn(state)
        name = f"step-{state.step:08d}.png"
        (self._folder / SAMPLES).mkdir(exist_ok=True)
        save_png(sheet(drawn, columns=_COLUMNS), self._folder / SAMPLES / name)
        errors = partial(errors_on, state.average, experiment=self._experiment)
        sigmas = error_levels(self._experiment)
        held_out = None if self.held_out is None else errors(self.held_out)
        features = self._features(drawn)
        look = Look(
            step=state.step,
            minutes=minutes,
            sigmas=sigmas,
            train=errors(self.train),
            held_out=held_out,
            loss=None
            if held_out is None
            else mean_loss(held_out, sigmas, self.train.mean_and_deviation[1]),
            saturated=saturated(drawn),
            distance=kernel_distance(features, self._real).mean,
            sheet=name,
        )
        known = [known for known in read_looks(self._folder) if known.step < state.step]
        write_looks(self._folder, [*known, look])
        return look

    def yardstick(self) -> "Yardstick":
        """The distances of as many training pictures, and of the mean of all of them."""
        real = _spread(self.train, _COLUMNS**2)[0]
        blank = real.float().mean(dim=0).to(torch.uint8).expand_as(real)
        floor, far = (kernel_distance(self._features(x), self._real) for x in (real, blank))
        white = saturated(_spread(self.train, _REFERENCE)[0])
        return Yardstick(floor=floor.error, blank=far.mean, saturated=white)

    def _features(self, images: Tensor) -> Tensor:
        return extract_features(self._extractor, images)

    def _drawn(self, state: TrainState) -> Tensor:
        """Pictures of seeds from 0 on, uint8: a row for each of the first ten classes, or 64."""
        rows, labels = _COLUMNS, None
        if self._experiment.network.labels:
            rows = min(_ROWS, len(self.train.classes))
            labels = torch.arange(rows).repeat_interleave(_COLUMNS)
        samples = generate(
            state.average,
            shape=self.train.shape,
            seeds=range(rows * _COLUMNS),
            sampler=Sampler(),
            schedule=self._experiment.schedule,
            at_levels=self._experiment.at_levels,
            device=next(state.average.parameters()).device,
            labels=labels,
        )
        return to_uint8(samples.denoised)


def error_levels(experiment: Experiment) -> tuple[float, ...]:
    """`SIGMAS`; of a network that knows its training levels alone the nearest of these."""
    if not experiment.at_levels:
        return SIGMAS
    known = training_sigmas(experiment.schedule).tolist()
    return tuple(min(known, key=lambda level: abs(math.log(level / sigma))) for sigma in SIGMAS)


def errors_on(
    denoiser: nn.Module, images: ImageSet, *, experiment: Experiment
) -> tuple[float, ...]:
    """The errors at its `error_levels` on some images, the same noise for every denoiser."""
    pixels, labels = _spread(images, _PICTURES)
    told = labels if experiment.network.labels else None
    seed = experiment.train.seed
    sigmas = error_levels(experiment)
    return tuple(denoising_errors(denoiser, pixels, sigmas, seed=seed, labels=told))


def _spread(images: ImageSet, count: int) -> tuple[Tensor, Tensor | None]:
    """At most so many pictures, evenly out of all, with their labels."""
    count = min(count, images.count)
    chosen = torch.linspace(0, images.count - 1, count, dtype=torch.float64).long()
    return images.images[chosen], None if images.labels is None else images.labels[chosen]


def saturated(images: Tensor) -> float:
    """The share of uint8 pixels at 0 or 255."""
    return float(((images == 0) | (images == 255)).float().mean())


def mean_loss(errors: Sequence[float], sigmas: Sequence[float], deviation: float) -> float:
    """EDM's loss of errors at an experiment's `error_levels`, in its law of sigma.

    Of each level it is error^2 (sigma^2 + s^2) / (sigma s)^2.
    """
    losses = (
        error**2 * (sigma**2 + deviation**2) / (sigma * deviation) ** 2
        for error, sigma in zip(errors, sigmas, strict=True)
    )
    return sum(d * x for d, x in zip(_DENSITY, losses, strict=True)) / sum(_DENSITY)


def least_loss(looks: Sequence[Look]) -> Look | None:
    """The look of the least held-out loss; None if none was measured after the start."""
    measured = [look for look in looks if look.loss is not None and look.step > 0]
    return min(measured, key=lambda look: look.loss or 0.0, default=None)


def has_risen(looks: Sequence[Look]) -> bool:
    """Whether more time makes it worse: held-out loss rose, and has been up for long.

    The last three looks were above the least by 2 %, and as much time has passed since the least
    as it took to come to it.
    """
    best = least_loss(looks)
    if best is None or best.loss is None:
        return False
    later = [look for look in looks if look.step > best.step]
    return (
        len(later) >= _LOOKS_RISEN
        and all(
            look.loss is not None and look.loss > _RISEN * best.loss
            for look in later[-_LOOKS_RISEN:]
        )
        and later[-1].minutes >= 2 * best.minutes
    )


def read_looks(folder: Path) -> list[Look]:
    """The looks at a run, by step."""
    path = folder / LOOKS
    lines = read_log(path).values
    return [from_plain(Look, line, f"{path}, line {n}") for n, line in enumerate(lines, start=1)]


def write_looks(folder: Path, looks: Sequence[Look]) -> None:
    """Replace the looks at a run."""
    write_text(folder / LOOKS, "".join(json_line(asdict(look)) for look in looks))


def cut_looks(folder: Path, step: int, *, notify: Callable[[str], None]) -> None:
    """Drop the looks after the checkpoint that a run goes on from."""
    if (folder / LOOKS).is_file():
        sound_lines(folder / LOOKS, notify)
        write_looks(folder, [look for look in read_looks(folder) if look.step <= step])


def write_film(folder: Path) -> Path | None:
    """The sheets of a run one after the other, as an animated WebP; its path, None of no sheet."""
    frames = []
    for look in read_looks(folder):
        with (
            suppress(InputError),
            opened_image(folder / SAMPLES / look.sheet, name=look.sheet) as x,
        ):
            frames.append(x.convert("RGB"))
    if not frames:
        return None
    path, times = folder / SAMPLES / FILM, [_FRAME] * (len(frames) - 1) + [_LAST_FRAME]
    first, *others = frames
    with replaced_file(path) as temporary:
        first.save(
            temporary, format="WEBP", save_all=True, append_images=others, duration=times, loop=0
        )
    return path
