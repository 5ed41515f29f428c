"""One update of each player: Eq. 4 for the discriminator, Eq. 1 or 5 for the score network."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cascore.denoiser import as_told
from cascore.errors import InputError
from cascore.losses import Corrupted, GanLoss, discriminator_loss, dsm_loss, hybrid_loss, lsgan
from cascore.training.parallel import ALONE, Workers

Clamp = tuple[float, float] | None


class TrainingDivergedError(InputError):
    """A loss that is not finite."""


def is_read_at_once(device: torch.device) -> bool:
    """Whether a number costs nothing to look at: a GPU would have to end all its work before."""
    return device.type == "cpu"


class ScoreLosses(NamedTuple):
    """Scalars of a score update, means over the global batch."""

    dsm: Tensor
    generator: Tensor | None


@dataclass(frozen=True)
class Objective:
    """What the two updates of a step minimise, and how it is computed.

    Attributes:
        weight: lambda, the weight of the DSM term of Eq. 5.
        gan: The pair of adversarial losses.
        clamp: The data range that H is clamped to before D sees it, or None.
        precision: Type of the networks' products, by autocast if not float32.
        workers: The processes that train together.
        deviation: s of the data, for the weight 1 / c_out^2 of EDM's form; infinite for Eq. 1.
        clip_norm: The largest norm of the score network's gradient; a longer one is scaled to it.
        accumulation: In how many parts the batch of a score update is computed.
    """

    weight: float = 1.0
    gan: GanLoss = lsgan
    clamp: Clamp = None
    precision: torch.dtype = torch.float32
    workers: Workers = ALONE
    deviation: float = math.inf
    clip_norm: float = math.inf
    accumulation: int = 1


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    denoiser: nn.Module,
    drawn: Corrupted,
    objective: Objective,
) -> Tensor:
    """Eq. 4: one update of D on real data and on H(x~, sigma), which gets no gradient; the loss.

    Args:
        discriminator: D, wrapped for several processes (`Workers.wrap`).
        optimizer: The optimizer of D.
        denoiser: H, bare.
        drawn: This process's share of the batch, with noise of its own.
        objective: The losses.
    """
    precision, workers = objective.precision, objective.workers
    with torch.no_grad():
        denoised = _denoised(denoiser, drawn, precision)
        fake = _clamped(denoised, objective.clamp)
    # One pass over both: one power iteration an update, and one forward for each backward.
    judged = _called(discriminator, torch.cat([drawn.clean, fake]), precision=precision)
    real_judged, fake_judged = (workers.gather(part) for part in judged.chunk(2))
    loss = discriminator_loss(real_judged, fake_judged, gan=objective.gan)
    if is_read_at_once(loss.device) and not bool(torch.isfinite(loss)):
        raise TrainingDivergedError("the discriminator's loss is not finite")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def score_step(
    denoiser: nn.Module,
    optimizer: torch.optim.Optimizer,
    discriminator: nn.Module | None,
    drawn: Corrupted,
    objective: Objective,
) -> ScoreLosses:
    """Eq. 1, or Eq. 5 where there is a discriminator: one update of the score network.

    Args:
        denoiser: H, wrapped for several processes (`Workers.wrap`).
        optimizer: The optimizer of the denoiser.
        discriminator: D, bare and left unchanged; None trains by DSM alone.
        drawn: This process's share of the batch.
        objective: The losses.

    Raises:
        TrainingDivergedError: a loss that is not finite, with the sigma of the worst sample; the
            weights are as they were. A loss on a GPU is not looked at here.
    """
    optimizer.zero_grad(set_to_none=True)
    parts = [
        _gradient(denoiser, discriminator, part, objective)
        for part in _in_parts(drawn, objective.accumulation)
    ]
    if objective.clip_norm != math.inf:
        nn.utils.clip_grad_norm_(denoiser.parameters(), objective.clip_norm)
    optimizer.step()
    dsm = torch.stack([part.dsm for part in parts]).mean()
    return ScoreLosses(dsm=dsm, generator=parts[0].generator)


def _gradient(
    denoiser: nn.Module, discriminator: nn.Module | None, drawn: Corrupted, objective: Objective
) -> ScoreLosses:
    """Add the gradient of a part of the batch; the losses of that part."""
    precision, workers = objective.precision, objective.workers
    denoised = _denoised(denoiser, drawn, precision)
    dsm = dsm_loss(denoised, drawn, deviation=objective.deviation)
    loss, generator = dsm.mean(), None
    with nullcontext() if discriminator is None else _frozen(discriminator):
        if discriminator is not None:
            gan, real = objective.gan, None
            # Losses over all processes: a relativistic average needs every D(x) of the batch.
            if gan.relativistic:
                real = workers.gather(_called(discriminator, drawn.clean, precision=precision))
            shown = _clamped(denoised, objective.clamp)
            fake = workers.gather(_called(discriminator, shown, precision=precision))
            loss = hybrid_loss(real, fake, dsm, weight=objective.weight, gan=gan)
            generator = gan.generator(real, fake.detach())
        mean_dsm = _checked(loss, dsm, drawn, workers)
        (loss / objective.accumulation).backward()  # type: ignore[no-untyped-call]
    return ScoreLosses(dsm=mean_dsm, generator=generator)


def _in_parts(drawn: Corrupted, parts: int) -> list[Corrupted]:
    """The draw cut into parts of equal size, whose mean losses have the mean of the whole."""
    if len(drawn.clean) % parts:
        raise InputError(f"{len(drawn.clean)} rows cannot be cut into {parts} equal parts")
    columns = [[None] * parts if whole is None else whole.chunk(parts) for whole in drawn]
    return [Corrupted(*column) for column in zip(*columns, strict=True)]


def _checked(loss: Tensor, dsm: Tensor, drawn: Corrupted, workers: Workers) -> Tensor:
    """The mean DSM loss over all processes; where they are read, it and the loss are finite."""
    means = workers.mean(torch.stack([dsm.mean().detach(), loss.detach()]))
    if is_read_at_once(means.device) and not bool(torch.isfinite(means).all()):
        losses = workers.gather(dsm.detach())
        sigmas = workers.gather(drawn.sigma)
        worst = int(losses.nan_to_num(nan=torch.inf, posinf=torch.inf).argmax())
        raise TrainingDivergedError(
            f"the loss is not finite (worst sample: {float(losses[worst]):.4g} at sigma ="
            f" {float(sigmas[worst]):.4g})"
        )
    return means[0]


def _denoised(denoiser: nn.Module, drawn: Corrupted, precision: torch.dtype) -> Tensor:
    told = as_told(drawn.label, drawn.augmentation)
    return _called(denoiser, drawn.noisy, drawn.sigma, *told, precision=precision)


def _called(module: nn.Module, x: Tensor, *others: Tensor | None, precision: torch.dtype) -> Tensor:
    """The network's output in the type of its first input, whatever type it computes in."""
    if precision == torch.float32:
        return module(x, *others)  # type: ignore[no-any-return]
    with torch.autocast(x.device.type, dtype=precision):
        return module(x, *others).to(x.dtype)  # type: ignore[no-any-return]


def _clamped(denoised: Tensor, clamp: Clamp) -> Tensor:
    return denoised if clamp is None else denoised.clamp(*clamp)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradient for its weights and no power iteration: it is not this player's turn."""
    mode = module.training
    module.eval().requires_grad_(False)
    try:
        yield
    finally:
        module.train(mode).requires_grad_(True)
