"""The networks of the studies: a kept model where it is the very training, else a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cascore.experiment.run import freed, training_run
from cascore.experiment.run_folder import CHECKPOINTS
from cascore.experiment.settings import Experiment
from cascore.model.folder import is_model_folder, read_model_record
from cascore.model.loading import Model, load
from cascore.model.pretrained import shipped_folders
from cascore.training.checkpoint import checkpoints


@dataclass
class Models:
    """Where trained models are, and where missing ones are trained.

    Attributes:
        runs: folder of the runs.
        kept: folder of model folders that spare a training, beside those in the package.
        device: where to compute.
        notify: is told in words what goes on.
    """

    runs: Path
    kept: Path
    device: torch.device
    notify: Callable[[str], None]
    _last: tuple[Experiment, Model] | None = None

    def of(self, experiment: Experiment) -> Model:
        """The model of an experiment: kept, or trained now, gone on with, or read if finished."""
        if self._last is None or self._last[0] != experiment:
            self._last = None  # two models need not fit into memory
            self._last = experiment, self._find(experiment) or self._train(experiment)
        return self._last[1]

    def has(self, experiment: Experiment) -> bool:
        """Whether the model of an experiment is there, so that nothing has to be trained."""
        if self._kept(experiment) is not None:
            return True
        saved = checkpoints(self._run(experiment) / CHECKPOINTS)
        return bool(saved) and saved[-1].step == experiment.train.steps

    def _kept(self, experiment: Experiment) -> Path | None:
        kept = sorted(self.kept.iterdir()) if self.kept.is_dir() else ()
        for folder in (*shipped_folders().values(), *filter(is_model_folder, kept)):
            if _is_of(folder, experiment):
                return folder
        return None

    def _find(self, experiment: Experiment) -> Model | None:
        folder = self._kept(experiment)
        if folder is None:
            return None
        self.notify(f"{experiment.name}: the weights of {folder}, not trained")
        return load(folder, device=self.device)

    def _run(self, experiment: Experiment) -> Path:
        train = experiment.train
        name = f"{experiment.name}-{train.steps}-steps-{train.precision}-seed-{train.seed}"
        return self.runs / name

    def _train(self, experiment: Experiment) -> Model:
        train, folder = experiment.train, self._run(experiment)
        if not self.has(experiment):
            self.notify(f"{folder.name}: not there, so it is trained for {train.steps:,} updates")
        run = training_run(experiment, folder, device=self.device, notify=lambda message: None)
        for metrics in run:
            if metrics.step % max(1, train.steps // 10) == 0:
                self.notify(f"{folder.name}: update {metrics.step} of {train.steps}")
        return load(folder, device=self.device)


def _is_of(folder: Path, experiment: Experiment) -> bool:
    """Whether a model folder holds the average of the weights that the experiment trains."""
    record = read_model_record(folder)
    # Where a model came from, and what a preset is called, decides no weight.
    data = replace(record.experiment.data, root=experiment.data.root)
    known = replace(freed(record.experiment, experiment), data=data, name=experiment.name)
    if experiment.train.objective == "plain":  # without a discriminator, whatever it would be
        known = replace(known, adversarial=experiment.adversarial)
    whole = record.step == experiment.train.steps and record.weights == "ema"
    return whole and known == experiment
