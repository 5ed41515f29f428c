"""Technique 5: the exponential moving average of the weights."""

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, module: nn.Module, *, decay: float) -> None:
    """Move the average towards the module: a <- decay a + (1 - decay) w; buffers are copied."""
    for a, w in zip(average.parameters(), module.parameters(), strict=True):
        a.lerp_(w, 1 - decay)
    for kept, current in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(current)


def warmed_decay(decay: float, step: int) -> float:
    """A decay that starts low, min(decay, (1 + step) / (10 + step)).

    A long average of a short run is mostly the initial weights; this one forgets them.
    """
    return min(decay, (1 + step) / (10 + step))
