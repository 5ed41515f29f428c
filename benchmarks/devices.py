"""What a training step asks of a device: operations, bytes, kernels; and what would limit an H100.

    python -m benchmarks.devices cifar10-unet cifar10-ncsnv2 fashion-mnist --batch 128

Counted on tensors without memory, forward and backward of the score network in float32, one network
call a step: every kernel of PyTorch reads its inputs and writes its outputs once, which compiling
lessens. The times are what the operations, the bytes and the launches of an H100 SXM would take by
themselves, at NVIDIA's figures for dense products (TF32 494e12 a second, bfloat16 989e12) and
memory (3.35e12 bytes a second), and at 5 µs for a launch: bounds from below, not measurements.
"""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cascore.experiment import build
from cascore.experiment.presets import PRESETS, PUBLISHED, SHAPES
from cascore.experiment.settings import Experiment

TF32, BFLOAT16, BYTES, LAUNCH = 494e12, 989e12, 3.35e12, 5e-6


class Counted(TorchDispatchMode):
    """Kernels that write memory of their own, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.bytes = 0, 0.0

    def __torch_dispatch__(
        self,
        operator: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        written = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if written and not operator.is_view:
            read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
            self.kernels += 1
            self.bytes += sum(x.numel() * x.element_size() for x in (*read, *written))
        return result


class Asked(NamedTuple):
    """Of forward and backward: weights, kernels, bytes and floating-point operations."""

    weights: int
    kernels: int
    bytes: float
    flops: float


def counted(experiment: Experiment, shape: tuple[int, ...], batch: int) -> Asked:
    """What a step of so many pictures asks for."""
    subject = build.Subject.of_none(shape, experiment.network)
    with torch.device("meta"):
        denoiser = build.build_denoiser(experiment.network, subject, seed=0)
        x, sigma = torch.zeros(batch, *shape), torch.ones(batch)
        with FlopCounterMode(display=False) as flops, Counted() as kernels:
            denoiser(x, sigma).square().sum().backward()
    weights = sum(parameter.numel() for parameter in denoiser.parameters())
    return Asked(weights, kernels.kernels, kernels.bytes, float(flops.get_total_flops()))


def main() -> None:
    """Print a row for each preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--batch", type=int, default=128)
    arguments = parser.parse_args()
    columns = ["weights", "TFLOP", "GB", "kernels", "TF32", "bfloat16", "memory", "launches"]
    print(f"| preset | {' | '.join(columns)} | pictures/s at most |")
    print(f"| --- |{' ---: |' * (len(columns) + 1)}")
    for name in arguments.presets:
        known = PUBLISHED.get(name)
        experiment, shape = known or (PRESETS[name], SHAPES[PRESETS[name].data.name])
        asked = counted(experiment, shape, arguments.batch)
        launches = asked.kernels * LAUNCH
        times = (asked.flops / TF32, asked.flops / BFLOAT16, asked.bytes / BYTES, launches)
        cells = [
            name,
            f"{asked.weights / 1e6:.1f} M",
            f"{asked.flops / 1e12:.2f}",
            f"{asked.bytes / 1e9:.1f}",
            f"{asked.kernels:,}",
        ]
        cells += [f"{1e3 * t:.2g} ms" for t in times]
        cells.append(f"{arguments.batch / max(times[0], *times[2:]):,.0f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
