"""`cascore info` and `cascore quickstart`: what a model is, and the whole job on one page."""

import json
from pathlib import Path

import torch
from rich.console import Console

from cascore.commands.quickstart import FULL, run_quickstart
from cascore.commands.training import use_threads
from cascore.experiment import build
from cascore.experiment.run_folder import CHECKPOINTS, read_experiment
from cascore.model.folder import is_model_folder, read_model_record
from cascore.model.loading import Model, load_model, require_model
from cascore.plain import json_text
from cascore.progress import Display
from cascore.training.checkpoint import checkpoints

__all__ = ["info", "quickstart"]


def info(path: Path) -> int:
    """Print what a run or a model directory is."""
    require_model(path)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if is_model_folder(path):
        model = load_model(path, device=torch.device("cpu"))  # which checks that it is whole
        console.print(json_text(read_model_record(path)), end="")
        _describe(console, model)
        return 0
    experiment = read_experiment(path)
    console.print(json_text(experiment), end="")
    saved = checkpoints(path / CHECKPOINTS)
    console.print(f"checkpoints: {', '.join(str(each.step) for each in saved) or 'none yet'}")
    if saved:
        _describe(console, load_model(path, device=torch.device("cpu")))
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    if lines:
        console.print(f"last: {json.dumps(json.loads(lines[-1]))}")
    return 0


def _describe(console: Console, model: Model) -> None:
    parameters = sum(each.numel() for each in model.denoiser.parameters())
    console.print(f"score network: {parameters:,} parameters")
    console.print(f"datum: {list(model.shape)}; weights: {model.digest}")


def quickstart(folder: Path, *, device: str, threads: int) -> int:
    """Train, sample, judge, and write the page."""
    use_threads(threads)
    page = run_quickstart(folder, scale=FULL, device=build.select_device(device), display=Display())
    Console(soft_wrap=True, highlight=False, markup=False).print(f"open {page}")
    return 0
