"""How near the truth, and how sure of it: restoration of held-out pictures, task by task.

    python benchmarks/restoration.py digits
    python benchmarks/restoration.py fashion-mnist --root FOLDER_OF_PREPARED_SETS --pictures 16
    pip install --no-deps azula einops && python benchmarks/restoration.py digits-aware --azula
    python benchmarks/restoration.py cifar-10 --root FOLDER --pictures 6 --draws 4 --iterations 1

Every picture is degraded with noise of deviation 0.02 and restored `--draws` times at 12 calls.
PSNR is of single draws and of their mean, over pictures, ± one standard error; "beyond" is what the
mean has more than that of the first way, picture by picture. "Covered" is the share of pixels whose
true value is within two spreads of the draws' mean (and 0.01): of exact posteriors of Gaussian form
90 % would be with 8 draws, 83 % with 4 (Student's t). "Error / spread" is the error of the mean
over what the draws' spread says that it is, root mean squares over all pixels: 1 of any exact
posterior, at any number of draws; above it the draws are too sure. "Order 1" is with kappa 2 and
geometric levels. A model that knows classes is also told the picture's. With --azula also the
methods of that library (0.11), at their defaults and on the same network: DiffPIR and MMPS under
its DDPM sampler, and DPS, each with 12 steps down to sigma_L. Not evidence for other data.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

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
    """What is seen of a picture, y [1, ...] = A clean + noise z, and the class of the picture."""

    y: Tensor
    operator: Operator
    name: str | None


Draw = Callable[[Seen, range], Tensor]
"""Of what is seen and seeds: restored pictures, one for each."""


def ours(model: Model, counts: list[int]) -> dict[str, Draw]:
    """The ways to restore of cascore, by moments with so many iterations each."""
    variance, default = pixel_variance(model), Sampler(calls=CALLS)
    ancestral = Sampler(calls=CALLS, order=1, kappa=2.0)

    def drawn(denoiser: cascore.Denoiser, seeds: range, sampler: Sampler = default) -> Tensor:
        return replace(model, denoiser=denoiser).draw(seeds, sampler).denoised

    def projected(seen: Seen, seeds: range) -> Tensor:
        how = {"noise": NOISE, "variance": variance}
        return drawn(cascore.projected(model.denoiser, seen.y, seen.operator, **how), seeds)

    def restored(iterations: int, told: bool, sampler: Sampler, seen: Seen, seeds: range) -> Tensor:
        prior = model.of_class(seen.name) if told else model.denoiser
        how = {"noise": NOISE, "iterations": iterations}
        return drawn(cascore.restored(prior, seen.y, seen.operator, **how), seeds, sampler)

    ways: dict[str, Draw] = {"projected": projected}
    for count in counts:
        ways[f"restored, {count} iterations"] = partial(restored, count, False, default)
    ways["restored, 1, order 1"] = partial(restored, 1, False, ancestral)
    if model.classes:
        ways["restored, 1, class told"] = partial(restored, 1, True, default)
    return ways


def of_azula(model: Model) -> dict[str, Draw]:
    """Those of azula, each draw by itself: DPS goes by the norm of a whole batch."""
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

    def drawn(name: str, seen: Seen, seeds: range) -> Tensor:
        sampler, pictures = samplers[name](seen.y, seen.operator), []
        for seed in seeds:
            torch.manual_seed(seed)
            pictures.append(sampler(sampler.init((1, *model.shape))))
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
    """

    one: float
    mean: float
    covered: float
    error: float
    expected: float


def judged(drawn: Tensor, whole: Tensor) -> Outcome:
    """Draws [N, ...] beside the picture that they restore [1, ...]."""
    middle, spread = drawn.mean(dim=0, keepdim=True), drawn.std(dim=0, keepdim=True)
    away = middle - whole
    return Outcome(
        one=psnr(drawn, whole),
        mean=psnr(middle, whole),
        covered=float((away.abs() <= 2 * spread + 0.01).float().mean()),
        error=float(away.square().mean()),
        expected=float(spread.square().mean()) * (1 + 1 / len(drawn)),
    )


def estimated(values: list[float]) -> str:
    """Mean ± standard error."""
    return f"{fmean(values):5.1f} ± {stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    """Print a row for each task and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--iterations", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--azula", action="store_true", help="also the methods of azula")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = cascore.load(asked.model)
    held_out = load_images(model.data["name"], "test", root=asked.root)
    pictures = to_float(held_out.images[: asked.pictures]).split(1)
    names = [None] * len(pictures)
    if model.classes:
        names = [model.classes[label] for label in held_out.labels[: asked.pictures]]
    print(
        f"| {'task':<26} | {'way':<23} | draw, dB    | mean, dB    | beyond, dB  | covered"
        " | error / spread |"
    )
    ways = ours(model, asked.iterations) | (of_azula(model) if asked.azula else {})
    for task, operator in operators(model.shape).items():
        first: list[float] = []
        for way, draw in ways.items():
            outcomes = []
            for index, (whole, name) in enumerate(zip(pictures, names, strict=True)):
                y = operator(whole)
                z = KeyedNoise([index]).normal(y.shape, purpose=Purpose.INITIAL)
                drawn = draw(Seen(y + NOISE * z, operator, name), range(asked.draws))
                outcomes.append(judged(drawn.clamp(0, 1), whole))
            one, mean, covered, error, expected = (
                [getattr(outcome, field) for outcome in outcomes]
                for field in ("one", "mean", "covered", "error", "expected")
            )
            first = first or mean
            beyond = [value - other for value, other in zip(mean, first, strict=True)]
            sure = (fmean(error) / fmean(expected)) ** 0.5
            cells = " | ".join(map(estimated, (one, mean, beyond)))
            row = f"| {task:<26} | {way:<23} | {cells} | {fmean(covered):7.0%} | {sure:14.2f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
