"""A training by the clock: looked at on the way, ended by its time or by its held-out error."""

import time
from collections.abc import Callable
from pathlib import Path

from cascore.data import ImageSet
from cascore.experiment.fine_tuning import read_base
from cascore.experiment.learned import LEARNED, judged, read_learned, write_learned
from cascore.experiment.looks import (
    Look,
    Looks,
    error_levels,
    has_risen,
    least_loss,
    read_looks,
    write_film,
)
from cascore.experiment.page import write_page
from cascore.experiment.periodic import keep_best
from cascore.experiment.run_folder import CHECKPOINTS, HELD_OUT_LOSS, METRICS
from cascore.experiment.settings import Experiment
from cascore.measurement import Selection
from cascore.plain import last_line
from cascore.theory import linear_errors
from cascore.training import Pace, TrainState
from cascore.training.checkpoint import checkpoints

FEW = 1000  # pictures
_MARKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
"""Shares of the time at which to look: most changes early."""
_APART = 9  # times what a look takes: it may cost a tenth of the time
REPLAY = (
    "the learning rate follows the time left, so these settings alone do not replay the run; the"
    " rates that it used stand in metrics.jsonl"
)


class Course:
    """How a run of so many updates goes from its start to its end, beside the updates.

    Only the first process begins, looks and ends.

    Args:
        steps: Updates when it ends.
        before: Seconds of earlier parts of the run; None where they are not known.
    """

    def __init__(self, steps: int, before: float | None) -> None:
        self._steps, self._before, self._started = steps, before, time.monotonic()

    @property
    def spent(self) -> float | None:
        """Seconds of training so far."""
        return None if self._before is None else self._before + time.monotonic() - self._started

    def share(self, step: int) -> float:
        """What is done after `step` updates, in [0, 1]; all processes ask together."""
        return step / self._steps

    def begin(self, state: TrainState, *, share: float) -> bool:
        """Whether anything is left to do."""
        return True

    def is_due(self, share: float) -> bool:
        """Whether to look at the training, at this share of it."""
        return False

    def look(self, state: TrainState, *, share: float) -> bool:
        """Look at the training; whether it is time to stop, because it gets worse."""
        return False

    def end(self) -> None:
        """Say what became of it."""


