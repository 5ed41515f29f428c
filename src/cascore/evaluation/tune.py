"""Order and kappa for a model and a number of network calls: measured, kept, and taken again.

`sampler.json` beside a model holds what tuning chose for each number of network calls.
"""

import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cascore.errors import InputError
from cascore.evaluation.compare import dot_chart
from cascore.evaluation.reference import Reference
from cascore.evaluation.search import Candidate, Found, Objective
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.settings import Sampler, Schedule, Spacing
from cascore.measurement import Floor
from cascore.model.loading import Model
from cascore.pixels import to_uint8
from cascore.plain import from_plain, read_json, write_json
from cascore.stats import Estimate

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


def sampler_of(candidate: Candidate, *, calls: int) -> Sampler:
    """The sampler of a candidate in that many network calls."""
    # The parsers of JSON and of the command line hold orders to those that there are.
    return Sampler(order=1 if candidate.order == 1 else 2, kappa=candidate.kappa, calls=calls)


def default_candidate(schedule: Schedule, *, calls: int) -> Candidate:
    """What `cascore sample` takes at that many calls where nothing was tuned."""
    chain = build.resolved(Sampler(calls=calls), schedule)
    assert chain.kappa is not None  # as in all consistent sampling
    return Candidate(chain.order, chain.kappa)


def largest_kappa(schedule: Schedule, *, calls: int) -> float:
    """The kappa whose step replaces 99 % of x at geometric levels: gamma^kappa = 0.01.

    Where centred levels are densest it is 95 to 97 %. At least twice the default's, which few calls
    come near.

    Raises:
        InputError: Fewer than two calls, which have no noise between them, or one training level.
    """
    if calls < 2:
        raise InputError(f"{calls} network call has no noise to tune: give --calls 2 or more")
    chain = build.resolved(Sampler(calls=calls, spacing="geometric"), schedule)
    sigmas = build.chain_sigmas(chain, schedule)
    ratio = math.log(float(sigmas[1] / sigmas[0]))
    return max(
        2 * default_candidate(schedule, calls=calls).kappa, math.log(1 - _ALMOST_ALL) / ratio
    )


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
    if sampler != Sampler(calls=sampler.calls) or not (folder / ADVICE).is_file():
        return Advised(sampler)
    calls = build.resolved(sampler, model.experiment.schedule).calls
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


def tuning_chart(found: Found, path: Path, *, title: str, floor: Floor | None) -> None:
    """Draw every candidate's mean; bars are errors of its paired difference from the default.

    Raises:
        InputError: matplotlib is not installed.
    """
    dots = []
    for candidate in sorted(found.curve):
        notes = [" (untuned)"] * (candidate == found.default)
        notes += [" (chosen)"] * (candidate == found.choice)
        error = found.against_default(candidate).error
        number = Estimate(statistics.fmean(found.curve[candidate]), error)
        colour = "#d55e00" if notes else "#1f5fa8" if candidate.order == 2 else "#5b6475"
        dots.append((f"{candidate}{''.join(notes)}", number, colour))
    across = "Fréchet distance, denoised (bars: error of the difference from untuned)"
    dot_chart(dots, path, title=title, across=across, floor=floor)
