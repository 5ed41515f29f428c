"""How near the truth, and how sure of it: restoration of held-out pictures, task by task.

    python benchmarks/restoration.py digits
    python benchmarks/restoration.py fashion-mnist --root FOLDER_OF_PREPARED_SETS --pictures 16
    pip install --no-deps azula einops && python benchmarks/restoration.py digits-aware --azula

Every picture is degraded with noise of deviation 0.02 and restored `--draws` times at 12 calls.
PSNR is of single draws and of their mean, over pictures, ± one standard error. "Covered" is the
share of pixels whose true value is within two spreads of the draws' mean (and 0.01): of exact
posteriors of Gaussian form 95 % would be, fewer with few draws. With --azula also the methods of
that library (0.11), at their defaults and on the same network: DiffPIR and MMPS under its DDPM
sampler, and DPS, each with 12 steps down to sigma_L. Not evidence for other data.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
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
from cascore.operators import Operator, blurred, few_numbers, seen_pixels, shrunk
from cascore.pixels import to_float

NOISE, CALLS = 0.02, 12


def operators(shape: tuple[int, ...]) -> dict[str, Operator]:
    """The tasks for grey pictures of a shape."""
    _, height, width = shape
    known = torch.ones(height, width, dtype=torch.bool)
    known[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = False
    dimension = height * width
    return {
        "inpaint the middle quarter": seen_pixels(known),
        "super-resolve 4": shrunk(4),
        "deblur 1": blurred(1.0),
        "compressed to a tenth": few_numbers(dimension // 10, dimension),
    }


Draw = Callable[[Tensor, Operator, range], Tensor]
"""Of what is seen [1, ...], through which operator, and seeds: restored pictures, one for each."""


def ours(model: Model) -> dict[str, Draw]:
    """The ways to restore of cascore."""
    variance = pixel_variance(model)

    def drawn(denoiser: cascore.Denoiser, seeds: range) -> Tensor:
        given = replace(model, denoiser=denoiser)
        return given.draw(seeds, Sampler(calls=CALLS)).denoised

    def projected(seen: Tensor, operator: Operator, seeds: range) -> Tensor:
        how = {"noise": NOISE, "variance": variance}
        return drawn(cascore.projected(model.denoiser, seen, operator, **how), seeds)

    def restored(iterations: int, seen: Tensor, operator: Operator, seeds: range) -> Tensor:
        how = {"noise": NOISE, "iterations": iterations}
        return drawn(cascore.restored(model.denoiser, seen, operator, **how), seeds)

    ways: dict[str, Draw] = {"projected": projected}
    for iterations in (1, 3):
        ways[f"restored, {iterations} iterations"] = partial(restored, iterations)
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

    def drawn(name: str, seen: Tensor, operator: Operator, seeds: range) -> Tensor:
        sampler, pictures = samplers[name](seen, operator), []
        for seed in seeds:
            torch.manual_seed(seed)
            pictures.append(sampler(sampler.init((1, *model.shape))))
        return torch.cat(pictures).detach()

    return {name: partial(drawn, name) for name in samplers}


def main() -> None:
    """Print a row for each task and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--azula", action="store_true", help="also the methods of azula")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = cascore.load(asked.model)
    pictures = load_images(model.data["name"], "test", root=asked.root).images[: asked.pictures]
    print(f"| {'task':<26} | {'way':<22} | draw, dB    | mean, dB    | covered |")
    for task, operator in operators(model.shape).items():
        for way, draw in (ours(model) | (of_azula(model) if asked.azula else {})).items():
            one, mean, covered = [], [], []
            for index, whole in enumerate(to_float(pictures).split(1)):
                seen = operator(whole)
                z = KeyedNoise([index]).normal(seen.shape, purpose=Purpose.INITIAL)
                drawn = draw(seen + NOISE * z, operator, range(asked.draws)).clamp(0, 1)
                middle, spread = drawn.mean(dim=0, keepdim=True), drawn.std(dim=0, keepdim=True)
                one.append(psnr(drawn, whole))
                mean.append(psnr(middle, whole))
                covered.append(float(((middle - whole).abs() <= 2 * spread + 0.01).float().mean()))
            cells = [f"{fmean(x):5.1f} ± {stdev(x) / len(x) ** 0.5:.1f}" for x in (one, mean)]
            print(
                f"| {task:<26} | {way:<22} | {' | '.join(cells)} | {fmean(covered):7.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
