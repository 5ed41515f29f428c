"""The GAN losses of Appendix B, each in a short training of the same small network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from cascore.experiment.presets import PRESETS, SAMPLERS
from cascore.experiment.settings import Experiment
from cascore.losses import GAN_LOSSES
from cascore.pixels import to_uint8
from cascore.reproduce.floors import floor_units
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler, then
from cascore.reproduce.sheets import sheet_of
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded

__all__ = [
    "EXTRACTORS",
    "OUTCOMES",
    "PAPERS",
    "PLAIN",
    "SCALES",
    "Scale",
    "name_of",
    "units",
]

PLAIN, PAPERS = "plain", "lsgan"
"""Score matching alone, and the loss that the paper chose."""
OUTCOMES = ("raw", "denoised")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained and drawn.

    Attributes:
        preset: of the plain network; the other trainings are its adversarial twin's.
        kinds: plain, and GAN losses by name.
        steps: of training.
        precision: of training.
        trainings: seeds of the plain training and of the paper's loss, from 0; the others have one.
        draws: seeds of sampling.
        count: pictures of a draw.
        sampler: of all of them.
        extractors: of the features, by name.
    """

    preset: str
    kinds: tuple[str, ...]
    steps: int
    precision: Literal["float32", "bfloat16"]
    trainings: int
    draws: int
    count: int
    sampler: Sampler
    extractors: tuple[str, ...]

    def trainings_of(self, kind: str) -> int:
        """How many trainings a kind has."""
        return self.trainings if kind in (PLAIN, PAPERS) else 1


_ALL = (PLAIN, *GAN_LOSSES)
EXTRACTORS = ("digits", "random-convolution")
SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(
            preset="digits",
            kinds=(PLAIN, PAPERS, "hinge"),
            steps=2,
            precision="bfloat16",
            trainings=2,
            draws=2,
            count=12,
            sampler=Sampler(spacing="geometric"),
            extractors=EXTRACTORS,
        ),
        "laptop": Scale(
            preset="digits",
            kinds=_ALL,
            steps=300,
            precision="bfloat16",
            trainings=2,
            draws=3,
            count=500,
            sampler=Sampler(steps=20, spacing="geometric"),
            extractors=EXTRACTORS,
        ),
        "paper": Scale(
            preset="cifar10-ncsnv2",
            kinds=_ALL,
            steps=300_000,
            precision="float32",
            trainings=2,
            draws=2,
            count=10_000,
            sampler=then(SAMPLERS["cifar10-ncsnv2-cas-1"]),
            extractors=("inception",),
        ),
    }
)


def name_of(kind: str, training: int, draw: int) -> str:
    """The unit of a draw."""
    return f"{kind}.training-{training}.draw-{draw}"


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What real images score, then the draws of each training."""
    scale = SCALES[scale_name]
    judge = Judge(PRESETS[scale.preset].data.name, scale.extractors, workshop)
    trained = lru_cache(maxsize=1)(workshop.trained)
    common = {"data": judge.data, "count": scale.count}

    def draw(experiment: Experiment, seed: int) -> Callable[[Records], Mapping[str, Any]]:
        def measure(done: Records) -> Mapping[str, Any]:
            del done
            model = trained(experiment)
            samples = judge.sample(model, scale.sampler, seed=seed, count=scale.count)
            return {
                **judge.measured(model, samples),
                "sheet": sheet_of(to_uint8(samples.denoised)),
            }

        return measure

    return floor_units(judge, count=scale.count) + [
        Unit(
            name_of(kind, training, seed),
            {
                **common,
                "experiment": asdict(experiment),
                "sampler": asdict(scale.sampler),
                "extractors": list(scale.extractors),
                "first_seed": first_seed(seed),
            },
            draw(experiment, seed),
        )
        for kind in scale.kinds
        for training in range(scale.trainings_of(kind))
        for experiment in [_experiment(kind, training, scale)]
        for seed in range(scale.draws)
    ]


def _experiment(kind: str, training: int, scale: Scale) -> Experiment:
    """The preset's settings with another GAN loss, and its own name for the folder of the run."""
    preset = PRESETS[scale.preset if kind == PLAIN else f"{scale.preset}-adversarial"]
    if kind not in (PLAIN, PAPERS):
        adversarial = replace(preset.adversarial, gan=kind)
        preset = replace(preset, name=f"{preset.name}-{kind}", adversarial=adversarial)
    return seeded(preset, steps=scale.steps, seed=training, precision=scale.precision)
