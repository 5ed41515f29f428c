"""`cascore presets`: what can be trained and how the paper sampled, as two lists."""

from dataclasses import dataclass

from cascore.cli import options
from cascore.cli.common import duration
from cascore.experiment.presets import PRESETS, SAMPLERS, SHAPES, describe_preset
from cascore.experiment.settings import Experiment
from cascore.progress import TextConsole


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List what can be trained, with an estimate of its time here, and the paper's samplers."""

    device: options.Device = "auto"
    threads: int | None = None
    """CPU threads (default: PyTorch's choice)."""

    def run(self, typed: str) -> int:
        """List every preset with its size, length and an estimate of its time here."""
        from cascore.experiment.build import select_device, use_threads
        from cascore.experiment.cost import training_speed

        use_threads(self.threads)
        device = select_device(self.device)
        speed = training_speed(device)
        console = TextConsole(soft_wrap=True, highlight=False)
        console.print("[bold]cascore train PRESET[/bold]")
        for name, preset in PRESETS.items():
            console.print(f"\n[bold]{name}[/bold]\n  {_facts(preset, speed)}")
        console.print(
            f"\nTime: from the operations of a step and {speed / 1e9:,.0f} GFLOP/s, measured now on"
            f" {device}; a rough guide. `cascore train PRESET --dry-run` measures it."
        )
        title = "[bold]The paper's samplers[/bold], for sample and evaluate as --like NAME"
        console.print(f"\n{title}\n")
        for name, sampler in SAMPLERS.items():
            size = f"epsilon {sampler.epsilon:g}" if sampler.epsilon else f"eta {sampler.eta:g}"
            console.print(
                f"[bold]{name}[/bold]  {sampler.method.upper()}, n_sigma {sampler.n_sigma}, {size}"
            )
        return 0


def _facts(preset: Experiment, speed: float) -> str:
    from cascore.experiment.cost import step_cost

    cost = step_cost(preset, shape := SHAPES[preset.data.name])
    facts = [describe_preset(preset), f"data {'x'.join(map(str, shape))}"]
    facts.append(f"{cost.parameters:,} parameters")
    if preset.train.objective == "hybrid":
        updates = f"{preset.adversarial.steps} updates a step"
        facts.append(f"D {cost.discriminator_parameters:,} parameters, {updates}")
    return "; ".join([*facts, f"about {duration(cost.seconds(speed) * preset.train.steps)} here"])
