"""What a network makes of a sampler: Fréchet distances of a model at few calls, with the peers'.

    python -m benchmarks.network_samplers cifar-10 --count 1000 --calls 5 8 12 20

Denoised samples against the training set, in the features of the data set's classifier or of
`--extractor`, without the bias of their number, ± one standard error (jackknife). All rows have the
same seeds; the ratio of the default to a row has a lower and an upper bound, of differences in
pairs, each with 95 % confidence by itself. A model of classes is asked for each as often, at
guidance 1. The last column is the share of the training set's variance that the samples have, over
all pixels. UniPC is that of diffusers. A network that sees sigma and was trained at levels is asked
at the nearest of them in every row.
"""

import argparse
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cascore import labelled, load
from cascore.calibration import natural_variances
from cascore.data import load_images
from cascore.denoiser import Denoiser
from cascore.evaluation.reference import load_reference
from cascore.experiment.chain import chain_sigmas
from cascore.experiment.settings import Data, Sampler, Spacing
from cascore.metrics import frechet_jackknife
from cascore.metrics.features import extract_features
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.sampling import Samples, consistent_annealed
from cascore.schedule import nearest_sigmas
from cascore.stats import estimate, ratio_bounds
from paper.schedulers import SCHEDULERS, in_batches, run_scheduler

BATCH, BLOCKS = 250, 20


def known(model: Model, sigmas: Tensor) -> Tensor:
    """The nearest levels that a network was trained at, if it sees sigma and knows no other."""
    return nearest_sigmas(sigmas, model.sigmas) if model.experiment.at_levels else sigmas


@dataclass(frozen=True)
class Row:
    """Consistent annealing at levels of a spacing, of a kappa or the default's; or UniPC."""

    spacing: Spacing
    kappa: float | None = None
    order: Literal[1, 2] = 2
    unipc: bool = False

    def sigmas(self, model: Model, calls: int) -> Tensor:
        """The levels: the nearest of the training's, of a network that sees sigma and only them."""
        schedule, variances = model.experiment.schedule, model.variances
        if variances is None:
            variances = natural_variances(model.shape, schedule.first)
        sampler = Sampler(calls=calls, spacing=self.spacing, kappa=self.kappa, order=self.order)
        of, blind = model.chain(sampler), bool(model.denoiser.blind)
        sigmas = chain_sigmas(of, schedule, variances=variances, blind=blind)
        return known(model, sigmas)

    def chain(self, denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: KeyedNoise) -> Samples:
        """One batch of chains."""
        if self.unipc:
            return run_scheduler(SCHEDULERS["unipc"], denoiser, x, sigmas, torch.Generator())
        how = {"kappa": self.kappa, "order": self.order}
        return consistent_annealed(denoiser, x, sigmas, noise=noise, **how)


ROWS = {
    "the default, centred": Row("centred"),
    "kappa 2.5, centred": Row("centred", 2.5),
    "kappa 2, centred": Row("centred", 2.0),
    "kappa 1.5, centred": Row("centred", 1.5),
    "kappa 2.5, calibrated": Row("calibrated", 2.5),
    "kappa 1.5, calibrated": Row("calibrated", 1.5),
    "kappa 1, calibrated": Row("calibrated", 1.0),
    "kappa 2.5, geometric": Row("geometric", 2.5),
    "kappa 2, geometric: SDE-DPM-Solver++(2M)": Row("geometric", 2.0),
    "kappa 1, geometric: DPM-Solver++(2M)": Row("geometric", 1.0),
    "UniPC, geometric": Row("geometric", unipc=True),
    "Euler ancestral, geometric": Row("geometric", 2.0, 1),
    "Euler or DDIM, geometric": Row("geometric", 1.0, 1),
}


def drawn(model: Model, calls: int, seeds: range, row: Row) -> Tensor:
    """Denoised samples [N, C, H, W] of a sampler, a chain for each seed."""
    sigmas = row.sigmas(model, calls)

    def chain(x: Tensor, noise: KeyedNoise, first: int) -> Samples:
        denoiser = model.denoiser
        if model.classes:
            labels = torch.arange(first, first + len(x)) % len(model.classes)
            denoiser = labelled(denoiser, labels)
        return row.chain(denoiser, x, sigmas, noise)

    return in_batches(chain, model, seeds, float(sigmas[0]), BATCH).denoised


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=1000, help=f"a multiple of {BLOCKS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, nargs="+", default=[5, 8, 12, 20])
    parser.add_argument("--extractor", help="by name, in place of the data set's classifier")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, count = load(arguments.model), arguments.count
    data, seeds = (
        Data(name=model.experiment.data.name),
        range(arguments.seed, arguments.seed + count),
    )
    how = {"device": torch.device("cpu"), "extractor": arguments.extractor}
    reference = load_reference(data, count=count, **how)
    real = load_images(data.name, "train").images[::6].flatten(1).float().var(dim=0).sum() / 255**2
    for calls in arguments.calls:
        default: list[float] = []
        for name, row in ROWS.items():
            samples = drawn(model, calls, seeds, row)
            features = extract_features(reference.extractor, to_uint8(samples))
            moments = reference.moments["train"]
            values = frechet_jackknife(features, moments, blocks=BLOCKS).tolist()
            default = default or values
            low, high = ratio_bounds([default], [values], paired=True)
            distance, ratio = estimate(values), sum(default) / sum(values)
            share = float(samples.flatten(1).var(dim=0).sum() / real)
            print(
                f"{calls:3} calls  {name:42}{distance.mean:8.3f} ±{distance.error:6.3f}"
                f"   default / this {ratio:5.2f} ({low:.2f} to {high:.2f})   variance {share:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
