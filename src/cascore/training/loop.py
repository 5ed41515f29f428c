"""The training loop, a generator of metrics: printing, saving and stopping belong to the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.losses import GanLoss, corrupt, lsgan
from cascore.noise import KeyedNoise, Purpose
from cascore.training.batches import ALONE, Batches
from cascore.training.ema import update_ema, warmed_decay
from cascore.training.parallel import Workers
from cascore.training.state import TrainState
from cascore.training.step import (
    Clamp,
    TrainingDivergedError,
    discriminator_step,
    keyed_draw,
    score_step,
)

__all__ = ["Metrics", "train"]


class Metrics(NamedTuple):
    """What a step reports: means over the global batch; the last two only in hybrid training."""

    step: int
    dsm: float
    generator: float | None
    discriminator: float | None


def train(
    state: TrainState,
    data: Batches,
    sigmas: Tensor,
    *,
    steps: int,
    ema_decay: float,
    ema_warmup: bool = False,
    precision: torch.dtype = torch.float32,
    weight: float = 1.0,
    gan: GanLoss = lsgan,
    discriminator_steps: int = 1,
    clamp: Clamp = None,
    workers: Workers = ALONE,
) -> Iterator[Metrics]:
    """Sec. 5: alternate updates of D (Eq. 4) and of the score network (Eq. 1 or 5) up to `steps`.

    Without a discriminator in the state this is plain denoising score matching. The state is
    complete whenever the loop yields: save it there, stop there, and go on later.

    Args:
        state: changed in place; `state.step` says where to go on.
        data: asked for `batch(step)`.
        sigmas: [L], the training levels.
        steps: updates of the score network when training ends, those already done included.
        ema_decay: of the weights' average, 0.999 or 0.9999 in the paper.
        ema_warmup: let the average forget the initial weights sooner (`warmed_decay`).
        precision: of the networks' products, by autocast if not float32; weights, averages, the
            noisy data and the losses stay as they are.
        weight: lambda of Eq. 5.
        gan: the pair of losses.
        discriminator_steps: updates of D for each of the score network; the same images with
            fresh noise.
        clamp: the data range that H is clamped to before D sees it, (0, 1) for images as in the
            authors' code; None for data without a range.
        workers: who else trains.

    Yields:
        `Metrics` once per update of the score network; `step` counts from 1.

    Raises:
        TrainingDivergedError: a loss that is not finite; the state is that of the last step, except
            that D may be ahead within it.
    """
    if discriminator_steps < 1:
        raise InputError(f"discriminator_steps must be at least 1, not {discriminator_steps}")
    discriminator, d_optimizer = state.discriminator, state.discriminator_optimizer
    denoiser_here = workers.wrap(state.denoiser)
    discriminator_here = None if discriminator is None else workers.wrap(discriminator)
    d_turns = 0 if discriminator is None else discriminator_steps
    rows = workers.rows(data.batch_size)
    state.denoiser.train()
    while state.step < steps:
        clean = data.batch(state.step)
        first_draw = state.step * (d_turns + 1)
        d_loss: Tensor | None = None
        with _keyed_dropout(state, clean.device, workers), _at(state.step):
            for turn in range(1, d_turns + 1):
                assert discriminator_here is not None
                assert d_optimizer is not None
                noise = keyed_draw(state.seed, first_draw + turn, rows)
                d_loss = discriminator_step(
                    discriminator_here.train(),
                    d_optimizer,
                    state.denoiser,
                    corrupt(clean, sigmas, noise=noise),
                    gan=gan,
                    clamp=clamp,
                    precision=precision,
                    workers=workers,
                )
            noise = keyed_draw(state.seed, first_draw, rows)
            losses = score_step(
                denoiser_here,
                state.optimizer,
                discriminator,
                corrupt(clean, sigmas, noise=noise),
                weight=weight,
                gan=gan,
                clamp=clamp,
                precision=precision,
                workers=workers,
            )
        decay = warmed_decay(ema_decay, state.step) if ema_warmup else ema_decay
        update_ema(state.average, state.denoiser, decay=decay)
        state.step += 1
        yield Metrics(
            step=state.step,
            dsm=float(losses.dsm),
            generator=None if losses.generator is None else float(losses.generator),
            discriminator=None if d_loss is None else float(d_loss),
        )


@contextmanager
def _at(step: int) -> Iterator[None]:
    try:
        yield
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"step {step + 1}: {error}") from None


@contextmanager
def _keyed_dropout(state: TrainState, device: torch.device, workers: Workers) -> Iterator[None]:
    """Key the global stream, from which dropout draws, by (seed, step, rank), then restore it."""
    source = KeyedNoise(state.seed, indices=[2 * workers.rank, 2 * workers.rank + 1])
    halves = source.at(state.step).integers(2, high=2**31, purpose=Purpose.DROPOUT)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(halves[0]) << 31 | int(halves[1]))
        yield
