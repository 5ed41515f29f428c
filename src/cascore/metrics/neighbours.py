"""Nearest neighbours in pixel space, exact, and the question whether a model repeats its data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics.features import require_rows
from cascore.stats import Estimate


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Distances [Q, k] float64 to the k nearest references, nearest first, and their indices int64.

    Among equally near ones, any may be named.
    """

    distance: Tensor
    index: Tensor


def nearest_neighbours(
    queries: Tensor, references: Tensor, *, k: int = 1, chunk: int = 1024
) -> Neighbours:
    """The k nearest references of each query by Euclidean distance over all values.

    Candidates are ranked by `|q|² + |r|² - 2 q·r` in float64, chunk by chunk; the distances that
    are returned are then recomputed from the differences, so that a copy has distance exactly 0.

    Queries [Q, ...] and references [R, ...], R >= k, are floating point and finite, for example
    pixels in [0, 1], of the same trailing shape; any others raise InputError.
    """
    require_rows(queries, "queries")
    require_rows(references, "references")
    if queries.shape[1:] != references.shape[1:]:
        raise InputError(
            f"queries of shape {tuple(queries.shape)} and references of shape "
            f"{tuple(references.shape)} differ after the first dimension"
        )
    if not 1 <= k <= len(references):
        raise InputError(f"k is {k}; expected 1 to {len(references)}, the number of references")
    if chunk < 1:
        raise InputError(f"chunk is {chunk}; expected at least 1")
    parts = [
        _nearest(part.flatten(1), references.flatten(1), k, chunk)
        for part in torch.split(queries, chunk)
    ]
    return Neighbours(*map(torch.cat, zip(*parts, strict=True)))


def memorisation_ratio(
    samples: Tensor, train: Tensor, held_out: Tensor, *, repeats: int = 200, seed: int
) -> Estimate:
    """Median distance to the nearest training image over that to the nearest held-out image.

    The ratio is about 1 for a model that generalises, towards 0 for one that repeats its training
    data, infinite if at least half of the samples are held-out images themselves. Both medians are
    over the samples. The larger of the two sets is cut by a random draw to the size of the smaller,
    because the nearest of more images is nearer by chance alone.

    The error is the bootstrap's: samples are drawn with replacement, each with both its distances,
    and the ratio of the medians is taken anew, `repeats` times. Training and held-out images stay
    as they are. It is infinite for a single sample, and where a ratio is.

    Each set [N, ...] holds at least one image, as floating-point pixels in [0, 1]: generated
    images, those that the model was trained on, and those of the same distribution that it never
    saw. An empty set, and what `nearest_neighbours` refuses, raise InputError.
    """
    for images, name in ((samples, "samples"), (train, "train"), (held_out, "held_out")):
        if len(images) == 0:
            raise InputError(f"{name} holds no image; a memorisation ratio needs at least 1")
    if repeats < 2:
        raise InputError(f"repeats is {repeats}; a standard deviation takes at least 2")
    size, distances = min(len(train), len(held_out)), []
    generator = torch.Generator().manual_seed(seed)
    for images in (train, held_out):
        if len(images) > size:
            images = images[torch.randperm(len(images), generator=generator)[:size]]
        distances.append(nearest_neighbours(samples, images).distance[:, 0])
    to_train, to_held_out = distances
    count = len(samples)
    draws = (torch.randint(count, (count,), generator=generator) for _ in range(repeats))
    ratios = torch.tensor(
        [_ratio(to_train[rows], to_held_out[rows]) for rows in draws], dtype=torch.float64
    )
    known = count > 1 and bool(ratios.isfinite().all())
    error = float(ratios.std()) if known else math.inf
    return Estimate(_ratio(to_train, to_held_out), error)


def _ratio(to_train: Tensor, to_held_out: Tensor) -> float:
    numerator, denominator = float(to_train.quantile(0.5)), float(to_held_out.quantile(0.5))
    # Half of the samples are held-out images themselves: a folder of real images, not a copyist.
    return numerator / denominator if denominator else math.inf


def _nearest(queries: Tensor, references: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Distances and indices of the nearest references [R, P] of one chunk of queries [Q, P]."""
    queries = queries.to(torch.float64)
    squared = queries.new_empty(len(queries), 0)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(references), chunk):
        block = references[start : start + chunk].to(queries)
        # |q|² is the same for all references of a query and does not change their order.
        candidates = block.square().sum(dim=1) - 2 * queries @ block.T
        positions = torch.arange(start, start + len(block), device=queries.device)
        squared = torch.cat([squared, candidates], dim=1)
        index = torch.cat([index, positions.expand(len(queries), -1)], dim=1)
        squared, best = squared.topk(min(k, squared.shape[1]), dim=1, largest=False)
        index = index.gather(1, best)
    nearest = references[index.to(references.device)].to(queries)
    distance, order = (nearest - queries[:, None]).square().sum(dim=2).sqrt().sort(dim=1)
    return distance, index.gather(1, order)
