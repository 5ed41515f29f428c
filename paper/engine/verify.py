"""Rows of the store measured again: equal, within uncertainty, or different and where."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascore.errors import InputError
from cascore.experiment.settings import Experiment
from cascore.plain import to_plain
from cascore.stats import estimate
from paper.engine.lab import Lab, Result
from paper.engine.models import Models
from paper.engine.page import Study
from paper.engine.store import Line, Store, row_id

Outcome = Literal["equal", "within uncertainty", "different"]
"""Equal to the bit; each number within its standard error; or not."""
_OUTCOMES: Sequence[Outcome] = ("equal", "within uncertainty", "different")
_TOLERANCE = 1e-4  # relative, of a number without a standard error, as of `cascore verify`
_FOLLOWS_FROM = ("checkpoint", "reference", "extractors")
"""What of the provenance decides a result."""


@dataclass(frozen=True)
class Replayed:
    """A row that was measured again, and what is not as it was: place, was, is."""

    row: str
    line: Line
    outcome: Outcome
    changes: tuple[str, ...]


class Replay(Lab):
    """A lab that reads, but measures wanted rows, or all, again, and notes how they compare."""

    def __init__(self, store: Store, models: Models, wanted: Collection[str] | None) -> None:
        super().__init__(store, models)
        self.wanted, self.replayed = wanted, dict[str, Replayed]()

    def keep(
        self,
        kind: str,
        settings: Mapping[str, Any],
        measure: Callable[[], Result],
        *,
        calls: int = 0,
        experiment: Experiment | None = None,
        enough: Callable[[Mapping[str, Any]], bool] = lambda result: True,
    ) -> Mapping[str, Any]:
        """The stored result, which is left as it is, whatever comes of measuring it again."""
        line = self.store.find(kind, self.named(settings, experiment))
        if line is None or not enough(line["result"]):
            raise InputError(f"no measurement {kind} of {dict(settings)} in the store")
        row = row_id(kind, line["settings"])
        if (self.wanted is None or row in self.wanted) and row not in self.replayed:
            self.replayed[row] = compared(row, line, *measure())
        return dict(line["result"])


def compared(row: str, line: Line, result: Mapping[str, Any], made: Mapping[str, Any]) -> Replayed:
    """A line of the store against what was measured now; it may have more than that."""
    now, was = to_plain(result), line["result"]
    worst, changes = 0, []
    for place, outcome, before, after in _differences("", {k: was.get(k) for k in now}, now):
        worst = max(worst, _OUTCOMES.index(outcome))
        if outcome != "equal":
            changes.append(f"{place} was {before}, is {after}")
    for name in _FOLLOWS_FROM:
        before, after = line["made"].get(name), to_plain(made.get(name))
        if isinstance(before, dict) and isinstance(after, dict):
            before = {key: before.get(key) for key in after}  # extractors that were added later
        if before != after:
            worst = 2
            changes.append(f"the {name} was {before}, is {after}")
    return Replayed(row, line, _OUTCOMES[worst], tuple(changes))


def _differences(place: str, was: Any, now: Any) -> Iterator[tuple[str, Outcome, Any, Any]]:
    """Place, outcome and both values of every part that can differ."""
    if was == now:
        yield place, "equal", was, now
    elif isinstance(now, dict) and isinstance(was, dict) and was.keys() >= now.keys():
        for name in now:  # what was measured for other studies may stand beside
            yield from _differences(f"{place}.{name}".lstrip("."), was[name], now[name])
    elif place == "values" and len(was) == len(now):  # of blocks, whose mean is what is reported
        before, after = estimate(was), estimate(now)
        near = abs(after.mean - before.mean) <= before.error
        yield "the mean", _within(near), before.mean, after.mean
    elif place.startswith("distances.") and len(now) == 2 and was[1] is not None:
        near = abs(now[0] - was[0]) <= was[1]
        yield place, _within(near), was[0], now[0]
    elif isinstance(now, list) and isinstance(was, list) and len(was) == len(now):
        for index, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from _differences(f"{place}[{index}]", before, after)
    else:
        numbers = all(type(value) in (int, float) for value in (was, now))
        near = numbers and abs(now - was) <= _TOLERANCE * abs(was)
        yield place, _within(near), was, now


def _within(near: bool) -> Outcome:
    return "within uncertainty" if near else "different"


def rows_of(store: Store) -> dict[str, Line]:
    """Every measurement by its id."""
    return {row_id(line["kind"], line["settings"]): line for line in store}


def replay(
    store: Store, models: Models, names: Sequence[str], studies: Mapping[str, Study], scale: str
) -> Iterator[Replayed]:
    """Measure rows again by the studies that ask for them; a name is an id, or a study's: all its.

    Raises:
        InputError: a name that is neither; at the end, a row that no study asks for, as after a
            change of its settings, or a study that stopped.
    """
    known = rows_of(store)
    unknown = [name for name in names if name not in known and name not in studies]
    if unknown:
        raise InputError(
            f"{', '.join(unknown)}: neither a study nor a row of {store.path};"
            " `python -m paper verify` lists them"
        )
    left, reasons = set(names) - studies.keys(), list[str]()
    for name, study in studies.items():
        whole = name in names
        if not (whole or left):
            continue
        lab = Replay(store, models, None if whole else left)
        try:
            study.measure(lab, study.scales[scale])
        except InputError as error:  # a false number may have sent it to rows that are not there
            reasons.append(f"{name} stopped: {error}")
        left -= lab.replayed.keys()
        yield from lab.replayed.values()
    if left:
        reasons.append(f"no study asks for {', '.join(sorted(left))} with these settings")
    if left or (reasons and set(names) & studies.keys()):
        raise InputError("; ".join(reasons))
