"""Where a study works: the folder of trained models, the device, and someone to tell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from cascore.experiments.config import Experiment
from cascore.experiments.models import Model, load_model
from cascore.experiments.run import training_run
from cascore.files import file_digest
from cascore.training.checkpoint import checkpoints

__all__ = ["Trained", "Workshop", "seeded"]


@dataclass(frozen=True)
class Trained:
    """A trained model and the SHA-256 of the weights it was read from."""

    model: Model
    digest: str


@dataclass(frozen=True)
class Workshop:
    """What the units of a study work with.

    Attributes:
        runs: folder of the trained models, one run each.
        device: where to compute.
        notify: told in words what goes on.
    """

    runs: Path
    device: torch.device
    notify: Callable[[str], None]

    def trained(self, experiment: Experiment) -> Trained:
        """The model of an experiment: trained now, gone on with, or read if it is finished."""
        settings = experiment.train
        # Studies train one preset for different lengths, and `all` runs them in one folder.
        length = f"{settings.steps}-steps-{settings.precision}"
        folder = self.runs / f"{experiment.name}-{length}-seed-{settings.seed}"
        saved = checkpoints(folder / "checkpoints")
        finished = bool(saved) and saved[-1].step == settings.steps
        steps = training_run(
            experiment,
            folder,
            device=self.device,
            notify=(lambda message: None) if finished else self.notify,
        )
        for metrics in steps:
            if metrics.step % max(1, settings.steps // 10) == 0:
                self.notify(f"{folder.name}: step {metrics.step} of {settings.steps}")
        newest = checkpoints(folder / "checkpoints")[-1]
        return Trained(load_model(folder, device=self.device), file_digest(newest.tensors))


def seeded(
    experiment: Experiment,
    *,
    steps: int,
    seed: int,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Experiment:
    """An experiment with another length, seed and precision."""
    train = replace(
        experiment.train,
        steps=steps,
        seed=seed,
        precision=precision,
        save_every=max(1, min(1000, steps // 4)),
    )
    return replace(experiment, train=train)
