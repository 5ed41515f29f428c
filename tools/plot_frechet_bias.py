"""Draw how a Fréchet distance falls with the number of images, on real digits.

    python tools/plot_frechet_bias.py [--out docs/images/frechet_bias.png]

The real digits are dealt into a reference and "samples": the samples as they are stand for a
perfect generator, the samples with noise on their pixels for a flawed one. The same distance is
computed at several sample counts and extrapolated, with the features of the shipped classifier.
The numbers are written beside the picture, as .csv.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from torch import Tensor

from cascore.data import load_images
from cascore.files import write_text
from cascore.metrics import FeatureMoments, frechet_extrapolated, load_extractor
from cascore.metrics.extrapolation import FrechetExtrapolation
from cascore.pixels import to_float, to_uint8

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `paper` is

from paper.engine.charts import COLOURS as PALETTE
from paper.engine.rows import Table, csv_text

SEED = 0
REFERENCE = 700  # images; the other 1,097 are the samples
COUNTS = (110, 137, 183, 274, 548)
NOISE = 0.1  # standard deviation, of pixels in [0, 1]
OUT = Path(__file__).parents[1] / "docs" / "images" / "frechet_bias.png"
COLOURS = {"perfect": PALETTE[2], "flawed": PALETTE[1]}
MARKS = {"perfect": "o", "flawed": "s"}
LABELS = {
    "perfect": "real digits (a perfect generator)",
    "flawed": f"real digits + pixel noise {NOISE:g} (a flawed one)",
}


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    curves = measure()
    for name, curve in curves.items():
        print(f"{name}: {curve.limit:.3f} ± {curve.limit_error:.3f} + {curve.slope:.0f} / N")
    draw(curves, arguments.out)
    write_text(arguments.out.with_suffix(".csv"), csv_text(table(curves)))
    print(f"wrote {arguments.out}")


def measure() -> dict[str, FrechetExtrapolation]:
    """The extrapolated distance of both kinds of samples to the same reference."""
    images = torch.cat([load_images("digits", split).images for split in ("train", "test")])
    generator = torch.Generator().manual_seed(SEED)
    images = images[torch.randperm(len(images), generator=generator)]
    real, samples = images[:REFERENCE], images[REFERENCE:]
    noise = torch.randn(samples.shape, generator=generator)
    noisy = to_uint8((to_float(samples) + NOISE * noise).clamp(0, 1))
    extractor = load_extractor("digits")
    reference = FeatureMoments.of(extractor(real), extractor=extractor.identity)

    def extrapolated(images: Tensor) -> FrechetExtrapolation:
        return frechet_extrapolated(extractor(images), reference, counts=COUNTS, seed=SEED)

    return {"perfect": extrapolated(samples), "flawed": extrapolated(noisy)}


def table(curves: dict[str, FrechetExtrapolation]) -> Table:
    """What is drawn: each point, and the limit."""
    lines = []
    for name, curve in curves.items():
        drawn = [(f"{point.count}", point.value, point.error) for point in curve.points]
        drawn.append(("infinite", curve.limit, curve.limit_error))
        lines += [(LABELS[name], n, f"{value:.4f}", f"{error:.4f}") for n, value, error in drawn]
    return ("samples", "N", "distance", "standard error"), lines


def draw(curves: dict[str, FrechetExtrapolation], out: Path) -> None:
    """Distance against N, and against 1/N with the fit and its limit."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style = {"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        figure, (against, inverse) = plt.subplots(
            1, 2, figsize=(11, 4.6), sharey=True, layout="constrained"
        )
        for name, curve in curves.items():
            _draw_against(against, curve, COLOURS[name], MARKS[name], LABELS[name])
            _draw_inverse(inverse, curve, COLOURS[name], MARKS[name])
        _compare(against, curves["perfect"], curves["flawed"])
        against.set_xscale("log")
        ticks = [point.count for point in curves["perfect"].points]
        against.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        against.minorticks_off()
        against.set_xlabel("N, number of samples (logarithmic)")
        against.set_ylabel("Fréchet distance to 700 real digits\n(squared units of the features)")
        against.set_title("The same generators, more samples", loc="left", fontsize=13)
        against.set_ylim(bottom=0)
        against.legend(frameon=False, loc="upper right")
        inverse.set_xlim(-0.0004, 0.0099)
        ticks = [2 * tick for tick in range(5)]
        inverse.set_xticks([tick / 1000 for tick in ticks], [f"{tick / 1000:g}" for tick in ticks])
        inverse.set_xlabel("1 / N")
        inverse.set_title("A line in 1 / N, read at N = ∞", loc="left", fontsize=13)
        for axes in (against, inverse):
            axes.grid(axis="y", color="#dddddd", linewidth=0.8)
            axes.set_axisbelow(True)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=130, metadata={"Software": None})
        plt.close(figure)


def _draw_against(
    axes: Axes, curve: FrechetExtrapolation, colour: str, mark: str, label: str
) -> None:
    counts = [point.count for point in curve.points]
    axes.errorbar(
        counts,
        [point.value for point in curve.points],
        yerr=[point.error for point in curve.points],
        fmt=mark,
        color=colour,
        capsize=3,
        label=label,
    )
    dense = torch.linspace(counts[0], counts[-1], 300)
    axes.plot(dense, curve.limit + curve.slope / dense, color=colour, linewidth=1.2)


def _draw_inverse(axes: Axes, curve: FrechetExtrapolation, colour: str, mark: str) -> None:
    axes.errorbar(
        [1 / point.count for point in curve.points],
        [point.value for point in curve.points],
        yerr=[point.error for point in curve.points],
        fmt=mark,
        color=colour,
        capsize=3,
    )
    ends = torch.tensor([0, 1 / curve.points[0].count])
    axes.plot(ends, curve.limit + curve.slope * ends, color=colour, linewidth=1.2)
    axes.errorbar(
        [0], [curve.limit], yerr=[curve.limit_error], fmt="D", color=colour, mfc="white", capsize=3
    )
    axes.annotate(
        f"{curve.limit:.2f} ± {curve.limit_error:.2f}",
        (0, curve.limit),
        xytext=(14, -3),
        textcoords="offset points",
        color=colour,
        va="top",
    )


def _compare(axes: Axes, perfect: FrechetExtrapolation, flawed: FrechetExtrapolation) -> None:
    """Point out that a perfect generator with few samples loses to a flawed one with many."""
    few, many = perfect.points[0], flawed.points[-1]
    axes.axhline(many.value, color=COLOURS["flawed"], linewidth=0.9, linestyle=":")
    axes.annotate(
        f"perfect, N = {few.count:,}: {few.value:.1f}\nlooks worse than\n"
        f"flawed, N = {many.count:,}: {many.value:.1f}",
        (few.count, few.value),
        xytext=(0.035, 0.07),
        textcoords="axes fraction",
        fontsize=11,
        arrowprops={"arrowstyle": "->", "color": "#555555", "relpos": (0, 1), "shrinkB": 6},
    )


if __name__ == "__main__":
    main()
