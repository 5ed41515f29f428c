"""Networks that see the noise level against networks that do not, which the paper leaves open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any, Literal

import torch

from cascore.data import load_images
from cascore.denoiser import Denoiser
from cascore.experiment.build import training_sigmas
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment, Schedule
from cascore.pixels import to_float
from cascore.reproduce.conditional.levels import UnconditionalOptimum, level_losses
from cascore.reproduce.floors import floor_units
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Trained, Workshop, seeded
from cascore.theory import EmpiricalDenoiser

__all__ = [
    "KINDS",
    "OPTIMUM",
    "OUTCOMES",
    "SAMPLERS",
    "SCALES",
    "SPLITS",
    "Scale",
    "draw_unit",
    "loss_unit",
    "units",
]

KINDS = ("unconditional", "conditional")
SPLITS = ("train", "test")
OUTCOMES = ("raw", "denoised")
SAMPLERS = MappingProxyType(
    {
        "12-calls": Sampler(spacing="geometric"),
        "all-levels": Sampler(steps=None, spacing="geometric"),
    }
)
OPTIMUM = "optimum"
"""The unit of what the best conceivable networks lose on the training images."""
_LOSS_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained, drawn and corrupted.

    Attributes:
        preset: of the unconditional network; the conditional one has the same settings.
        steps: of training.
        precision: of training.
        trainings: seeds of training, from 0.
        draws: seeds of sampling.
        count: pictures of a draw.
        images: at most so many of each split are corrupted at each level.
        extractors: of the features, by name.
    """

    preset: str
    steps: int
    precision: Literal["float32", "bfloat16"]
    trainings: int
    draws: int
    count: int
    images: int
    extractors: tuple[str, ...]

    @property
    def trials(self) -> list[tuple[str, int]]:
        """Kind and training seed of every network."""
        return list(product(KINDS, range(self.trainings)))


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(
            preset="digits",
            steps=2,
            precision="bfloat16",
            trainings=2,
            draws=1,
            count=12,
            images=10,
            extractors=("digits",),
        ),
        "laptop": Scale(
            preset="digits",
            steps=1500,
            precision="bfloat16",
            trainings=2,
            draws=2,
            count=500,
            images=300,
            extractors=("digits", "random-convolution"),
        ),
        "paper": Scale(
            preset="cifar10-unet",
            steps=300_000,
            precision="float32",
            trainings=2,
            draws=2,
            count=10_000,
            images=100,
            extractors=("inception",),
        ),
    }
)


def loss_unit(kind: str, training: int) -> str:
    """The unit of a network's losses."""
    return f"{kind}.training-{training}.loss"


def draw_unit(kind: str, training: int, sampler: str, draw: int) -> str:
    """The unit of a network's samples."""
    return f"{kind}.training-{training}.{sampler}.draw-{draw}"


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """Real images and theory; then for each network its losses by level, and its samples."""
    scale = SCALES[scale_name]
    judge = Judge(PRESETS[scale.preset].data.name, scale.extractors, workshop)
    common = {"data": judge.data, "count": scale.count}
    schedule = PRESETS[scale.preset].schedule
    corrupted = {"data": judge.data, "images": scale.images, "seed": _LOSS_SEED}
    theory = Unit(
        OPTIMUM,
        {**corrupted, "schedule": asdict(schedule)},
        lambda done: _optimum(judge, schedule, images=scale.images, device=workshop.device),
    )
    trained = lru_cache(maxsize=1)(workshop.trained)
    of_networks = [
        unit
        for kind, training in scale.trials
        for experiment in [_experiment(kind, training, scale)]
        for unit in [
            Unit(
                loss_unit(kind, training),
                {**corrupted, "experiment": asdict(experiment)},
                _loss(judge, experiment, trained, scale, workshop),
            ),
            *(
                Unit(
                    draw_unit(kind, training, name, seed),
                    {
                        **common,
                        "experiment": asdict(experiment),
                        "sampler": asdict(sampler),
                        "extractors": list(scale.extractors),
                        "first_seed": first_seed(seed),
                    },
                    _draw(judge, experiment, trained, sampler, seed=seed, count=scale.count),
                )
                for name, sampler in SAMPLERS.items()
                for seed in range(scale.draws)
            ),
        ]
    ]
    return [*floor_units(judge, count=scale.count), theory, *of_networks]


def _experiment(kind: str, training: int, scale: Scale) -> Experiment:
    preset = PRESETS[scale.preset]
    if kind == "conditional":
        network = replace(preset.network, conditional=True)
        preset = replace(preset, name=f"{preset.name}-conditional", network=network)
    return seeded(preset, steps=scale.steps, seed=training, precision=scale.precision)


def _optimum(
    judge: Judge, schedule: Schedule, *, images: int, device: torch.device
) -> Mapping[str, Any]:
    """The least loss on the training images that a function of (x, sigma), or of x, can have."""
    data, sigmas = to_float(judge.train.images).to(device), training_sigmas(schedule)
    denoisers: Mapping[str, Denoiser] = {
        "conditional": EmpiricalDenoiser(data),
        "unconditional": UnconditionalOptimum(data, sigmas),
    }
    return {
        kind: level_losses(denoiser, data[:images], sigmas, seed=_LOSS_SEED)
        for kind, denoiser in denoisers.items()
    }


def _loss(
    judge: Judge,
    experiment: Experiment,
    trained: Callable[[Experiment], Trained],
    scale: Scale,
    workshop: Workshop,
) -> Callable[[Records], Mapping[str, Any]]:
    def measure(done: Records) -> Mapping[str, Any]:
        del done
        model = trained(experiment)
        sigmas = training_sigmas(experiment.schedule)
        losses = {
            split: level_losses(
                model.model.denoiser,
                to_float(load_images(judge.data, split).images[: scale.images]).to(workshop.device),
                sigmas,
                seed=_LOSS_SEED,
            )
            for split in SPLITS
        }
        parameters = sum(each.numel() for each in model.model.denoiser.parameters())
        return {**losses, "parameters": parameters, "checkpoint": model.digest}

    return measure


def _draw(
    judge: Judge,
    experiment: Experiment,
    trained: Callable[[Experiment], Trained],
    sampler: Sampler,
    *,
    seed: int,
    count: int,
) -> Callable[[Records], Mapping[str, Any]]:
    def measure(done: Records) -> Mapping[str, Any]:
        del done
        model = trained(experiment)
        samples = judge.sample(model, sampler, seed=seed, count=count)
        return judge.measured(model, samples)

    return measure
