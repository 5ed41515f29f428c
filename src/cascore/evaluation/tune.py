"""Order and kappa for a model and a number of network calls: measured, kept, and taken again.

`sampler.json` beside a model holds what tuning chose for each number of network calls.
"""

import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cascore.errors import InputError
from cascore.evaluation.reference import Reference
from cascore.evaluation.search import Candidate, Found, Objective
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.settings import Sampler, Schedule, Spacing
from cascore.files import replaced_file
from cascore.model.loading import Model
from cascore.pixels import to_uint8
from cascore.plain import from_plain, read_json, write_json

__all__ = [
    "ADVICE",
    "Advised",
    "Choice",
    "advised",
    "default_candidate",
    "frechet_objective",
    "largest_kappa",
    "read_choices",
    "sampler_of",
    "tuning_chart",
    "write_choice",
]

ADVICE = "sampler.json"
_VERSION = 1
_ALMOST_ALL = 0.99
"""Share of x that a step replaces by H at the largest kappa; beyond, kappas are much alike."""


# --- what is searched -----------------------------------------------------------------------------


def sampler_of(candidate: Candidate, *, calls: int) -> Sampler:
    """The sampler of a candidate in that many network calls."""
    # The parsers of JSON and of the command line hold orders to those that there are.
    return Sampler(order=1 if candidate.order == 1 else 2, kappa=candidate.kappa, steps=calls)


def default_candidate(*, calls: int) -> Candidate:
    """What `cascore sample` takes at that many calls where nothing was tuned."""
    sampler = build.resolved(Sampler(steps=calls))
    assert sampler.kappa is not None  # as in all consistent sampling
    return Candidate(sampler.order, sampler.kappa)


def largest_kappa(schedule: Schedule, *, calls: int) -> float:
    """The kappa whose step replaces 99 % of x at geometric levels: gamma^kappa = 0.01.

    Where centred levels are densest it is 95 to 97 %. At least twice the default's, which few calls
    come near.

    Raises:
        InputError: Fewer than two calls, which have no noise between them, or one training level.
    """
    if calls < 2:
        raise InputError(f"{calls} network call has no noise to tune: give --steps 2 or more")
    sigmas = build.sampling_sigmas(Sampler(steps=calls, spacing="geometric"), schedule)
    ratio = math.log(float(sigmas[1] / sigmas[0]))
    return max(2 * default_candidate(calls=calls).kappa, math.log(1 - _ALMOST_ALL) / ratio)


def frechet_objective(
    model: Model,
    reference: Reference,
    *,
    calls: int,
    first_seed: int,
    batch_size: int,
    device: torch.device,
) -> Objective:
    """Fréchet distance of a block of `reference.count` denoised samples to the real images.

    Args:
        model: What is sampled.
        reference: Real images and what sees them, for as many samples as a block has.
        calls: Network calls of a chain.
        first_seed: Seed of the first picture of block 0; the blocks follow one another.
        batch_size: Pictures at a time.
        device: Where the model computes.
    """

    def measure(candidate: Candidate, block: int) -> float:
        samples = generate(
            model.denoiser,
            shape=model.shape,
            seeds=seeds_from(first_seed + block * reference.count, reference.count),
            sampler=sampler_of(candidate, calls=calls),
            schedule=model.experiment.schedule,
            device=device,
            batch_size=batch_size,
        )
        features = reference.see(to_uint8(samples.denoised))
        return reference.frechet(features, reference.split).mean

    return measure


