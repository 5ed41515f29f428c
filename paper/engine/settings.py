"""How a study names a sampler and a training: every setting in force, no default of the library."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from cascore.experiment.chain import chain_sigmas, resolved
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment, Sampler, Schedule, Spacing
from cascore.sampling import Step, consistent_steps, langevin_steps
from cascore.theory import NoiseStd, blind_noise_std, noise_std

Precision = Literal["float32", "bfloat16"]
VALIDATION_SEED = 1000
"""Step sizes are chosen on this sampling seed; none that a study reports comes near it."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A sampler with everything decided but the levels of a model.

    The fields mean what they do in the library; no `levels` are all of the training's, and exactly
    one of kappa, eta and epsilon is the step size.
    """

    method: Literal["cas", "als"]
    order: Literal[1, 2] = 1
    levels: int | None = None
    n_sigma: int = 1
    kappa: float | None = None
    eta: float | None = None
    epsilon: float | None = None
    spacing: Spacing = "geometric"

    @property
    def knob(self) -> float:
        """The step size, whatever its letter."""
        return next(x for x in (self.kappa, self.eta, self.epsilon) if x is not None)

    @property
    def sampler(self) -> Sampler:
        """The library's settings of this chain."""
        settings = asdict(self) | {"order": self.order if self.method == "cas" else None}
        if self.levels is None:
            return Sampler(**{**settings, "levels": "all"})
        return Sampler(**{**settings, "levels": None, "calls": self.levels * self.n_sigma})

    def settings(self, schedule: Schedule) -> dict[str, Any]:
        """What a measurement says of its sampler."""
        chain = asdict(resolved(self.sampler, schedule))
        return {k: value for k, value in chain.items() if k != "calls" and value is not None}

    def sigmas(self, schedule: Schedule) -> Tensor:
        """The levels of a chain."""
        return chain_sigmas(resolved(self.sampler, schedule), schedule)

    def calls(self, schedule: Schedule) -> int:
        """Network calls of one chain."""
        return resolved(self.sampler, schedule).calls

    def ideal_noise(self, schedule: Schedule) -> NoiseStd:
        """Propositions 1 and 2: the noise of a chain on the perfect score of a single datum."""
        return noise_std(self._steps(schedule), start=schedule.first)

    def blind_noise(self, schedule: Schedule, *, excess: float) -> NoiseStd:
        """Proposition 4: the same on the perfect blind network, from so much too noisy a start."""
        return blind_noise_std(self._steps(schedule), start=(1 + excess) * schedule.first)

    def _steps(self, schedule: Schedule) -> list[Step]:
        sigmas, size = self.sigmas(schedule), {"eta": self.eta, "epsilon": self.epsilon}
        if self.method == "als":
            return langevin_steps(sigmas, n_sigma=self.n_sigma, **size)
        return consistent_steps(sigmas, kappa=self.kappa, order=self.order, **size)


def cas(kappa: float | None = None, **settings: Any) -> Chain:
    """Consistent annealed sampling, Algorithm 2."""
    return Chain(method="cas", kappa=kappa, **settings)


def als(eta: float | None = None, **settings: Any) -> Chain:
    """Annealed Langevin sampling, Algorithm 1."""
    return Chain(method="als", eta=eta, **settings)


def knob_text(chain: Chain) -> str:
    """The step size with its letter."""
    letter = "κ" if chain.kappa is not None else "η" if chain.eta is not None else "ε"
    return f"{letter} = {chain.knob:.3g}"


def training_of(
    preset: str | Experiment, *, steps: int, seed: int = 0, precision: Precision = "bfloat16"
) -> Experiment:
    """A preset with another length, seed and precision of its training."""
    experiment = PRESETS[preset] if isinstance(preset, str) else preset
    train = replace(experiment.train, steps=steps, seed=seed, precision=precision)
    return replace(experiment, train=replace(train, save_every=max(1, min(1000, steps // 4))))
