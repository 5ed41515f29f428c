"""An experiment for a folder of images: size, noise levels, network and length, with reasons."""

import math
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from cascore.data import ImageSet
from cascore.data.contents import Contents, read_folder
from cascore.data.diameter import image_diameter
from cascore.data.folder import load_contents
from cascore.errors import InputError
from cascore.experiment.cost import measured_step, step_cost, training_speed
from cascore.experiment.settings import Data, Experiment, Network, Schedule, Train
from cascore.preprocessing import FolderOptions, folder_path
from cascore.ranges import require_in_range
from cascore.schedule import level_count

_SIZES = (64, 32, 16, 8)  # for images that are not all of one small size
LAST = 0.01
BATCH_SIZE = 64
SMALL = 40  # pixels; larger images get one resolution more
LEAST_STEPS = 3000
WIDTHS = (128, 96, 64, 48, 32)
LARGEST_WORK = 2e11  # products of pixels for Technique 1: some ten seconds on one core


class FolderSurvey(NamedTuple):
    """What the headers of a folder's images say: `smallest` is the shortest side of any."""

    images: int
    smallest: int
    one_size: tuple[int, int] | None
    grey: int

    @property
    def mixed(self) -> bool:
        """Whether some images are grey and some are not."""
        return 0 < self.grey < self.images


class Chosen(NamedTuple):
    """An experiment, and the training images that it was chosen for."""

    experiment: Experiment
    images: ImageSet


def survey_folder(contents: Contents) -> FolderSurvey:
    """What matters of the headers of a folder's images."""
    headers = contents.headers
    sizes = {(header.height, header.width) for header in headers}
    return FolderSurvey(
        images=len(headers),
        smallest=min(min(size) for size in sizes),
        one_size=next(iter(sizes)) if len(sizes) == 1 else None,
        grey=sum(header.grey for header in headers),
    )


def fitting_sizes(survey: FolderSurvey) -> tuple[int, ...]:
    """Heights and widths to bring the images to, largest first; none enlarges an image."""
    if survey.one_size is not None:
        height, width = survey.one_size
        if height == width <= _SIZES[0]:
            return (height, *(size for size in _SIZES if size < height))
    sizes = tuple(size for size in _SIZES if size <= survey.smallest)
    if not sizes:
        raise InputError(
            f"the smallest image is {survey.smallest} pixels wide or high; expected at least"
            f" {_SIZES[-1]}: take it out, or enlarge it"
        )
    return sizes


def fitting_options(survey: FolderSurvey, given: FolderOptions) -> FolderOptions:
    """How to bring the images to one shape: as they are where they agree, else the largest size.

    A size or mode that is given is kept.
    """
    size, mode = given.size, given.mode
    if size is None:
        fitting = fitting_sizes(survey)[0]
        size = None if survey.one_size == (fitting, fitting) else fitting
    if mode == "auto" and survey.mixed:
        mode = "rgb"
    return replace(given, size=size, mode=mode)