class TimedRun(Course):
    """How a run by the clock goes: looked at, stopped where it gets worse, judged at its end.

    Args:
        experiment: Of the run, with its minutes.
        folder: Of the run.
        pace: Its clock.
        train: The training images.
        held_out: Those kept apart, if there are any.
        notify: Told in words what a person should know.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        *,
        pace: Pace,
        train: ImageSet,
        held_out: ImageSet | None,
        notify: Callable[[str], None],
    ) -> None:
        self._pace, self._experiment, self._folder, self._notify = pace, experiment, folder, notify
        self._train, self._held_out = train, held_out
        self._looks: Looks | None = None
        self._looked_at, self._last, self._cost = 0.0, 0.0, 0.0
        self._linear: tuple[float, ...] = ()

    @property
    def spent(self) -> float:
        """Seconds of training so far."""
        return self._pace.spent

    def share(self, step: int) -> float:
        """What is done after `step` updates, in [0, 1]; all processes ask together."""
        return self._pace.share(step)

    def begin(self, state: TrainState, *, share: float) -> bool:
        """Look at the start; False where nothing is left to do."""
        folder, minutes = self._folder, self._experiment.minutes
        known = read_looks(folder)
        over = state.step > 0 and share >= 1
        if not over and not has_risen(known):
            (folder / LEARNED).unlink(missing_ok=True)  # of what goes on it is not known
            if state.step > 0:  # at the start it was said with what was chosen
                for remark in (*remarks_of_size(self._train, self._held_out), REPLAY):
                    self._notify(remark)
            self._prepare()
            if known:
                self._looked_at = min(share, known[-1].minutes / minutes)
                if state.step > 0:  # a kill may have come between a look and this
                    self._keep_best(known)
            else:
                self._look(state, share=0.0)
            return True
        if read_learned(folder) is None:  # killed before its end
            self._prepare()
            if not known or known[-1].step < state.step:
                self.look(state, share=1.0)
            else:
                self._keep_best(known)
            self.end()
        if over:
            self._notify(
                f"{folder} has trained its {minutes:g} minutes: --minutes {2 * minutes:g} goes on"
                " for as long again"
            )
        else:
            self._notify(_risen(known))
        return False

    def _prepare(self) -> None:
        self._looks = Looks(self._experiment, self._folder, self._train, self._held_out)
        levels = error_levels(self._experiment)
        variances = self._train.spectrum.variances(*self._train.shape[1:])
        self._linear = tuple(linear_errors(variances, levels))

    def is_due(self, share: float) -> bool:
        """Whether to look, at this share of the time; at its end always."""
        passed = any(self._looked_at < mark <= share for mark in _MARKS)
        return share >= 1 or (passed and self.spent - self._last >= _APART * self._cost)

    def look(self, state: TrainState, *, share: float) -> bool:
        """Look, and keep the best weights; whether it is time to stop, because it gets worse."""
        self._look(state, share=share)
        looks = read_looks(self._folder)
        self._keep_best(looks)
        return has_risen(looks)

    def _keep_best(self, looks: list[Look]) -> None:
        """Keep the newest checkpoint if its look was the best; again where it was kept before."""
        best = least_loss(looks)
        newest = checkpoints(self._folder / CHECKPOINTS)[-1]
        if best is not None and best.step == newest.step and best.loss is not None:
            measured = sum(look.loss is not None and look.step > 0 for look in looks)
            chosen = Selection(
                metric=HELD_OUT_LOSS, value=best.loss, step=best.step, candidates=measured
            )
            keep_best(self._folder, chosen, newest.folder)

    def end(self) -> None:
        """Say what became of it: the film, the page, and whether it learned its pictures."""
        looks = read_looks(self._folder)
        best = least_loss(looks) or looks[-1]
        assert self._looks is not None  # it has begun
        learned = judged(
            best,
            linear=self._linear,
            yardstick=self._looks.yardstick(),
            pictures=self._train.count,
            shape=self._train.shape,
            minutes=self.spent / 60,
            begun=read_base(self._folder) is not None,
        )
        write_learned(self._folder, learned)
        write_film(self._folder)
        words = [*([_risen(looks)] if has_risen(looks) else []), *filter(None, [learned.words])]
        self._write_page(looks, message=" ".join(words), done=True)
        for word in words:
            self._notify(word)

    def _look(self, state: TrainState, *, share: float) -> None:
        assert self._looks is not None  # it has begun
        started = self.spent
        look = self._looks.take(state, minutes=started / 60)
        looks = read_looks(self._folder)
        self._write_page(looks)
        self._looked_at, self._last = share, self.spent
        self._cost = self._last - started
        self._notify(_words(look, self._folder))

    def _write_page(self, looks: list[Look], *, message: str = "", done: bool = False) -> None:
        classes = self._train.classes if self._experiment.network.labels else ()
        write_page(
            self._folder,
            looks,
            minutes=self._experiment.minutes,
            rows=classes[:10],
            linear=self._linear,
            message=message,
            done=done,
        )


def last_rate(folder: Path, full: float) -> float:
    """The rate of the last update of a run, as a share of the full one; 0 of none."""
    line = last_line(folder / METRICS)
    return 0.0 if line is None else float(line.get("learning_rate", full)) / full


def remarks_of_size(train: ImageSet, held_out: ImageSet | None) -> list[str]:
    """What to say of a small set before it is trained on."""
    told = []
    if train.count < FEW:
        told.append(
            f"{train.count:,} pictures are few: a model soon knows them by heart, and draws them"
            " again; thousands let it draw new ones"
        )
    if held_out is None:
        told.append("no picture is kept apart: nobody will see when it learns them by heart")
    return told


def _words(look: Look, folder: Path) -> str:
    loss = "" if look.loss is None else f", held-out loss {look.loss:.4g}"
    return f"looked at after {look.minutes:.1f} minutes: step {look.step:,}{loss}; {folder}"


def _risen(looks: list[Look]) -> str:
    best = least_loss(looks)
    assert best is not None
    return (
        f"stopped: held-out loss has risen since minute {best.minutes:.1f}, and the best weights"
        f" (step {best.step:,}) are kept. More pictures, not more time, are needed"
    )
