"""The authors' own measured curves of Figure 3 and published numbers, with their licence."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cascore.experiment.settings import Schedule
from cascore.schedule import (
    allowed_interval,
    eta_from_epsilon,
    geometric_sigmas,
    kappa_from_eta,
    stretch,
)

__all__ = ["Curve", "load_curves"]

_FOLDER = Path(__file__).parent / "figure3"
_SCHEDULES = MappingProxyType(
    {
        "cifar10": Schedule(first=50.0, last=0.01, levels=232),
        "churches": Schedule(first=140.0, last=0.01, levels=788),
    }
)


@dataclass(frozen=True)
class Curve:
    """Fréchet Inception distance against step size, one of the authors' files.

    Attributes:
        name: of the file.
        data: cifar10 or churches.
        network: ncsnv2 or unet.
        consistent: whether by Algorithm 2, else by Algorithm 1.
        n_sigma: steps for each noise level.
        thousands: of samples.
        epsilon: step sizes, rising.
        kappa: the same for consistent sampling, else empty.
        allowed: which step sizes leave consistent sampling real noise.
        raw: distances of the samples as they are.
        denoised: distances of the denoised samples.
    """

    name: str
    data: str
    network: str
    consistent: bool
    n_sigma: int
    thousands: int
    epsilon: tuple[float, ...]
    kappa: tuple[float, ...]
    allowed: tuple[bool, ...]
    raw: tuple[float, ...]
    denoised: tuple[float, ...]

    def values(self, outcome: str) -> tuple[float, ...]:
        """The distances of one kind of sample."""
        return self.raw if outcome == "raw" else self.denoised

    def best(self, outcome: str) -> float:
        """The measured kappa of the lowest distance, among those that are allowed."""
        kappas, values = self._allowed(outcome)
        return float(kappas[int(np.argmin(values))])

    def excess(self, outcome: str, kappa: float) -> float:
        """By which part of the lowest the distance at a kappa is higher; linear in between."""
        kappas, values = self._allowed(outcome)
        return float(np.interp(kappa, kappas, values) / values.min()) - 1

    def _allowed(self, outcome: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.array(self.allowed)
        return np.array(self.kappa)[chosen], np.array(self.values(outcome))[chosen]


def load_curves() -> Mapping[str, Curve]:
    """All 14 curves by name."""
    return {path.stem: _curve(path) for path in sorted(_FOLDER.glob("*.csv"))}


def _curve(path: Path) -> Curve:
    model, _, settings = path.stem.partition("__")
    data, network = model.split("_")
    method, _, n_sigma, thousands = settings.split("_")
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]
    columns = zip(*sorted(tuple(map(float, line)) for line in lines), strict=True)
    epsilon, raw, denoised = (tuple(column) for column in columns)
    kappa: tuple[float, ...] = ()
    allowed = (True,) * len(epsilon)
    if method == "c":
        schedule = _SCHEDULES[data]
        levels = geometric_sigmas(schedule.first, schedule.last, schedule.levels)
        sigmas = stretch(levels, int(n_sigma[1:]))
        gamma = float(sigmas[1] / sigmas[0])
        kappa = tuple(
            kappa_from_eta(eta_from_epsilon(value, schedule.last), gamma) for value in epsilon
        )
        interval = allowed_interval(sigmas).epsilon
        allowed = tuple(interval.low <= value <= interval.high for value in epsilon)
    return Curve(
        name=path.stem,
        data=data,
        network=network,
        consistent=method == "c",
        n_sigma=int(n_sigma[1:]),
        thousands=int(thousands[:-1]),
        epsilon=epsilon,
        kappa=kappa,
        allowed=allowed,
        raw=raw,
        denoised=denoised,
    )
