"""What a network makes of a sampler: Fréchet distances of a model at few calls, with the peers'.

    python -m benchmarks.network_samplers digits --count 1000 --calls 5 8 12 20

Denoised samples against the training set, in the features of the data set's classifier, ± one
standard error (jackknife); all rows have the same seeds. UniPC is that of diffusers. The last
column is the share of the training set's variance that the samples have, over all pixels. A network
that sees sigma and was trained at levels is asked at the nearest of them in every row.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore import load
from cascore.calibration import natural_variances
from cascore.data import load_images
from cascore.evaluation.reference import load_reference
from cascore.experiment.chain import chain_sigmas
from cascore.experiment.settings import Data, Sampler, Spacing
from cascore.metrics.features import extract_features
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.sampling import Samples, consistent_annealed, initial_noise
from cascore.schedule import nearest_sigmas
from paper.schedulers import SCHEDULERS, run_scheduler

BATCH = 250


def known(model: Model, sigmas: Tensor) -> Tensor:
    """The nearest levels that a network was trained at, if it sees sigma and knows no other."""
    return nearest_sigmas(sigmas, model.sigmas) if model.experiment.at_levels else sigmas


def drawn(model: Model, calls: int, seeds: range, spacing: Spacing, run: "Run") -> Tensor:
    """Denoised samples of a sampler, a chain for each seed."""
    schedule, parts = model.experiment.schedule, []
    chain = model.chain(Sampler(calls=calls, spacing=spacing, kappa=run.kappa))
    variances = model.variances
    if variances is None:
        variances = natural_variances(model.shape, schedule.first)
    blind = bool(model.denoiser.blind)
    sigmas = known(model, chain_sigmas(chain, schedule, variances=variances, blind=blind))
    for first in range(0, len(seeds), BATCH):
        noise = KeyedNoise(seeds[first : first + BATCH])
        x = initial_noise((noise.count, *model.shape), schedule.first, noise=noise)
        parts.append(run(model, x, sigmas, noise).denoised)
    return torch.cat(parts)


@dataclass(frozen=True)
class Run:
    """Consistent annealing of order 2; without a kappa, UniPC."""

    kappa: float | None

    def __call__(self, model: Model, x: Tensor, sigmas: Tensor, noise: KeyedNoise) -> Samples:
        """One chain."""
        if self.kappa is None:
            generator = torch.Generator()
            return run_scheduler(SCHEDULERS["unipc"], model.denoiser, x, sigmas, generator)
        return consistent_annealed(model.denoiser, x, sigmas, kappa=self.kappa, noise=noise)


ROWS: dict[str, tuple[Spacing, Run]] = {
    "the default: kappa 2.5, centred": ("centred", Run(2.5)),
    "kappa 1.5, centred": ("centred", Run(1.5)),
    "kappa 1.5, calibrated": ("calibrated", Run(1.5)),
    "kappa 2.5, calibrated": ("calibrated", Run(2.5)),
    "kappa 2.5, geometric": ("geometric", Run(2.5)),
    "kappa 1, geometric: DPM-Solver++(2M)": ("geometric", Run(1.0)),
    "UniPC, geometric": ("geometric", Run(None)),
}


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
        for name, (spacing, run) in ROWS.items():
            seeds = range(arguments.seed, arguments.seed + arguments.count)
            samples = drawn(model, calls, seeds, spacing, run)
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
