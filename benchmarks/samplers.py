"""Samplers and levels where the exact answer is known: on laws fitted to 50,000 photographs.

    python benchmarks/samplers.py            # the Gaussian: every law exact, about a minute
    python benchmarks/samplers.py --mixture  # two mixtures of ten Gaussians: 6,000 chains, 3 seeds

The Gaussian has the 3,072 variances of CIFAR-10's principal components. Any linear sampler's law is
exact on it: a batch carries one impulse for the start and one for each z. The mixtures live in 64
components; one is of clusters of k-means, the other was fitted by expectation maximisation and is
nearer to the photographs by 5.4 nats each. `tools/fit_photographs.py` made the three.

The first rows are for a denoiser that is right: kappa 1.5, which `consistent_annealed` takes for
it, at levels of `calibrated_sigmas`, and the same at kappa 1 and 2.5. They have bars, at 50 to 0.01
on the Gaussian and on the mixtures: a ! is above its bar. "A network of cascore" is what a model
that does not see sigma draws by, which is better on its networks (`benchmarks/network_samplers.py`,
`docs/which-sampler.md`).

The last rows of each table are of the perfect denoiser that does not see sigma: its bar are
geometric levels. On the Gaussian its law is that of many dimensions (`denoised_variances`), on the
mixtures it is Appendix E's over 100 levels, by chains.

The number is the Fréchet distance of denoised samples to the data, in squared pixels; on the
mixtures that of as many exact samples is taken off. Peers are run with their own weights.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cascore.calibration import calibrated_sigmas, denoised_variances
from cascore.sampling import consistent_annealed
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas

DATA = Path(__file__).parent / "data"
SPECTRUM = torch.from_numpy(np.load(DATA / "spectrum.npy")).double()
CHAINS, SEEDS = 6000, (0, 1, 2)
RIGHT = "right denoiser: order 2, 1.5, calibrated"
ONE, MORE = "order 2, kappa 1, calibrated", "order 2, kappa 2.5, calibrated"
EXACT_BARS = {
    RIGHT: {5: 0.75, 8: 0.030, 10: 0.015, 12: 0.0125, 20: 0.0110, 50: 0.0110},
    ONE: {5: 0.40, 8: 0.025},
    MORE: {8: 0.06, 12: 0.0125},
}
MIXTURE_BARS = {RIGHT: {5: 0.50, 8: 0.21, 12: 0.10}}

Array = NDArray[np.float64]
Denoiser = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[..., Tensor]  # (denoiser, start, sigmas, noise) -> denoised
Levels = Callable[[float, float, int], Tensor]


def annealed(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: object, *, kappa: float, order: int
) -> Tensor:
    """Ours: Euler, DDIM (kappa 1) and Euler ancestral (2) of order 1; 2M, SDE-2M of order 2."""
    return consistent_annealed(denoiser, x, sigmas, kappa=kappa, order=order, noise=noise).denoised


def predictor_corrector(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: object, *, kappa: float, order: int = 3
) -> Tensor:
    """Stochastic Adams (SA-Solver) with tau^2 = kappa - 1; UniPC's kind at kappa 1.

    H is a polynomial of log sigma through the last `order` calls, integrated exactly against the
    exponential. The corrector has the new call as one of its nodes; one call a step.
    """
    source = noise if hasattr(noise, "normal") else None
    times = (-sigmas.log()).tolist()
    calls: list[Tensor] = []
    for i, sigma in enumerate(sigmas.tolist()):
        if i:
            h, still = times[i] - times[i - 1], (sigma / float(sigmas[i - 1])) ** kappa
            spread = sigma * math.sqrt(max(0.0, 1 - math.exp(-2 * (kappa - 1) * h)))
            z = draw(source, noise, x, i - 1) if spread else 0.0
            before, offset = x, times[i - 1]

            def update(
                nodes: range, *, h=h, still=still, before=before, z=z, offset=offset, spread=spread
            ) -> Tensor:
                weights = integrals(
                    [times[j] - offset for j in nodes],
                    0.0,
                    h,
                    lambda s: kappa * np.exp(-kappa * (h - s)),
                )
                parts = [w * calls[j] for w, j in zip(weights, nodes, strict=True)]
                return still * before + sum(parts) + spread * z

            x = update(range(max(0, i - order), i))
        calls.append(denoiser(x, torch.tensor(sigma, dtype=x.dtype)))
        if 0 < i < len(sigmas) - 1:
            x = update(range(max(0, i - order + 1), i + 1))
    return calls[-1]


def deis(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: object, *, order: int = 3) -> Tensor:
    """DEIS (2204.13902): (x - H) / sigma is a polynomial of log sigma, integrated over sigma."""
    times = sigmas.log().tolist()
    slopes: list[Tensor] = []
    for i, sigma in enumerate(sigmas.tolist()[:-1]):
        slopes.append((x - denoiser(x, torch.tensor(sigma, dtype=x.dtype))) / sigma)
        nodes = range(max(0, i + 1 - order), i + 1)
        weights = integrals([times[j] for j in nodes], times[i], times[i + 1], np.exp)
        x = x + sum(a * slopes[j] for a, j in zip(weights, nodes, strict=True))
    return denoiser(x, sigmas[-1].to(x.dtype))


def heun(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: object) -> Tensor:
    """Heun's method for dx/dsigma = (x - H) / sigma (EDM, 2206.00364): two calls a step."""
    for sigma, below in zip(sigmas[:-1].to(x.dtype), sigmas[1:].to(x.dtype), strict=True):
        slope = (x - denoiser(x, sigma)) / sigma
        euler = x + (below - sigma) * slope
        x = x + (below - sigma) / 2 * (slope + (euler - denoiser(euler, below)) / below)
    return denoiser(x, sigmas[-1].to(x.dtype))