def choose_experiment(
    given: Experiment,
    names: Collection[str],
    *,
    minutes: float,
    device: torch.device,
    notify: Callable[[str], None],
    counting: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> Chosen:
    """An experiment for a folder of images: what is not given is chosen, and what is given holds.

    Args:
        given: Settings, with the folder as the name of the data.
        names: Which of its settings are given, as "train.steps".
        minutes: Of training on this device.
        device: Where to train.
        notify: Told of each choice in words.
        counting: Shows the progress of a title and a total.

    Raises:
        InputError: Minutes not positive, or a folder that cannot be trained on.
    """
    path = folder_path(given.data.name)
    _require_halving(given.data.size)  # before thousands of headers are read
    root = None if given.data.root is None else Path(given.data.root)
    contents = read_folder(path, skip_broken=given.data.skip_broken, root=root)
    survey, speed = survey_folder(contents), training_speed(device)
    chosen, reasons = choose_network(given.data, survey, minutes=minutes, speed=speed)
    options = chosen.data.options
    images = load_contents(contents, splits=("train",), options=options, root=root)["train"]
    if images.count < 2:
        raise InputError(f"{path} has {images.count} image to train on; expected at least 2")
    chosen = replace(chosen, name=f"folder-{path.resolve().name}")
    if "schedule.first" not in names:
        with counting("largest distance", images.count) as advance:
            schedule, reason = choose_levels(images, progress=advance)
        chosen = replace(chosen, schedule=schedule)
        reasons.append(reason)
    if len(images.classes) > 1 and "network.labels" not in names:
        chosen = replace(chosen, network=replace(chosen.network, labels=True))
        reasons.append(f"told the class: {len(images.classes):,} subfolders; `sample --label NAME`")
    chosen = with_given(chosen, given, names)
    schedule = chosen.schedule
    if "schedule.levels" not in names and schedule.first > schedule.last:
        levels = level_count(math.prod(images.shape), schedule.first, schedule.last)
        chosen = replace(chosen, schedule=replace(schedule, levels=levels))
    settings = chosen.train
    if "train.steps" not in names:
        _, seconds = measured_step(chosen, images, device)
        settings = replace(settings, steps=max(1, int(60 * minutes / seconds)))
        short = settings.steps < LEAST_STEPS
        reasons.append(
            f"{settings.steps} steps of {settings.batch_size}: a step takes"
            f" {1000 * seconds:,.0f} ms here"
            + (", which is short: the pictures will be rough" if short else "")
        )
    if "train.save_every" not in names:
        settings = replace(settings, save_every=max(1, min(500, settings.steps // 4)))
    for reason in (*reasons, "every choice can be given instead: --help lists them"):
        notify(f"chosen: {reason}")
    return Chosen(replace(chosen, train=settings), images)


def with_given(chosen: Experiment, given: Experiment, names: Collection[str]) -> Experiment:
    """`chosen`, with the settings of these names ("train.steps") as they are in `given`."""
    parts: dict[str, dict[str, object]] = {}
    for name in names:
        part, _, setting = name.partition(".")
        if setting:
            parts.setdefault(part, {})[setting] = getattr(getattr(given, part), setting)
    changed = {part: replace(getattr(chosen, part), **of) for part, of in parts.items()}
    return replace(chosen, **changed)


def choose_network(
    data: Data, survey: FolderSurvey, *, minutes: float, speed: float
) -> tuple[Experiment, list[str]]:
    """Size, network and steps for a folder, a machine's `training_speed` and a time, and why.

    The largest size, and at that size the widest network, of which at least 3,000 steps fit; large
    images are not given to narrow networks, whose width is at least the size. A size or mode of the
    data that is set is kept.

    Raises:
        InputError: Minutes not positive, or no size that fits.
    """
    require_in_range({"minutes": minutes})
    chosen_mode = data.mode
    mode = "rgb" if chosen_mode == "auto" and survey.mixed else chosen_mode
    channels = 1 if mode == "grey" or (mode == "auto" and survey.grey == survey.images) else 3
    sizes = (data.size,) if data.size else fitting_sizes(survey)
    _require_halving(data.size)
    fits = tuple(filter(_halves, sizes))
    candidates = [
        (size, width) for size in fits for width in WIDTHS if width >= min(size, WIDTHS[0])
    ]

    def steps(size: int, width: int) -> int:
        tried = _experiment(data, size=size, width=width)
        cost = step_cost(tried, (channels, size, size))
        return int(60 * minutes / cost.seconds(speed))

    fitting = ((size, width) for size, width in candidates if steps(size, width) >= LEAST_STEPS)
    size, width = next(fitting, candidates[-1])
    kept = survey.one_size == (size, size)
    data = replace(data, mode=mode, size=None if kept else size)
    chosen, count = _experiment(data, size=size, width=width), max(1, steps(size, width))
    reasons = (
        f"{survey.images} images, the smallest side is {survey.smallest} pixels: "
        + (f"kept at {size} x {size}" if kept else f"brought to {size} x {size}"),
        ("grey and colour are mixed: all become colour" if survey.mixed else "")
        if chosen_mode == "auto"
        else f"mode {chosen_mode}, as asked",
        f"U-Net of width {width}: about the widest of which {LEAST_STEPS} steps of {BATCH_SIZE} fit"
        f" into {minutes:g} minutes here"
        if count >= LEAST_STEPS
        else f"U-Net of width {width}, the smallest",
    )
    chosen = replace(chosen, train=replace(chosen.train, steps=count))
    return chosen, [*filter(None, reasons)]


def _halves(size: int) -> bool:
    """Whether the chosen network halves images of that size evenly."""
    return size >= 8 and size % (8 if size > SMALL else 4) == 0


def _require_halving(size: int | None) -> None:
    if size is not None and not _halves(size):
        raise InputError(
            f"size {size} does not halve evenly in the network that would be chosen: take at"
            " least 8, a multiple of 4 up to 40 and of 8 above"
        )


def _experiment(data: Data, *, size: int, width: int) -> Experiment:
    large, tiny = size > SMALL, size < 16
    network = Network(
        width=width,
        multipliers=(1, 2, 2) if large else (1, 2),
        attention=(False, False, True) if large else (False, True),
        unshuffle=1 if tiny else 2,
    )
    train = Train(batch_size=BATCH_SIZE, learning_rate=5e-4, ema_decay=0.999)
    return Experiment(name="folder", data=data, network=network, train=train)


def choose_levels(
    images: ImageSet, *, progress: Callable[[int], None] = lambda more: None
) -> tuple[Schedule, str]:
    """Techniques 1 and 2 for a set of images, and the reason in words."""
    diameter = image_diameter(images.images, largest_work=LARGEST_WORK, progress=progress)
    first = max(math.ceil(10 * diameter.high) / 10, 0.1)
    dimension = math.prod(images.shape)
    levels = level_count(dimension, first, LAST)
    how = "the largest distance between two images" if diameter.exact else "a bound on distances"
    return Schedule(first=first, last=LAST, levels=levels), (
        f"sigma_1 = {first:g}, {how} ({diameter.high:.2f}, Technique 1); {levels} levels down to"
        f" {LAST:g} in {dimension} dimensions (Technique 2)"
    )
