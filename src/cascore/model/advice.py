"""`sampler.json` beside a model: what tuning chose for each number of network calls."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cascore.errors import InputError
from cascore.experiment.chain import resolved
from cascore.experiment.settings import Sampler, Schedule, Spacing
from cascore.locks import one_writer
from cascore.plain import from_plain, read_json, whole_number, write_json

ADVICE = "sampler.json"
_OTHER_TUNING = 10.0  # seconds; it holds the file for a moment only


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for a model and a number of calls."""

    order: Literal[1, 2]
    kappa: float
    spacing: Spacing
    weights: str
    """SHA-256 of the file of the weights that it was chosen for."""
    extractor: str
    """Whose features the distances were of."""
    gain: float
    """By how much it beat the untuned setting on fresh pictures; 0 if that was kept."""
    gain_error: float
    """Standard error of that difference."""
    tuned: bool
    """Whether it is another than the untuned setting."""

    def __post_init__(self) -> None:
        if not self.kappa >= 1:
            raise InputError(f"kappa is {self.kappa:g}; expected at least 1: tune again")

    @staticmethod
    def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values with the levels that cascore 0.3, which names none, always took."""
        return {"spacing": "geometric", **values}


@dataclass(frozen=True, kw_only=True)
class _Choices:
    format_version: Literal[1]
    calls: Mapping[str, Choice]


@dataclass(frozen=True)
class Advised:
    """The sampler to take, what a person should know of it, and the choice behind it."""

    sampler: Sampler
    notice: str | None = None
    choice: Choice | None = None


def advised(sampler: Sampler, folder: Path, *, digest: str, schedule: Schedule) -> Advised:
    """The sampler with what was tuned for its number of calls, where nothing else was asked for.

    The `digest` is that of the file of the weights in the model's folder; advice for other weights
    is not taken. An InputError is raised for a `sampler.json` that cannot be read.
    """
    if sampler != Sampler(calls=sampler.calls) or not (folder / ADVICE).is_file():
        return Advised(sampler)
    calls = resolved(sampler, schedule).calls
    choice = read_choices(folder / ADVICE).get(calls)
    if choice is None or not choice.tuned:
        return Advised(sampler)
    if choice.weights != digest:
        stale = "was tuned for other weights and is not used: cascore tune again"
        return Advised(sampler, f"{folder / ADVICE} {stale}")
    tuned = replace(sampler, order=choice.order, kappa=choice.kappa, spacing=choice.spacing)
    notice = (
        f"order {choice.order}, kappa {choice.kappa:g} and {choice.spacing} levels as tuned for"
        f" {calls} calls ({ADVICE})"
    )
    return Advised(tuned, notice, choice)


def read_choices(path: Path) -> dict[int, Choice]:
    """The choices of a `sampler.json` by number of calls; none if there is no such file."""
    if not path.is_file():
        return {}
    try:
        choices = from_plain(_Choices, read_json(path), str(path)).calls
        numbered: dict[int, Choice] = {}
        for calls, choice in choices.items():
            if (number := whole_number(calls)) is None:
                raise InputError(f"{calls!r:.60} is no number of calls")
            numbered[number] = choice
        return numbered
    except InputError as error:
        raise InputError(
            f"{path} is not what cascore tune writes ({error}): delete it, and tune again"
        ) from None


def write_choice(path: Path, calls: int, choice: Choice) -> None:
    """Put a choice into a `sampler.json`, beside those for other numbers of calls."""
    with one_writer(path, "tuning", wait=_OTHER_TUNING):
        choices = {**read_choices(path), calls: choice}
        by_calls = {str(n): choices[n] for n in sorted(choices)}
        write_json(path, _Choices(format_version=1, calls=by_calls))
