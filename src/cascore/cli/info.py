"""`cascore info`: what a run or a model folder is."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.model.pretrained import find_model
from cascore.plain import json_text, read_json_lines

if TYPE_CHECKING:
    from rich.console import Console

    from cascore.model.loading import Model


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a run or a model folder is: settings, parameters, where it came from."""

    path: options.ModelName

    def run(self, typed: str) -> int:
        """Print settings, checkpoints, sizes and the last metrics."""
        import torch

        from cascore.experiment.run_folder import CHECKPOINTS, METRICS, read_experiment
        from cascore.model.folder import is_model_folder, read_model_record
        from cascore.model.loading import load, require_model
        from cascore.training.checkpoint import checkpoints

        path, cpu = find_model(self.path), torch.device("cpu")
        require_model(path)
        console = plain_console()
        if is_model_folder(path):
            model = load(path, device=cpu)  # which checks that it is whole
            console.print(json_text(read_model_record(path)), end="")
            _describe(console, model)
            return 0
        experiment = read_experiment(path)
        console.print(json_text(experiment), end="")
        saved = checkpoints(path / CHECKPOINTS)
        steps = ", ".join(str(checkpoint.step) for checkpoint in saved)
        console.print(f"checkpoints: {steps or 'none yet'}")
        if saved:
            _describe(console, load(path, device=cpu))
        metrics = read_json_lines(path / METRICS, torn=True)
        if metrics:
            console.print(f"last: {json.dumps(metrics[-1])}")
        return 0


def _describe(console: "Console", model: "Model") -> None:
    parameters = sum(weights.numel() for weights in model.denoiser.parameters())
    console.print(f"score network: {parameters:,} parameters")
    console.print(f"datum: {list(model.shape)}; weights: {model.digest}")
