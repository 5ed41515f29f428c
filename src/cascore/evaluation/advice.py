"""`sampler.json` beside a model: what tuning chose for each number of network calls."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascore.errors import InputError
from cascore.evaluation.objective import sampler_of
from cascore.evaluation.search import Candidate
from cascore.experiment import build
from cascore.experiment.settings import Sampler, Spacing
from cascore.model.loading import Model
from cascore.plain import from_plain, read_json, write_json

__all__ = ["ADVICE", "Advised", "Choice", "advised", "read_choices", "write_choice"]

ADVICE = "sampler.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for a model and a number of calls.

    Attributes:
        order: of the multistep rule.
        kappa: noise of a step.
        spacing: of the levels it was chosen at.
        weights: SHA-256 of the file of the weights that it was chosen for.
        extractor: whose features the distances were of.
        gain: by how much it beat the untuned setting on fresh pictures; 0 if that was kept.
        gain_error: standard error of that difference.
        tuned: whether it is another than the untuned setting.
    """

    order: int
    kappa: float
    spacing: Spacing
    weights: str
    extractor: str
    gain: float
    gain_error: float
    tuned: bool

    @staticmethod
    def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values with the levels that cascore 0.3, which names none, always took."""
        return {"spacing": "geometric", **values}


@dataclass(frozen=True)
class Advised:
    """The sampler to take, what a person should know of it, and the choice behind it."""

    sampler: Sampler
    notice: str | None = None
    choice: Choice | None = None


def advised(sampler: Sampler, folder: Path, model: Model) -> Advised:
    """The sampler with what was tuned for its number of calls, where nothing else was asked for.

    Args:
        sampler: as asked for; one with any setting but `steps` given is returned as it is.
        folder: of the model, which may hold `sampler.json`.
        model: read from there.

    Raises:
        InputError: a `sampler.json` that cannot be read.
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
    wanted = sampler_of(candidate, steps=calls)
    taken = replace(sampler, order=wanted.order, kappa=wanted.kappa, spacing=choice.spacing)
    told = f"{candidate} and {choice.spacing} levels as tuned for {calls} calls ({ADVICE})"
    return Advised(taken, told, choice)


def read_choices(path: Path) -> dict[int, Choice]:
    """The choices of a `sampler.json` by number of calls; none if there is no such file.

    Raises:
        InputError: a file that holds anything else.
    """
    if not path.is_file():
        return {}
    values = read_json(path)
    version = values.get("format_version") if isinstance(values, dict) else None
    calls = values.get("calls") if isinstance(values, dict) else None
    if version != _VERSION or not isinstance(calls, dict):
        raise InputError(
            f"{path} is not what cascore tune writes (format_version {_VERSION} and calls):"
            " delete it, and tune again"
        )
    return {_count(name, path): _choice(each, f"{path}.{name}") for name, each in calls.items()}


def write_choice(path: Path, calls: int, choice: Choice) -> None:
    """Put a choice into a `sampler.json`, beside those for other numbers of calls."""
    choices = {**read_choices(path), calls: choice}
    by_calls = {str(n): choices[n] for n in sorted(choices)}
    write_json(path, {"format_version": _VERSION, "calls": by_calls})


def _count(name: str, path: Path) -> int:
    if not name.isdecimal():
        raise InputError(f"{path}: {name!r} is no number of calls; delete the file, and tune again")
    return int(name)


def _choice(values: Any, where: str) -> Choice:
    choice = from_plain(Choice, values, where)
    if choice.order not in (1, 2) or choice.kappa < 1:
        raise InputError(f"{where} has order {choice.order} and kappa {choice.kappa:g}: tune again")
    return choice
