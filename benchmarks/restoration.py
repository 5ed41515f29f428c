"""How near the truth, and how sure of it: restoration of held-out pictures, task by task.

    python benchmarks/restoration.py digits
    python benchmarks/restoration.py fashion-mnist --root FOLDER_OF_PREPARED_SETS --pictures 16

Every picture is degraded with noise of deviation 0.02 and restored `--draws` times at 12 calls.
PSNR is of single draws and of their mean, over pictures, ± one standard error. "Covered" is the
share of pixels whose true value is within two spreads of the draws' mean (and 0.01): of exact
posteriors of Gaussian form 95 % would be, fewer with few draws. Not evidence for other data.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
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


def restorers(model: Model) -> dict[str, Callable[[Tensor, Operator], cascore.Denoiser]]:
    """The ways to restore, given what is seen."""
    variance = pixel_variance(model)
    ways: dict[str, Callable[[Tensor, Operator], cascore.Denoiser]] = {
        "projected": lambda y, A: cascore.projected(
            model.denoiser, y, A, noise=NOISE, variance=variance
        )
    }
    for iterations in (1, 3):
        ways[f"restored, {iterations} iterations"] = lambda y, A, n=iterations: cascore.restored(
            model.denoiser, y, A, noise=NOISE, iterations=n
        )
    return ways


def main() -> None:
    """Print a row for each task and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--draws", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = cascore.load(asked.model)
    pictures = load_images(model.data["name"], "test", root=asked.root).images[: asked.pictures]
    print(f"| {'task':<26} | {'way':<22} | draw, dB    | mean, dB    | covered |")
    for task, operator in operators(model.shape).items():
        for way, restorer in restorers(model).items():
            one, mean, covered = [], [], []
            for index, whole in enumerate(to_float(pictures).split(1)):
                seen = operator(whole)
                z = KeyedNoise([index]).normal(seen.shape, purpose=Purpose.INITIAL)
                given = replace(model, denoiser=restorer(seen + NOISE * z, operator))
                drawn = given.draw(range(asked.draws), Sampler(calls=CALLS)).denoised.clamp(0, 1)
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
