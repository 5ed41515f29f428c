"""What a network makes of a sampler: Fréchet distances of a model at few calls, with the peers'.

    python benchmarks/network_samplers.py digits --count 1000 --calls 5 8 12 20

Denoised samples against the training set, in the features of the data set's classifier, ± one
standard error (jackknife); all rows have the same seeds. UniPC is that of diffusers. The last
column is the share of the training set's variance that the samples have, over all pixels.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cascore import load
from cascore.calibration import calibrated_sigmas, natural_variances
from cascore.data import load_images
from cascore.denoiser import is_blind
from cascore.evaluation.reference import load_reference
from cascore.experiment.settings import Data
from cascore.metrics.features import extract_features
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import centred_sigmas, geometric_sigmas
from paper.schedulers import SCHEDULERS, run_scheduler

BATCH = 250


def levels(model: Model, spacing: str, calls: int, kappa: float) -> Tensor:
    """Of a model's own range."""
    ends = model.experiment.schedule.first, model.experiment.schedule.last
    if spacing != "calibrated":
        return {"centred": centred_sigmas, "geometric": geometric_sigmas}[spacing](*ends, calls)
    variances = model.variances
    if variances is None:
        variances = natural_variances(model.shape, ends[0])
    blind = is_blind(model.denoiser)
    return calibrated_sigmas(*ends, calls, variances=variances, kappa=kappa, blind=blind)


def annealed(
    model: Model, x: Tensor, noise: KeyedNoise, calls: int, *, kappa: float, spacing: str
) -> Tensor:
    """Denoised samples of order 2."""
    sigmas = levels(model, spacing, calls, kappa)
    how = {"kappa": kappa, "order": 2, "noise": noise}
    return consistent_annealed(model.denoiser, x, sigmas, **how).denoised


def unipc(model: Model, x: Tensor, noise: KeyedNoise, calls: int) -> Tensor:
    """Denoised samples of UniPC at geometric levels."""
    sigmas, generator = levels(model, "geometric", calls, 1.0), torch.Generator()
    return run_scheduler(
        SCHEDULERS["unipc"], model.denoiser, x, sigmas, generator=generator
    ).denoised


ROWS: dict[str, Callable[..., Tensor]] = {
    "the default: kappa 2.5, centred": partial(annealed, kappa=2.5, spacing="centred"),
    "kappa 1.5, centred": partial(annealed, kappa=1.5, spacing="centred"),
    "kappa 1.5, calibrated": partial(annealed, kappa=1.5, spacing="calibrated"),
    "kappa 2.5, calibrated": partial(annealed, kappa=2.5, spacing="calibrated"),
    "kappa 2.5, geometric": partial(annealed, kappa=2.5, spacing="geometric"),
    "kappa 1, geometric: DPM-Solver++(2M)": partial(annealed, kappa=1.0, spacing="geometric"),
    "UniPC, geometric": unipc,
}


def drawn(row: Callable[..., Tensor], model: Model, calls: int, count: int, seed: int) -> Tensor:
    """Samples [count, C, H, W] of consecutive seeds."""
    parts = []
    for first in range(seed, seed + count, BATCH):
        noise = KeyedNoise(range(first, min(first + BATCH, seed + count)))
        shape, start = (noise.count, *model.shape), model.experiment.schedule.first
        parts.append(row(model, initial_noise(shape, start, noise=noise), noise, calls))
    return torch.cat(parts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, nargs="+", default=[5, 8, 12, 20])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load(arguments.model)
    data = Data(name=model.experiment.data.name)
    reference = load_reference(data, count=arguments.count, device=torch.device("cpu"))
    real = load_images(data.name, "train").images[::6].flatten(1).float().var(dim=0).sum() / 255**2
    for calls in arguments.calls:
        for name, row in ROWS.items():
            samples = drawn(row, model, calls, arguments.count, arguments.seed)
            features = extract_features(reference.extractor, to_uint8(samples))
            distance = reference.frechet(features, "train")
            share = float(samples.flatten(1).var(dim=0).sum() / real)
            print(
                f"{calls:3} calls  {name:40}{distance.mean:8.3f} +- {distance.error:.3f}"
                f"{share:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
