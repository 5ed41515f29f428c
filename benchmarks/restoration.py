"""How near the truth, and how sure of it: restoration of held-out pictures, task by task.

    python benchmarks/restoration.py digits
    python benchmarks/restoration.py fashion-mnist --root FOLDER_OF_PREPARED_SETS --pictures 16
    pip install --no-deps azula einops && python benchmarks/restoration.py digits-aware --azula
    python benchmarks/restoration.py cifar-10 --root FOLDER --pictures 8 --draws 2 --iterations 1

Every picture is degraded with noise of deviation 0.02 and restored `--draws` times at 12 calls.
PSNR is of single draws and of their mean, over pictures, ± one standard error; "beyond" is what the
mean has more than that of the first way, picture by picture. "Many" is the square error that the
mean of infinitely many draws would have, without bias, in 1e-4 of squared pixels: that of the mean
of N less the draws' variance / N; too narrow draws do not gain by it, as they do in dB. "Covered"
is the share of pixels whose true value is within two spreads of the draws' mean (and 0.01): of
exact posteriors of Gaussian form 90 % would be with 8 draws, 83 % with 4, 65 % with 2 (Student's
t). "Error / spread" is the error of the mean over what the draws' spread says that it is, root mean
squares over all pixels, ± by the jackknife over pictures: 1 of any exact posterior, at any number
of draws; above it the draws are too sure. "Order 1" is with kappa 2 and the levels of such a chain.
A model that knows classes is also told the picture's. With --azula also the methods of that library
(0.11), at their defaults and on the same network: DiffPIR and MMPS under its DDPM sampler, and DPS,
each with 12 steps down to sigma_L. --without leaves out tasks and ways that have a word in their
names. Not evidence for other data.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev, stdev
from typing import TypeVar

import torch
from torch import Tensor

import cascore
from cascore.data import load_images
from cascore.experiment.settings import Sampler
from cascore.model.loading import Model
from cascore.model.restore import pixel_variance, psnr
from cascore.noise import KeyedNoise, Purpose
from cascore.operators import Operator, blurred, few_numbers, grey, seen_pixels, shrunk
from cascore.pixels import to_float

NOISE, CALLS = 0.02, 12

Named = TypeVar("Named")


def operators(shape: tuple[int, ...]) -> dict[str, Operator]:
    """The tasks for pictures of a shape."""
    channels, height, width = shape
    known = torch.ones(height, width, dtype=torch.bool)
    known[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = False
    dimension = channels * height * width
    tasks = {
        "inpaint the middle quarter": seen_pixels(known),
        "super-resolve 4": shrunk(4),
        "deblur 1": blurred(1.0),
        "compressed to a tenth": few_numbers(dimension // 10, dimension),
    }
    return ({"colorize": grey()} if channels == 3 else {}) | tasks


@dataclass(frozen=True)
class Seen:
    """What is seen of the picture of each chain: y [N, ...], and of which class it is.

    Chains go picture by picture, and `seeds` has one for each: the same for every picture.
    """

    y: Tensor
    operator: Operator
    labels: Tensor | None
    seeds: list[int]


Draw = Callable[[Seen], Tensor]
"""Of what is seen: restored pictures, one for each chain."""


def ours(model: Model, counts: list[int]) -> dict[str, Draw]:
    """The ways to restore of cascore, by moments with so many iterations each."""
    variance, default = pixel_variance(model), Sampler(calls=CALLS)
    ancestral = Sampler(calls=CALLS, order=1, kappa=2.0)

    def drawn(denoiser: cascore.Denoiser, seen: Seen, sampler: Sampler = default) -> Tensor:
        given = replace(model, denoiser=denoiser)
        return given.draw(seen.seeds, sampler, batch_size=len(seen.y)).denoised

    def projected(seen: Seen) -> Tensor:
        how = {"noise": NOISE, "variance": variance}
        return drawn(cascore.projected(model.denoiser, seen.y, seen.operator, **how), seen)

    def restored(iterations: int, told: bool, sampler: Sampler, seen: Seen) -> Tensor:
        prior = cascore.labelled(model.denoiser, seen.labels) if told else model.denoiser
        how = {"noise": NOISE, "iterations": iterations}
        return drawn(cascore.restored(prior, seen.y, seen.operator, **how), seen, sampler)

    ways: dict[str, Draw] = {"projected": projected}
    for count in counts:
        ways[f"restored, {count} iterations"] = partial(restored, count, False, default)
    ways["restored, 1, order 1"] = partial(restored, 1, False, ancestral)
    if model.classes:
        ways["restored, 1, class told"] = partial(restored, 1, True, default)
    return ways


def of_azula(model: Model) -> dict[str, Draw]:
    """Those of azula, which takes what is seen as vectors; DPS, by the norm of a batch, one by one.

    Seeds are of a whole batch there.
    """
    from azula.denoise import Denoiser, DiracPosterior
    from azula.guidance import DiffPIRDenoiser, DPSSampler, MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance
    from azula.noise import VESchedule
    from azula.sample import DDPMSampler

    last, first = float(model.sigmas[-1]), float(model.sigmas[0])

    class Ours(Denoiser):
        schedule = VESchedule(last, first)

        def forward(self, x_t: Tensor, t: Tensor) -> DiracPosterior:
            sigma = self.schedule.sigma(t)
            if model.experiment.at_levels:
                sigma = model.sigmas[(model.sigmas.log() - sigma.log()).abs().argmin()].to(x_t)
            return DiracPosterior(model.denoiser(x_t, sigma))

    denoiser, how = Ours(), {"steps": CALLS, "silent": True}
    samplers = {
        "azula: DiffPIR": lambda y, A: DDPMSampler(
            DiffPIRDenoiser(denoiser, y, A, NOISE**2), **how
        ),
        "azula: MMPS": lambda y, A: DDPMSampler(
            MMPSDenoiser(denoiser, y, A, IsotropicCovariance(torch.tensor(NOISE**2))), **how
        ),
        "azula: DPS": lambda y, A: DPSSampler(denoiser, y, A, **how),
    }

    def drawn(name: str, seen: Seen) -> Tensor:
        def operator(x: Tensor) -> Tensor:
            return seen.operator(x).flatten(1)

        torch.manual_seed(0)
        pictures = []
        for y in seen.y.flatten(1).split(1 if name == "azula: DPS" else len(seen.y)):
            sampler = samplers[name](y, operator)
            pictures.append(sampler(sampler.init((len(y), *model.shape))))
        return torch.cat(pictures).detach()

    return {name: partial(drawn, name) for name in samplers}


@dataclass(frozen=True)
class Outcome:
    """How near and how sure the draws for one picture are.

    Attributes:
        one: PSNR of a draw, the mean over draws, in dB.
        mean: PSNR of the draws' mean.
        covered: share of pixels within two spreads of the mean, and 0.01.
        error: square of the mean's error, over pixels.
        expected: what that would be of an exact posterior of the draws' spread.
        many: what it would be of infinitely many draws, without bias.
    """

    one: float
    mean: float
    covered: float
    error: float
    expected: float
    many: float


def judged(drawn: Tensor, whole: Tensor) -> Outcome:
    """Draws [N, ...] beside the picture that they restore [1, ...]."""
    middle, spread = drawn.mean(dim=0, keepdim=True), drawn.std(dim=0, keepdim=True)
    away, variance = middle - whole, float(spread.square().mean())
    error = float(away.square().mean())
    return Outcome(
        one=psnr(drawn, whole),
        mean=psnr(middle, whole),
        covered=float((away.abs() <= 2 * spread + 0.01).float().mean()),
        error=error,
        expected=variance * (1 + 1 / len(drawn)),
        many=error - variance / len(drawn),
    )


def estimated(values: list[float]) -> str:
    """Mean ± standard error."""
    return f"{fmean(values):5.1f} ± {stdev(values) / len(values) ** 0.5:.1f}"


def sure(outcomes: list[Outcome]) -> float:
    """Error / spread."""
    error = fmean(outcome.error for outcome in outcomes)
    return (error / fmean(outcome.expected for outcome in outcomes)) ** 0.5


def jackknife(outcomes: list[Outcome]) -> float:
    """The standard error of it over pictures."""
    left = [sure(outcomes[:i] + outcomes[i + 1 :]) for i in range(len(outcomes))]
    return pstdev(left) * (len(left) - 1) ** 0.5


def main() -> None:
    """Print a row for each task and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--iterations", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--azula", action="store_true", help="also the methods of azula")
    parser.add_argument("--without", nargs="+", default=[], help="tasks and ways, by a word each")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = cascore.load(asked.model)
    held_out = load_images(model.data["name"], "test", root=asked.root)
    pictures = to_float(held_out.images[: asked.pictures])
    labels = None
    if model.classes:
        labels = held_out.labels[: asked.pictures].repeat_interleave(asked.draws)
    numbers = " | ".join(f"{name:<11}" for name in ("draw, dB", "mean, dB", "beyond, dB", "many"))
    print(f"| {'task':<26} | {'way':<23} | {numbers} | covered | error / spread |")

    def asked_for(named: dict[str, Named]) -> dict[str, Named]:
        out = {name for name in named if any(word in name for word in asked.without)}
        return {name: it for name, it in named.items() if name not in out}

    ways = asked_for(ours(model, asked.iterations) | (of_azula(model) if asked.azula else {}))
    for task, operator in asked_for(operators(model.shape)).items():
        first: list[float] = []
        y = operator(pictures)
        y = y + NOISE * KeyedNoise(range(len(y))).normal(y.shape, purpose=Purpose.CORRUPTION)
        seeds = list(range(asked.draws)) * len(pictures)
        seen = Seen(y.repeat_interleave(asked.draws, dim=0), operator, labels, seeds)
        for way, draw in ways.items():
            drawn = draw(seen).clamp(0, 1).split(asked.draws)
            outcomes = list(map(judged, drawn, pictures.split(1)))
            one, mean = [it.one for it in outcomes], [it.mean for it in outcomes]
            first = first or mean
            beyond = [value - other for value, other in zip(mean, first, strict=True)]
            cells = [estimated(values) for values in (one, mean, beyond)]
            cells.append(estimated([1e4 * it.many for it in outcomes]))
            cells.append(f"{fmean(it.covered for it in outcomes):7.0%}")
            cells.append(f"{sure(outcomes):7.2f} ± {jackknife(outcomes):.2f}")
            row = f"| {task:<26} | {way:<23} | {' | '.join(cells)} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
