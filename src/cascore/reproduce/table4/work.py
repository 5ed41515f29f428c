"""Table 4: which modes of 3-stacked digits samples reach, and how evenly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from cascore.data import load_images
from cascore.errors import InputError
from cascore.evaluation.metrics import mode_labels
from cascore.evaluation.reference import channel_classifier
from cascore.experiment.presets import PRESETS, SAMPLERS
from cascore.experiment.settings import Experiment
from cascore.metrics import Classifier, ModeCoverage, mode_coverage, stacked_labels
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_uint8
from cascore.reproduce.judging import Judge, first_seed
from cascore.reproduce.sampler import Sampler, then
from cascore.reproduce.sheets import sheet_of
from cascore.reproduce.tuning import at_training_levels
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded

__all__ = [
    "MISSING",
    "MODES",
    "OBJECTIVES",
    "OUTCOMES",
    "SCALES",
    "Group",
    "coverage_of",
    "stacks_of_channels",
    "units",
]

MODES = 1000
OUTCOMES = ("raw", "denoised")
OBJECTIVES = MappingProxyType({"plain": "", "adversarial": "-adversarial"})
"""By objective, what the preset's name ends in."""
MISSING = "missing"
"""In the result of a unit whose data are not here: why."""
_STACKS_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """One data set: a plain and an adversarial network trained on it, and how they are sampled.

    Attributes:
        preset: of the plain network.
        steps: of training, of both.
        samplers: by a short name.
        count: pictures of one block.
        blocks: of pictures, each with other noise; counted together.
        optional: if the data are not here, records say so instead of an error.
        precision: of training.
    """

    preset: str
    steps: int
    samplers: Mapping[str, Sampler]
    count: int
    blocks: int
    optional: bool = False
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    @property
    def data(self) -> str:
        """The data set by name."""
        return PRESETS[self.preset].data.name

    def unit(self, objective: str, sampler: str, block: int) -> str:
        """The name of a block's unit."""
        return f"{self.preset}.{objective}.{sampler}.block-{block}"

    @property
    def real(self) -> str:
        """The name of the unit of real images."""
        return f"{self.preset}.real"


# The paper's eta of 0.05 lies below what 48 levels allow; in kappa it carries over: ln 0.95 / ln
# gamma with its 200 levels from 50 to 0.01 is 1.20.
_ALL_LEVELS = at_training_levels("cas", n_sigma=1, knob=1.2)
_FEW_CALLS = Sampler(steps=20, spacing="geometric")
_BOTH = {"all-levels": _ALL_LEVELS, "20-calls": _FEW_CALLS}

SCALES: Mapping[str, tuple[Group, ...]] = MappingProxyType(
    {
        "tiny": (
            Group(
                preset="stacked-digits",
                steps=2,
                samplers=_BOTH,
                count=30,
                blocks=2,
            ),
            Group(
                preset="stacked-mnist",
                steps=1,
                samplers={"20-calls": _FEW_CALLS},
                count=4,
                blocks=1,
                optional=True,
            ),
        ),
        "laptop": (
            Group(
                preset="stacked-digits",
                steps=2000,
                samplers=_BOTH,
                count=12_500,
                blocks=2,
            ),
            Group(
                preset="stacked-mnist",
                steps=4000,
                samplers={"20-calls": _FEW_CALLS},
                count=5000,
                blocks=2,
                optional=True,
            ),
        ),
        "paper": (
            Group(
                preset="stacked-mnist-ncsnv2",
                steps=200_000,
                samplers={
                    "all-levels": then(SAMPLERS["stacked-mnist-ncsnv2-cas-1"]),
                    "20-calls": _FEW_CALLS,
                },
                count=12_500,
                blocks=2,
                precision="float32",
            ),
        ),
    }
)


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """For each data set what real images score, then a unit for each block of pictures."""
    return [unit for group in SCALES[scale_name] for unit in _units_of(group, workshop)]