def draw(source: object, noise: object, x: Tensor, step: int) -> Tensor:
    """The z of a step, from a generator or from impulses."""
    if source is not None:
        return source.normal(x.shape, purpose=None, step=step, dtype=x.dtype, device="cpu")
    return torch.randn(x.shape, generator=noise, dtype=x.dtype)


def integrals(
    nodes: Sequence[float], start: float, end: float, density: Callable[[Array], Array]
) -> list[float]:
    """Integrals from start to end of a density times each of Lagrange's polynomials."""
    s, w = np.polynomial.legendre.leggauss(12)
    s = start + (end - start) * (s + 1) / 2
    w = w * (end - start) / 2 * density(s)
    return [
        float(w @ np.prod([(s - b) / (a - b) for b in nodes if b != a] or [np.ones_like(s)], 0))
        for a in nodes
    ]


def ays_sigmas(first: float, last: float, count: int) -> Tensor:
    """Align Your Steps' bound on the same Gaussian, least by dynamic programming on 600 levels.

    Sum of the integrals of sigma^-3 E|H(sigma) - H(sigma_i)|^2, which there is, in closed form,
    the sum over variances of v (w(sigma) - w(sigma_i)).
    """
    grid = geometric_sigmas(first, last, 600).numpy()
    v = SPECTRUM.numpy()
    mass = np.array([(v * v / (v + s * s)).sum() for s in grid])
    width = -np.gradient(grid)
    a, b = np.cumsum(mass * width / grid**3), np.cumsum(width / grid**3)
    return least_path(grid, (a[None] - a[:, None]) - mass[:, None] * (b[None] - b[:, None]), count)


def least_path(grid: Array, cost: Array, count: int) -> Tensor:
    """`count` levels of the grid, ends included, of the least cost from each (row) to the next."""
    cost = np.where(np.tri(len(grid), dtype=bool), np.inf, cost)
    best, back = cost[0], []
    for _ in range(count - 2):
        ways = best[:, None] + cost
        back.append(ways.argmin(0))
        best = ways.min(0)
    path = [len(grid) - 1]
    for row in reversed(back):
        path.append(int(row[path[-1]]))
    return torch.from_numpy(grid[[0, *reversed(path)]].copy())


