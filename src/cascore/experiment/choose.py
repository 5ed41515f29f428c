"""An experiment for a folder of images: size, noise levels, network and length, with reasons."""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from cascore.data import ImageSet
from cascore.data.contents import Contents, listed, read_folder
from cascore.data.diameter import image_diameter
from cascore.data.folder import load_contents
from cascore.errors import InputError
from cascore.experiment.build import computes_in_bfloat16
from cascore.experiment.cost import Measured, measured_step, step_cost
from cascore.experiment.fine_tuning import Base, require_channels
from cascore.experiment.presets import FOLDER
from cascore.experiment.settings import ENDLESS, Data, Experiment, Network, Schedule, Train
from cascore.experiment.timed import REPLAY, remarks_of_size
from cascore.preprocessing import FolderOptions, folder_path
from cascore.ranges import require_in_range
from cascore.schedule import level_count

_LEAST_SIZE = 8
LARGEST = 64
LARGEST_ON_GPU = 128  # pixels a side
_SMALL = 40  # pixels; larger images are multiples of 8, so that they may be folded by 4
_TINY = 16  # smaller images are not folded
_USUAL = 20  # of so many images one may be smaller than the size that is chosen: it is enlarged
LAST = 0.01
LEAST_STEPS, ENOUGH_STEPS = 2000, 4500
"""Updates that make more than rough pictures, and as many as a wider network is worth:
`docs/own-pictures.md`."""
_LADDER = (128, 128), (128, 64), (96, 64), (64, 64), (64, 32), (48, 32), (32, 32), (32, 16)
"""Widths and batches, from what needs the most time."""
_FOLDED_AFTER = 4  # rungs, from which on a large image is folded by 4 in place of 2
_TRIALS = 3  # of networks
_PARTS = ("data", "network", "schedule", "train", "adversarial")
LARGEST_WORK = 2e11  # products of pixels for Technique 1: some ten seconds on one core


class FolderSurvey(NamedTuple):
    """What the headers of a folder's images say.

    `smallest` is the shortest side of any, `usual` that which all but one in twenty have.
    """

    images: int
    smallest: int
    usual: int
    one_size: tuple[int, int] | None
    grey: int
    narrow: tuple[str, ...] = ()
    """The names of those that are too small to train on."""

    @property
    def mixed(self) -> bool:
        """Whether some images are grey and some are not."""
        return 0 < self.grey < self.images


class Chosen(NamedTuple):
    """An experiment, and the images that it was chosen for: to train on, and kept apart."""

    experiment: Experiment
    images: ImageSet
    held_out: ImageSet | None


