"""Settings of an experiment, as frozen dataclasses; contradictions are refused here. No torch."""

import math
from dataclasses import dataclass, field
from typing import Literal

from cascore.errors import InputError

__all__ = [
    "Adversarial",
    "Data",
    "Experiment",
    "Network",
    "Sampler",
    "Schedule",
    "Spacing",
    "Train",
]


Spacing = Literal["geometric", "karras", "centred"]
"""How the levels of a chain are spaced."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


def _free_on_resume(default: int) -> int:
    """A field that does not decide the weights after a given update, so a run may change it."""
    marked: int = field(default=default, metadata={"free_on_resume": True})
    return marked


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is learned."""

    name: str = "digits"
    """digits, fashion-mnist, mnist, cifar-10, lsun-church, celeba, stacked-digits, stacked-mnist,
    stacked-fashion-mnist, 25-gaussians, swiss-roll, folder:PATH, or a prepared set's own name."""
    root: str | None = None
    """Folder of prepared sets (default: data), of the IDX files, or for a large folder's pixels."""
    size: int | None = None
    """For folder:PATH: height and width in pixels to bring every image to."""
    crop: Literal["center", "none"] = "center"
    """For folder:PATH with a size: cut the middle square out first, or stretch."""
    filter: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"
    """For folder:PATH with a size: the resampling filter."""
    mode: Literal["auto", "rgb", "grey"] = "auto"
    """For folder:PATH: take images as they are, or convert all to colour or to grey."""
    flip: bool = False
    """Mirror training images at random (not for digits)."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The score network."""

    kind: Literal["unet", "ncsnv2", "mlp"] = "unet"
    """unet or ncsnv2 for images, mlp for points."""
    conditional: bool = False
    """unet, mlp: whether the network sees log sigma; the paper's do not."""
    width: int = 32
    """Channels of the first level (unet, ncsnv2), or hidden units (mlp)."""
    multipliers: tuple[int, ...] = (1, 2)
    """unet, ncsnv2: channels of each level, in units of the width."""
    blocks: int = 1
    """unet: residual blocks of each level."""
    attention: tuple[bool, ...] = (False, True)
    """unet: which levels have self-attention."""
    dropout: float = 0.0
    """unet: dropout within residual blocks."""
    unshuffle: int = 1
    """unet: fold k x k pixels into channels first; 2 makes 28x28 and 32x32 much cheaper."""
    depth: int = 3
    """mlp: hidden layers."""

    def __post_init__(self) -> None:
        _require(
            self.kind != "unet" or len(self.multipliers) == len(self.attention),
            f"network: {len(self.multipliers)} multipliers but {len(self.attention)} attention"
            " flags; give one of each per level",
        )
        _require(
            self.kind != "ncsnv2" or not self.conditional,
            "network: ncsnv2 does not see the noise level; a conditional network is a unet or mlp",
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The training levels, Eq. 2."""

    first: float = 5.0
    """sigma_1, about the largest distance between two data (Technique 1)."""
    last: float = 0.01
    """sigma_L."""
    levels: int = 28
    """L (Technique 2)."""

    def __post_init__(self) -> None:
        _require(self.levels >= 1, f"schedule: levels must be at least 1, not {self.levels}")
        ends = f"not {self.first} and {self.last}"
        if self.levels == 1:
            _require(
                math.isfinite(self.first) and self.first == self.last > 0,
                f"schedule: one level needs first = last > 0, {ends}",
            )
        else:
            _require(
                math.isfinite(self.first) and self.first > self.last > 0,
                f"schedule: need first > last > 0, {ends}",
            )


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the score network is trained."""

    objective: Literal["plain", "hybrid"] = "plain"
    """plain: denoising score matching (Eq. 1); hybrid: with a discriminator (Eq. 4 and 5)."""
    steps: int = _free_on_resume(1500)
    """Updates of the score network."""
    batch_size: int = 128
    """Images of one update, over all processes."""
    learning_rate: float = 1e-3
    """Of Adam."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam; the paper's hybrid runs have (0, 0.9)."""
    ema_decay: float = 0.999
    """Of the average of the weights, which samples."""
    ema_warmup: bool = True
    """Let a young average forget the initial weights; off in the paper."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast of both networks, twice as fast where the processor computes in it."""
    seed: int = 0
    """Of the initial weights and of every draw."""
    save_every: int = _free_on_resume(500)
    """Steps between checkpoints."""
    keep_last: int = _free_on_resume(2)
    """How many of the newest checkpoints to keep."""
    keep_every: int = _free_on_resume(0)
    """Also keep those at multiples of this many steps; 0 keeps none."""
    evaluate_every: int = _free_on_resume(0)
    """Steps between Fréchet distances of fresh samples, the best of which is kept; 0: none."""
    evaluate_count: int = _free_on_resume(1000)
    """Samples of such a distance."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "keep_last"):
            value = getattr(self, name)
            _require(value >= 1, f"train: {name} must be at least 1, not {value}")
        for name in ("keep_every", "evaluate_every"):
            value = getattr(self, name)
            _require(value >= 0, f"train: {name} must be 0 or more: {value}")
        least = f"train: evaluate_count must be at least 2, not {self.evaluate_count}"
        _require(self.evaluate_count >= 2, least)
        _require(0 <= self.ema_decay < 1, f"train: ema_decay must be in [0, 1): {self.ema_decay}")
        _require(0 <= self.seed < 2**64, f"train: seed must be from 0 to 2^64 - 1: {self.seed}")
        _require(
            self.learning_rate > 0, f"train: learning_rate must be positive: {self.learning_rate}"
        )


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The discriminator of hybrid training; without effect in a plain run."""

    gan: str = "lsgan"
    """lsgan, standard, hinge, or relativistic[-average]-{standard,lsgan,hinge}."""
    width: int = 32
    """Channels of the discriminator (BigGAN's ch), or hidden units for points."""
    steps: int = 1
    """Discriminator updates for each update of the score network."""
    learning_rate: float = 1e-4
    """Of the discriminator's Adam."""
    betas: tuple[float, float] = (-0.5, 0.9)
    """Of the discriminator's Adam."""
    weight: float = 1.0
    """lambda of Eq. 5, the weight of the score matching term."""
    clamp: bool = True
    """Whether H is clamped to [0, 1] before the discriminator sees it (never for points)."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1, f"adversarial: steps must be at least 1, not {self.steps}")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model, its data and its training."""

    name: str = "digits"
    """Of the preset, for the record."""
    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    schedule: Schedule = field(default_factory=Schedule)
    train: Train = field(default_factory=Train)
    adversarial: Adversarial = field(default_factory=Adversarial)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How pictures are drawn from a trained model."""

    method: Literal["cas", "als"] = "cas"
    """Consistent annealed sampling (Algorithm 2) or annealed Langevin (Algorithm 1)."""
    order: Literal[1, 2] = 2
    """cas: 1 is the paper's, 2 the multistep rule for few calls."""
    steps: int | None = 12
    """Noise levels of the chain between sigma_1 and sigma_L; None: as many as in training."""
    n_sigma: int = 1
    """als: steps at each level; cas: the schedule is stretched by it."""
    kappa: float | None = None
    """cas: noise of a step in [1, inf]; by default 2.5 at order 2 and 1.5 at order 1."""
    eta: float | None = None
    """The paper's step size without units; at most one of kappa, eta, epsilon."""
    epsilon: float | None = None
    """The paper's step size in squared pixels; als: Technique 4 by default."""
    spacing: Spacing | None = None
    """Of the levels; by default centred for cas of order 2 with kappa and a number of steps, else
    geometric, as in training."""

    def __post_init__(self) -> None:
        given = [n for n in ("kappa", "eta", "epsilon") if getattr(self, n) is not None]
        _require(len(given) <= 1, f"give at most one of kappa, eta, epsilon: {' and '.join(given)}")
        _require(self.steps is None or self.steps >= 1, f"steps must be at least 1: {self.steps}")
        _require(self.n_sigma >= 1, f"n_sigma must be at least 1, not {self.n_sigma}")
        if self.method == "als":
            _require(self.kappa is None, "kappa is for cas; als takes eta or epsilon")
