"""Pictures from a model: one seed each, in batches, with a record of how they were made."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cascore.denoiser import Denoiser
from cascore.errors import InputError
from cascore.experiment.build import draw, resolved
from cascore.experiment.settings import Sampler, Schedule
from cascore.noise import KeyedNoise
from cascore.sampling import Callback, Samples, initial_noise


def seeds_from(first: int, count: int) -> range:
    """The seeds of `count` pictures; picture i has seed first + i.

    Raises:
        InputError: count below 1, or seeds outside 0 to 2^64 - 1.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, not {count}")
    if not 0 <= first <= 2**64 - count:
        raise InputError(f"seeds must be from 0 to 2^64 - 1, not {first} to {first + count - 1}")
    return range(first, first + count)


def generate(
    denoiser: Denoiser,
    *,
    shape: tuple[int, ...],
    seeds: Sequence[int],
    sampler: Sampler,
    schedule: Schedule,
    device: torch.device,
    start: Tensor | None = None,
    batch_size: int = 256,
    progress: Callable[[int], None] = lambda calls: None,
    callback: Callback | None = None,
) -> Samples:
    """Sample one datum of `shape` for each seed; a seed gives the same picture in any batch.

    Args:
        denoiser: H(x, sigma), on `device`.
        schedule: The training levels, whose range the chain covers.
        start: Start of the chains, [len(seeds), *shape]; None takes sigma_1 z.
        batch_size: Pictures at a time.
        progress: Called after every network call with how many pictures it was for.
        callback: The sampler's callback, in each batch.

    Returns:
        `Samples` on the CPU; nfe is per picture.

    Raises:
        InputError: No seed, batch_size below 1, or a start of another shape.
    """
    if not seeds:
        raise InputError("there is no seed to draw from: give one for each picture")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if start is not None and start.shape != (len(seeds), *shape):
        raise InputError(f"start must be {[len(seeds), *shape]}, not {list(start.shape)}")
    chain = resolved(sampler, schedule)
    parts = []
    for first in range(0, len(seeds), batch_size):
        part = seeds[first : first + batch_size]
        noise = KeyedNoise(part)
        x = (
            initial_noise((len(part), *shape), schedule.first, noise=noise, device=device)
            if start is None
            else start[first : first + batch_size].to(device)
        )

        def watch(step: int, sigma: float, at: Tensor, h: Tensor) -> None:
            progress(len(at))
            if callback is not None:
                callback(step, sigma, at, h)

        parts.append(draw(denoiser, x, chain, schedule, noise=noise, callback=watch))
    return Samples(
        raw=torch.cat([part.raw.cpu() for part in parts]),
        denoised=torch.cat([part.denoised.cpu() for part in parts]),
        nfe=parts[0].nfe,
    )
