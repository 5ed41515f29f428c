"""Step sizes chosen on a validation seed, so that what is reported was not chosen on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascore.reproduce.sampler import Sampler

__all__ = [
    "VALIDATION_SEED",
    "Grid",
    "Method",
    "at_edge",
    "at_training_levels",
    "best_of",
    "knob_text",
]

Method = Literal["als", "cas"]
VALIDATION_SEED = 1000
"""The sampling seed on which step sizes are chosen; none that a study reports comes near it."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The step sizes that are tried, each rising.

    Attributes:
        kappas: of consistent sampling at n_sigma 1; the best is kept at any other n_sigma.
        etas: of annealed Langevin sampling at n_sigma 1.
        etas_many: of annealed Langevin sampling at more, where the best of `etas` is 1 or above.
        count: pictures of each.
    """

    kappas: tuple[float, ...]
    etas: tuple[float, ...]
    etas_many: tuple[float, ...]
    count: int


def at_training_levels(method: Method, *, n_sigma: int, knob: float) -> Sampler:
    """Algorithm 1 with eta = knob, or Algorithm 2 with kappa = knob, at all training levels.

    The spacing is named, so that no change of a default makes another sampler of a record's.
    """
    if method == "als":
        return Sampler(
            method="als", order=1, steps=None, n_sigma=n_sigma, eta=knob, spacing="geometric"
        )
    return Sampler(
        method="cas", order=1, steps=None, n_sigma=n_sigma, kappa=knob, spacing="geometric"
    )


def best_of(
    knobs: Sequence[float], measure: Callable[[float], Mapping[str, float]]
) -> dict[str, Any]:
    """Measure each step size; the best has the lowest denoised distance, the smaller one of equals.

    Args:
        knobs: at least one.
        measure: the raw and the denoised distance of a step size.

    Returns:
        `tried`, each knob with its distances, and `chosen`, a knob.
    """
    tried = [{"knob": knob, **measure(knob)} for knob in knobs]
    return {"tried": tried, "chosen": min(tried, key=lambda each: each["denoised"])["knob"]}


def at_edge(tuned: Mapping[str, Any]) -> str:
    """Whether the best of a scan is its largest or smallest, behind which a better one may lie."""
    knobs = [each["knob"] for each in tuned["tried"]]
    if len(knobs) < 2 or tuned["chosen"] not in (knobs[0], knobs[-1]):
        return ""
    return "largest tried" if tuned["chosen"] == knobs[-1] else "smallest tried"


def knob_text(sampler: Mapping[str, Any]) -> str:
    """The step size of a sampler's settings, with its letter."""
    letters = {"kappa": "κ", "eta": "η", "epsilon": "ε"}
    return next(
        f"{letter} = {sampler[name]:.3g}"
        for name, letter in letters.items()
        if sampler[name] is not None
    )
