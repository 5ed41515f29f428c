"""Networks that see the noise level against networks that do not, which the paper leaves open."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cascore.denoiser import Denoiser, broadcast_sigma
from cascore.experiment.build import training_sigmas
from cascore.experiment.settings import Experiment
from cascore.losses import Corrupted, dsm_loss
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import to_float
from cascore.theory import EmpiricalDenoiser, unconditional_optimum
from paper.engine.charts import BLACK, Picture, curves, dots
from paper.engine.claims import Claim, between_trainings, claims_of, contrasts, plain, spread_text
from paper.engine.lab import Lab, Measured, Result, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows, pivot
from paper.engine.settings import cas

PLAN = Plan("conditional")
KINDS = ("unconditional", "conditional")
SPLITS = {"train": "training images", "test": "held-out images"}
CHAINS = {"12-calls": cas(2.5, order=2, levels=12), "all-levels": cas(2.5, order=2)}
_SIDES = "network: conditional < unconditional"


@dataclass(frozen=True, kw_only=True)
class Scale(Subject):
    """The preset; how many images of each split are corrupted at each level."""

    images: int
    trainings: int = 2

    def network(self, kind: str, training: int) -> Experiment:
        """The preset, or one that is alike but for the embedding of sigma."""
        experiment = self.experiment(training=training)
        if kind == "unconditional":
            return experiment
        network = replace(experiment.network, conditional=True)
        return replace(experiment, name=f"{experiment.name}-conditional", network=network)


@dataclass(frozen=True)
class Found(Measured):
    """With a row of loss for each network, split and level, and what theory allows."""

    losses: Rows = field(default_factory=Rows)
    optima: Mapping[str, Any] = field(default_factory=dict)


def measure(lab: Lab, scale: Scale) -> Found:
    """Rows of distances, and a row of loss for each network, split and level."""
    rows, losses, preset = Rows(), Rows(), scale.experiment()
    of, schedule = {"images": scale.images, "seed": 0}, preset.schedule
    settings = {"data": preset.data.name, "schedule": asdict(schedule), **of}
    least = lab.keep("optimum", settings, partial(optima, lab, preset, scale.images))
    sigmas = training_sigmas(schedule).tolist()
    for kind, training in product(KINDS, range(scale.trainings)):
        experiment = scale.network(kind, training)
        judge = partial(_losses, lab, experiment, scale.images)
        calls = 2 * scale.images * len(sigmas)
        results = lab.keep("losses", of, judge, experiment=experiment, calls=calls)
        tags: dict[str, Any] = {"network": kind, "training": training}
        tags["parameters"] = results.get("parameters")
        for split, images in SPLITS.items():
            tagged = {**tags, "split": split, "images": images}
            levels = enumerate(zip(sigmas, results.get(split, ()), strict=False))
            losses += [{**tagged, "level": i, "sigma": s, "distance": x} for i, (s, x) in levels]
        for name, chain in CHAINS.items():
            tags.update(scheme=name, name=name.replace("-", " "))
            rows += lab.distances(experiment, chain, **scale.how, **tags)
    return Found(rows, scale.floors(lab), losses=losses, optima=least)


def optima(lab: Lab, preset: Experiment, count: int) -> Result:
    """The least loss on the training images of a function of (x, sigma), and of x (Appendix E)."""
    images, sigmas = _clean(lab, preset, "train"), training_sigmas(preset.schedule)

    def blind(x: Tensor, sigma: Tensor) -> Tensor:
        parts = [unconditional_optimum(part, images, sigmas) for part in torch.split(x, 1)]
        return x + broadcast_sigma(sigma, x) * torch.cat(parts)

    best: Mapping[str, Denoiser] = dict(zip(KINDS, (blind, EmpiricalDenoiser(images)), strict=True))
    return {kind: level_losses(of, images[:count], sigmas) for kind, of in best.items()}, {}


def _losses(lab: Lab, experiment: Experiment, count: int) -> Result:
    model, sigmas = lab.model(experiment), training_sigmas(experiment.schedule)
    clean = {split: _clean(lab, experiment, split)[:count] for split in SPLITS}
    losses = {split: level_losses(model.denoiser, of, sigmas) for split, of in clean.items()}
    parameters = sum(weights.numel() for weights in model.denoiser.parameters())
    return {**losses, "parameters": parameters}, {"checkpoint": model.digest}


def _clean(lab: Lab, experiment: Experiment, split: str) -> Tensor:
    return to_float(lab.images(experiment.data.name, split).images).to(lab.device)


@torch.no_grad()
def level_losses(denoiser: Denoiser, clean: Tensor, sigmas: Tensor) -> list[float]:
    """Eq. 1 at each of the levels: E||H(x + sigma z, sigma) - x||^2 / (2 sigma^2), over all pixels.

    Each of `clean` [N, ...] is corrupted once at each level, by the same noise for all denoisers.
    """
    noise, losses = KeyedNoise(0, indices=range(len(clean))), []
    for level, sigma in enumerate(sigmas.tolist()):
        z = noise.normal(clean.shape, purpose=Purpose.CORRUPTION, step=level, device=clean.device)
        at = torch.full((len(clean),), sigma, device=clean.device)
        drawn = Corrupted(clean=clean, noisy=clean + sigma * z, sigma=at)
        losses.append(float(dsm_loss(denoiser(drawn.noisy, at), drawn).double().mean()))
    return losses


def claims(results: Found, scale: Scale) -> list[Claim]:
    """Whether sight of sigma lowers the loss and the distance of samples."""
    says, drawn = "sight of σ lowers the loss on the {images}", "sight of σ lowers the distance of"
    statements = [(says, results.losses, "all levels", _SIDES)]
    claims = claims_of("Eq. 1", statements, between_trainings)
    for rows in results.rows.by("name").values():
        statements = [(f"{drawn} samples, {{name}}", rows, "{outcome}", _SIDES)]
        claims += claims_of("`{extractor}`", statements)
    return claims


def page(results: Found, scale: Scale) -> Page:
    """Losses by level and distances of samples, with and without sight of sigma."""
    splits, least, runs = [], results.optima, results.losses.by("network", "split", "training")
    for split, losses in results.losses.by("split").items():
        (total,) = contrasts(losses, "all levels", _SIDES, between_trainings)
        pairs = contrasts(losses, "{level}", _SIDES, between_trainings)
        ratios = [pair.lower.mean / pair.higher.mean - 1 for pair in pairs]
        widest = max(zip(ratios, losses.values("sigma"), strict=False), key=lambda of: abs(of[0]))
        said = {"total": total, "verdicts": [pair.verdict for pair in pairs], "widest": widest}
        splits.append({"images": SPLITS[split], **said})
    of_columns = {f"{kind}_{run}_{split}": of.values() for (kind, split, run), of in runs.items()}
    of_columns |= {f"{kind}_optimum_train": least[kind] for kind in KINDS}
    levels = zip(results.losses.by("level").values(), *of_columns.values(), strict=True)
    numbers = [[f"{x:.6g}" for x in (rows[0]["sigma"], *losses)] for rows, *losses in levels]
    index = {"samples": "{name}, {network}, training {training}"}
    words = {
        "splits": splits,
        "optima": {kind: statistics.fmean(least[kind]) for kind in KINDS},
        "parameters": {row["network"]: row["parameters"] for row in results.losses},
        "distances": pivot(results.rows, index, "{extractor}, {outcome}", spread_text),
    }
    pictures = {
        "loss": _losses_drawn(results),
        "distance": dots(results.rows, bands=results.floors, **PLAN.look("distance")),
    }
    tables = PLAN.tables(measurements=results.rows)
    return Page(words, pictures, {**tables, "losses": (["sigma", *of_columns], numbers)})


def _losses_drawn(results: Found) -> Picture:
    """A line for each training, and of the training images what theory allows."""
    rows = Rows(
        {
            **row,
            "title": SPLITS[row["split"]],
            "style": {"fmt": "-", "label": f"{row['network']} network"},
        }
        for row in results.losses
    )
    for kind, fmt in zip(KINDS, ("--", ":"), strict=True):
        style = {"fmt": fmt, "label": f"{kind} optimum", "color": BLACK}
        tags = {"network": kind, "training": "optimum", "title": SPLITS["train"], "style": style}
        points = zip(results.losses.levels("sigma")[::-1], results.optima[kind], strict=True)
        rows += [{**tags, "sigma": sigma, "distance": loss} for sigma, loss in points]
    return curves(rows, plain, **PLAN.look("loss"))


STUDY = PLAN.study(Scale, measure, page, claims)
