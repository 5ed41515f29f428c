"""What torchrun starts: two processes train the cases of `test_parallel.py` in float64."""

import sys
from pathlib import Path

import torch
from torch import nn

from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.losses import GAN_LOSSES
from cascore.networks import MLP, BigGANDiscriminator, MLPDiscriminator
from cascore.training import (
    KeyedBatches,
    TrainingDivergedError,
    TrainState,
    adam,
    joined_processes,
    train,
)
from cascore.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint, whole_tensors

CASES = {
    "plain": None,
    "images": "lsgan",
    "average": "relativistic-average-standard",
    "paired": "relativistic-hinge",
}
SHARDED = ("plain", "images")
CPU = torch.device("cpu")
HALF, STEPS = 10, 20
SIGMAS = torch.tensor([1.0, 0.3, 0.1], dtype=torch.float64)


class InTurn(nn.Module):
    """Layers one after the other, in a list as the blocks of networks are."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def new_state(case):
    torch.manual_seed(7)
    size = (1, 8, 8) if case == "images" else (2,)
    if case == "images":
        network = InTurn(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 1))
        discriminator = BigGANDiscriminator(channels=1, size=8, width=2)
    else:
        network, discriminator = MLP(width=8, depth=2), MLPDiscriminator(width=8, depth=2)
    denoiser = UnconditionalDenoiser(network).double()
    state = TrainState(
        denoiser, adam(denoiser.parameters(), learning_rate=1e-2, betas=(0.0, 0.9)), seed=11
    )
    if CASES[case] is not None:
        state.discriminator = discriminator.double()
        state.discriminator_optimizer = adam(
            state.discriminator.parameters(), learning_rate=1e-2, betas=(-0.5, 0.9)
        )
    data = torch.rand(13, *size, generator=torch.Generator().manual_seed(5))
    return state, data


def go_on(state, data, case, *, steps, workers):
    """The metrics of the steps up to `steps`, of a global batch of 6."""
    settings = {"batch_size": 6, "seed": state.seed, "workers": workers}
    if case == "images":
        pixels = (255 * data).round().to(torch.uint8)
        batches = KeyedBatches(pixels, flip=True, dtype=torch.float64, **settings)
    else:
        batches = KeyedBatches(data.double(), **settings)
    return list(
        train(
            state,
            batches,
            SIGMAS,
            steps=steps,
            ema_decay=0.9,
            gan=GAN_LOSSES[CASES[case] or "lsgan"],
            discriminator_steps=2,
            clamp=(0.0, 1.0) if case == "images" else None,
            recompute=state.sharded,
            workers=workers,
        )
    )


def both_halves(folder, case, workers, *, given):
    """From scratch with a checkpoint halfway, then from another's checkpoint; what was told."""
    state, data = new_state(case)
    told = go_on(state, data, case, steps=HALF, workers=workers)
    if workers.rank == 0:
        save_checkpoint(state, folder / case, processes=workers.count)
    told += go_on(state, data, case, steps=STEPS, workers=workers)
    if workers.rank == 0:
        save_checkpoint(state, folder / case, processes=workers.count)
    if given is not None:
        resume(given, folder, case, workers)
    return told


def resume(given, folder, case, workers):
    """Go on from the checkpoint halfway in `given`."""
    state, data = new_state(case)
    load_checkpoint(state, checkpoints(given / case)[0])
    assert state.step == HALF
    go_on(state, data, case, steps=STEPS, workers=workers)
    if workers.rank == 0:
        save_checkpoint(state, folder / f"{case}-resumed", processes=workers.count)


def with_parts(given, folder, case, workers):
    """What was told, and states, where each process holds a part of the network (FSDP2).

    `case`-parts is a training with a checkpoint halfway; `case`-taken-over goes on from that of the
    whole networks in `given`, and `case`-given-back goes on from the parts' with whole networks.
    """
    place = folder / f"{case}-parts"
    state, data = new_state(case)
    state.shard(workers, device=CPU)
    held = sum(weight.to_local().numel() for weight in state.denoiser.parameters())
    told = [f"{case}-share {held} {sum(x.numel() for x in state.denoiser.parameters())}"]
    for steps in (HALF, STEPS):
        metrics = go_on(state, data, case, steps=steps, workers=workers)
        told += [f"{case}-parts {each.numbers}" for each in metrics]
        save(state, place, workers)
    for name, start, sharded in (("taken-over", given / case, True), ("given-back", place, False)):
        state, data = new_state(case)
        if sharded:
            state.shard(workers, device=CPU)
        load_checkpoint(state, checkpoints(start)[0])
        go_on(state, data, case, steps=STEPS, workers=workers)
        save(state, folder / f"{case}-{name}", workers)
    return told


def save(state, folder, workers):
    """Save a state that may be sharded."""
    tensors = whole_tensors(state, keep=workers.rank == 0)
    if workers.rank == 0:
        save_checkpoint(state, folder, processes=workers.count, tensors=tensors)
    workers.barrier()


def same_everywhere(state, workers):
    """Whether all processes hold the same tensors, power iterations and moments too."""
    flat = torch.cat([value.double().flatten() for value in state.tensors().values()])
    return bool((workers.gather(flat[None]) == flat).all())


def diverge(workers):
    """The error that every process raises when one row, rank 1's, is not finite."""
    state, data = new_state("plain")
    data[:] = torch.nan if workers.rank == 1 else data
    try:
        go_on(state, data, "plain", steps=1, workers=workers)
    except TrainingDivergedError as error:
        return str(error)
    return "nothing"


def main():
    folder, given = Path(sys.argv[1]), Path(sys.argv[2])
    with joined_processes(torch.device("cpu")) as (_, workers):
        lines = []
        for case in CASES:
            told = both_halves(folder, case, workers, given=given)
            lines += [f"{case} {each.numbers}" for each in told]
        workers.barrier()
        for case in SHARDED:
            lines += with_parts(folder, folder, case, workers)
        state, data = new_state("images")
        go_on(state, data, "images", steps=3, workers=workers)
        lines.append(f"same {same_everywhere(state, workers)}")
        lines.append(f"diverged {diverge(workers)}")
        try:
            workers.rows(7)
        except InputError as error:
            lines.append(f"refused {error}")
        (folder / f"told-{workers.rank}.txt").write_text("\n".join(lines))
        workers.barrier()


if __name__ == "__main__":
    main()
