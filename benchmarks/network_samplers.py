"""What a network makes of a sampler: Fréchet distances of a model at few calls, with the peers'.

    python -m benchmarks.network_samplers digits --count 1000 --calls 5 8 12 20

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
from cascore.data import load_images
from cascore.evaluation.reference import load_reference
from cascore.experiment.settings import Data, Sampler
from cascore.metrics.features import extract_features
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.sampling import initial_noise
from cascore.schedule import geometric_sigmas
from paper.schedulers import SCHEDULERS, run_scheduler

BATCH = 250


def annealed(model: Model, calls: int, seeds: range, *, kappa: float, spacing: str) -> Tensor:
    """Denoised samples of order 2."""
    sampler = Sampler(order=2, calls=calls, kappa=kappa, spacing=spacing)
    return model.draw(seeds, sampler, batch_size=BATCH).denoised


def unipc(model: Model, calls: int, seeds: range) -> Tensor:
    """Denoised samples of UniPC at geometric levels."""
    schedule, parts = model.experiment.schedule, []
    sigmas = geometric_sigmas(schedule.first, schedule.last, calls)
    for first in range(0, len(seeds), BATCH):
        noise = KeyedNoise(seeds[first : first + BATCH])
        x = initial_noise((noise.count, *model.shape), schedule.first, noise=noise)
        solver, generator = SCHEDULERS["unipc"], torch.Generator()
        drawn = run_scheduler(solver, model.denoiser, x, sigmas, generator=generator)
        parts.append(drawn.denoised)
    return torch.cat(parts)


ROWS: dict[str, Callable[..., Tensor]] = {
    "the default: kappa 2.5, centred": partial(annealed, kappa=2.5, spacing="centred"),
    "kappa 1.5, centred": partial(annealed, kappa=1.5, spacing="centred"),
    "kappa 1.5, calibrated": partial(annealed, kappa=1.5, spacing="calibrated"),
    "kappa 2.5, calibrated": partial(annealed, kappa=2.5, spacing="calibrated"),
    "kappa 2.5, geometric": partial(annealed, kappa=2.5, spacing="geometric"),
    "kappa 1, geometric: DPM-Solver++(2M)": partial(annealed, kappa=1.0, spacing="geometric"),
    "UniPC, geometric": unipc,
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
        for name, row in ROWS.items():
            samples = row(model, calls, range(arguments.seed, arguments.seed + arguments.count))
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
