"""What several commands share: types of arguments, and how results are printed."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from rich.console import Console
from rich.table import Table

from cascore.errors import InputError
from cascore.experiment.presets import SAMPLERS, require_fitting
from cascore.experiment.settings import Sampler

__all__ = [
    "Command",
    "Crop",
    "Device",
    "Filter",
    "Mode",
    "SamplerName",
    "chosen_sampler",
    "duration",
    "plain_console",
    "result_table",
    "table_console",
]

Device = Literal["auto", "cpu", "cuda", "mps"]
Crop = Literal["center", "none"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
Mode = Literal["auto", "rgb", "grey"]
if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


class Command(Protocol):
    """The arguments of one command, and what it does."""

    def run(self, typed: str) -> int:
        """Do it: results to standard output, progress to standard error.

        Args:
            typed: The command line, for records.

        Returns:
            The exit code.
        """
        ...


def plain_console() -> Console:
    """Standard output for paths and lines that other programs may read: never wrapped."""
    return Console(soft_wrap=True, highlight=False, markup=False)


def table_console() -> Console:
    """Standard output for tables and sentences, a hundred characters wide."""
    return Console(width=100, highlight=False, markup=False)


def result_table() -> Table:
    """An empty table in the style of every command."""
    return Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))


def duration(seconds: float) -> str:
    """Seconds in words, in the unit that a person would take."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:,.0f} days"


def chosen_sampler(sampler: Sampler, like: str | None, path: Path) -> Sampler:
    """The sampler that `--like` names, or the one that the other settings describe.

    Raises:
        InputError: Both were given, or the model has other noise levels than those that the
            named sampler's step size was tuned for.
    """
    if like is None:
        return sampler
    if sampler != Sampler():
        raise InputError(
            f"--like {like} fixes every sampler setting: leave out the others, or --like"
        )
    from cascore.experiment.run_folder import is_run, read_experiment
    from cascore.model.folder import is_model_folder, read_model_record

    if is_run(path):
        require_fitting(like, read_experiment(path).schedule)
    elif is_model_folder(path):
        record = read_model_record(path)
        if like in record.samplers:  # in the units of its pixels
            return Sampler(**record.samplers[like])
        require_fitting(like, record.experiment.schedule)
    return SAMPLERS[like]
