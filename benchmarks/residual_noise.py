"""What it does to chains to estimate the noise in x from x - H, in place of the schedule.

    python benchmarks/residual_noise.py          # exact denoisers of laws fitted to photographs
    python benchmarks/residual_noise.py MODEL    # a model of the digits, by the digit classifier

Kadkhodaie & Simoncelli (2007.13640) take r = |x - H| / sqrt(D) for the noise that is in x. Here
consistent annealing of order 1 believes it in three ways:

- noise: H sees the schedule; a step adds the noise that brings (1 - eta) r up to sigma_next;
- noise, unbiased: the same with r divided by what it is at the right noise, root mean square, over
  sigma: of real data at the same level, measured beforehand;
- level: theirs; H sees the estimate, gamma times the last r, and noise is added up to that.

Distances are Fréchet's of denoised samples, in squared pixels less the bias of as many exact
samples, or in the classifier's features; +- is a standard error.
"""

import math
import sys
from collections.abc import Callable

import torch
from samplers import DATA, SPECTRUM, Mixture
from torch import Tensor

from cascore.data import load_images
from cascore.denoiser import broadcast_sigma
from cascore.metrics import FeatureMoments, extract_features, frechet_distance, load_extractor
from cascore.model.loading import load
from cascore.pixels import to_uint8
from cascore.schedule import eta_from_kappa, geometric_sigmas

KAPPA, SEEDS = 1.5, (0, 1, 2)
WAYS = ("schedule", "noise", "noise, unbiased", "level")
FIRST, LAST = 50.0, 0.01

Denoiser = Callable[[Tensor, Tensor], Tensor]


def residual(x: Tensor, H: Tensor) -> Tensor:
    """R of each sample, [N]."""
    return (x - H).flatten(1).square().mean(1).sqrt()


def chain(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, way: str, shares: Tensor, random: torch.Generator
) -> Tensor:
    """Denoised samples; `shares` are r / sigma of real data at each level."""
    level = torch.full((len(x),), float(sigmas[0]), dtype=x.dtype)
    H = denoiser(x, level)
    for i in range(len(sigmas) - 1):
        gamma, after = float(sigmas[i + 1] / sigmas[i]), float(sigmas[i + 1])
        keep = 1 - eta_from_kappa(KAPPA, gamma)
        r = residual(x, H)
        if way == "noise, unbiased":
            r = r / shares[i]
        if way == "level":
            level = gamma * r
            added = level * math.sqrt(1 - gamma ** (2 * KAPPA - 2))
        else:
            level = torch.full_like(level, after)
            present = torch.full_like(level, float(sigmas[i])) if way == "schedule" else r
            added = (level**2 - (keep * present) ** 2).clamp(min=0).sqrt()
        z = torch.randn(x.shape, generator=random, dtype=x.dtype)
        x = keep * x + (1 - keep) * H + broadcast_sigma(added, x) * z
        H = denoiser(x, level)
    return H


def shares_of(denoiser: Denoiser, clean: Tensor, sigmas: Tensor, random: torch.Generator) -> Tensor:
    """R / sigma of real data, root mean square, at each level."""
    shares = []
    for sigma in sigmas.tolist():
        noisy = clean + sigma * torch.randn(clean.shape, generator=random, dtype=clean.dtype)
        H = denoiser(noisy, torch.full((len(clean),), sigma, dtype=clean.dtype))
        shares.append(float(residual(noisy, H).square().mean().sqrt()) / sigma)
    return torch.tensor(shares)


def mean_and_error(values: list[float]) -> str:
    """Of the seeds."""
    spread = torch.tensor(values)
    return f"{float(spread.mean()):.3f} +- {float(spread.std()) / math.sqrt(len(values)):.3f}"


