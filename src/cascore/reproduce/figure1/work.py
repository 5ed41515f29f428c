"""Figure 1: the noise of ideal chains against the schedule, by recursion and by sampling."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cascore.experiment.settings import Schedule
from cascore.noise import KeyedNoise
from cascore.reproduce.ideal import ideal_noise
from cascore.reproduce.sampler import Sampler, build_sampler
from cascore.reproduce.tuning import at_training_levels
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop
from cascore.sampling import initial_noise
from cascore.theory import EmpiricalDenoiser

__all__ = ["EPSILON", "SCALES", "SCHEDULE", "Scale", "samplers", "units"]

SCHEDULE = Schedule(first=50.0, last=0.01, levels=232)
EPSILON = 2e-6
_DATUM = 0.5  # the value of each coordinate; the noise around it does not depend on it


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is sampled.

    Attributes:
        steps_per_level: n_sigma of the chains of annealed Langevin sampling.
        chains: chains of each sampler.
        dimension: coordinates of each, which are independent.
    """

    steps_per_level: tuple[int, ...]
    chains: int
    dimension: int


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(steps_per_level=(1, 2, 5), chains=50, dimension=4),
        "laptop": Scale(steps_per_level=(1, 2, 5, 20, 100), chains=500, dimension=4),
        "paper": Scale(steps_per_level=(1, 2, 5, 20, 100), chains=5000, dimension=20),
    }
)


def samplers(scale: Scale) -> dict[str, Sampler]:
    """By name: annealed Langevin at each n_sigma, consistent sampling at two step sizes.

    On 232 levels epsilon = 2e-6 lies below what consistent sampling allows (3.6e-6): it is taken
    on the schedule stretched twofold, and kappa = 1.5 on the schedule itself.
    """
    langevin = {
        f"als-{n}": Sampler(
            method="als", n_sigma=n, epsilon=EPSILON, steps=None, order=1, spacing="geometric"
        )
        for n in scale.steps_per_level
    }
    return langevin | {
        "cas-1": at_training_levels("cas", n_sigma=1, knob=1.5),
        "cas-2": Sampler(n_sigma=2, epsilon=EPSILON, steps=None, order=1, spacing="geometric"),
    }


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """For each sampler one unit with the recursion and one with the sampled chains."""
    scale = SCALES[scale_name]

    def of(name: str, sampler: Sampler) -> tuple[Unit, Unit]:
        settings = {"sampler": asdict(sampler), "schedule": asdict(SCHEDULE)}
        sampled = {**settings, "chains": scale.chains, "dimension": scale.dimension, "seed": 0}

        def recursion(done: Records) -> Mapping[str, Any]:
            del done
            return {"std": _levels_of(_recursion(sampler), sampler)}

        def chains(done: Records) -> Mapping[str, Any]:
            del done
            numbers = scale.chains * scale.dimension
            std = _levels_of(_sampled(sampler, scale, workshop), sampler)
            return {"std": std, "numbers": numbers, "relative_error": 1 / math.sqrt(2 * numbers)}

        return (
            Unit(f"{name}.recursion", settings, recursion),
            Unit(f"{name}.chains", sampled, chains),
        )

    return [unit for name, sampler in samplers(scale).items() for unit in of(name, sampler)]


def _recursion(sampler: Sampler) -> list[float]:
    """Propositions 1 and 2: the deviation before each call, and after the last."""
    std = ideal_noise(sampler, SCHEDULE)
    return [*std.before.tolist(), float(std.after[-1])]


def _sampled(sampler: Sampler, scale: Scale, workshop: Workshop) -> list[float]:
    """The same of chains on the exact denoiser of one datum: the root of the mean square."""
    shape = (scale.chains, scale.dimension)
    datum = torch.full((1, scale.dimension), _DATUM)
    noise = KeyedNoise(range(scale.chains))
    start = datum + initial_noise(shape, SCHEDULE.first, noise=noise)
    path: list[float] = []

    def watch(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        del step, sigma, denoised
        path.append(_deviation(x))

    run = build_sampler(sampler, SCHEDULE)
    samples = run(
        EmpiricalDenoiser(datum.to(workshop.device)), start.to(workshop.device), noise, watch
    )
    return [*path, _deviation(samples.raw)]


def _deviation(x: Tensor) -> float:
    return float((x.double() - _DATUM).square().mean().sqrt())


def _levels_of(path: list[float], sampler: Sampler) -> list[float]:
    """One deviation for each of the 232 levels.

    Annealed Langevin: after the last step at level i. Consistent sampling: before the step at
    level i, where Proposition 2 puts sigma_i.
    """
    n = sampler.n_sigma
    return path[n::n] if sampler.method == "als" else path[:-1:n]
