"""Can a network's own linear response say which kappa and levels it wants? 31 settings say no.

    python -m benchmarks.network_calibration digits digits-aware --count 500 --out scatter.png

On held-out pictures, for each principal component j and level: w_j = Cov(H_j, x_j) / Var(x_j), the
part of H_j that x_j does not explain, and the excess Var(H_j) - Cov(H_j, clean_j), which is 0 of a
right denoiser. Chains of a linear network that has them stand for those of the model. Of a blind
one each chain has the noise level that is most likely given its x, as the network finds it
(Proposition 4). Their distance to the data, in pixels, is the prediction. Measured beside it: the
Fréchet distance of the model's own samples, in the features of the data's classifier and in pixels.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.colors import to_rgba
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.network_samplers import known
from cascore import load
from cascore.calibration import _most_likely, calibrated_sigmas
from cascore.evaluation.reference import load_reference
from cascore.experiment.settings import Data
from cascore.files import write_text
from cascore.metrics import extract_features
from cascore.model.loading import Model
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.sampling import Samples, consistent_annealed
from cascore.schedule import centred_sigmas, geometric_sigmas
from paper.engine.charts import COLOURS, new_figure, plain_ticks
from paper.engine.page import write_picture
from paper.engine.rows import csv_text
from paper.schedulers import in_batches

HELD_OUT, LEVELS, CHAINS, BATCH = 600, 20, 400, 250
KAPPAS, CALLS, SPACINGS = (1.5, 2.5, 4.0), (5, 8, 12), ("geometric", "centred", "calibrated")


class Setting(NamedTuple):
    """A sampler of order 2."""

    calls: int
    kappa: float
    spacing: str

    def sigmas(self, model: Model, variances: Tensor) -> Tensor:
        """Its levels for a model."""
        ends = model.experiment.schedule.first, model.experiment.schedule.last, self.calls
        if self.spacing == "calibrated":
            blind = bool(model.denoiser.blind)
            of = {"variances": variances, "kappa": self.kappa, "blind": blind}
            return known(model, calibrated_sigmas(*ends, **of))
        spaced = {"geometric": geometric_sigmas, "centred": centred_sigmas}[self.spacing]
        return known(model, spaced(*ends))


SETTINGS = [Setting(n, k, s) for n in CALLS for k in KAPPAS for s in SPACINGS]
SETTINGS += [Setting(20, k, s) for k in KAPPAS[:2] for s in SPACINGS[:2]]


@dataclass(frozen=True)
class Components:
    """The principal axes of a training set."""

    mean: Tensor
    variances: Tensor
    axes: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "Components":
        """Of pictures [N, C, H, W] in [0, 1], largest first."""
        flat = images.flatten(1).double()
        values, axes = torch.linalg.eigh(flat.T.cov())
        return cls(flat.mean(0), values.flip(0).clamp(min=1e-9), axes.flip(1))

    def __call__(self, images: Tensor) -> Tensor:
        """The coordinates [N, D]."""
        return (images.flatten(1).double() - self.mean) @ self.axes


@dataclass(frozen=True)
class Response:
    """What a network makes of held-out pictures at each of its levels [L], by component [L, D]."""

    sigmas: Tensor
    slope: Tensor
    unexplained: Tensor
    excess: Tensor

    @classmethod
    def of(cls, model: Model, clean: Tensor, components: Components) -> "Response":
        """Measured at levels from the last to the first."""
        schedule, generator = model.experiment.schedule, torch.Generator().manual_seed(77)
        sigmas = known(model, geometric_sigmas(schedule.first, schedule.last, LEVELS)).flip(0)
        truth, rows = components(clean), []
        for sigma in sigmas.tolist():
            noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
            parts = noisy.float().split(BATCH)
            h = components(torch.cat([model.denoiser(x, torch.tensor(sigma)) for x in parts]))
            x, (h, y) = components(noisy), (h - h.mean(0), truth - truth.mean(0))
            x = x - x.mean(0)
            slope, power = (x * h).mean(0) / x.square().mean(0), h.square().mean(0)
            unexplained = power - slope.square() * x.square().mean(0)
            rows.append((slope, unexplained, (power - (h * y).mean(0)).clamp(min=0)))
        return cls(sigmas, *(torch.stack(row) for row in zip(*rows, strict=True)))

    def at(self, name: str, tau: Tensor) -> Tensor:
        """One of the three at noise levels [N, 1], log-linear between those measured; [N, D]."""
        table, logs = getattr(self, name), self.sigmas.log()
        at = tau.clamp(self.sigmas[0], self.sigmas[-1]).log()
        i = (torch.searchsorted(logs, at) - 1).clamp(0, len(logs) - 2)
        share = (at - logs[i]) / (logs[i + 1] - logs[i])
        return table[i[:, 0]] * (1 - share) + table[i[:, 0] + 1] * share


def linear_chains(
    response: Response, components: Components, setting: Setting, sigmas: Tensor, *, start: Tensor,
    blind: bool, extra: str | None, common: bool = False,
) -> Tensor:  # fmt: skip
    """The last H [CHAINS, D] of chains of a network with a response, `extra` its independent noise.

    They start around `start` [1, D]. `common`: a blind network finds one level for all chains, as
    in many dimensions.
    """
    generator, v = torch.Generator().manual_seed(0), components.variances
    shape, kappa = (CHAINS, len(v)), setting.kappa

    def normal() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, last, h = sigmas[0] * normal() + start, None, torch.empty(0)
    for i, sigma in enumerate(sigmas.tolist()):
        tau = torch.full((CHAINS, 1), sigma, dtype=torch.float64)
        if blind:
            square = x.square().mean(0, keepdim=True) if common else x.square()
            ends = (np.array([[float(end)]]) for end in (sigmas[-1], sigmas[0]))
            guess = tau[: len(square)].numpy()
            found = _most_likely(square.numpy(), guess, *ends, v.numpy(), np.ones(len(v)))
            tau = torch.from_numpy(found).expand(CHAINS, 1)
        scale = sigma / tau
        h = x - scale * (1 - response.at("slope", tau)) * x
        if extra is not None:
            h = h + scale * response.at(extra, tau).clamp(min=0).sqrt() * normal()
        if i + 1 < len(sigmas):
            step = math.log(sigma / float(sigmas[i + 1]))
            still = math.exp(-kappa * step)
            lead = step / (2 * math.log(float(sigmas[i - 1]) / sigma)) if i else 0.0
            ahead = h if last is None else h + lead * (h - last)
            spread = math.sqrt(float(sigmas[i + 1]) ** 2 - (still * sigma) ** 2) if kappa > 1 else 0
            x, last = still * x + (1 - still) * ahead + spread * normal(), h
    return h


PREDICTIONS = {
    "linear response, one level for all": {"extra": None, "common": True},
    "linear response, a level for each chain": {"extra": None},
    "and the unexplained part of H": {"extra": "unexplained"},
    "and the excess of H": {"extra": "excess"},
}


OWN = "the samples' own distance in pixels"
"""No prediction: what any law of second moments could say at best."""


def in_pixels(samples: Tensor, components: Components, last: float) -> float:
    """Sum of (s - s')^2 over deviations by component, and of the squared means."""
    v = components.variances
    away = samples.std(0) - v / (v + last**2).sqrt()
    return float((away.square() + samples.mean(0).square()).sum())


def drawn(model: Model, setting: Setting, sigmas: Tensor, count: int, keep: Path | None) -> Tensor:
    """Denoised samples of seeds 0 to count - 1; if as many were kept, they are not drawn again."""
    name = f"{model.digest[:12]}-{setting.kappa:g}-{setting.spacing}-{setting.calls}.npy"
    if keep is not None and (keep / name).exists():
        kept = torch.from_numpy(np.load(keep / name)).float()
        if len(kept) >= count:
            return kept[:count]

    def chain(x: Tensor, noise: KeyedNoise, _: int) -> Samples:
        return consistent_annealed(model.denoiser, x, sigmas, kappa=setting.kappa, noise=noise)

    samples = in_batches(chain, model, range(count), float(sigmas[0]), BATCH).denoised
    if keep is not None:
        np.save(keep / name, samples.half().numpy())
    return samples


def rows_of(name: str, count: int, root: str | None, keep: Path | None) -> list[dict[str, Any]]:
    """Every setting of a model: measured distances and predictions."""
    model = load(name)
    data = Data(name=model.experiment.data.name, root=root)
    reference = load_reference(data, count=count, device=torch.device("cpu"))
    components = Components.of(reference.sets["train"].images / 255)
    held_out = reference.sets["test"].images / 255
    response = Response.of(model, held_out.repeat(9, 1, 1, 1)[:HELD_OUT], components)
    start, rows = components(torch.zeros(1, *model.shape) + model.data_mean), []
    for setting in SETTINGS:
        sigmas = setting.sigmas(model, components.variances)
        samples = drawn(model, setting, sigmas, count, keep)
        features = extract_features(reference.extractor, to_uint8(samples))
        distance, last = reference.frechet(features, "train"), float(sigmas[-1])
        row = {**setting._asdict(), "features": distance.mean, "error": distance.error}
        row[OWN] = in_pixels(components(samples), components, last)
        for prediction, of in PREDICTIONS.items():
            chains = linear_chains(response, components, setting, sigmas, start=start,
                                   blind=bool(model.denoiser.blind), **of)  # fmt: skip
            row[prediction] = in_pixels(chains, components, last)
        rows.append(row)
        print(json.dumps({"model": name, **row}), flush=True)
    return rows


def verdict(rows: Sequence[dict[str, Any]], prediction: str) -> str:
    """Rank correlation with the measured order; what is chosen, over the best, at each count."""
    says, seen = ([row[name] for row in rows] for name in (prediction, "features"))
    chosen = []
    for calls in sorted({row["calls"] for row in rows}):
        of = [row for row in rows if row["calls"] == calls]
        take = min(of, key=lambda row: row[prediction])["features"]
        chosen.append(f"{take / min(row['features'] for row in of):.2f}")
    return f"{prediction:42} {spearmanr(says, seen)[0]:5.2f}   {' '.join(chosen)}"


LOOKS = {1.5: (COLOURS[1], 1.0), 2.5: (COLOURS[2], 0.0), 4.0: (COLOURS[0], 0.4)}
"""Colour of each kappa, and how opaque its marks are filled."""


def draw_scatter(tables: dict[str, list[dict[str, Any]]], prediction: str, out: Path) -> None:
    """Predicted against measured distances, a panel for each model, and their table beside it."""
    figure, panels = new_figure(len(tables), height=4.6)
    for axes, (name, rows) in zip(panels, tables.items(), strict=True):
        for kappa, (colour, filled) in LOOKS.items():
            for spacing, mark in zip(SPACINGS, "so^", strict=True):
                of = [r for r in rows if (r["kappa"], r["spacing"]) == (kappa, spacing)]
                axes.scatter(
                    [r[prediction] for r in of],
                    [r["features"] for r in of],
                    s=[6 * r["calls"] for r in of],
                    marker=mark,
                    facecolor=to_rgba(colour, filled),
                    edgecolor=colour,
                    label=f"kappa {kappa:g}, {spacing}",
                )
        axes.set(xscale="log", yscale="log", xlabel="predicted, in pixels")
        axes.set_title(name, loc="left", fontsize=10)
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
    panels[0].set_ylabel("measured, in features")
    look: dict[str, Any] = {"ncols": len(LOOKS), "frameon": False, "fontsize": 9}
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", **look)
    write_picture(out, figure)
    lines = [
        (name, r["calls"], f"{r['kappa']:g}", r["spacing"],
         *(f"{r[key]:.4g}" for key in (prediction, "features", "error")))
        for name, rows in tables.items()
        for r in rows
    ]  # fmt: skip
    header = ("model", "calls", "kappa", "spacing", "predicted", "measured", "standard error")
    write_text(out.with_suffix(".csv"), csv_text((header, lines)))


def main() -> None:
    """Measure, predict, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--count", type=int, default=1000, help="samples of a setting")
    parser.add_argument("--root", help="where prepared data sets are")
    parser.add_argument("--keep", type=Path, help="folder of samples that are drawn once")
    parser.add_argument("--out", type=Path, help="picture; its table beside it, .csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = {name: rows_of(name, given.count, given.root, given.keep) for name in given.models}
    for name, rows in tables.items():
        print(
            f"\n{name}: {len(rows)} settings; rank correlation, chosen over best at {CALLS} calls"
        )
        for prediction in [*PREDICTIONS, OWN]:
            print(verdict(rows, prediction))
    if given.out is not None:
        draw_scatter(tables, list(PREDICTIONS)[-1], given.out)


if __name__ == "__main__":
    main()
