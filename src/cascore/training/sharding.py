"""FSDP2: of a network that is too large for a device, each process holds a part.

A room of its own because PyTorch's part of it takes half a second to import.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, *, count: int, device: torch.device) -> None:
    """Leave each of so many processes its part of the weights, on its device.

    Weights are gathered block by block as the forward and the backward pass reach them, and the
    gradients are means over all processes. The parameters of the module are others afterwards.
    """
    mesh = init_device_mesh(device.type, (count,))
    for block in (*_blocks(module), module):
        fully_shard(block, mesh=mesh)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that stand in lists: the blocks of a network."""
    for child in module.children():
        for item in child if isinstance(child, nn.ModuleList) else ():
            if isinstance(item, nn.ModuleList):
                yield from _blocks(nn.ModuleList([item]))
            else:
                yield item
        if not isinstance(child, nn.ModuleList):
            yield from _blocks(child)


def whole(tensor: Tensor) -> Tensor:
    """A tensor in full; of one that is sharded, all processes ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def take_over(tensor: Tensor, values: Tensor) -> None:
    """Copy a full tensor's values into a tensor, of one that is sharded this process's part."""
    if isinstance(tensor, DTensor):
        mesh, placements = tensor.device_mesh, tensor.placements
        values = distribute_tensor(values, mesh, placements, src_data_rank=None)
    tensor.copy_(values)
