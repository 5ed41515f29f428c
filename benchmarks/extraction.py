"""What extraction costs beside the network itself, on one thread: below 5 % is the requirement.

The Inception network has arbitrary weights, which its speed does not depend on.
"""

import sys
import time
from collections.abc import Callable

import torch

from cascore.metrics import ExtractorIdentity, FeatureMoments
from cascore.metrics.extractors.inception import prepared
from cascore.metrics.extractors.inception_network import FEATURES, SIDE, InceptionNetwork

COUNT = 16  # images
BATCH = 256  # feature vectors in one update of the moments, as of `feature_moments`
LIMIT = 5.0  # percent
SHAPES = ((1, 8, 8), (3, 32, 32), (3, 256, 256), (3, 512, 512))


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
    torch.manual_seed(0)
    network = InceptionNetwork().eval().to(memory_format=torch.channels_last)
    pixels = torch.rand(COUNT, 3, SIDE, SIDE)
    alone = fastest(lambda: network(pixels), repeats=3) / COUNT
    features = torch.rand(BATCH, FEATURES)
    moments = FeatureMoments.of(features, extractor=ExtractorIdentity(name="arbitrary", digest=""))
    update = fastest(lambda: moments.update(features), repeats=5) / BATCH
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread")
    print(f"Inception alone {1e3 * alone:.1f} ms an image, moments {1e3 * update:.2f} ms")
    worst = 0.0
    for shape in SHAPES:
        images = torch.randint(256, (COUNT, *shape)).to(torch.uint8)
        prepare = fastest(lambda images=images: prepared(images), repeats=5) / COUNT
        percent = 100 * (prepare + update) / alone
        worst = max(worst, percent)
        name = "x".join(map(str, shape))
        print(f"{name:>10}: preparation {1e3 * prepare:.2f} ms, with moments {percent:.1f} %")
    print(f"largest share {worst:.1f} %, limit {LIMIT} %")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