def _units_of(group: Group, workshop: Workshop) -> list[Unit]:
    judge = Judge(group.data, (), workshop)
    trained = lru_cache(maxsize=1)(workshop.trained)
    classifier = lru_cache(partial(_classifier, group.data))
    experiments = {
        objective: seeded(
            PRESETS[f"{group.preset}{ending}"],
            steps=group.steps,
            seed=0,
            precision=group.precision,
        )
        for objective, ending in OBJECTIVES.items()
    }

    def real(done: Records) -> Mapping[str, Any]:
        del done
        test = load_images(group.data, "test")
        images = test.images
        channels = classifier().classify(images.reshape(-1, 1, *images.shape[2:]))
        return {
            "counts": _counts(stacks_of_channels(channels, group.count * group.blocks)),
            "sheet": sheet_of(images),
            "reference": test.digest,
            "classifier": asdict(classifier().identity),
            "accuracy": classifier().accuracy,
        }

    def block(
        experiment: Experiment, sampler: Sampler, seed: int
    ) -> Callable[[Records], Mapping[str, Any]]:
        def measure(done: Records) -> Mapping[str, Any]:
            del done
            model = trained(experiment)
            samples = judge.sample(model, sampler, seed=seed, count=group.count)
            images = {"raw": to_uint8(samples.raw), "denoised": to_uint8(samples.denoised)}
            return {
                "counts": {
                    outcome: _counts(mode_labels(each, classifier())[0])
                    for outcome, each in images.items()
                },
                "sheet": {outcome: sheet_of(each) for outcome, each in images.items()},
                "nfe": samples.nfe,
                "checkpoint": model.digest,
                "classifier": asdict(classifier().identity),
            }

        return measure

    common = {"data": group.data, "count": group.count}
    blocks = [
        Unit(
            group.unit(objective, name, seed),
            {
                **common,
                "experiment": asdict(experiment),
                "sampler": asdict(sampler),
                "first_seed": first_seed(seed),
            },
            _if_there(group, block(experiment, sampler, seed)),
        )
        for objective, experiment in experiments.items()
        for name, sampler in group.samplers.items()
        for seed in range(group.blocks)
    ]
    first = Unit(group.real, {**common, "blocks": group.blocks}, _if_there(group, real))
    return [first, *blocks]


def _if_there(
    group: Group, measure: Callable[[Records], Mapping[str, Any]]
) -> Callable[[Records], Mapping[str, Any]]:
    """The measurement, or a result that says why the data of an optional group are not here."""

    def measured(done: Records) -> Mapping[str, Any]:
        if group.optional:
            try:
                load_images(group.data, "test")
            except InputError as error:
                return {MISSING: str(error)}
        return measure(done)

    return measured


def _classifier(data: str) -> Classifier:
    found = channel_classifier(data)
    assert found is not None
    return found


def stacks_of_channels(channels: Tensor, count: int) -> Tensor:
    """Classes 0 to 999 of `count` stacks whose channels are drawn from real ones, int64 [count].

    Args:
        channels: the class of each real image of one channel, 0 to 9, [M].
        count: of stacks.
    """
    noise = KeyedNoise(_STACKS_SEED, indices=torch.arange(count))
    chosen = [
        noise.integers(count, high=len(channels), purpose=Purpose.DATA, step=channel)
        for channel in range(3)
    ]
    return stacked_labels(channels[torch.stack(chosen, dim=1)])


def _counts(labels: Tensor) -> str:
    """How often each of the 1,000 classes was hit, in one line of a record."""
    return " ".join(map(str, labels.bincount(minlength=MODES).tolist()))


def coverage_of(counts: Sequence[str]) -> ModeCoverage:
    """Modes and divergence of all blocks together, from the counts of each."""
    hits = torch.tensor([[int(each) for each in line.split()] for line in counts]).sum(0)
    return mode_coverage(torch.arange(MODES).repeat_interleave(hits), MODES)
