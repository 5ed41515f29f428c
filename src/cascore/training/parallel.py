"""More than one process: who draws which rows, and what is shared between them."""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from cascore.errors import InputError


@dataclass(frozen=True)
class Workers:
    """Which process this is of those that train one model; alone by default.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of all processes; above 1, `torch.distributed` must have been initialised.
        sharded: Whether each holds a part of the score network alone, FSDP2 in place of DDP.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False

    def rows(self, batch_size: int) -> Tensor:
        """Which rows of the global batch are this process's, int64 [batch_size / count].

        Raises:
            InputError: the batch cannot be shared equally.
        """
        if batch_size % self.count:
            raise InputError(
                f"a batch of {batch_size} cannot be shared by {self.count} processes:"
                f" choose a multiple of {self.count}"
            )
        share = batch_size // self.count
        return torch.arange(self.rank * share, (self.rank + 1) * share)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass averages gradients over all processes."""
        if self.count == 1:
            return module
        device = next(module.parameters()).device
        return nn.parallel.DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None
        )

    def gather(self, values: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks, with gradients."""
        if self.count == 1:
            return values
        gathered: Tensor = _Gather.apply(values, self.rank, self.count)  # type: ignore[no-untyped-call]
        return gathered

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, without gradient."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.count

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            dist.barrier()


ALONE = Workers()


PATIENCE = timedelta(days=7)
"""How long who is done with its share of a long work waits for the others."""


@contextmanager
def joined_processes(
    device: torch.device, *, patience: timedelta | None = None
) -> Iterator[tuple[torch.device, Workers]]:
    """The processes that torchrun started, each with its device, or this one alone.

    They wait for each other for so long, or as PyTorch has it: 10 minutes on GPUs, else 30. Who
    dies is found at once.
    """
    if not dist.is_torchelastic_launched():
        yield device, Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    try:
        if device.type == "cuda":
            device = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(device)
        yield device, Workers(rank=dist.get_rank(), count=dist.get_world_size())
    finally:
        # The wrapped modules are part of reference cycles that keep the group's threads alive; a
        # process that ends with one of them running aborts.
        gc.collect()
        dist.destroy_process_group()


@contextmanager
def held_by_first(
    lock: AbstractContextManager[object], workers: Workers, *, what: object, device: torch.device
) -> Iterator[None]:
    """Hold a lock in the first process for all of them; if it cannot be had, all refuse."""
    with ExitStack() as held:
        refusal = None
        if workers.rank == 0:
            try:
                held.enter_context(lock)
            except InputError as error:
                refusal = error
        refused = workers.mean(torch.tensor(float(refusal is not None), device=device))
        if refusal is not None:
            raise refusal
        if bool(refused > 0):
            raise InputError(f"{what} could not be locked by the first process")
        yield


class _Gather(torch.autograd.Function):
    """all_gather whose backward pass adds up what every process asks of these rows."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rank: int, count: int) -> Tensor:
        ctx.rows = slice(rank * len(values), (rank + 1) * len(values))
        parts = [torch.empty_like(values) for _ in range(count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rows], None, None
