"""Less memory for more computing: what a network's blocks keep for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(network: nn.Module) -> Iterator[None]:
    """Within, each block keeps what goes into it alone; the backward pass computes it once more.

    Blocks are what stands in a network's outermost lists (`nn.ModuleList`): the blocks of a U-Net,
    the stages and refinements of NCSNv2. Gradients are the same, to the bit where a computation
    repeats itself (Chen et al., 1604.06174).
    """
    blocks = list(_blocks(network))
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)
