"""The Fréchet distance at Inception's 2,048 dimensions beside scipy's matrix square root.

    python benchmarks/frechet.py [THREADS]

One thread unless told otherwise; the same number for both. The errors are against the nuclear norm
of the centred features' product, which needs no covariance and no root. Fails where the distance is
slower than scipy's root, or off by more than 1e-8 of the sum of the traces.
"""

import os
import sys

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
# Read by scipy's BLAS when it is loaded, so before the imports below.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS)))

import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import scipy  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from cascore.metrics import ExtractorIdentity, FeatureMoments, frechet_distance, frechet_estimate  # noqa: E402

DIMENSION = 2048
REPEATS = 2  # of both, for the fastest of more calls is faster by chance alone
LIMIT = 1e-8  # of the sum of the traces
MADE_BY = ExtractorIdentity(name="benchmark", digest="0" * 64)
CASES = {
    "full rank": (5000, 6000),
    "fewer images than dimensions": (1000, 1500),
    "one side with fewer": (1000, 6000),
}


def features(count: int, *, seed: int) -> Tensor:
    """Correlated features whose variances fall as those of a network's do, over five decades."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIMENSION, DIMENSION, generator=fixed, dtype=torch.float64)
    scales = torch.logspace(0, -2.5, DIMENSION, dtype=torch.float64)
    return torch.randn(count, DIMENSION, generator=generator, dtype=torch.float64) * scales @ mixing


def fastest(call: Callable[[], float], *, repeats: int) -> tuple[float, float]:
    """Seconds of the fastest of several calls, which other programs disturb least; the value."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        times.append(time.perf_counter() - start)
    return min(times), value


def by_scipy(a: FeatureMoments, b: FeatureMoments) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns that a deficient product has no root
        root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
    traces = float(a.covariance.trace() + b.covariance.trace())
    return float((a.mean - b.mean).square().sum()) + traces - 2 * float(np.trace(root).real)


def without_covariances(x: Tensor, y: Tensor) -> float:
    p, q = ((f - f.mean(dim=0)) / (len(f) - 1) ** 0.5 for f in (x, y))
    # The triangles of a QR decomposition have the singular values of the features.
    p, q = (torch.linalg.qr(f, mode="r").R if len(f) > DIMENSION else f for f in (p, q))
    common = float(torch.linalg.svdvals(p @ q.T).sum())
    shift = float((x.mean(dim=0) - y.mean(dim=0)).square().sum())
    return shift + float(p.square().sum() + q.square().sum()) - 2 * common


def main() -> int:
    torch.set_num_threads(THREADS)
    print(
        f"D = {DIMENSION}, {THREADS} thread{'s' * (THREADS > 1)}, "
        f"torch {torch.__version__}, scipy {scipy.__version__}"
    )
    good = True
    for name, (n, m) in CASES.items():
        x, y = features(n, seed=1), 1.1 * features(m, seed=2) + 0.1
        a, b = (FeatureMoments.of(part, extractor=MADE_BY) for part in (x, y))
        ours, value = fastest(lambda a=a, b=b: frechet_distance(a, b), repeats=REPEATS)
        theirs, root_value = fastest(lambda a=a, b=b: by_scipy(a, b), repeats=REPEATS)
        traces = float(a.covariance.trace() + b.covariance.trace())
        exact = without_covariances(x, y)
        error, root_error = (abs(number - exact) / traces for number in (value, root_value))
        print(
            f"{name} ({n:,} and {m:,} images): {ours:.2f} s, error {error:.0e} of the traces; "
            f"scipy.linalg.sqrtm {theirs:.2f} s, error {root_error:.0e}; {theirs / ours:.1f} times"
        )
        good = good and error < LIMIT and ours < theirs
        if name == "full rank":
            seconds, _ = fastest(lambda x=x, b=b: frechet_estimate(x, b).error, repeats=1)
            print(f"    with its standard error, from {n:,} images: {seconds:.1f} s")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
