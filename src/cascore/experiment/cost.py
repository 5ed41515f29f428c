"""What a training step costs in floating-point operations, and how fast this machine does them.

An estimate for a table. It knows nothing of memory, of the data or of small tensors, which need
longer than their operations (two for each multiplication and addition); `cascore train PRESET
--dry-run` measures instead.
"""

import statistics
import time
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cascore.data import ImageSet, PointSet
from cascore.experiment import build
from cascore.experiment.settings import Adversarial, Experiment, Network
from cascore.training import Workers

_BACKWARD = 2  # a backward pass has about twice the operations of the forward pass
_TRIALS = 3
_TRIAL_STEPS = 6
_TRIAL_SECONDS = 2.0  # for one of them at most
_LEAST_STEP = 2e-3  # seconds for the smallest step, whatever its operations


class Cost(NamedTuple):
    """Of an experiment: numbers learned by each network, and operations of a step."""

    parameters: int
    discriminator_parameters: int
    flops: float

    def seconds(self, speed: float) -> float:
        """Of one step at `speed` operations a second."""
        return max(self.flops / speed, _LEAST_STEP)


def step_cost(experiment: Experiment, shape: tuple[int, ...]) -> Cost:
    """Count parameters and operations of a step on data of that shape, without data or memory."""
    settings, opponent = experiment.train, experiment.adversarial
    score, parameters = _forward(experiment.network, shape)
    operations = (1 + _BACKWARD) * score
    discriminator_parameters = 0
    if settings.objective == "hybrid":
        judged, discriminator_parameters = _forward(opponent, shape)
        # Each update of D: a fake, then real and fake forward and back. In the score network's own:
        # real and fake forward, and back to the pixels alone.
        operations += opponent.steps * (score + 2 * (1 + _BACKWARD) * judged) + 3 * judged
    return Cost(parameters, discriminator_parameters, operations * settings.batch_size)


@lru_cache
def _forward(settings: Network | Adversarial, shape: tuple[int, ...]) -> tuple[float, int]:
    """Operations of a forward pass of one datum, and the parameters of the module that is made."""
    with torch.device("meta"), torch.no_grad():
        sigma: tuple[torch.Tensor, ...] = ()
        if isinstance(settings, Network):
            subject = build.Subject.of_none(shape, settings)
            module, sigma = build.build_denoiser(settings, subject, seed=0), (torch.ones(1),)
        else:
            module = build.build_discriminator(settings, shape, seed=0).eval()
        with FlopCounterMode(display=False) as counter:
            module(torch.zeros(1, *shape), *sigma)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return float(counter.get_total_flops()), parameters


def training_speed(device: torch.device) -> float:
    """Operations a second, measured in both passes of two typical convolutions."""
    layers = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))).to(device)
    x = torch.randn(32, 64, 16, 16, device=device)
    with FlopCounterMode(display=False) as counter:
        layers(x).sum().backward()
    times = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        layers(x).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return float(counter.get_total_flops()) / min(times)


class Measured(NamedTuple):
    """Rows tried, seconds of a step, and what is needed once before (to compile)."""

    rows: int
    seconds: float
    once: float


def measured_step(
    experiment: Experiment, data: ImageSet | PointSet, device: torch.device
) -> Measured:
    """Seconds of a step, scaled up from what can be tried in a few seconds."""
    settings = experiment.train
    expected = step_cost(experiment, data.shape).seconds(training_speed(device))
    rows = max(1, min(settings.batch_size, int(settings.batch_size * _TRIAL_SECONDS / expected)))
    parts = settings.accumulation
    rows = max(parts, rows - rows % parts)  # each part has as many
    small = replace(experiment, train=replace(settings, batch_size=rows, steps=_TRIAL_STEPS))
    state = build.build_state(small, build.Subject.of(data, small.network), device=device)
    steps = build.training_loop(small, state, data, device=device, workers=Workers())
    ends = [time.perf_counter()]
    for update in steps:
        _ = update.dsm  # which is there when a GPU has done the step, not when it was told of it
        ends.append(time.perf_counter())
    first, *others = (b - a for a, b in pairwise(ends))
    typical = statistics.median(others)
    return Measured(rows, typical * settings.batch_size / rows, max(0.0, first - typical))
