"""Figure 2: points in the plane by plain and adversarial networks, and by the exact score."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cascore.data import load_points
from cascore.denoiser import Denoiser
from cascore.experiment.generate import seeds_from
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.noise import KeyedNoise, Purpose
from cascore.reproduce.figure2.plane import (
    CENTRES,
    MODE_STD,
    directions,
    gaussian_modes,
    share_near_roll,
    sliced_wasserstein,
)
from cascore.reproduce.sampler import Sampler, build_sampler
from cascore.reproduce.tuning import at_training_levels
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded
from cascore.sampling import Samples, initial_noise
from cascore.theory import EmpiricalDenoiser, GaussianMixtureDenoiser

__all__ = ["DATA", "ETAS", "SCALES", "Cell", "Scale", "cells", "units"]

DATA = ("25-gaussians", "swiss-roll")
ETAS = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8)
_STEPS_PER_LEVEL = 10
_SEED_APART = 10**6  # between the first points of two sampling seeds; 0 tunes, the others measure
_DIRECTIONS = 200
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained and drawn.

    Attributes:
        steps: of training.
        trainings: seeds of training, from 0.
        draws: seeds of sampling.
        count: points of each draw, at most the 2,000 that are held out.
        tuning_count: points of each step size that is tried.
    """

    steps: int
    trainings: int
    draws: int
    count: int
    tuning_count: int


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(steps=2, trainings=1, draws=2, count=50, tuning_count=20),
        "laptop": Scale(steps=5000, trainings=2, draws=5, count=2000, tuning_count=1000),
        "paper": Scale(steps=5000, trainings=5, draws=5, count=2000, tuning_count=2000),
    }
)


@dataclass(frozen=True)
class Cell:
    """One model: a set of points, one level or ten, and where its score comes from.

    Attributes:
        data: of DATA.
        levels: 1 or 10.
        score: plain, adversarial or exact.
        seed: of its training; 0 for the exact score.
    """

    data: str
    levels: int
    score: str
    seed: int

    @property
    def name(self) -> str:
        """The first part of the names of its units."""
        return f"{self.data}.levels-{self.levels}.{self.score}-{self.seed}"

    @property
    def preset(self) -> Experiment:
        """The preset with its schedule and, where it is trained, its network."""
        suffix = "-one-level" if self.levels == 1 else ""
        objective = "-adversarial" if self.score == "adversarial" else ""
        return PRESETS[f"{self.data}{suffix}{objective}"]

    def sampler(self, eta: float) -> Sampler:
        """Annealed Langevin sampling as in the paper, 10 steps at each level."""
        return at_training_levels("als", n_sigma=_STEPS_PER_LEVEL, knob=eta)


