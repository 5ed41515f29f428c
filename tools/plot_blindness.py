"""Draw what a noise level that is 5 % too high becomes, with a network that does not see sigma.

    python tools/plot_blindness.py [--out docs/images/blindness.png]

Chains of the perfect noise-blind network around one datum of CIFAR-10's size, 12 geometric levels;
beside them the perfect network that sees sigma. No training, exact; a few seconds. The numbers are
written beside the picture, as .csv.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor

from cascore.files import write_text
from cascore.sampling import consistent_annealed
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser, UnitNoiseDenoiser

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `paper` is

from paper.engine.charts import COLOURS
from paper.engine.rows import csv_text

DIMENSION, CHAINS, CALLS = 3072, 24, 12
SIGMAS = geometric_sigmas(20.0, 0.01, CALLS)
OUT = Path(__file__).parents[1] / "docs" / "images" / "blindness.png"
LOOKS = {
    1.0: (COLOURS[1], "o"),
    1.5: (COLOURS[4], "s"),
    2.0: (COLOURS[0], "^"),
    2.5: (COLOURS[2], "D"),
}
"""Colour and mark of each kappa."""


def main() -> None:
    """Draw both panels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style = {"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}
    datum, lines = torch.zeros(DIMENSION), []
    with plt.rc_context(style):
        figure, panels = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
        for axes, denoiser, title in (
            (panels[0], UnitNoiseDenoiser(datum), "The network does not see sigma"),
            (panels[1], EmpiricalDenoiser(datum[None]), "The network sees sigma"),
        ):
            axes.axhline(1, color="#bbbbbb", linewidth=1)
            for kappa, (colour, mark) in LOOKS.items():
                levels = ratios(denoiser, kappa)
                drawn = zip(levels.median(1).values, levels.amin(1), levels.amax(1), strict=True)
                for call, values in enumerate(drawn, start=1):
                    lines.append((title, f"{kappa:g}", call, *(f"{value:.4g}" for value in values)))
                axes.plot(range(1, CALLS + 1), levels, color=colour, alpha=0.18, linewidth=0.9)
                axes.plot(
                    range(1, CALLS + 1),
                    levels.median(1).values,
                    color=colour,
                    linewidth=2.4,
                    marker=mark,
                    label=f"kappa {kappa:g}",
                )
            axes.set_yscale("log")
            axes.set_ylim(0.8, 200)
            axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
            axes.minorticks_off()
            axes.set_xticks([1, 4, 8, 12])
            axes.set_xlabel("network call")
            axes.set_title(title, loc="left", fontsize=13)
        panels[0].set_ylabel("noise in x / sigma")
        panels[0].legend(frameon=False, loc="upper left")
        panels[1].text(1, 1.35, "1.05 or less: no error grows at any kappa", color="#555555")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.out, dpi=130, metadata={"Software": None})
    header = ("network", "kappa", "call", "median of noise / sigma", "least", "largest")
    write_text(arguments.out.with_suffix(".csv"), csv_text((header, lines)))
    print(f"wrote {arguments.out}")


def ratios(denoiser: object, kappa: float) -> Tensor:
    """Noise in x over sigma at each call of each chain, [calls, chains]."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(CHAINS, DIMENSION, generator=generator)
    path: list[Tensor] = []
    consistent_annealed(
        denoiser,
        1.05 * float(SIGMAS[0]) * z,
        SIGMAS,
        kappa=kappa,
        order=1,
        noise=generator,
        callback=lambda i, sigma, x, H: path.append(x.norm(dim=1) / math.sqrt(DIMENSION) / sigma),
    )
    return torch.stack(path)


if __name__ == "__main__":
    main()
