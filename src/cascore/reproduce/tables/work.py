"""Tables 1, 2 and 3: sampling, n_sigma, denoising and objective, each against each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from cascore.data import load_images
from cascore.experiment.presets import PRESETS, SAMPLERS
from cascore.experiment.settings import Experiment
from cascore.pixels import to_uint8
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler, then
from cascore.reproduce.sheets import sheet_of
from cascore.reproduce.tables.scales import TABLES, TableScale
from cascore.reproduce.tuning import VALIDATION_SEED, Grid, Method, at_training_levels, best_of
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Trained, Workshop, seeded
from cascore.schedule import eta_at_n_sigma

__all__ = ["FLOOR", "METHODS", "SHEET", "Cell", "Trial", "cells", "sampler_of", "trials", "units"]

FLOOR = "floor"
METHODS: tuple[Method, Method] = ("als", "cas")
SHEET = 8
"""How many pictures of each measurement its record keeps."""
_row = partial(sheet_of, shown=SHEET, columns=SHEET)


class Trial(NamedTuple):
    """A model: a preset and the seed of its training."""

    preset: str
    training: int

    @property
    def prefix(self) -> str:
        """Of the names of its units."""
        return f"{self.preset}.training-{self.training}"

    def tuning(self, method: Method, n_sigma: int) -> str:
        """The unit that chooses a step size; consistent sampling has one for every n_sigma."""
        return f"{self.prefix}.tuning.{method}-{1 if method == 'cas' else n_sigma}"


@dataclass(frozen=True)
class Cell:
    """A model and a sampler; both outcomes, raw and denoised, come from one chain."""

    trial: Trial
    method: Method
    n_sigma: int

    def unit(self, seed: int) -> str:
        """The name of one of its measurements."""
        return f"{self.trial.prefix}.{self.method}-{self.n_sigma}.seed-{seed}"


def trials(scale: TableScale) -> list[Trial]:
    """Every model, the plain ones first."""
    return [Trial(preset, t) for preset in scale.presets for t in range(scale.trainings)]


def cells(scale: TableScale, trial: Trial) -> list[Cell]:
    """What is measured of a model, the cheap chains first."""
    return [Cell(trial, method, n) for n in scale.n_sigmas for method in METHODS]


def units(table: str, scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What real images score; then for each model its step sizes, and all cells with each seed."""
    scale = TABLES[table][scale_name]
    judge = Judge(PRESETS[scale.presets[0]].data.name, scale.extractors, workshop)
    trained = lru_cache(maxsize=1)(workshop.trained)
    work = _Work(scale, judge, trained)
    found = [Unit(FLOOR, work.common(scale.count), work.floor)]
    for trial in trials(scale):
        found += work.tunings(trial)
        found += [
            work.measurement(cell, seed)
            for cell in cells(scale, trial)
            for seed in range(scale.seeds)
        ]
    return found


@dataclass(frozen=True)
class _Work:
    """What all units share; no method is called before a unit needs it."""

    scale: TableScale
    judge: Judge
    trained: Callable[[Experiment], Trained]

    def common(self, count: int) -> dict[str, Any]:
        return {
            "count": count,
            "extractors": list(self.scale.extractors),
            "data": self.judge.data,
        }

    def experiment(self, trial: Trial) -> Experiment:
        return seeded(
            PRESETS[trial.preset],
            steps=self.scale.steps,
            seed=trial.training,
            precision=self.scale.precision,
        )

    def floor(self, done: Records) -> Mapping[str, Any]:
        del done
        return {
            "floors": self.judge.floors(count=self.scale.count),
            "reference": self.judge.train.digest,
            "sheet": _row(load_images(self.judge.data, "test").images),
        }

    def tunings(self, trial: Trial) -> list[Unit]:
        """A step size for each sampler, in an order in which each finds the one it follows from."""
        grid, many = self.scale.grid, self.scale.n_sigmas[1]
        if grid is None:
            return []
        return [
            self._tuning(trial, "cas", 1, grid, grid.kappas),
            self._tuning(trial, "als", 1, grid, grid.etas),
            self._tuning(trial, "als", many, grid, grid.etas_many),
        ]

    def _tuning(
        self, trial: Trial, method: Method, n_sigma: int, grid: Grid, knobs: tuple[float, ...]
    ) -> Unit:
        experiment = self.experiment(trial)

        def measured(knob: float) -> Mapping[str, float]:
            sampler = at_training_levels(method, n_sigma=n_sigma, knob=knob)
            model = self.trained(experiment)
            samples = self.judge.sample(model, sampler, seed=VALIDATION_SEED, count=grid.count)
            first = self.scale.extractors[0]
            return {
                "raw": self.judge.distances(samples.raw)[first]["value"],
                "denoised": self.judge.distances(samples.denoised)[first]["value"],
            }

        def tune(done: Records) -> Mapping[str, Any]:
            if n_sigma == 1:
                return best_of(knobs, measured)
            eta = done[trial.tuning(method, 1)]["result"]["chosen"]
            if eta >= 1:
                return best_of(knobs, measured)
            return {"tried": [], "chosen": eta_at_n_sigma(eta, n_sigma)}

        settings = {
            **self.common(grid.count),
            "experiment": asdict(experiment),
            "method": method,
            "n_sigma": n_sigma,
            "knobs": list(knobs),
            "first_seed": first_seed(VALIDATION_SEED),
        }
        return Unit(trial.tuning(method, n_sigma), settings, tune)

    def measurement(self, cell: Cell, seed: int) -> Unit:
        experiment = self.experiment(cell.trial)
        tuning = None if self.scale.grid is None else asdict(self.scale.grid)
        settings = {
            **self.common(self.scale.count),
            "experiment": asdict(experiment),
            "method": cell.method,
            "n_sigma": cell.n_sigma,
            "tuning": tuning,
            "first_seed": first_seed(seed),
        }

        def measure(done: Records) -> Mapping[str, Any]:
            model, sampler = self.trained(experiment), sampler_of(cell, self.scale, done)
            samples = self.judge.sample(model, sampler, seed=seed, count=self.scale.count)
            return {
                **self.judge.measured(model, samples),
                "sampler": asdict(sampler),
                "sheet": _row(to_uint8(samples.denoised[:SHEET])),
            }

        return Unit(cell.unit(seed), settings, measure)


def sampler_of(cell: Cell, scale: TableScale, records: Records) -> Sampler:
    """The sampler of a cell: with the step size that its model's records chose, or the paper's."""
    if scale.grid is None:
        return then(SAMPLERS[f"{scale.presets[0]}-{cell.method}-{cell.n_sigma}"])
    chosen = records[cell.trial.tuning(cell.method, cell.n_sigma)]["result"]["chosen"]
    return at_training_levels(cell.method, n_sigma=cell.n_sigma, knob=chosen)
