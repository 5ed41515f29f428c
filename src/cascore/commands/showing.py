"""`cascore info` and `cascore quickstart`: what a run is, and the whole job on one page."""

import json
from pathlib import Path

import torch
from rich.console import Console

from cascore.commands.quickstart import FULL, run_quickstart
from cascore.commands.training import use_threads
from cascore.console import Display
from cascore.experiments import build
from cascore.experiments.config import to_json
from cascore.experiments.run import load_model, read_experiment
from cascore.files import file_digest
from cascore.training.checkpoint import checkpoints

__all__ = ["info", "quickstart"]


def info(run: Path) -> int:
    """Print what a run is."""
    experiment = read_experiment(run)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(to_json(experiment), end="")
    saved = checkpoints(run / "checkpoints")
    console.print(f"checkpoints: {', '.join(str(each.step) for each in saved) or 'none yet'}")
    if saved:
        model = load_model(run, device=torch.device("cpu"))
        console.print(
            f"score network: {sum(p.numel() for p in model.denoiser.parameters()):,} parameters"
        )
        console.print(f"datum: {list(model.shape)}; weights: {file_digest(saved[-1].tensors)}")
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    if lines:
        console.print(f"last: {json.dumps(json.loads(lines[-1]))}")
    return 0


def quickstart(folder: Path, *, device: str, threads: int) -> int:
    """Train, sample, judge, and write the page."""
    use_threads(threads)
    page = run_quickstart(folder, scale=FULL, device=build.select_device(device), display=Display())
    Console(soft_wrap=True, highlight=False, markup=False).print(f"open {page}")
    return 0
