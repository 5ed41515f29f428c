"""The metrics of a training in other programs' logs: TensorBoard, Weights & Biases."""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from cascore.errors import MissingExtraError
from cascore.training.loop import Backlog, Metrics

LogName = Literal["tensorboard", "wandb"]
"""A program that shows the metrics of trainings."""
LOG_FOLDERS: tuple[str, ...] = get_args(LogName)
"""What they write in the folder of a run."""

_Write = Callable[[int, Mapping[str, float]], None]
_OpenLog = Callable[[Path, int, Mapping[str, Any]], AbstractContextManager[_Write]]


def logged(
    metrics: Iterable[Metrics],
    to: Collection[LogName],
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Metrics]:
    """Pass the metrics of a training on, and log each of its steps.

    A training that goes on from an earlier step goes on in the same logs: what these have of later
    steps is hidden (TensorBoard) or stays (Weights & Biases, which takes no step twice).

    Args:
        metrics: As `train` gives them.
        to: Programs. tensorboard gets `folder`/tensorboard; wandb a run of the project cascore,
            known by the folder's path, with its own files in the folder; who you are and whether
            it is online is wandb's own business (`wandb login`, WANDB_MODE).
        folder: Of the run.
        settings: Kept with the run by wandb.

    Raises:
        MissingExtraError: A program is not installed.
    """
    logs = [_LOGS[name] for name in dict.fromkeys(to)]
    for name in to:
        if find_spec(name) is None:
            raise MissingExtraError(what=f"a log for {name}", package=name, extra=name)
    return _logged(metrics, logs, folder, settings or {})


def _logged(
    metrics: Iterable[Metrics], logs: list[_OpenLog], folder: Path, settings: Mapping[str, Any]
) -> Iterator[Metrics]:
    with ExitStack() as stack:
        writers: list[_Write] | None = None
        backlog = Backlog()

        def write(updates: Iterable[Metrics]) -> None:
            for update in updates:
                for each in writers or ():
                    each(update.step, update.numbers)

        for update in metrics:
            if writers is None:  # now the folder is there, and its first step known
                opened = (log(folder, update.step, settings) for log in logs)
                writers = [stack.enter_context(log) for log in opened]
                stack.callback(lambda: write(backlog.rest()))
            write(backlog.readable(update))
            yield update


@contextmanager
def _tensorboard(folder: Path, first: int, settings: Mapping[str, Any]) -> Iterator[_Write]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=first) as writer:

        def write(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield write


@contextmanager
def _wandb(folder: Path, first: int, settings: Mapping[str, Any]) -> Iterator[_Write]:
    import wandb

    place = folder.resolve()
    run = wandb.init(
        project="cascore",
        name=place.name,
        id=uuid.uuid5(uuid.NAMESPACE_URL, place.as_uri()).hex,
        resume="allow",
        dir=str(place),
        config=dict(settings),
    )
    with run:

        def write(step: int, values: Mapping[str, float]) -> None:
            run.log(dict(values), step=step)

        yield write


_LOGS: Mapping[LogName, _OpenLog] = {"tensorboard": _tensorboard, "wandb": _wandb}
