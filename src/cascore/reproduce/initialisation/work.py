"""How chains start, and how far x is from H(x, sigma_L) at their end (Sec. 3 of the paper)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from cascore.denoiser import Denoiser
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment, Schedule
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.reproduce.floors import floor_units
from cascore.reproduce.ideal import ideal_noise
from cascore.reproduce.judging import BATCH, Judge, first_seed
from cascore.reproduce.sampler import Sampler, network_calls, settings_of
from cascore.reproduce.tuning import at_training_levels
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop, seeded
from cascore.sampling import Samples, initial_noise

__all__ = [
    "OUTCOMES",
    "SAMPLERS",
    "SCALES",
    "STARTS",
    "Chains",
    "Gap",
    "Scale",
    "Start",
    "chains",
    "ideal_gap",
    "name_of",
    "starting_points",
    "units",
]

Start = Literal["noise", "data", "uniform"]
STARTS: tuple[Start, ...] = ("noise", "data", "uniform")
"""sigma_1 z; a training image + sigma_1 z; and the authors' program, U[0, 1] without noise."""
OUTCOMES = ("raw", "denoised")
SAMPLERS = ("als", "cas", "12-calls")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is trained and drawn.

    Attributes:
        presets: a plain and an adversarial network.
        steps: of training, of both.
        als_eta: of annealed Langevin sampling with n_sigma 1, found elsewhere: with the step size
            of Technique 4 chains of one step a level do not arrive at all.
        precision: of training.
        draws: seeds of sampling.
        count: pictures of a draw.
        extractors: of the features, by name.
    """

    presets: tuple[str, str]
    steps: int
    precision: Literal["float32", "bfloat16"]
    als_eta: float
    draws: int
    count: int
    extractors: tuple[str, ...]

    def sampler(self, name: str) -> Sampler:
        """One of SAMPLERS: the paper's two at all levels, and 12 calls of the default."""
        return {
            "als": at_training_levels("als", n_sigma=1, knob=self.als_eta),
            "cas": at_training_levels("cas", n_sigma=1, knob=1.5),
            "12-calls": Sampler(steps=12),
        }[name]


_DIGITS = ("digits", "digits-adversarial")
SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "tiny": Scale(
            presets=_DIGITS,
            steps=2,
            precision="bfloat16",
            als_eta=1.5,
            draws=2,
            count=12,
            extractors=("digits",),
        ),
        "laptop": Scale(
            presets=_DIGITS,
            steps=4000,
            precision="bfloat16",
            als_eta=1.5,  # table 2 finds 1.6 and 1.4 for these two
            draws=3,
            count=500,
            extractors=("digits", "random-convolution"),
        ),
        "paper": Scale(
            presets=("cifar10-ncsnv2", "cifar10-ncsnv2-adversarial"),
            steps=300_000,
            precision="float32",
            als_eta=0.18,  # the paper's epsilon of table 1
            draws=3,
            count=5000,
            extractors=("inception",),
        ),
    }
)


@dataclass(frozen=True)
class Gap:
    """Per-pixel root mean square in units of sigma_L.

    Attributes:
        call: of x - H(x, sigma_L) at the last network call.
        result: of the two results of a chain, raw - denoised.
    """

    call: float
    result: float


@dataclass(frozen=True)
class Chains:
    """Samples and their gap."""

    samples: Samples
    gap: Gap


def name_of(preset: str, sampler: str, start: Start, draw: int) -> str:
    """The unit of a draw."""
    return f"{preset}.{sampler}.{start}.draw-{draw}"


