"""The schedulers of diffusers on a denoiser of ours: the same levels, the same start, no clipping.

Variance-preserving ones hold x / sqrt(1 + sigma^2), with alpha_bar = 1 / (1 + sigma^2). Each level
of a chain is one training timestep of the scheduler, by its public `trained_betas`. Their products
are float32 there, which moves sigma = 0.01 by some 1e-4 of itself.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from cascore.denoiser import Denoiser
from cascore.errors import InputError, MissingExtraError
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.sampling import Samples, initial_noise
from cascore.schedule import check_sigmas
from paper.engine.page import Plan


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """One of diffusers' schedulers.

    Attributes:
        label: its name in the field.
        kind: its class in diffusers.
        settings: of its constructor, beside levels and prediction.
        prediction: what it is told: H, or the noise (x - H) / sigma.
        preserving: whether its state is x / sqrt(1 + sigma^2).
        stochastic: whether it draws from a generator.
        calls_per_level: at all levels but the last, which has one.
        ends_at: sigma after its last step: 0, where x is H of the last call, or sigma_L.
    """

    label: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    prediction: Literal["sample", "epsilon"] = "sample"
    preserving: bool = True
    stochastic: bool = False
    calls_per_level: Literal[1, 2] = 1
    ends_at: Literal["zero", "last"] = "zero"

    @property
    def recorded(self) -> dict[str, Any]:
        """What a measurement says of it."""
        of = {"scheduler": self.kind, "settings": self.settings}
        return {**of, "prediction": self.prediction}

    def within(self, calls: int) -> int:
        """How many levels it passes in at most that many network calls; at least 2."""
        return max(2, (calls + self.calls_per_level - 1) // self.calls_per_level)

    def scale(self, sigma: float) -> float:
        """From its state to x."""
        return math.hypot(1, sigma) if self.preserving else 1.0


SCHEDULERS = Plan("beyond").objects("schedulers", Scheduler)
"""By name."""


@torch.no_grad()
def run_scheduler(
    scheduler: Scheduler, denoiser: Denoiser, x: Tensor, sigmas: Tensor, generator: torch.Generator
) -> Samples:
    """One chain of a scheduler on denoiser(x, sigma) -> H.

    It starts from x [N, C, H, W] at noise sigma_1, which is left unchanged, and passes `sigmas`
    [L], L >= 2. Raw is what the last step leaves, denoised is H(x, sigma_L) of the last call; they
    are equal where the scheduler ends at sigma = 0, which is a first-order step. The noise of a
    stochastic one is one stream for the batch.

    Raises:
        InputError: a schedule that is none, or has one level.
        MissingExtraError: diffusers is not installed.
    """
    rising = check_sigmas(sigmas).flip(0).tolist()
    if len(rising) < 2:
        raise InputError("a scheduler of diffusers needs at least 2 levels, not 1")
    state, denoised = x / scheduler.scale(rising[-1]), x
    with warnings.catch_warnings():
        # Diffusers hands tensors to NumPy, of which NumPy 2 warns: nothing a user could mend.
        warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
        made = _made(scheduler, rising)
        step = partial(made.step, generator=generator) if scheduler.stochastic else made.step
        for timestep in made.timesteps:
            sigma = rising[int(timestep)]
            at = state * scheduler.scale(sigma)
            denoised = denoiser(at, torch.tensor(sigma, dtype=at.dtype, device=at.device))
            output = denoised if scheduler.prediction == "sample" else (at - denoised) / sigma
            made.scale_model_input(state, timestep)  # some warn unless it was called
            state = step(output, timestep, state, return_dict=False)[0]
    last = 0.0 if scheduler.ends_at == "zero" else rising[0]
    return Samples(state * scheduler.scale(last), denoised, nfe=len(made.timesteps))


def generate_by_scheduler(
    scheduler: Scheduler, model: Model, seeds: Sequence[int], sigmas: Tensor, batch_size: int
) -> Samples:
    """As `generate` does it, from the same starts, by a scheduler; on the CPU.

    The start of a picture is keyed by its own seed. The noise of a stochastic scheduler is not: it
    is one stream for each batch, seeded by the first seed of the batch, so it depends on the batch.
    """

    def chain(x: Tensor, noise: KeyedNoise, first: int) -> Samples:
        generator = torch.Generator().manual_seed(first % 2**63)
        return run_scheduler(scheduler, model.denoiser, x, sigmas, generator)

    return in_batches(chain, model, seeds, float(sigmas[0]), batch_size)


def in_batches(
    chain: Callable[[Tensor, KeyedNoise, int], Samples],
    model: Model,
    seeds: Sequence[int],
    sigma: float,
    batch_size: int,
) -> Samples:
    """Chains of so many seeds at a time, from each picture's own noise at `sigma`; on the CPU.

    `chain` is told the start, the noise, and the first seed of the batch.
    """
    parts = []
    for first in range(0, len(seeds), batch_size):
        batch = seeds[first : first + batch_size]
        noise = KeyedNoise(batch)
        shape, mean = (len(batch), *model.shape), model.data_mean
        x = initial_noise(shape, sigma, mean=mean, noise=noise, device=model.device)
        parts.append(chain(x, noise, batch[0]))
    raw, denoised = (torch.cat([getattr(p, o).cpu() for p in parts]) for o in ("raw", "denoised"))
    return Samples(raw, denoised, nfe=parts[0].nfe)


def _made(scheduler: Scheduler, rising: list[float]) -> Any:
    """The scheduler with its timesteps set to all levels, the largest first."""
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError(what="The study", package="diffusers", extra="diffusers") from error
    alpha_bar = [1.0, *(1 / (1 + sigma**2) for sigma in rising)]
    made = getattr(diffusers, scheduler.kind)(
        num_train_timesteps=len(rising),
        trained_betas=[1 - b / a for a, b in pairwise(alpha_bar)],
        prediction_type=scheduler.prediction,
        timestep_spacing="trailing",
        **scheduler.settings,
    )
    made.set_timesteps(len(rising))
    return made