# --- what was chosen ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for a model and a number of calls.

    Attributes:
        order: Order of the multistep rule.
        kappa: Noise of a step.
        spacing: Spacing of the levels it was chosen at.
        weights: SHA-256 of the file of the weights that it was chosen for.
        extractor: Extractor whose features the distances were of.
        gain: By how much it beat the untuned setting on fresh pictures; 0 if that was kept.
        gain_error: Standard error of that difference.
        tuned: Whether it is another than the untuned setting.
    """

    order: int
    kappa: float
    spacing: Spacing = "geometric"  # those of cascore 0.3 name no levels: all were geometric
    weights: str
    extractor: str
    gain: float
    gain_error: float
    tuned: bool


@dataclass(frozen=True)
class Advised:
    """The sampler to take, what a person should know of it, and the choice behind it."""

    sampler: Sampler
    notice: str | None = None
    choice: Choice | None = None


def advised(sampler: Sampler, folder: Path, model: Model) -> Advised:
    """The sampler with what was tuned for its number of calls, where nothing else was asked for.

    Args:
        sampler: As asked for; one with any setting but the number of calls given is returned as it
            is.
        folder: Folder of the model, which may hold `sampler.json`.
        model: The model read from there.

    Raises:
        InputError: A `sampler.json` that cannot be read.
    """
    if sampler != Sampler(steps=sampler.steps) or not (folder / ADVICE).is_file():
        return Advised(sampler)
    calls = build.network_calls(sampler, model.experiment.schedule)
    choice = read_choices(folder / ADVICE).get(calls)
    if choice is None or not choice.tuned:
        return Advised(sampler)
    candidate = Candidate(choice.order, choice.kappa)
    if choice.weights != model.digest:
        return Advised(
            sampler,
            f"{folder / ADVICE} was tuned for other weights and is not used: cascore tune again",
        )
    notice = f"{candidate} and {choice.spacing} levels as tuned for {calls} calls ({ADVICE})"
    wanted = replace(sampler_of(candidate, calls=calls), spacing=choice.spacing)
    return Advised(wanted, notice, choice)


def read_choices(path: Path) -> dict[int, Choice]:
    """The choices of a `sampler.json` by number of calls; none if there is no such file.

    Raises:
        InputError: A file that holds anything else.
    """
    if not path.is_file():
        return {}
    values = read_json(path)
    version = values.get("format_version") if isinstance(values, dict) else None
    by_calls = values.get("calls") if isinstance(values, dict) else None
    if version != _VERSION or not isinstance(by_calls, dict):
        raise InputError(
            f"{path} is not what cascore tune writes (format_version {_VERSION} and calls):"
            " delete it, and tune again"
        )
    choices = {}
    for calls, plain in by_calls.items():
        if not calls.isdecimal():
            raise InputError(
                f"{path}: {calls!r} is no number of calls; delete the file, and tune again"
            )
        choice = from_plain(Choice, plain, f"{path}.{calls}")
        if choice.order not in (1, 2) or choice.kappa < 1:
            raise InputError(
                f"{path}.{calls} has order {choice.order} and kappa {choice.kappa:g}: tune again"
            )
        choices[int(calls)] = choice
    return choices


def write_choice(path: Path, calls: int, choice: Choice) -> None:
    """Put a choice into a `sampler.json`, beside those for other numbers of calls."""
    choices = {**read_choices(path), calls: choice}
    by_calls = {str(calls): asdict(choices[calls]) for calls in sorted(choices)}
    write_json(path, {"format_version": _VERSION, "calls": by_calls})


# --- what is drawn --------------------------------------------------------------------------------

_COLOURS = {1: "#D55E00", 2: "#0072B2"}
_INK, _RULE, _BAND = "#333333", "#d9d9d9", "#e7efe6"


def tuning_chart(
    found: Found, path: Path, *, title: str, floor: tuple[float, float] | None
) -> None:
    """Draw distance against kappa, a line for each order; bars are paired errors to the default.

    Args:
        found: The search.
        path: New PNG.
        title: One line.
        floor: Low and high of what real images score, shaded; None where it is not known.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=_INK)
    axes = figure.add_subplot()
    if floor is not None:
        axes.axhspan(*floor, color=_BAND, linewidth=0, label="real images, ± 2 spreads")
    for order in sorted({candidate.order for candidate in found.curve}):
        line = sorted(candidate for candidate in found.curve if candidate.order == order)
        axes.errorbar(
            [candidate.kappa for candidate in line],
            [statistics.fmean(found.curve[candidate]) for candidate in line],
            yerr=[found.against_default(candidate).error for candidate in line],
            fmt="o-", color=_COLOURS.get(order, _INK), markersize=4.5, linewidth=1.4, capsize=2.5,
            label=f"order {order}",
        )  # fmt: skip
    for candidate, marker, size, label in (
        (found.default, "o", 11, "untuned"),
        (found.choice, "D", 7, "chosen"),
    ):
        axes.plot(
            candidate.kappa, statistics.fmean(found.curve[candidate]), marker, markersize=size,
            markerfacecolor="none", markeredgecolor=_INK, markeredgewidth=1.3, label=label,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.set_xlabel(
        "kappa (bars: standard error of the difference from untuned)", fontsize=9.5, color=_INK
    )
    axes.set_ylabel("Fréchet distance, denoised", fontsize=9.5, color=_INK)
    axes.tick_params(labelsize=9, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    with replaced_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
