"""Quality against network calls: our samplers, the paper's best and diffusers' on one network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch

from cascore.experiment.generate import seeds_from
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.noise import KeyedNoise
from cascore.reproduce.beyond.methods import (
    METHODS,
    SCALES,
    TWINS,
    Choice,
    Subject,
    calls_of,
    levels_of,
    name_of,
)
from cascore.reproduce.beyond.schedulers import (
    SCHEDULERS,
    diffusers_version,
    generate_by_scheduler,
    run_scheduler,
)
from cascore.reproduce.judging import BATCH, Judge, first_seed
from cascore.reproduce.sampler import Sampler, sampling_sigmas, settings_of
from cascore.reproduce.tuning import VALIDATION_SEED
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Trained, Workshop, seeded
from cascore.sampling import Samples, consistent_annealed, initial_noise

__all__ = ["TWINS_UNIT", "TWIN_CALLS", "Cell", "cells", "floor_unit", "units"]

TWINS_UNIT = "twins"
TWIN_CALLS = 12
_VERSION = "diffusers"
_TWIN_COUNT = 64


@dataclass(frozen=True)
class Cell:
    """A method on a model at a number of network calls."""

    preset: str
    method: str
    planned: int | None

    @property
    def calls(self) -> int:
        """What the pictures put on their axis: the calls that may be spent."""
        first = METHODS[self.method].choices[0]
        return calls_of(first, self.planned, PRESETS[self.preset].schedule)

    def unit(self, seed: int) -> str:
        """The name of one of its measurements."""
        return f"{self.preset}.{self.method}.calls-{self.calls}.seed-{seed}"

    def validation(self, choice: Choice) -> str:
        """The unit that tries one of several choices."""
        return f"{self.preset}.validation.{name_of(choice)}.calls-{self.calls}"


def floor_unit(preset: str) -> str:
    """The unit of what real images score."""
    return f"{preset}.floor"


def cells(subject: Subject) -> list[Cell]:
    """All that is measured of a model, in order."""
    return [
        Cell(subject.preset, method, calls)
        for method, planned in subject.plan.items()
        for calls in planned
    ]


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """The version of diffusers, twins on the first model; then all measurements of each model."""
    trained = lru_cache(maxsize=1)(workshop.trained)
    works = [_Work(subject, trained, workshop) for subject in SCALES[scale_name]]
    found = [Unit(_VERSION, {}, lambda done: {"version": diffusers_version()}), works[0].twins()]
    for work in works:
        found += work.units()
    return found


@dataclass(frozen=True)
class _Work:
    """The units of one model; nothing is loaded before a unit needs it."""

    subject: Subject
    trained: Callable[[Experiment], Trained]
    workshop: Workshop

    @property
    def experiment(self) -> Experiment:
        subject = self.subject
        return seeded(
            PRESETS[subject.preset], steps=subject.steps, seed=0, precision=subject.precision
        )

    def units(self) -> list[Unit]:
        """The floor, then each cell behind the choices that it is made from."""
        judge = Judge(self.experiment.data.name, self.subject.extractors, self.workshop)
        found = {floor_unit(self.subject.preset): self._floor(judge)}
        for cell in cells(self.subject):
            choices = METHODS[cell.method].choices
            if len(choices) > 1:
                tried = [self._validation(judge, cell, choice) for choice in choices]
                found |= {unit.name: unit for unit in tried}
            for seed in range(self.subject.seeds):
                found[cell.unit(seed)] = self._measurement(judge, cell, seed)
        return list(found.values())

    def twins(self) -> Unit:
        """How far the pictures of a scheduler are from those of the setting that equals it."""
        settings = {
            "experiment": asdict(self.experiment),
            "calls": TWIN_CALLS,
            "count": _TWIN_COUNT,
            "twins": {name: asdict(sampler) for name, sampler in TWINS.items()},
        }
        return Unit(TWINS_UNIT, settings, self._twins)

    def _twins(self, done: Records) -> Mapping[str, Any]:
        del done
        found = self.trained(self.experiment)
        schedule, device = self.experiment.schedule, self.workshop.device
        start = initial_noise(
            (_TWIN_COUNT, *found.model.shape), schedule.first, noise=KeyedNoise(range(_TWIN_COUNT))
        ).to(device)
        largest = {}
        for name, sampler in TWINS.items():
            sigmas = sampling_sigmas(levels_of(sampler, TWIN_CALLS), schedule)
            theirs = run_scheduler(
                SCHEDULERS[name],
                found.model.denoiser,
                start,
                sigmas,
                generator=torch.Generator().manual_seed(0),
            )
            ours = consistent_annealed(
                found.model.denoiser,
                start,
                sigmas,
                kappa=sampler.kappa,
                order=sampler.order,
                noise=torch.Generator().manual_seed(0),
            )
            largest[name] = float((theirs.denoised - ours.denoised).abs().max())
        return {"largest": largest, "checkpoint": found.digest, "version": diffusers_version()}

    def _common(self, judge: Judge, count: int) -> dict[str, Any]:
        return {
            "count": count,
            "extractors": list(self.subject.extractors),
            "data": judge.data,
        }

    def _floor(self, judge: Judge) -> Unit:
        def measure(done: Records) -> Mapping[str, Any]:
            del done
            floors = judge.floors(count=self.subject.count)
            return {"floors": floors, "reference": judge.train.digest}

        settings = self._common(judge, self.subject.count)
        return Unit(floor_unit(self.subject.preset), settings, measure)

    def _validation(self, judge: Judge, cell: Cell, choice: Choice) -> Unit:
        settings = {
            **self._common(judge, self.subject.validation),
            "experiment": asdict(self.experiment),
            "choice": _settings_of(choice, cell.planned),
            "first_seed": first_seed(VALIDATION_SEED),
        }

        def measure(done: Records) -> Mapping[str, Any]:
            del done
            return self._measured(
                judge, choice, cell, seed=VALIDATION_SEED, count=self.subject.validation
            )

        return Unit(cell.validation(choice), settings, measure)

    def _measurement(self, judge: Judge, cell: Cell, seed: int) -> Unit:
        choices = METHODS[cell.method].choices
        settings = {
            **self._common(judge, self.subject.count),
            "experiment": asdict(self.experiment),
            "choices": [_settings_of(choice, cell.planned) for choice in choices],
            "first_seed": first_seed(seed),
        }

        def measure(done: Records) -> Mapping[str, Any]:
            choice = choices[0] if len(choices) == 1 else self._chosen(cell, done)
            found = self._measured(judge, choice, cell, seed=seed, count=self.subject.count)
            return {"choice": name_of(_set(choice, cell.planned)), **found}

        return Unit(cell.unit(seed), settings, measure)

    def _chosen(self, cell: Cell, done: Records) -> Choice:
        """The choice of the lowest denoised distance on the validation seed."""
        extractor = self.subject.extractors[0]

        def distance(choice: Choice) -> float:
            result = done[cell.validation(choice)]["result"]
            return float(result["distances"][extractor]["denoised"]["value"])

        return min(METHODS[cell.method].choices, key=distance)

    def _measured(
        self, judge: Judge, choice: Choice, cell: Cell, *, seed: int, count: int
    ) -> dict[str, Any]:
        model = self.trained(self.experiment)
        samples = self._samples(judge, model, choice, cell, seed=seed, count=count)
        found = judge.measured(model, samples)
        raw, denoised = found.pop("raw"), found.pop("denoised")
        return {
            "distances": {
                name: {"raw": raw[name], "denoised": denoised[name]}
                for name in self.subject.extractors
            },
            **found,
        }

    def _samples(
        self,
        judge: Judge,
        trained: Trained,
        choice: Choice,
        cell: Cell,
        *,
        seed: int,
        count: int,
    ) -> Samples:
        sampler = levels_of(choice, cell.planned)
        if isinstance(choice, Sampler):
            return judge.sample(trained, sampler, seed=seed, count=count)
        return generate_by_scheduler(
            SCHEDULERS[choice],
            trained.model.denoiser,
            shape=trained.model.shape,
            seeds=seeds_from(first_seed(seed), count),
            sigmas=sampling_sigmas(sampler, trained.model.experiment.schedule),
            device=self.workshop.device,
            batch_size=BATCH,
        )


def _set(choice: Choice, calls: int | None) -> Choice:
    """A sampler of ours with its levels, on which its default may depend; a scheduler as it is."""
    return levels_of(choice, calls) if isinstance(choice, Sampler) else choice


def _settings_of(choice: Choice, calls: int | None) -> dict[str, Any]:
    """A choice for a record: our sampler, or a scheduler with the levels it is given."""
    sampler = levels_of(choice, calls)
    if isinstance(choice, Sampler):
        return {"sampler": settings_of(sampler)}
    return {"scheduler": asdict(SCHEDULERS[choice]), "levels": asdict(sampler), "batch": BATCH}
