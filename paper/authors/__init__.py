"""The authors' own measured curves of Figure 3, with their licence, and published numbers."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cascore.experiment.settings import Schedule
from cascore.schedule import allowed_interval, eta_from_epsilon, geometric_sigmas, stretch
from paper.engine.rows import Row, Rows

_FOLDER = Path(__file__).parent
_SCHEDULES = {
    "cifar10": Schedule(first=50.0, last=0.01, levels=232),
    "churches": Schedule(first=140.0, last=0.01, levels=788),
}


def published_curves() -> Rows:
    """Fréchet Inception distance against step size, a row for each point of the 14 curves.

    Columns: `curve` (the file), `data`, `network`, `sampler` (CAS or ALS), `n_sigma`, `thousands`
    of samples, `epsilon`, for CAS also `kappa`, `allowed` (whether the step size leaves CAS real
    noise), and the distances `raw` and `denoised`. The step sizes of a curve rise.
    """
    return Rows(row for path in sorted(_FOLDER.glob("figure3/*.csv")) for row in _curve(path))


def _curve(path: Path) -> Iterator[Row]:
    data, network, _, consistent, _, n_sigma, thousands = path.stem.split("_")
    n, schedule = int(n_sigma[1:]), _SCHEDULES[data]
    sigmas = stretch(geometric_sigmas(schedule.first, schedule.last, schedule.levels), n)
    interval, gamma = allowed_interval(sigmas).epsilon, float(sigmas[1] / sigmas[0])
    tags = {"curve": path.stem, "data": data, "network": network, "sampler": "ALS", "allowed": True}
    tags |= {"n_sigma": n, "thousands": int(thousands[:-1])}
    for epsilon, raw, denoised in sorted(tuple(map(float, line)) for line in _lines(path)):
        if consistent == "c":
            kappa = math.log1p(-eta_from_epsilon(epsilon, schedule.last)) / math.log(gamma)
            allowed = interval.low <= epsilon <= interval.high
            tags |= {"sampler": "CAS", "kappa": kappa, "allowed": allowed}
        yield {**tags, "epsilon": epsilon, "raw": raw, "denoised": denoised}


def _lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]


def best_kappa(curve: Rows, outcome: str) -> float:
    """The measured kappa of the lowest distance, among those that are allowed."""
    return float(min(curve.where(allowed=True), key=lambda row: row[outcome])["kappa"])


def excess(curve: Rows, outcome: str, kappa: float) -> float:
    """By which part of the lowest the distance at a kappa is higher; linear in between."""
    rows = curve.where(allowed=True)
    values = rows.values(outcome)
    return float(np.interp(kappa, rows.values("kappa"), values) / min(values)) - 1


def published_results() -> Rows:
    """Fréchet Inception distance on CIFAR-10 as others published it, the paper's own first.

    Columns: `result`, `fid`, `nfe` (None where it is not told) and `source`.
    """
    return Rows(
        {"result": result, "fid": float(fid), "nfe": int(nfe) if nfe else None, "source": source}
        for result, fid, nfe, source in _lines(_FOLDER / "headline/cifar-10.csv")
    )
