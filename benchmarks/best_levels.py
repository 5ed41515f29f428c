"""The best levels for a mixture of photographs, by a search with its exact denoiser.

    python -m benchmarks.best_levels em --kappa 1.5 --calls 8    # minutes

`calibrated_sigmas` is right where data are one Gaussian. Here the law is the mixture of
`benchmarks/samplers.py` in 64 principal components and a Gaussian in the other 3,008. The levels
are those of the least distance, by L-BFGS with exact gradients over 3,000 chains whose noise is the
same at every evaluation. Printed too, on new noise: what these and other levels come to on all
three laws.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.samplers import DATA, SPECTRUM, Impulses, Mixture, annealed, exact_distance
from cascore.calibration import calibrated_sigmas
from cascore.schedule import centred_sigmas, geometric_sigmas

FIRST, LAST, CHAINS, CLOSEST = 50.0, 0.01, 3000, 1.16
FINE = 1 / 64  # as in `calibrated_sigmas`


class Stream:
    """The same normal numbers for a step, whenever it is asked."""

    def normal(self, shape: tuple[int, ...], *, step: int) -> Tensor:
        """N(0, 1) numbers, float32."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(1 + step))


def denoised(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    logs: Tensor,
    source: Stream | Impulses,
    kappa: float,
) -> Tensor:
    """The last H of a chain of order 2, as `consistent_annealed` has it, with gradients by logs."""
    sigma, step = logs.exp(), logs[:-1] - logs[1:]
    x, last = start, None
    for i in range(len(step)):
        h = denoiser(x, sigma[i].to(x.dtype))
        lead = step[i] / (2 * step[i - 1]) if last is not None else 0.0
        ahead = h if last is None else h + lead * (h - last)
        still = (-kappa * step[i]).exp()
        noise = sigma[i + 1] * (1 - (-2 * (kappa - 1) * step[i]).exp()).sqrt() if kappa > 1 else 0.0
        z = source.normal(tuple(x.shape), step=i) if kappa > 1 else 0.0
        x, last = (still * x + (1 - still) * ahead + noise * z).to(start.dtype), h
    return denoiser(x, sigma[-1].to(x.dtype))


def distance(law: Mixture, logs: Tensor, kappa: float) -> Tensor:
    """Of the mixture's 64 components, and of the others pixels and sharpness."""
    start = FIRST * torch.randn(CHAINS, len(law.mean), generator=torch.Generator().manual_seed(0))
    photographs = law.distance(denoised(law, start, logs, Stream(), kappa))
    rest = SPECTRUM[len(law.mean) :]
    impulses = torch.zeros(1 + len(logs), len(rest), dtype=torch.float64)
    impulses[0] = FIRST
    answers = denoised(lambda x, s: rest / (rest + s**2) * x, impulses, logs, Impulses(), kappa)
    aim = rest / (rest + LAST**2).sqrt()
    weight = 1 + FINE * SPECTRUM.mean() / rest.clamp(min=1e-4 * LAST**2)
    return photographs + (weight * (answers.square().sum(0).sqrt() - aim).square()).sum()


def levels_of(shares: Tensor) -> Tensor:
    """Log sigma, by the shares softmax(shares) of the range that its steps have beyond a least."""
    total, count = math.log(FIRST / LAST), len(shares)
    least = min(math.log(CLOSEST), total / count / 2)
    steps = least + (total - count * least) * shares.softmax(0)
    return math.log(FIRST) - torch.cat([torch.zeros(1, dtype=steps.dtype), steps.cumsum(0)])


def half_way(count: int, kappa: float) -> Tensor:
    """Levels between calibrated and centred ones."""
    calibrated = calibrated_sigmas(FIRST, LAST, count, variances=SPECTRUM, kappa=kappa)
    return (calibrated * centred_sigmas(FIRST, LAST, count)).sqrt()


def best(law: Mixture, count: int, kappa: float) -> Tensor:
    """The levels of the least distance, from half way between calibrated and centred ones."""
    steps = -half_way(count, kappa).log().diff() - math.log(CLOSEST)
    shares = steps.clamp(min=1e-3).log().requires_grad_()
    optimiser = torch.optim.LBFGS([shares], max_iter=25, max_eval=40, line_search_fn="strong_wolfe")

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        value = distance(law, levels_of(shares), kappa)
        value.backward()
        print(f"    {float(value.detach()):.4f}", flush=True)
        return value

    optimiser.step(evaluate)
    return levels_of(shares.detach()).exp()


def main() -> None:
    """Search, and print what the levels come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mixture", choices=["em", "k-means"])
    parser.add_argument("--kappa", type=float, default=1.5)
    parser.add_argument("--calls", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    laws = {name: Mixture(DATA / f"mixture-{name}.npz") for name in ("k-means", "em")}
    bias = {name: law.bias() for name, law in laws.items()}
    ends = FIRST, LAST, given.calls
    rows = {
        "best": best(laws[given.mixture], given.calls, given.kappa),
        "calibrated": calibrated_sigmas(*ends, variances=SPECTRUM, kappa=given.kappa),
        "half way": half_way(given.calls, given.kappa),
        "centred": centred_sigmas(*ends),
        "geometric": geometric_sigmas(*ends),
    }
    sampler = partial(annealed, kappa=given.kappa, order=2)
    for name, sigmas in rows.items():
        cells = [f"Gaussian {exact_distance(sampler, sigmas):.3f}"]
        for mixture, law in laws.items():
            values = torch.tensor(law.measure(sampler, sigmas)) - bias[mixture]
            cells.append(
                f"{mixture} {values.mean():.3f} +- {values.std() / len(values) ** 0.5:.3f}"
            )
        print(f"{name:11}", *cells, [float(f"{level:.3g}") for level in sigmas], flush=True)


if __name__ == "__main__":
    main()