class Gaussian:
    """The Gaussian of the photographs' spectrum along its axes: exact, 3,072 numbers a sample."""

    chains, calls = 1000, (12, 50, 232)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """H(x, sigma), a level for each sample."""
        v = SPECTRUM.to(x.dtype)
        return v / (v + broadcast_sigma(sigma, x) ** 2) * x

    def sample(self, count: int, random: torch.Generator) -> Tensor:
        """Exact samples [count, 3072]."""
        return SPECTRUM.sqrt().float() * torch.randn(count, len(SPECTRUM), generator=random)

    def distance(self, samples: Tensor) -> float:
        """Of the deviations alone, since the axes are known and the samples symmetric."""
        found = samples.double().square().mean(0)
        return float((found.sqrt() - SPECTRUM.sqrt()).square().sum())


class Photographs(Mixture):
    """The mixture fitted by expectation maximisation."""

    chains, calls = 3000, (12, 50)


def exact() -> None:
    """Both laws: the share of r that is seen, and the distances of the four ways."""
    for name, law in (
        ("Gaussian, D = 3,072", Gaussian()),
        ("mixture, D = 64", Photographs(DATA / "mixture-em.npz")),
    ):
        generator = torch.Generator().manual_seed(7)
        clean = law.sample(law.chains, generator)
        bias = sum(law.distance(law.sample(law.chains, generator)) for _ in range(5)) / 5
        print(f"\n{name}; {law.chains} chains of 3 seeds, less {bias:.3f}")
        probe = torch.tensor([50.0, 5.0, 0.5, 0.05, 0.01])
        seen = ", ".join(f"{s:.3f}" for s in shares_of(law, clean, probe, generator).tolist())
        print(f"r / sigma at sigma {', '.join(f'{s:g}' for s in probe.tolist())}: {seen}")
        print(f"{'':18}" + "".join(f"{calls:>20}" for calls in law.calls))
        cells: dict[str, list[str]] = {way: [] for way in WAYS}
        for calls in law.calls:
            sigmas = geometric_sigmas(FIRST, LAST, calls)
            shares = shares_of(law, clean, sigmas, generator)
            for way in WAYS:
                values = []
                for seed in SEEDS:
                    random = torch.Generator().manual_seed(seed)
                    start = FIRST * torch.randn(clean.shape, generator=random)
                    values.append(law.distance(chain(law, start, sigmas, way, shares, random)))
                cells[way].append(mean_and_error([value - bias for value in values]))
        for way, row in cells.items():
            print(f"{way:18}" + "".join(f"{cell:>20}" for cell in row), flush=True)


def network(path: str) -> None:
    """A model of the digits, of either kind: r / sigma of too much noise, and the distances."""
    model, shape = load(path), (1, 8, 8)
    images = {part: load_images("digits", part).images for part in ("train", "test")}
    extractor = load_extractor("digits")

    def moments(pictures: Tensor) -> FeatureMoments:
        features = extract_features(extractor, pictures)
        return FeatureMoments.of(features, extractor=extractor.identity)

    reference = moments(images["train"])
    clean, generator = images["test"].float() / 255, torch.Generator().manual_seed(7)
    print(f"{path}: r / sigma where the noise is tau, mean +- deviation")
    for sigma in (5.0, 1.0, 0.3, 0.1, 0.03):
        cells = []
        for excess in (1.0, 1.2, 2.0):
            noisy = clean + excess * sigma * torch.randn(clean.shape, generator=generator)
            H = model.denoiser(noisy, torch.full((len(noisy),), sigma))
            share = residual(noisy, H) / sigma
            cells.append(f"{excess:g} sigma: {float(share.mean()):.3f} +- {float(share.std()):.3f}")
        print(f"sigma {sigma:<5g}" + "   ".join(cells))
    count, calls = 500, 12
    sigmas = geometric_sigmas(float(model.sigmas[0]), float(model.sigmas[-1]), calls)
    shares = shares_of(model.denoiser, images["train"].float() / 255, sigmas, generator)
    for way in WAYS:
        values = []
        for seed in SEEDS:
            random = torch.Generator().manual_seed(seed)
            start = float(sigmas[0]) * torch.randn((count, *shape), generator=random)
            samples = chain(model.denoiser, start, sigmas, way, shares, random)
            values.append(frechet_distance(moments(to_uint8(samples)), reference))
        print(f"{calls} calls, {way:18}{mean_and_error(values)}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        network(sys.argv[1]) if len(sys.argv) > 1 else exact()
