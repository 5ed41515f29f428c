"""Samplers as the committed records of these studies name them: `steps` are levels, None all."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from torch import Tensor

from cascore.denoiser import Denoiser
from cascore.errors import InputError
from cascore.experiment import build, settings
from cascore.experiment.settings import Schedule, Spacing
from cascore.noise import Noise
from cascore.sampling import Callback, Samples, order_and_kappa

__all__ = [
    "Sampler",
    "build_sampler",
    "label_of",
    "network_calls",
    "resolved",
    "sampling_sigmas",
    "settings_of",
    "then",
]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How pictures are drawn from a trained model."""

    method: Literal["cas", "als"] = "cas"
    """Consistent annealed sampling (Algorithm 2) or annealed Langevin (Algorithm 1)."""
    order: Literal[1, 2] = 2
    """cas: 1 is the paper's, 2 the multistep rule for few calls."""
    steps: int | None = 12
    """Noise levels of the chain between sigma_1 and sigma_L; None: as many as in training."""
    n_sigma: int = 1
    """als: steps at each level; cas: the schedule is stretched by it."""
    kappa: float | None = None
    """cas: noise of a step in [1, inf]; by default 2.5 at order 2 and 1.5 at order 1."""
    eta: float | None = None
    """The paper's step size without units; at most one of kappa, eta, epsilon."""
    epsilon: float | None = None
    """The paper's step size in squared pixels; als: Technique 4 by default."""
    spacing: Spacing | None = None
    """Of the levels; by default centred for cas of order 2 with kappa and a number of steps, else
    geometric, as in training."""

    def __post_init__(self) -> None:
        given = [n for n in ("kappa", "eta", "epsilon") if getattr(self, n) is not None]
        _require(len(given) <= 1, f"give at most one of kappa, eta, epsilon: {' and '.join(given)}")
        _require(self.steps is None or self.steps >= 1, f"steps must be at least 1: {self.steps}")
        _require(self.n_sigma >= 1, f"n_sigma must be at least 1, not {self.n_sigma}")
        if self.method == "als":
            _require(self.kappa is None, "kappa is for cas; als takes eta or epsilon")

    @property
    def now(self) -> settings.Sampler:
        """The settings of this chain today."""
        langevin = self.method == "als"
        calls = None if self.steps is None else self.steps * (self.n_sigma if langevin else 1)
        return settings.Sampler(
            method=self.method,
            calls=calls,
            levels="all" if calls is None else None,
            order=None if langevin else self.order,
            n_sigma=self.n_sigma,
            kappa=self.kappa,
            eta=self.eta,
            epsilon=self.epsilon,
            spacing=self.spacing,
        )


def then(sampler: settings.Sampler) -> Sampler:
    """Settings of today, as these studies write them."""
    levels = None if sampler.calls is None else sampler.calls // sampler.n_sigma
    return Sampler(
        method=sampler.method,
        order=sampler.order or 1,
        steps=levels,
        n_sigma=sampler.n_sigma,
        kappa=sampler.kappa,
        eta=sampler.eta,
        epsilon=sampler.epsilon,
        spacing=sampler.spacing or ("geometric" if levels is None else None),
    )


def sampling_sigmas(sampler: Sampler, schedule: Schedule) -> Tensor:
    """The levels of a chain."""
    return build.chain_sigmas(build.resolved(sampler.now, schedule), schedule)


def build_sampler(
    sampler: Sampler, schedule: Schedule
) -> Callable[[Denoiser, Tensor, Noise, Callback | None], Samples]:
    """A function of (denoiser, start, noise, callback) that runs one chain."""
    chain = build.resolved(sampler.now, schedule)

    def run(denoiser: Denoiser, x: Tensor, noise: Noise, callback: Callback | None) -> Samples:
        return build.draw(denoiser, x, chain, schedule, noise=noise, callback=callback)

    return run


def network_calls(sampler: Sampler, schedule: Schedule) -> int:
    """How many network calls one chain takes."""
    return build.resolved(sampler.now, schedule).calls


def settings_of(sampler: Sampler) -> dict[str, object]:
    """The sampler's settings for a record, with the kappa and the spacing in force."""
    return asdict(resolved(sampler))


def resolved(sampler: Sampler) -> Sampler:
    """The sampler with the order, kappa and spacing in force, where they were not given.

    Levels are geometric, as in training; but centred in a chain of second order with levels of its
    own and a step size in kappa. One in eta or epsilon wants geometric levels, all steps alike.
    """
    order, kappa = sampler.order, None
    if sampler.method == "cas":
        in_force, kappa = order_and_kappa(
            order=sampler.order, kappa=sampler.kappa, eta=sampler.eta, epsilon=sampler.epsilon
        )
        order = 1 if in_force == 1 else 2
    centred = sampler.steps is not None and order == 2 and kappa is not None
    spacing = sampler.spacing or ("centred" if centred else "geometric")
    return replace(sampler, order=order, kappa=kappa, spacing=spacing)


def label_of(sampler: Sampler) -> str:
    """The sampler in a few words, its levels where they are not the paper's."""
    sampler = resolved(sampler)
    spaced = "" if sampler.spacing == "geometric" else f", {sampler.spacing} levels"
    if sampler.method == "als":
        return f"ALS, n_sigma {sampler.n_sigma}{spaced}"
    sizes = {name: getattr(sampler, name) for name in ("eta", "epsilon", "kappa")}
    name, size = next((name, size) for name, size in sizes.items() if size is not None)
    return f"CAS, order {sampler.order}, {name} {size:g}{spaced}"