@cache
def euler_errors(first: float, last: float) -> tuple[Array, Array]:
    """600 levels, and the error of Euler's step from each (row) to each on the exact path."""
    grid = geometric_sigmas(first, last, 600).numpy()
    path = np.sqrt(SPECTRUM.numpy() + grid[:, None] ** 2)
    slope = grid[:, None] / path
    steps = [p + (grid[:, None] - s) * d for p, s, d in zip(path, grid, slope, strict=True)]
    return grid, np.stack([np.linalg.norm(step - path, axis=1) for step in steps])


def gits_sigmas(first: float, last: float, count: int) -> Tensor:
    """GITS (2405.11326) on the same Gaussian: levels of the least sum of Euler's local errors.

    The exact path is x = z sqrt(v + sigma^2), so its error over a step needs no network.
    """
    return least_path(*euler_errors(first, last), count)


def calibrated(
    first: float, last: float, count: int, *, kappa: float, blind: bool = False
) -> Tensor:
    return calibrated_sigmas(first, last, count, variances=SPECTRUM, kappa=kappa, blind=blind)


EULER, ANCESTRAL = (partial(annealed, kappa=kappa, order=1) for kappa in (1.0, 2.0))
ORDER_2 = {kappa: partial(annealed, kappa=kappa, order=2) for kappa in (1.0, 1.5, 2.0, 2.5)}
ORDER_3 = {kappa: partial(predictor_corrector, kappa=kappa) for kappa in (1.0, 1.5, 2.5)}


