"""`cascore presets`: what can be trained and how the paper sampled, as two tables."""

from rich.console import Console
from rich.table import Table

from cascore.commands.training import duration, use_threads
from cascore.experiments import build
from cascore.experiments.config import Experiment
from cascore.experiments.cost import Cost, step_cost, training_speed
from cascore.experiments.presets import PRESETS, SAMPLERS, SHAPES

__all__ = ["presets"]


def presets(*, device: str, threads: int | None) -> int:
    """List every preset with its size, length and an estimate of its time here."""
    use_threads(threads)
    place = build.select_device(device)
    speed = training_speed(place)
    console = Console()
    console.print(_training_table(speed))
    console.print(
        f"Time: from the products of a step and {speed / 1e9:,.0f} GFLOP/s, measured now on"
        f" {place}; right within a factor of two. `cascore train PRESET --dry-run` measures it."
        " D: the discriminator's parameters and its updates per step.",
        highlight=False,
    )
    console.print(_sampling_table())
    console.print(
        "For `cascore sample` and `cascore evaluate`, as --like NAME. Levels: as many as in"
        " training, stretched by n_sigma for CAS.",
        highlight=False,
    )
    return 0


def _training_table(speed: float) -> Table:
    table = Table(title="cascore train PRESET", title_justify="left")
    for column in ("preset", "data", "network"):
        table.add_column(column, no_wrap=column == "preset")
    for column in ("parameters", "D", "levels", "batch", "steps", "time here"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, preset in PRESETS.items():
        cost = step_cost(preset, SHAPES[preset.data.name])
        table.add_row(name, *_cells(preset, cost, speed))
    return table


def _cells(preset: Experiment, cost: Cost, speed: float) -> tuple[str, ...]:
    settings = preset.train
    hybrid = settings.objective == "hybrid"
    opponent = f"{cost.discriminator_parameters:,} x {preset.adversarial.steps}" if hybrid else ""
    shape = "x".join(str(size) for size in SHAPES[preset.data.name])
    return (
        f"{preset.data.name} {shape}",
        f"{preset.network.kind} {preset.network.width}",
        f"{cost.parameters:,}",
        opponent,
        str(preset.schedule.levels),
        str(settings.batch_size),
        f"{settings.steps:,}",
        duration(cost.seconds(speed) * settings.steps),
    )


def _sampling_table() -> Table:
    table = Table(title="the paper's samplers", title_justify="left")
    for column in ("name", "method", "n_sigma", "step size"):
        table.add_column(column)
    for name, sampler in SAMPLERS.items():
        size = f"epsilon {sampler.epsilon:g}" if sampler.epsilon else f"eta {sampler.eta:g}"
        table.add_row(name, sampler.method.upper(), str(sampler.n_sigma), size)
    return table
