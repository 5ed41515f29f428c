"""The objective of `cascore tune`: Fréchet distance of a model's denoised samples, by block."""

import math

import torch

from cascore.errors import InputError
from cascore.evaluation.evaluate import Ready
from cascore.evaluation.search import Candidate, Objective
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.settings import Sampler, Schedule
from cascore.model.loading import Model
from cascore.pixels import to_uint8

__all__ = ["default_candidate", "frechet_objective", "largest_kappa", "sampler_of"]

_ALMOST_ALL = 0.99
"""Of x that a step replaces by H at the largest kappa; beyond, kappas are much alike."""


def sampler_of(candidate: Candidate, *, steps: int) -> Sampler:
    """The sampler of a candidate in that many network calls."""
    # The parsers of JSON and of the command line hold orders to those that there are.
    return Sampler(order=1 if candidate.order == 1 else 2, kappa=candidate.kappa, steps=steps)


def default_candidate(*, steps: int) -> Candidate:
    """What `cascore sample --steps N` takes where nothing was tuned."""
    sampler = build.resolved(Sampler(steps=steps))
    assert sampler.kappa is not None  # of consistent sampling
    return Candidate(sampler.order, sampler.kappa)


def largest_kappa(schedule: Schedule, *, steps: int) -> float:
    """The kappa whose step replaces 99 % of x at geometric levels: gamma^kappa = 0.01.

    Where centred levels are densest it is 95 to 97 %.

    At least twice the default's, which few calls come near.

    Raises:
        InputError: fewer than two steps, which have no noise between them, or one training level.
    """
    if steps < 2:
        raise InputError(f"{steps} network call has no noise to tune: give --steps 2 or more")
    sigmas = build.sampling_sigmas(Sampler(steps=steps, spacing="geometric"), schedule)
    ratio = math.log(float(sigmas[1] / sigmas[0]))
    return max(2 * default_candidate(steps=steps).kappa, math.log(1 - _ALMOST_ALL) / ratio)


def frechet_objective(
    model: Model,
    ready: Ready,
    *,
    steps: int,
    first_seed: int,
    count: int,
    batch_size: int,
    device: torch.device,
) -> Objective:
    """Fréchet distance of a block of `count` denoised samples to the real images.

    Args:
        model: what is sampled.
        ready: real images and what sees them, for that count.
        steps: network calls of a chain.
        first_seed: of the first picture of block 0; the blocks follow one another.
        count: pictures of a block.
        batch_size: pictures at a time.
        device: where the model computes.
    """
    judge, split = ready.view.judge, next(iter(ready.view.references))

    def measure(candidate: Candidate, block: int) -> float:
        samples = generate(
            model.denoiser,
            shape=model.shape,
            seeds=seeds_from(first_seed + block * count, count),
            sampler=sampler_of(candidate, steps=steps),
            schedule=model.experiment.schedule,
            device=device,
            batch_size=batch_size,
        )
        return judge.frechet(judge.features(to_uint8(samples.denoised)), split).value

    return measure