def units(scale_name: str, workshop: Workshop) -> Sequence[Unit]:
    """What real images score, then each draw of each network, sampler and start."""
    scale = SCALES[scale_name]
    judge = Judge(PRESETS[scale.presets[0]].data.name, scale.extractors, workshop)
    trained = lru_cache(maxsize=1)(workshop.trained)
    pixels = lru_cache(lambda: to_float(judge.train.images))
    common = {"data": judge.data, "count": scale.count}

    def draw(
        experiment: Experiment, sampler: Sampler, start: Start, seed: int
    ) -> Callable[[Records], Mapping[str, Any]]:
        def measure(done: Records) -> Mapping[str, Any]:
            del done
            model = trained(experiment)
            found = chains(
                model.model.denoiser,
                sampler,
                experiment.schedule,
                start=start,
                train=pixels(),
                seeds=seeds_from(first_seed(seed), scale.count),
                device=workshop.device,
            )
            return {
                **judge.measured(model, found.samples),
                "gap": asdict(found.gap),
                "ideal": asdict(ideal_gap(sampler, experiment.schedule)),
            }

        return measure

    experiments = [
        seeded(PRESETS[name], steps=scale.steps, seed=0, precision=scale.precision)
        for name in scale.presets
    ]
    return floor_units(judge, count=scale.count) + [
        Unit(
            name_of(experiment.name, sampler, start, seed),
            {
                **common,
                "experiment": asdict(experiment),
                "sampler": settings_of(scale.sampler(sampler)),
                "start": start,
                "extractors": list(scale.extractors),
                "first_seed": first_seed(seed),
            },
            draw(experiment, scale.sampler(sampler), start, seed),
        )
        for experiment, sampler, start, seed in product(
            experiments, SAMPLERS, STARTS, range(scale.draws)
        )
    ]


def starting_points(start: Start, seeds: Sequence[int], *, sigma: float, train: Tensor) -> Tensor:
    """The first x of chains, one for each seed, float32 [N, C, H, W].

    Args:
        start: of STARTS.
        seeds: one each; the noise of the first two starts is the same.
        sigma: sigma_1.
        train: pixels in [0, 1], [M, C, H, W].
    """
    noise, shape = KeyedNoise(seeds), (len(seeds), *train.shape[1:])
    if start == "uniform":
        # The distribution function of a normal number is uniform in [0, 1].
        uniform: Tensor = torch.special.ndtr(noise.normal(shape, purpose=Purpose.INITIAL))
        return uniform
    x = initial_noise(shape, sigma, noise=noise)
    if start == "data":
        x += train[noise.integers(len(seeds), high=len(train), purpose=Purpose.DATA)]
    return x


def chains(
    denoiser: Denoiser,
    sampler: Sampler,
    schedule: Schedule,
    *,
    start: Start,
    train: Tensor,
    seeds: Sequence[int],
    device: torch.device,
) -> Chains:
    """One chain for each seed, and the gap at their ends.

    Args:
        denoiser: H(x, sigma), on `device`.
        sampler: settings of the chains.
        schedule: the training levels.
        start: of STARTS.
        train: pixels in [0, 1], [M, C, H, W], one of which a chain may start at.
        seeds: one each.
        device: where the chains run.
    """
    last = network_calls(sampler, schedule) - 1
    squares: list[Tensor] = []

    def watch(step: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        del sigma
        if step == last:
            squares.append((x - denoised).double().square().flatten(1).mean(1).cpu())

    samples = generate(
        denoiser,
        shape=tuple(train.shape[1:]),
        seeds=seeds,
        sampler=sampler.now,
        schedule=schedule,
        device=device,
        start=starting_points(start, seeds, sigma=schedule.first, train=train),
        batch_size=BATCH,
        callback=watch,
    )
    apart = (samples.raw - samples.denoised).double()
    return Chains(
        samples,
        Gap(
            call=float(torch.cat(squares).mean().sqrt()) / schedule.last,
            result=float(apart.square().mean().sqrt()) / schedule.last,
        ),
    )


def ideal_gap(sampler: Sampler, schedule: Schedule) -> Gap:
    """The gap under the perfect score of a single datum, where all of x - H is noise."""
    std = ideal_noise(sampler, schedule)
    return Gap(
        call=float(std.before[-1]) / schedule.last, result=float(std.after[-1]) / schedule.last
    )
