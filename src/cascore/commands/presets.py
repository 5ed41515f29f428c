"""`cascore presets`: what can be trained and how the paper sampled, as two lists."""

from rich.console import Console

from cascore.commands.training import duration, use_threads
from cascore.experiment import build
from cascore.experiment.cost import step_cost, training_speed
from cascore.experiment.presets import PRESETS, SAMPLERS, SHAPES
from cascore.experiment.settings import Experiment

__all__ = ["presets"]


def presets(*, device: str, threads: int | None) -> int:
    """List every preset with its size, length and an estimate of its time here."""
    use_threads(threads)
    place = build.select_device(device)
    speed = training_speed(place)
    console = Console(soft_wrap=True, highlight=False)
    console.print("[bold]cascore train PRESET[/bold]")
    for name, preset in PRESETS.items():
        console.print(f"\n[bold]{name}[/bold]\n  {_facts(preset, speed)}")
    console.print(
        f"\nTime: from the operations of a step and {speed / 1e9:,.0f} GFLOP/s, measured now on"
        f" {place}; a rough guide. `cascore train PRESET --dry-run` measures it."
    )
    console.print("\n[bold]The paper's samplers[/bold], for sample and evaluate as --like NAME\n")
    for name, sampler in SAMPLERS.items():
        size = f"epsilon {sampler.epsilon:g}" if sampler.epsilon else f"eta {sampler.eta:g}"
        console.print(
            f"[bold]{name}[/bold]  {sampler.method.upper()}, n_sigma {sampler.n_sigma}, {size}"
        )
    return 0


def _facts(preset: Experiment, speed: float) -> str:
    shape, settings = SHAPES[preset.data.name], preset.train
    cost = step_cost(preset, shape)
    facts = [
        f"{preset.data.name} {'x'.join(map(str, shape))}",
        f"{preset.network.kind} {preset.network.width}, {cost.parameters:,} parameters",
    ]
    if settings.objective == "hybrid":
        steps = preset.adversarial.steps
        facts.append(f"D {cost.discriminator_parameters:,} parameters, {steps} updates a step")
    levels = preset.schedule.levels
    facts += [
        f"{levels} level{'s' if levels > 1 else ''}",
        f"{settings.steps:,} steps of {settings.batch_size}",
        f"about {duration(cost.seconds(speed) * settings.steps)} here",
    ]
    return "; ".join(facts)
