"""Every sampler of the study `beyond` in one table, and on which models each is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from cascore.experiment.settings import Schedule
from cascore.reproduce.beyond.schedulers import SCHEDULERS, levels_within
from cascore.reproduce.sampler import Sampler, network_calls, resolved, sampling_sigmas

__all__ = [
    "BEST",
    "DEFAULT",
    "GEOMETRIC",
    "KAPPAS",
    "METHODS",
    "SCALES",
    "TWINS",
    "Choice",
    "Method",
    "Plan",
    "Subject",
    "calls_of",
    "levels_of",
    "name_of",
]

Choice = Sampler | str
"""A sampler of ours, its `steps` still to be set, or the name of one of SCHEDULERS."""


@dataclass(frozen=True)
class Method:
    """One line of the pictures.

    Attributes:
        label: in words.
        choices: one, or several of which the validation seed chooses for each number of calls.
        kind: what sort of sampler it is.
    """

    label: str
    choices: tuple[Choice, ...]
    kind: Literal["als", "stochastic", "deterministic", "default", "tuned"]

    @property
    def tuned(self) -> bool:
        """Whether anything is chosen by looking at samples."""
        return len(self.choices) > 1


KAPPAS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_ETAS = {1: (0.8, 1.2, 1.6), 5: (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)}


def _cas(order: Literal[1, 2], kappa: float | None) -> Sampler:
    """With geometric levels, which the paper and the schedulers have here."""
    return Sampler(method="cas", order=order, kappa=kappa, spacing="geometric")


def _als(n_sigma: int) -> tuple[Sampler, ...]:
    return tuple(Sampler(method="als", order=1, n_sigma=n_sigma, eta=eta) for eta in _ETAS[n_sigma])


DEFAULT = "default"
GEOMETRIC = "order-2-geometric"
"""The default but for its levels."""
BEST = "paper"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        BEST: Method("ALS, n_σ = 5, best η", _als(5), "als"),
        "als-1": Method("ALS, n_σ = 1, best η", _als(1), "als"),
        "order-1-kappa-1": Method("order 1, κ = 1: Euler, DDIM", (_cas(1, 1.0),), "deterministic"),
        "order-1-default": Method("order 1, κ = 1.5", (_cas(1, None),), "stochastic"),
        "order-1-kappa-2": Method("order 1, κ = 2: Euler ancestral", (_cas(1, 2.0),), "stochastic"),
        "order-1-tuned": Method("order 1, best κ", tuple(_cas(1, k) for k in KAPPAS), "tuned"),
        "order-1-eta-1": Method("order 1, η = 1", (Sampler(order=1, eta=1.0),), "stochastic"),
        "order-2-kappa-1": Method("order 2, κ = 1: DPM-Solver++(2M)", (_cas(2, 1.0),),
                                  "deterministic"),
        "order-2-kappa-2": Method("order 2, κ = 2: SDE-DPM-Solver++(2M)", (_cas(2, 2.0),),
                                  "stochastic"),
        DEFAULT: Method("the default of `cascore sample`", (Sampler(),), "default"),
        GEOMETRIC: Method("order 2, κ = 2.5, geometric levels", (_cas(2, None),),
                                    "stochastic"),
        "order-2-karras": Method("order 2, κ = 2.5, Karras levels", (Sampler(spacing="karras"),),
                                 "stochastic"),
        "order-2-kappa-1-centred": Method("order 2, κ = 1, centred levels", (Sampler(kappa=1.0),),
                                          "deterministic"),
        "order-2-tuned": Method("order 2, best κ, centred levels",
                                tuple(Sampler(kappa=kappa) for kappa in KAPPAS), "tuned"),
        **{
            name: Method(f"{SCHEDULERS[name].label} of diffusers", (name,), "deterministic")
            for name in ("heun", "dpm-3m", "unipc", "unipc-3", "deis")
        },
    }
)  # fmt: skip
"""By name; a new sampler is one more line here and one in a plan below."""

TWINS: Mapping[str, Sampler] = MappingProxyType(
    {
        "euler": _cas(1, 1.0),
        "ddim": _cas(1, 1.0),
        "euler-ancestral": _cas(1, 2.0),
        "dpm-2m": _cas(2, 1.0),
        "dpm-2m-sde": _cas(2, 2.0),
    }
)
"""Which of our settings each scheduler equals."""

Plan = Mapping[str, tuple[int | None, ...]]
"""By method, at how many network calls; None is at all training levels."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model and how it is measured.

    Attributes:
        preset: by name.
        steps: of training.
        precision: of training.
        extractors: of the features, by name; the first one chooses.
        count: pictures of each measurement.
        seeds: measurements with other noise.
        validation: pictures of each choice that is tried, on the validation seed.
        plan: what is measured.
    """

    preset: str
    steps: int
    precision: Literal["float32", "bfloat16"]
    extractors: tuple[str, ...]
    count: int
    seeds: int
    validation: int
    plan: Plan


_ALL = (None,)
_FEW, _SOME = (5, 8, 12, 20), (5, 8, 12, 20, 30, 50)
_MANY = (5, 8, 10, 12, 15, 20, 30, 50, 100)
_FULL_PLAN: Plan = {
    BEST: _ALL,
    "als-1": _ALL,
    "order-1-kappa-1": _SOME,
    "order-1-default": _SOME,
    "order-1-kappa-2": _SOME,
    "order-1-tuned": (12, 50),
    "order-1-eta-1": (12,),
    "order-2-kappa-1": _SOME,
    "order-2-kappa-2": _SOME,
    DEFAULT: _MANY,
    GEOMETRIC: _MANY,
    "order-2-karras": _FEW,
    "order-2-kappa-1-centred": _FEW,
    "order-2-tuned": _SOME,
    "heun": _FEW,
    "dpm-3m": _FEW,
    "unipc": _FEW,
    "unipc-3": (8, 12),
    "deis": _FEW,
}
_SHORT_PLAN: Plan = {
    BEST: _ALL,
    "order-1-kappa-2": (8, 12, 20),
    "order-2-kappa-1": (8, 12, 20),
    DEFAULT: (8, 12, 20, 50),
    GEOMETRIC: (8, 12, 20, 50),
    "order-2-kappa-1-centred": (8, 12, 20),
    "unipc": (8, 12, 20),
}
_NOISE = "random-convolution"
_TINY = Subject(
    preset="digits",
    steps=2,
    precision="float32",
    extractors=("digits", "pixels"),
    count=12,
    seeds=2,
    validation=6,
    plan={
        name: _ALL if method.kind == "als" else (5,)
        for name, method in METHODS.items()
        if name not in ("order-1-tuned", "unipc-3")
    }
    | {DEFAULT: (5, 8)},
)
_DIGITS = Subject(
    preset="digits",
    steps=4000,
    precision="bfloat16",
    extractors=("digits", _NOISE),
    count=300,
    seeds=2,
    validation=200,
    plan=_FULL_PLAN,
)
_CIFAR_10 = Subject(
    preset="cifar10-unet",
    steps=300_000,
    precision="float32",
    extractors=("inception",),
    count=10_000,
    seeds=2,
    validation=2000,
    plan=_FULL_PLAN,
)

SCALES: Mapping[str, tuple[Subject, ...]] = MappingProxyType(
    {
        "tiny": (
            _TINY,
            replace(_TINY, preset="digits-adversarial", plan={BEST: _ALL, DEFAULT: (8,)}),
        ),
        "laptop": (
            _DIGITS,
            replace(_DIGITS, preset="digits-adversarial", validation=100, plan=_SHORT_PLAN),
            replace(
                _DIGITS,
                preset="stacked-digits",
                steps=2000,
                extractors=(_NOISE, "pixels"),
                validation=100,
                plan=_SHORT_PLAN,
            ),
            replace(
                _DIGITS,
                preset="fashion-mnist",
                steps=16_000,
                extractors=("fashion-mnist", _NOISE),
                count=400,
                validation=60,
                plan=_SHORT_PLAN,
            ),
        ),
        "paper": (_CIFAR_10, replace(_CIFAR_10, preset="cifar10-unet-adversarial")),
    }
)
"""By the name of the scale; the first model is the one on which nearly everything is tried."""


def name_of(choice: Choice) -> str:
    """A choice in the names of units and in records: everything but its number of levels."""
    if isinstance(choice, str):
        return choice
    choice = resolved(choice)
    knob = f"eta-{choice.eta:g}" if choice.eta is not None else f"kappa-{choice.kappa:g}"
    if choice.method == "als":
        return f"als-{choice.n_sigma}-{knob}"
    spaced = "" if choice.spacing == "geometric" else f"-{choice.spacing}"
    return f"order-{choice.order}-{knob}{spaced}"


def levels_of(choice: Choice, calls: int | None) -> Sampler:
    """The sampler whose levels a chain of at most that many network calls has.

    A scheduler has geometric levels; annealed Langevin sampling divides the calls by n_sigma.
    """
    if isinstance(choice, str):
        steps = None if calls is None else levels_within(SCHEDULERS[choice], calls)
        return Sampler(steps=steps, spacing="geometric")
    if calls is None:
        return replace(choice, steps=None)
    per_level = choice.n_sigma if choice.method == "als" else 1
    return replace(choice, steps=max(2, calls // per_level))


def calls_of(choice: Choice, calls: int | None, schedule: Schedule) -> int:
    """Network calls of a chain, as many as are planned or those that all levels take."""
    if calls is not None:
        return calls
    sampler = levels_of(choice, None)
    if isinstance(choice, str):
        each = SCHEDULERS[choice].calls_per_level
        return each * (len(sampling_sigmas(sampler, schedule)) - 1) + 1
    return network_calls(sampler, schedule)