def cells(scale: Scale) -> list[Cell]:
    """All models, the exact ones beside the trained."""
    return [
        Cell(data, levels, score, seed)
        for data in DATA
        for levels in (1, 10)
        for score in ("exact", "plain", "adversarial")
        for seed in range(1 if score == "exact" else scale.trainings)
    ]


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What held-out points score; then for each model the tuning of eta, and the draws with it."""
    scale = SCALES[scale_name]
    real = [_real_unit(data, scale) for data in DATA]
    return [*real, *(unit for cell in cells(scale) for unit in _units_of(cell, scale, workshop))]


def _units_of(cell: Cell, scale: Scale, workshop: Workshop) -> list[Unit]:
    experiment = seeded(cell.preset, steps=scale.steps, seed=cell.seed)
    model: dict[str, Any] = {"score": "exact", "schedule": asdict(experiment.schedule)}
    if cell.score != "exact":
        model = {"score": cell.score, "experiment": asdict(experiment)}
    model["start"] = "datum + noise" if cell.levels == 1 else "noise"
    tuned = f"{cell.name}.tune"

    def tune(done: Records) -> Mapping[str, Any]:
        del done
        denoiser, digest = _denoiser(cell, experiment, workshop)
        results = {}
        for eta in ETAS:
            samples = _draw(cell, eta, denoiser, workshop, first=0, count=scale.tuning_count)
            results[f"{eta:g}"] = _both(samples, cell.data)
        best = min(ETAS, key=lambda eta: results[f"{eta:g}"]["denoised"]["distance"])
        return {"eta": best, "tried": results, "checkpoint": digest}

    def draw(done: Records, seed: int) -> Mapping[str, Any]:
        eta = done[tuned]["result"]["eta"]
        denoiser, digest = _denoiser(cell, experiment, workshop)
        first = seed * _SEED_APART
        samples = _draw(cell, eta, denoiser, workshop, first=first, count=scale.count)
        return {
            **_both(samples, cell.data),
            "eta": eta,
            "nfe": samples.nfe,
            "checkpoint": digest,
            "shown": {
                "raw": _rounded(samples.raw[:SHOWN]),
                "denoised": _rounded(samples.denoised[:SHOWN]),
            },
        }

    draws = [
        Unit(
            f"{cell.name}.draw-{seed}",
            {**model, "count": scale.count, "first_seed": seed * _SEED_APART},
            lambda done, seed=seed: draw(done, seed),  # type: ignore[misc]
        )
        for seed in range(1, scale.draws + 1)
    ]
    settings = {**model, "count": scale.tuning_count, "first_seed": 0, "etas": list(ETAS)}
    return [Unit(tuned, settings, tune), *draws]


SHOWN = 500  # points of a draw that its record keeps for the picture


def _real_unit(data: str, scale: Scale) -> Unit:
    """What as many training points score against the held-out ones, in disjoint parts."""

    def measure(done: Records) -> Mapping[str, Any]:
        del done
        train = load_points(data, "train").points
        starts = range(0, len(train), scale.count)[: scale.draws + 1]
        parts = [train[start : start + scale.count] for start in starts]
        return {
            "parts": [_measured(part, data) for part in parts],
            "shown": _rounded(train[:SHOWN]),
        }

    return Unit(f"{data}.real", {"count": scale.count, "parts": scale.draws + 1}, measure)


def _denoiser(
    cell: Cell, experiment: Experiment, workshop: Workshop
) -> tuple[Denoiser, str | None]:
    if cell.score != "exact":
        trained = workshop.trained(experiment)
        return trained.model.denoiser, trained.digest
    if cell.data == "25-gaussians":
        stds = torch.full((len(CENTRES),), MODE_STD)
        weights = torch.full((len(CENTRES),), 1 / len(CENTRES))
        return GaussianMixtureDenoiser(CENTRES, stds, weights), None
    return EmpiricalDenoiser(load_points(cell.data, "train").points), None


def _draw(
    cell: Cell, eta: float, denoiser: Denoiser, workshop: Workshop, *, first: int, count: int
) -> Samples:
    """Chains from noise sigma_1, around the origin or, at one level, around training points."""
    schedule = cell.preset.schedule
    run = build_sampler(cell.sampler(eta), schedule)
    train = load_points(cell.data, "train").points
    parts = []
    for start in range(0, count, _BATCH):
        noise = KeyedNoise(seeds_from(first + start, min(_BATCH, count - start)))
        x = initial_noise((noise.count, 2), schedule.first, noise=noise)
        if cell.levels == 1:
            x += train[noise.integers(noise.count, high=len(train), purpose=Purpose.DATA)]
        parts.append(run(denoiser, x.to(workshop.device), noise, None))
    return Samples(
        raw=torch.cat([part.raw.cpu() for part in parts]),
        denoised=torch.cat([part.denoised.cpu() for part in parts]),
        nfe=parts[0].nfe,
    )


def _both(samples: Samples, data: str) -> dict[str, dict[str, float]]:
    return {
        "raw": _measured(samples.raw, data),
        "denoised": _measured(samples.denoised, data),
    }


def _measured(points: Tensor, data: str) -> dict[str, float]:
    """Distance to as many held-out points, share of good points, modes covered."""
    held_out = load_points(data, "test").points[: len(points)]
    distance = sliced_wasserstein(points, held_out, directions(_DIRECTIONS))
    if data == "25-gaussians":
        modes = gaussian_modes(points)
        return {"distance": distance, "good": modes.good, "covered": modes.covered}
    return {"distance": distance, "good": share_near_roll(points)}


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(x, 4) for x in point] for point in points.tolist()]
