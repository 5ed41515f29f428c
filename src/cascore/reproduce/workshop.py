"""Where a study works: the folder of trained models, the device, and someone to tell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from cascore.experiment.run import freed, training_run
from cascore.experiment.settings import Experiment
from cascore.files import file_digest
from cascore.model.folder import is_model_folder, read_model_record
from cascore.model.loading import Model, load
from cascore.model.pretrained import shipped_folders, spoken_name
from cascore.training.checkpoint import checkpoints

__all__ = ["Trained", "Workshop", "seeded"]


@dataclass(frozen=True)
class Trained:
    """A trained model and the SHA-256 of the file that its weights were read from.

    A run's checkpoint and a model directory of the same weights are two files.
    """

    model: Model
    digest: str


@dataclass(frozen=True)
class Workshop:
    """What the units of a study work with.

    Attributes:
        runs: folder of the trained models, one run each.
        device: where to compute.
        notify: told in words what goes on.
        models: folder of model directories that spare a training; None or absent: there are none.
            Models that come with cascore spare it too.
    """

    runs: Path
    device: torch.device
    notify: Callable[[str], None]
    models: Path | None = None

    def trained(self, experiment: Experiment) -> Trained:
        """The model of an experiment: kept, or trained now, gone on with, or read if finished.

        Raises:
            InputError: a kept model that is damaged, or what training refuses.
        """
        settings = experiment.train
        for kept in self._kept():
            if _is_of(kept, experiment):
                self.notify(f"{experiment.name}: the weights of {spoken_name(kept)}, not trained")
                model = load(kept, device=self.device)
                return Trained(model, model.digest)
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
        return Trained(load(folder, device=self.device), file_digest(newest.tensors))

    def _kept(self) -> Iterator[Path]:
        """Model directories that may be what is wanted, those in the package first."""
        yield from shipped_folders().values()
        if self.models is not None and self.models.is_dir():
            yield from (each for each in sorted(self.models.iterdir()) if is_model_folder(each))


def _is_of(folder: Path, experiment: Experiment) -> bool:
    """Whether a model directory holds the average of the weights that the experiment trains."""
    record = read_model_record(folder)
    # Where a model directory came from, and what a preset is called, decides no weight.
    data = replace(record.experiment.data, root=experiment.data.root)
    found = replace(freed(record.experiment, experiment), data=data, name=experiment.name)
    whole = record.step == experiment.train.steps and record.weights == "ema"
    return whole and found == experiment


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
