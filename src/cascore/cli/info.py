"""`cascore info`: what a run or a model folder is."""

import json
from dataclasses import dataclass

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.model.pretrained import find_model
from cascore.plain import json_text, last_line
from cascore.progress import Display


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a run or a model folder is: settings, parameters, where it came from."""

    path: options.ModelName

    def run(self, typed: str) -> int:
        """Print settings, checkpoints, sizes and the last metrics."""
        from cascore.experiment.fine_tuning import read_base
        from cascore.experiment.run_folder import CHECKPOINTS, METRICS, read_experiment
        from cascore.model.folder import is_model_folder, read_model_record
        from cascore.model.loading import load, require_model
        from cascore.training.checkpoint import checkpoints

        path, console, say = find_model(self.path), plain_console(), Display().say
        require_model(path)
        alone = is_model_folder(path)
        saved = [] if alone else checkpoints(path / CHECKPOINTS)
        model = load(path, notify=say) if alone or saved else None  # which checks that it is whole
        record = read_model_record(path) if alone else read_experiment(path)
        console.print(json_text(record), end="")
        if not alone:
            steps = ", ".join(str(checkpoint.step) for checkpoint in saved)
            console.print(f"checkpoints: {steps or 'none yet'}")
        base = None if alone else read_base(path)
        if base is not None:
            console.print(f"began with the weights of {base.words}")
        if model is not None:
            parameters = sum(weights.numel() for weights in model.denoiser.parameters())
            console.print(f"score network: {parameters:,} parameters")
            console.print(f"datum: {list(model.shape)}; weights: {model.digest}")
        if not alone and (metrics := last_line(path / METRICS)) is not None:
            console.print(f"last: {json.dumps(metrics)}")
        return 0
