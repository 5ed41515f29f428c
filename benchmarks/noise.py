"""The cost of keyed noise beside one network call, on one thread: below 2 % is the requirement."""

import sys
import time
from collections.abc import Callable

import torch

from cascore.networks import UNet
from cascore.noise import KeyedNoise, Purpose

BATCH = 64
LIMIT = 2.0  # percent
NETWORKS = {
    (1, 8, 8): {"channels": 1, "width": 32, "multipliers": (1, 2), "attention": (False, True)},
    (3, 32, 32): {
        "channels": 3,
        "width": 32,
        "multipliers": (1, 2, 2),
        "attention": (False, True, False),
    },
}


def fastest(call: Callable[[], object], *, repeats: int) -> float:
    """Seconds of the fastest of several calls, which other programs disturb least."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.inference_mode()
def main() -> int:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread, batch {BATCH}")
    worst = 0.0
    for shape, settings in NETWORKS.items():
        network, noise = UNet(**settings).eval(), KeyedNoise(range(BATCH))
        x = torch.rand(BATCH, *shape)
        call = fastest(lambda network=network, x=x: network(x), repeats=5)
        draw = fastest(
            lambda noise=noise, x=x: noise.normal(x.shape, purpose=Purpose.CHAIN), repeats=50
        )
        stream = fastest(lambda x=x: torch.randn(x.shape), repeats=50)
        percent = 100 * draw / call
        worst = max(worst, percent)
        parameters = sum(p.numel() for p in network.parameters())
        print(
            f"{'x'.join(map(str, shape)):>8}: network ({parameters:,} parameters) "
            f"{call * 1e3:.1f} ms, keyed noise {draw * 1e3:.2f} ms = {percent:.2f} %"
            f" (torch.randn {stream * 1e3:.2f} ms)"
        )
    print(f"largest share {worst:.2f} %, limit {LIMIT} %")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
