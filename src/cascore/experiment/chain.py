"""Chains from settings: what is in force, the levels, and pictures with one seed each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cascore.calibration import calibrated_sigmas, natural_variances
from cascore.denoiser import NETWORK_KAPPA, Denoiser, is_blind, kappa_of_steps, own_mean
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.settings import Chain, Sampler, Schedule, Spacing
from cascore.guidance import guided, labelled
from cascore.noise import KeyedNoise
from cascore.plain import from_plain
from cascore.ranges import require_in_range, require_memory
from cascore.sampling import (
    Callback,
    Samples,
    annealed_langevin,
    consistent_annealed,
    initial_noise,
    order_and_kappa,
)
from cascore.schedule import (
    centred_sigmas,
    eta_from_epsilon,
    geometric_sigmas,
    karras_sigmas,
    langevin_step_size,
    nearest_sigmas,
    stretch,
)

_CALLS = 12  # of a chain, where neither calls nor levels are given; of als its levels
_SAMPLE_BYTES = 2 * (4 + 1)  # of a pixel of a sample: raw and denoised, each float32 and uint8
SPACINGS = {"geometric": geometric_sigmas, "karras": karras_sigmas, "centred": centred_sigmas}
"""Levels by the name of their spacing; calibrated ones need more than their ends."""


def resolved(
    sampler: Sampler, schedule: Schedule, *, at_levels: bool = False, blind: bool = True
) -> Chain:
    """The chain that settings come to for a model of these training levels: nothing left open.

    Levels are geometric, as in training; but centred in a chain of second order with levels of its
    own and a step size in kappa. One in eta or epsilon wants geometric levels, all steps alike. Of
    a network that sees sigma and knows it `at_levels` of its training alone, they are those of the
    training that are nearest, as long as there are enough. Kappa is that of a network, in few calls
    smaller if it is not `blind` (`kappa_of_steps`).

    Raises:
        InputError: More than one level of a model that was trained at one, or no step size by
            Technique 4.
    """
    langevin, n_sigma, eta = sampler.method == "als", sampler.n_sigma, sampler.eta
    levels = schedule.levels
    if sampler.levels is None:
        calls = sampler.calls or _CALLS * (n_sigma if langevin else 1)
        levels = calls // n_sigma if langevin else calls
    if levels > 1 and schedule.levels == 1:
        raise InputError(
            f"the model was trained at the one level {schedule.first:g}, so a chain has one level,"
            f" not {levels}: sample with --method als --levels all --n-sigma 10 --eta 0.2"
        )
    order, kappa = 1, None
    if not langevin:
        size = {"kappa": sampler.kappa, "eta": eta, "epsilon": sampler.epsilon}
        wanted = kappa_of_steps(
            NETWORK_KAPPA,
            (levels - 1) * n_sigma + 1,
            ratio=schedule.first / schedule.last,
            blind=blind,
            order=sampler.order or 2,
        )
        order, kappa = order_and_kappa(order=sampler.order, default=wanted, **size)
    centred = sampler.levels is None and order == 2 and kappa is not None
    spacing: Spacing = "centred" if centred else "geometric"
    if at_levels and sampler.levels is None and levels <= schedule.levels:
        spacing = "trained"
    chain = Chain(
        method=sampler.method,
        order=1 if order == 1 else 2,
        calls=levels * n_sigma if langevin else (levels - 1) * n_sigma + 1,
        levels=levels,
        n_sigma=n_sigma,
        kappa=kappa,
        eta=eta,
        epsilon=sampler.epsilon,
        spacing=sampler.spacing or spacing,
    )
    require_in_range({"calls": chain.calls})  # of all levels, stretched
    if langevin and eta is None and sampler.epsilon is None:
        sigmas = chain_sigmas(chain, schedule)
        epsilon = langevin_step_size(sigmas, n_sigma)
        chain = replace(chain, eta=eta_from_epsilon(epsilon, float(sigmas[-1])))
    return chain


def recorded(settings: Mapping[str, Any], where: str) -> Sampler:
    """The sampler that draws again what a record's settings of a chain drew.

    They are a `Chain`, or what cascore 0.3 wrote; `tuned` and `guidance` beside them are no part.
    """
    beside = ("tuned", "guidance")
    plain = {name: value for name, value in settings.items() if name not in beside}
    if "steps" in plain:  # of cascore 0.3
        return from_plain(Sampler, plain, where)
    return from_plain(Chain, plain, where).sampler


def chain_sigmas(
    chain: Chain, schedule: Schedule, *, variances: Tensor | None = None, blind: bool = False
) -> Tensor:
    """The levels of a chain over the range of the training's: [calls], of als [levels].

    Calibrated ones need the `variances` of the data, and whether the network is `blind`.
    """
    last = schedule.last if chain.levels > 1 else schedule.first
    ends = schedule.first, last, chain.levels
    if chain.spacing == "calibrated":
        assert variances is not None
        sigmas = calibrated_sigmas(
            *ends, variances=variances, kappa=chain.kappa, order=chain.order, blind=blind
        )
    elif chain.spacing == "trained":
        even = chain.order == 1 or chain.kappa is None
        wanted = (geometric_sigmas if even else centred_sigmas)(*ends)
        sigmas = nearest_sigmas(wanted, build.training_sigmas(schedule))
    else:
        sigmas = SPACINGS[chain.spacing](*ends)
    return stretch(sigmas, chain.n_sigma) if chain.method == "cas" else sigmas


def generate(
    denoiser: Denoiser,
    *,
    shape: tuple[int, ...],
    seeds: Sequence[int],
    sampler: Sampler,
    schedule: Schedule,
    device: torch.device,
    at_levels: bool = False,
    variances: Tensor | None = None,
    start: Tensor | None = None,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    batch_size: int = 256,
    progress: Callable[[int], None] = lambda calls: None,
    callback: Callback | None = None,
) -> Samples:
    """Algorithm 1 (als) or 2 (cas): a datum of `shape` for each seed, the same in any batch.

    Args:
        denoiser: H(x, sigma), on `device`.
        schedule: The training levels, whose range the chain covers.
        at_levels: Whether the network sees sigma and knows it at those levels alone.
        variances: Of the data, for calibrated levels; None takes `natural_variances`.
        start: Start of the chains, [len(seeds), *shape]; None takes m + sigma_1 z, with the mean m
            that the denoiser knows of the data (`own_mean`).
        labels: The class of each picture, int64 [len(seeds)], of a denoiser that takes labels.
        guidance: The weight of classifier-free guidance towards them; 1 is the class itself.
        batch_size: Pictures at a time.
        progress: Called after every network call with how many pictures it was for.
        callback: The sampler's callback, in each batch.

    Returns:
        `Samples` on the CPU; nfe is per picture.

    Raises:
        InputError: No seed, batch_size below 1, a start of another shape, or guidance without
            labels.
    """
    if not seeds:
        raise InputError("there is no seed to draw from: give one for each picture")
    require_in_range({"batch_size": batch_size})
    require_room(len(seeds), shape)
    if start is not None and start.shape != (len(seeds), *shape):
        raise InputError(f"start must be {[len(seeds), *shape]}, not {list(start.shape)}")
    if labels is None and guidance != 1:
        raise InputError(f"guidance {guidance:g} goes towards a class: give a label too")
    chain = resolved(sampler, schedule, at_levels=at_levels, blind=is_blind(denoiser))
    if variances is None:
        variances = natural_variances(shape, schedule.first)
    sigmas = chain_sigmas(chain, schedule, variances=variances, blind=is_blind(denoiser))
    algorithm: Callable[..., Samples] = (
        partial(annealed_langevin, n_sigma=chain.n_sigma)
        if chain.method == "als"
        else partial(consistent_annealed, kappa=chain.kappa, order=chain.order)
    )
    settings = {"sigmas": sigmas, "eta": chain.eta, "epsilon": chain.epsilon}
    raw, denoised = [], []  # off the device while it goes, which holds one batch
    for first in range(0, len(seeds), batch_size):
        part = seeds[first : first + batch_size]
        noise = KeyedNoise(part)
        x = (
            initial_noise(
                (len(part), *shape),
                schedule.first,
                mean=own_mean(denoiser),
                noise=noise,
                device=device,
            )
            if start is None
            else start[first : first + batch_size].to(device)
        )

        def watch(step: int, sigma: float, at: Tensor, h: Tensor) -> None:
            progress(len(at))
            if callback is not None:
                callback(step, sigma, at, h)

        of_class = denoiser
        if labels is not None:
            assert isinstance(denoiser, nn.Module)
            conditional = labelled(denoiser, labels[first : first + batch_size].to(device))
            of_class = guided(conditional, denoiser, guidance)
        part_of = algorithm(of_class, x, **settings, noise=noise, callback=watch)
        raw.append(part_of.raw.cpu())
        denoised.append(part_of.denoised.cpu())
    return Samples(raw=torch.cat(raw), denoised=torch.cat(denoised), nfe=part_of.nfe)


def require_room(count: int, shape: tuple[int, ...]) -> None:
    """Raise InputError if so many samples, raw and denoised, do not fit into memory."""
    require_memory(count, _SAMPLE_BYTES * math.prod(shape), "samples")


def seeds_from(first: int, count: int) -> range:
    """The seeds of `count` pictures; picture i has seed first + i.

    Raises:
        InputError: count below 1, or seeds outside 0 to 2^64 - 1.
    """
    require_in_range({"count": count})
    if not 0 <= first <= 2**64 - count:
        raise InputError(f"seeds must be from 0 to 2^64 - 1, not {first} to {first + count - 1}")
    return range(first, first + count)