def survey_folder(contents: Contents) -> FolderSurvey:
    """What matters of the headers of a folder's images."""
    headers = contents.headers
    sizes = {(header.height, header.width) for header in headers}
    sides = sorted(min(header.height, header.width) for header in headers)
    return FolderSurvey(
        images=len(headers),
        smallest=sides[0],
        usual=sides[len(sides) // _USUAL],
        one_size=next(iter(sizes)) if len(sizes) == 1 else None,
        grey=sum(header.grey for header in headers),
        narrow=tuple(str(h.path) for h in headers if min(h.height, h.width) < _LEAST_SIZE),
    )


def fitting_size(survey: FolderSurvey, *, largest: int = LARGEST) -> int:
    """The height and width to bring images to: their own, as far as a network can halve it.

    What cannot be halved evenly is brought to the next size that can, and what is larger than
    `largest` to that.

    Raises:
        InputError: Images of less than 8 pixels.
    """
    if survey.usual < _LEAST_SIZE:
        raise InputError(
            f"the smallest image is {survey.smallest} pixels wide or high; expected at least"
            f" {_LEAST_SIZE}: take out or enlarge {listed(survey.narrow)}"
        )
    return next(size for size in range(min(survey.usual, largest), largest + 1) if _halves(size))


def fitting_options(survey: FolderSurvey, given: FolderOptions) -> FolderOptions:
    """How to bring the images to one shape: as they are where they agree, else the largest size.

    A size or mode that is given is kept.
    """
    size, mode = given.size, given.mode
    if size is None:
        fitting = fitting_size(survey)
        size = None if survey.one_size == (fitting, fitting) else fitting
    if mode == "auto" and survey.mixed:
        mode = "rgb"
    return replace(given, size=size, mode=mode)


def choose_experiment(
    given: Experiment,
    names: Collection[str],
    *,
    device: torch.device,
    notify: Callable[[str], None],
    counting: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
    base: Base | None = None,
) -> Chosen:
    """An experiment for a folder of images: what is not given is chosen, and what is given holds.

    Args:
        given: Settings, with the folder as the name of the data, and the minutes.
        names: Which of its settings are given, as "train.steps". With steps and without minutes
            it trains for so many updates, else by the clock.
        device: Where to train.
        notify: Told of each choice in words.
        counting: Shows the progress of a title and a total.
        base: The model whose weights it begins with: its network is taken, with the law of noise
            levels that this was trained on, and the size of its pictures where these have as much.

    Raises:
        InputError: Minutes not positive, or a folder that cannot be trained on, or not from there.
    """
    path = folder_path(given.data.name)
    by_clock = "minutes" in names or "train.steps" not in names
    minutes = given.minutes if by_clock else FOLDER.minutes  # for which a network is chosen
    require_in_range({"minutes": minutes}, prefix="--")
    if base is None:
        _require_halving(given.data.size)  # before thousands of headers are read
    root = None if given.data.root is None else Path(given.data.root)
    contents = read_folder(path, skip_broken=given.data.skip_broken, root=root)
    survey = survey_folder(contents)
    largest = LARGEST_ON_GPU if device.type == "cuda" else LARGEST
    wanted = given.data
    if base is not None:
        wanted = _of_base(wanted, survey, base)
    data, reasons = choose_size(wanted, survey, largest=largest)
    splits = load_contents(contents, options=data.options, root=root)
    images = splits["train"]
    if images.count < 2:
        raise InputError(f"{path} has {images.count} image to train on; expected at least 2")
    chosen = replace(
        FOLDER,
        name=f"folder-{path.resolve().name}",
        data=data,
        network=replace(FOLDER.network, augmented=given.network.augmented),
        minutes=minutes if by_clock else 0.0,
        train=replace(FOLDER.train, steps=ENDLESS),
    )
    known = _known_levels(base, names)
    if base is not None:
        chosen = replace(_like_base(chosen, base), schedule=known or chosen.schedule)
        taken = "law of noise levels" if known is None else "noise levels"
        reasons.append(f"the network of {base.name}, and its {taken}")
    if known is None and "schedule.first" not in names:
        with counting("largest distance", images.count) as advance:
            schedule, reason = choose_levels(images, progress=advance)
        chosen = replace(chosen, schedule=schedule)
        reasons.append(reason)
    if len(images.classes) > 1 and "network.labels" not in names:
        chosen = replace(chosen, network=replace(chosen.network, labels=True))
        reasons.append(f"told the class: {len(images.classes):,} subfolders; `sample --label NAME`")
    chosen = with_given(chosen, given, names)
    network = chosen.network
    schedule = chosen.schedule
    if known is None and "schedule.levels" not in names and schedule.first > schedule.last:
        levels = level_count(math.prod(images.shape), schedule.first, schedule.last)
        chosen = replace(chosen, schedule=replace(schedule, levels=levels))

    chosen, reason = choose_network(
        chosen,
        images.shape,
        minutes=minutes,
        measure=lambda tried: measured_step(tried, images, device),
        kept=lambda tried: with_given(
            tried if base is None else replace(tried, network=network), given, names
        ),
        gpu=device.type == "cuda",
        low=computes_in_bfloat16(device),
    )
    reasons += [reason, *remarks_of_size(images, splits.get("test"))]
    if by_clock:
        reasons.append(f"{minutes:g} minutes by the clock: {REPLAY}")
    for reason in (*reasons, "every choice can be given instead: --help lists them"):
        notify(f"chosen: {reason}")
    return Chosen(chosen, images, splits.get("test"))


def with_given(chosen: Experiment, given: Experiment, names: Collection[str]) -> Experiment:
    """`chosen`, with the settings of these names ("train.steps") as they are in `given`."""
    parts: dict[str, dict[str, object]] = {}
    for name in names:
        part, _, setting = name.partition(".")
        if setting and part in _PARTS:
            parts.setdefault(part, {})[setting] = getattr(getattr(given, part), setting)
    changed = {part: replace(getattr(chosen, part), **of) for part, of in parts.items()}
    return replace(chosen, **changed)


def choose_size(data: Data, survey: FolderSurvey, *, largest: int) -> tuple[Data, list[str]]:
    """Size and mode of a folder's images, and why; what is set is kept.

    Raises:
        InputError: No size that fits.
    """
    size = data.size or fitting_size(survey, largest=largest)
    mode = "rgb" if data.mode == "auto" and survey.mixed else data.mode
    kept = survey.one_size == (size, size)
    reasons = (
        f"{survey.images} images, the smallest side is {survey.smallest} pixels: "
        + (f"kept at {size} x {size}" if kept else f"brought to {size} x {size}"),
        ("grey and colour are mixed: all become colour" if survey.mixed else "")
        if data.mode == "auto"
        else f"mode {data.mode}, as asked",
    )
    return replace(data, mode=mode, size=None if kept else size), [*filter(None, reasons)]


def _of_base(data: Data, survey: FolderSurvey, base: Base) -> Data:
    """The data with the size of a base's pictures, where these have as much and none is given."""
    grey = data.mode == "grey" or (data.mode == "auto" and survey.grey == survey.images)
    require_channels(base, (1 if grey else 3, 0, 0))
    side = base.shape[1]
    return data if data.size or survey.usual < side else replace(data, size=side)


def _known_levels(base: Base | None, names: Collection[str]) -> Schedule | None:
    """The levels of a base that knows nothing between them, where none are given."""
    given = any(name.startswith("schedule.") for name in names)
    return (
        None if base is None or given or not base.experiment.at_levels else base.experiment.schedule
    )


def _like_base(experiment: Experiment, base: Base) -> Experiment:
    """The experiment with a base's network, and with the law of noise levels that it learned."""
    theirs = base.experiment.train
    law = replace(
        experiment.train,
        sigmas=theirs.sigmas,
        log_mean=theirs.log_mean,
        log_deviation=theirs.log_deviation,
    )
    network, fresh = base.experiment.network, experiment.network
    augmented = network.augmented or fresh.augmented
    network = replace(network, labels=fresh.labels, augmented=augmented)
    return replace(experiment, network=network, train=law)


def choose_network(
    experiment: Experiment,
    shape: tuple[int, ...],
    *,
    minutes: float,
    measure: Callable[[Experiment], Measured],
    kept: Callable[[Experiment], Experiment] = lambda tried: tried,
    gpu: bool = False,
    low: bool = False,
) -> tuple[Experiment, str]:
    """The widest network and batch of which at least 4,500 updates fit into a time, and why.

    A few are measured: each tells how many operations a second to expect of the next, the first
    also how this machine computes them fastest, and one that takes more memory than there is gives
    way to a smaller.

    Args:
        experiment: What is known of it.
        shape: Of an image.
        minutes: Of training.
        measure: The time of an update of an experiment, here.
        kept: An experiment with the settings that are given.
        gpu: Whether it computes on a GPU, for which bfloat16 and compilation are tried.
        low: Whether a processor computes in bfloat16, which is then tried.
    """
    ladder = (kept(_rung(experiment, shape[-1], number)) for number in range(len(_LADDER)))
    rungs = list(dict.fromkeys(ladder))  # where width and batch are given there is but one
    speed, last = math.inf, len(rungs) - 1
    for trial in range(_TRIALS):
        costs = [step_cost(rung, shape) for rung in rungs]
        wanted = next(
            (n for n, cost in enumerate(costs) if _fits(cost.seconds(speed), minutes)), last
        )
        number, measured = _measured_in_memory(measure, rungs, wanted)
        if trial == 0:
            way, measured = _fastest(measure, rungs[number], measured, kept, gpu=gpu, low=low)
            rungs = [kept(replace(rung, train=way(rung.train))) for rung in rungs]
        if _fits(measured.seconds, minutes) or number == last:
            break
        # Small networks compute slower than large ones: what fitted not is not tried again.
        speed = min(costs[number].flops / measured.seconds, 0.99 * speed)
    chosen = rungs[number]
    if gpu:
        compiled = kept(replace(chosen, train=replace(chosen.train, compiled=True)))
        with suppress(RuntimeError):  # of a compiler that is not here
            faster = measure(compiled)
            if _updates(faster, minutes) > _updates(measured, minutes):
                chosen, measured = compiled, faster
    updates, settings = _updates(measured, minutes), chosen.train
    how = [
        *(["bfloat16"] if settings.precision == "bfloat16" else []),
        *(["channels last"] if settings.channels_last else []),
        *(["compiled"] if settings.compiled else []),
    ]
    return chosen, (
        f"{_words(chosen.network)}, batches of {settings.batch_size}"
        f"{', ' * bool(how)}{', '.join(how)}: an update takes {1000 * measured.seconds:,.0f} ms"
        f" here, so about {updates:,} fit into {minutes:g} minutes"
        + _why(updates, narrowest=number == last, memory=number > wanted)
    )


def _why(updates: int, *, narrowest: bool, memory: bool) -> str:
    """What to say of a network of which so many updates fit."""
    if updates < LEAST_STEPS:
        return (
            f", and fewer than {LEAST_STEPS:,} make rough pictures: more minutes or smaller"
            " pictures (--data.size) help"
        )
    if memory:
        return "; a larger one takes more memory than there is"
    if narrowest and updates < ENOUGH_STEPS:
        return ""
    return f"; it is about the largest of which {ENOUGH_STEPS:,} do"


_Way = Callable[[Train], Train]


def _fastest(
    measure: Callable[[Experiment], Measured],
    rung: Experiment,
    plain: Measured,
    kept: Callable[[Experiment], Experiment],
    *,
    gpu: bool,
    low: bool,
) -> tuple[_Way, Measured]:
    """How an update of a rung, which is measured as it is, is computed fastest; and its time."""
    fastest: tuple[_Way, Measured] = (lambda train: train, plain)
    tried = {rung}
    for way in _ways(gpu=gpu, low=low):
        variant = kept(replace(rung, train=way(rung.train)))
        if variant not in tried:
            tried.add(variant)
            with suppress(RuntimeError):  # of too little memory
                measured = measure(variant)
                if measured.seconds < fastest[1].seconds:
                    fastest = way, measured
    return fastest


def _ways(*, gpu: bool, low: bool) -> list[_Way]:
    """Other ways to compute the same network, short of compiling it."""
    last, half = partial(replace, channels_last=True), partial(replace, precision="bfloat16")
    if gpu:
        return [lambda train: half(last(train))]
    return [last, half] if low else [last]


def _measured_in_memory(
    measure: Callable[[Experiment], Measured], rungs: Sequence[Experiment], number: int
) -> tuple[int, Measured]:
    """The first rung from a number on that fits into the memory, and the time of its update."""
    while True:
        try:
            return number, measure(rungs[number])
        except RuntimeError as error:  # as PyTorch has it, for any device
            if "memory" not in str(error) or number == len(rungs) - 1:
                raise
        number += 1


def _words(network: Network) -> str:
    kind = {"unet": "U-Net", "ncsnv2": "NCSNv2"}.get(network.kind, network.kind)
    form = f" in {network.form}" if network.form else ""
    return f"{kind} of width {network.width}{form}"


def _fits(seconds: float, minutes: float) -> bool:
    return 60 * minutes >= ENOUGH_STEPS * seconds


def _updates(measured: Measured, minutes: float) -> int:
    return max(1, int((60 * minutes - measured.once) / measured.seconds))


def _rung(experiment: Experiment, size: int, number: int) -> Experiment:
    """The network and the batch of a rung of the ladder, for images of that size."""
    width, batch = _LADDER[number]
    folded = size > _SMALL and number > _FOLDED_AFTER
    unshuffle = 1 if size < _TINY else 4 if folded else 2
    grids = [size // unshuffle]
    while grids[-1] % 2 == 0 and grids[-1] > 4 and len(grids) < (4 if size > LARGEST else 3):
        grids.append(grids[-1] // 2)
    coarse = next((n for n, grid in enumerate(grids) if grid <= 8), len(grids) - 1)
    network = replace(
        experiment.network,
        width=2 * width if folded else width,
        multipliers=(1, 2, 2, 2)[: len(grids)],
        attention=tuple(n == coarse for n in range(len(grids))),
        unshuffle=unshuffle,
    )
    # In one part, whose number need not divide this batch: what was given comes back with the rest.
    train = replace(experiment.train, batch_size=batch, accumulation=1)
    return replace(experiment, network=network, train=train)


def _halves(size: int) -> bool:
    """Whether the chosen network halves images of that size evenly."""
    return size >= 8 and size % (8 if size > _SMALL else 4) == 0


def _require_halving(size: int | None) -> None:
    if size is not None and not _halves(size):
        raise InputError(
            f"size {size} does not halve evenly in the network that would be chosen: take at"
            " least 8, a multiple of 4 up to 40 and of 8 above"
        )


def choose_levels(
    images: ImageSet, *, progress: Callable[[int], None] = lambda more: None
) -> tuple[Schedule, str]:
    """Techniques 1 and 2 for a set of images, and the reason in words."""
    diameter = image_diameter(images.images, largest_work=LARGEST_WORK, progress=progress)
    if diameter.high == 0:
        raise InputError(
            f"all {images.count:,} images of {images.name} are the same one: there is nothing to"
            " learn of them but that"
        )
    first = max(math.ceil(10 * diameter.high) / 10, 0.1)
    dimension = math.prod(images.shape)
    levels = level_count(dimension, first, LAST)
    how = "the largest distance between two images" if diameter.exact else "a bound on distances"
    return Schedule(first=first, last=LAST, levels=levels), (
        f"sigma_1 = {first:g}, {how} ({diameter.high:.2f}, Technique 1); {levels} levels down to"
        f" {LAST:g} in {dimension} dimensions (Technique 2)"
    )
