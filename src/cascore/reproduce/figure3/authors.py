"""The authors' own measured curves of Figure 3, which come with this package, read and restated."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Literal

import numpy as np

from cascore.experiment.settings import Schedule
from cascore.reproduce.sampler import Sampler, sampling_sigmas
from cascore.schedule import allowed_interval, eta_from_epsilon, kappa_from_eta

__all__ = ["Curve", "Outcome", "best_kappa", "excess_at", "load_curves"]

Outcome = Literal["raw", "denoised"]
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
        adversarial: whether the network was trained with a discriminator.
        n_sigma: steps for each noise level.
        thousands: of samples.
        epsilon: step sizes, rising.
        kappa: the same for consistent sampling; below 1 lies outside the allowed interval.
        raw: distances of the samples as they are.
        denoised: distances of the denoised samples.
    """

    name: str
    data: str
    network: str
    consistent: bool
    adversarial: bool
    n_sigma: int
    thousands: int
    epsilon: tuple[float, ...]
    kappa: tuple[float, ...] | None
    raw: tuple[float, ...]
    denoised: tuple[float, ...]

    @property
    def allowed(self) -> tuple[bool, ...]:
        """Which step sizes leave consistent sampling real noise; all of annealed Langevin's."""
        if self.kappa is None:
            return (True,) * len(self.epsilon)
        interval = allowed_interval(_levels(self)).epsilon
        return tuple(interval.low <= each <= interval.high for each in self.epsilon)

    def values(self, outcome: Outcome) -> tuple[float, ...]:
        """The distances of one kind of sample."""
        return self.raw if outcome == "raw" else self.denoised


def _levels(curve: Curve):  # type: ignore[no-untyped-def]
    sampler = Sampler(method="cas", steps=None, n_sigma=curve.n_sigma)
    return sampling_sigmas(sampler, _SCHEDULES[curve.data])


def load_curves() -> Mapping[str, Curve]:
    """All 14 curves by name, from the files of the package."""
    folder = resources.files("cascore.reproduce").joinpath("published/figure3")
    curves = {}
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".csv"):
            name = file.name.removesuffix(".csv")
            curves[name] = _curve(name, file.read_text(encoding="utf-8"))
    return curves


def _curve(name: str, text: str) -> Curve:
    model, _, settings = name.partition("__")
    data, network = model.split("_")
    method, adversarial, n_sigma, thousands = settings.split("_")
    rows = sorted(tuple(map(float, row)) for row in list(csv.reader(text.splitlines()))[1:])
    epsilon, raw, denoised = (tuple(column) for column in zip(*rows, strict=True))
    schedule, steps = _SCHEDULES[data], int(n_sigma[1:])
    kappa = None
    if method == "c":
        sampler = Sampler(method="cas", steps=None, n_sigma=steps)
        sigmas = sampling_sigmas(sampler, schedule)
        gamma = float(sigmas[1] / sigmas[0])
        etas = [eta_from_epsilon(each, schedule.last) for each in epsilon]
        kappa = tuple(kappa_from_eta(eta, gamma) for eta in etas)
    return Curve(
        name=name,
        data=data,
        network=network,
        consistent=method == "c",
        adversarial=adversarial == "adv",
        n_sigma=steps,
        thousands=int(thousands[:-1]),
        epsilon=epsilon,
        kappa=kappa,
        raw=raw,
        denoised=denoised,
    )


def best_kappa(curve: Curve, outcome: Outcome) -> float:
    """The measured kappa of the lowest distance, among those that are allowed."""
    kappas, values = _allowed(curve, outcome)
    return float(kappas[int(np.argmin(values))])


def excess_at(curve: Curve, outcome: Outcome, kappa: float) -> float:
    """By which part of the lowest distance the one at a kappa is higher; linear in between."""
    kappas, values = _allowed(curve, outcome)
    return float(np.interp(kappa, kappas, values) / values.min()) - 1


def _allowed(curve: Curve, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.array(curve.allowed)
    return np.array(curve.kappa)[chosen], np.array(curve.values(outcome))[chosen]