def half(levels: Levels) -> Levels:
    """Of a sampler of two calls a step and one at the end: as many levels as the calls allow."""
    return lambda first, last, calls: levels(first, last, (calls + 1) // 2)


ROWS: dict[str, tuple[Sampler, Levels]] = {
    RIGHT: (ORDER_2[1.5], partial(calibrated, kappa=1.5)),
    ONE: (ORDER_2[1.0], partial(calibrated, kappa=1.0)),
    MORE: (ORDER_2[2.5], partial(calibrated, kappa=2.5)),
    "a network of cascore: order 2, 2.5, centred": (ORDER_2[2.5], centred_sigmas),
    "order 2, kappa 1.5, centred": (ORDER_2[1.5], centred_sigmas),
    "order 2, kappa 1.5, geometric": (ORDER_2[1.5], geometric_sigmas),
    "order 2, kappa 2.5, geometric": (ORDER_2[2.5], geometric_sigmas),
    "Euler = DDIM, geometric": (EULER, geometric_sigmas),
    "Euler, Karras": (EULER, karras_sigmas),
    "Euler, AYS": (EULER, ays_sigmas),
    "Euler ancestral, geometric": (ANCESTRAL, geometric_sigmas),
    "DPM-Solver++ 2M, geometric": (ORDER_2[1.0], geometric_sigmas),
    "DPM-Solver++ 2M, Karras": (ORDER_2[1.0], karras_sigmas),
    "DPM-Solver++ 2M, AYS": (ORDER_2[1.0], ays_sigmas),
    "SDE-DPM-Solver++ 2M, geometric": (ORDER_2[2.0], geometric_sigmas),
    "SDE-DPM-Solver++ 2M, Karras": (ORDER_2[2.0], karras_sigmas),
    "DPM-Solver++ 2M, GITS": (ORDER_2[1.0], gits_sigmas),
    "DEIS of order 3, geometric": (deis, geometric_sigmas),
    "DEIS of order 3, GITS": (deis, gits_sigmas),
    "Heun, Karras, two calls a step": (heun, half(karras_sigmas)),
    "order-3 predictor-corrector, geometric": (ORDER_3[1.0], geometric_sigmas),
    "order-3 predictor-corrector, Karras": (ORDER_3[1.0], karras_sigmas),
    "order-3 predictor-corrector, calibrated for 2": (ORDER_3[1.0], partial(calibrated, kappa=1.0)),
    "order 3, kappa 1.5, calibrated for 2": (ORDER_3[1.5], partial(calibrated, kappa=1.5)),
}
BLIND_ROWS: dict[str, Levels] = {
    "blind: order 2, 2.5, geometric": geometric_sigmas,
    "blind: order 2, 2.5, calibrated for it": partial(calibrated, kappa=2.5, blind=True),
    "blind: order 2, 2.5, centred": centred_sigmas,
}


class Impulses:
    """Sample 1 + i carries the z of step i alone, so that the batch is linear algebra."""

    def normal(self, shape: Sequence[int], *, step: int = 0, **_: object) -> Tensor:
        """One impulse."""
        z = torch.zeros(shape, dtype=torch.float64)
        z[1 + step] = 1
        return z


def exact_distance(sampler: Sampler, sigmas: Tensor) -> float:
    """Of the denoised law on the Gaussian to the data, without sampling."""
    start = torch.zeros(1 + len(sigmas), len(SPECTRUM), dtype=torch.float64)
    start[0] = float(sigmas[0])
    share = lambda x, sigma: SPECTRUM / (SPECTRUM + float(sigma) ** 2) * x  # noqa: E731
    law = sampler(share, start, sigmas, Impulses()).square().sum(0)
    return pixel_distance(law)


def pixel_distance(law: Tensor) -> float:
    """Fréchet's, between the Gaussians of these variances and of the data's."""
    return float((law.sqrt() - SPECTRUM.sqrt()).square().sum())


class Mixture:
    """A mixture of full-covariance Gaussians: its denoiser, its samples, its Fréchet distance."""

    def __init__(self, path: Path) -> None:
        file = np.load(path)
        self.weights, self.means = (torch.from_numpy(file[name]) for name in ("weights", "means"))
        size = self.means.shape[1]
        rows, columns = torch.tril_indices(size, size)
        self.factors = torch.zeros(len(self.means), size, size)
        self.factors[:, rows, columns] = torch.from_numpy(file["factors"])
        self.values, self.axes = torch.linalg.eigh((self.factors @ self.factors.mT).double())
        self.values, self.axes = self.values.float(), self.axes.float()
        weights, means = (self.weights / self.weights.sum()).double(), self.means.double()
        self.mean = weights @ means
        centred = means - self.mean
        within = self.factors.double() @ self.factors.double().mT
        between = centred[:, :, None] * centred[:, None, :]
        self.covariance = (weights[:, None, None] * (within + between)).sum(0)
        values, vectors = torch.linalg.eigh(self.covariance)
        self.root = vectors @ (values.sqrt()[:, None] * vectors.T)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """H(x, sigma), sigma a scalar or [N]."""
        logits, answers = [], []
        for weight, mean, values, axes in zip(
            self.weights, self.means, self.values, self.axes, strict=True
        ):
            y, total = (x - mean) @ axes, values + sigma.reshape(-1, 1) ** 2
            logits.append(weight.log() - (y**2 / total).sum(1) / 2 - total.log().sum(1) / 2)
            answers.append((y * (values / total)) @ axes.T + mean)
        share = torch.stack(logits, 1).softmax(1)
        return torch.stack([s[:, None] * a for s, a in zip(share.T, answers, strict=True)]).sum(0)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact samples [count, 64]."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[which] + torch.einsum("nij,nj->ni", self.factors[which], z)

    def distance(self, samples: Tensor) -> Tensor:
        """Fréchet's, to the exact moments."""
        x = samples.double()
        covariance = torch.cov(x.T)
        common = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp(min=0).sqrt().sum()
        shift = (x.mean(0) - self.mean).square().sum()
        return shift + covariance.trace() + self.covariance.trace() - 2 * common

    def bias(self) -> float:
        """The distance of as many exact samples, seen through the last call as chains are."""
        parts = []
        for seed in range(100, 120):
            generator = torch.Generator().manual_seed(seed)
            clean = self.sample(CHAINS, generator)
            noise = 0.01 * torch.randn(clean.shape, generator=generator)
            parts.append(float(self.distance(self(clean + noise, torch.tensor(0.01)))))
        return sum(parts) / len(parts)

    def measure(
        self, sampler: Sampler, sigmas: Tensor, denoiser: Denoiser | None = None
    ) -> list[float]:
        """The distance of each seed, with its bias; by its own denoiser if none is given."""
        values = []
        for seed in SEEDS:
            generator = torch.Generator().manual_seed(seed)
            x = float(sigmas[0]) * torch.randn(CHAINS, len(self.mean), generator=generator)
            samples = sampler(denoiser or self, x, sigmas, generator)
            values.append(float(self.distance(samples)))
        return values


class BlindOptimum:
    """Appendix E of a mixture: f is the mean of its answers over the levels, by their density."""

    def __init__(self, law: Mixture, levels: Tensor) -> None:
        self.law, self.levels = law, levels.float()
        self.precisions = 1 / (law.values[:, None] + self.levels[:, None] ** 2)  # [K, L, D]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """H = x + sigma f(x)."""
        away = [(x - mean) @ a for mean, a in zip(self.law.means, self.law.axes, strict=True)]
        logits = [
            weight.log() - (y**2 @ precision.T - precision.log().sum(1)) / 2
            for weight, y, precision in zip(self.law.weights, away, self.precisions, strict=True)
        ]
        share = torch.stack(logits, 1).flatten(1).softmax(1).reshape(len(x), len(away), -1)
        f = torch.zeros_like(x)
        for k, y in enumerate(away):
            f -= (y * (share[:, k] * self.levels @ self.precisions[k])) @ self.law.axes[k].T
        return x + sigma * f


def marked(cell: float, bar: float | None) -> str:
    """A ! above the bar."""
    return "!" if bar is not None and cell > bar else " "


def exact_table() -> None:
    for first, last in ((50.0, 0.01), (80.0, 0.002)):
        calls = (5, 8, 10, 12, 20, 50)
        v = SPECTRUM
        floor = float((v / (v + last**2).sqrt() - v.sqrt()).square().sum())
        print(f"\nGaussian, sigma {first:g} to {last:g}; the exact law at the end: {floor:.5f}")
        print(f"{'':48}" + "".join(f"{count:>10}" for count in calls))
        for name, (sampler, levels) in ROWS.items():
            bars = EXACT_BARS.get(name, {}) if first == 50 else {}
            cells = []
            for count in calls:
                cell = exact_distance(sampler, levels(first, last, count))
                cells.append(f"{cell:.4f}" + marked(cell, bars.get(count)))
            print(f"{name:48}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
        bars = {}
        for name, levels in BLIND_ROWS.items():
            found = {}
            for count in calls:
                sigmas = levels(first, last, count)
                found[count] = pixel_distance(denoised_variances(sigmas, v, kappa=2.5, blind=True))
            row = [f"{found[count]:.4f}" + marked(found[count], bars.get(count)) for count in calls]
            print(f"{name:48}" + "".join(f"{cell:>10}" for cell in row), flush=True)
            bars = bars or found


def mixture_table() -> None:
    for name in ("k-means", "em"):
        law = Mixture(DATA / f"mixture-{name}.npz")
        bias, calls = law.bias(), (5, 8, 12, 20)
        print(
            f"\nmixture by {name}, sigma 50 to 0.01, distance less {bias:.3f}, +- 1 SE of 3 seeds"
        )
        print(f"{'':48}" + "".join(f"{count:>16}" for count in calls))
        blind = BlindOptimum(law, geometric_sigmas(50.0, 0.01, 100))
        geometric: dict[int, float] = {}
        blind_rows = {row: (ORDER_2[2.5], levels) for row, levels in BLIND_ROWS.items()}
        for row, (sampler, levels) in (ROWS | blind_rows).items():
            cells, found = [], {}
            bars = geometric if row in BLIND_ROWS else MIXTURE_BARS.get(row, {})
            for count in calls:
                of = blind if row in BLIND_ROWS else law
                values = torch.tensor(law.measure(sampler, levels(50.0, 0.01, count), of))
                error = float(values.std()) / math.sqrt(len(values))
                found[count] = float(values.mean()) - bias
                cell = f"{found[count]:.3f} +- {error:.3f}"
                cells.append(cell + marked(found[count], bars.get(count)))
            print(f"{row:48}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
            if row in BLIND_ROWS:
                geometric = geometric or found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixture", action="store_true", help="the mixtures (minutes)")
    torch.set_num_threads(1)
    mixture_table() if parser.parse_args().mixture else exact_table()
