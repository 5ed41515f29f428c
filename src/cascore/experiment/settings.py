"""Settings of experiments, samplers and evaluations; contradictions are refused here. No torch."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from cascore.errors import InputError
from cascore.measurement import Precision, chain_words
from cascore.preprocessing import FolderOptions
from cascore.ranges import require_in_range

Spacing = Literal["geometric", "karras", "centred", "calibrated", "trained"]
"""How the levels of a chain are spaced."""

LOG_MEAN = -1.2 - math.log(2)
"""EDM's mean of log sigma, which is -1.2 where pixels are in [-1, 1]."""

_MOST_LEVELS = 16  # of a network, each of half the size of the one before


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


class _Part:
    """A part of an experiment; what is out of its range is refused by the name of its option."""

    def __post_init__(self) -> None:
        part = type(self).__name__.lower()
        require_in_range(vars(self), part=part, prefix=f"--{part}.")


def _free_on_resume(default: int) -> int:
    """A field that does not decide the weights after a given update, so a run may change it."""
    marked: int = field(default=default, metadata={"free_on_resume": True})
    return marked


@dataclass(frozen=True, kw_only=True)
class Data(FolderOptions):
    """What is learned."""

    name: str = "digits"
    """digits, fashion-mnist, mnist, cifar-10, cifar-10-jpeg, lsun-church, celeba, stacked-digits,
    stacked-mnist, stacked-fashion-mnist, 25-gaussians, swiss-roll, folder:PATH, or a prepared set's
    own name."""
    root: str | None = None
    """Folder of prepared sets (default: data), of the IDX files, or for a large folder's pixels."""
    flip: bool = False
    """Mirror training images at random (not for digits)."""
    shift: int = 0
    """Move every other training image by up to so many pixels, with --network.augmented."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_in_range({"shift": self.shift}, prefix="--data.")

    @property
    def options(self) -> FolderOptions:
        """The choices for a folder alone."""
        names = (choice.name for choice in fields(FolderOptions))
        return FolderOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Network(_Part):
    """The score network."""

    kind: Literal["unet", "ncsnv2", "mlp"] = "unet"
    """unet or ncsnv2 for images, mlp for points."""
    conditional: bool = False
    """unet, mlp: whether the network sees log sigma; the paper's do not."""
    preconditioned: bool = False
    """Of a conditional network: EDM's form around it, and its weight of the loss; else the paper's,
    H = x + sigma f."""
    spectral: bool = False
    """unet: of EDM's form, with the best linear denoiser of the data's spectrum in place of
    c_skip (x - m): the network is left what is not linear."""
    labels: bool = False
    """unet, ncsnv2: whether the network is told the class, so that it can be asked for one."""
    augmented: bool = False
    """unet: whether the network is told how a training image was mirrored and moved, so that it
    learns from such images and draws none (EDM)."""
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
        super().__post_init__()
        _require(
            len(self.multipliers) <= _MOST_LEVELS,
            f"--network.multipliers has {len(self.multipliers)} values: give at most"
            f" {_MOST_LEVELS}",
        )
        _require(
            self.kind != "unet" or len(self.multipliers) == len(self.attention),
            f"--network.multipliers has {len(self.multipliers)} values and --network.attention"
            f" {len(self.attention)}: give one of each for a level",
        )
        _require(
            self.kind != "ncsnv2" or not self.conditional,
            "--network.conditional is for --network.kind unet or mlp: ncsnv2 does not see the noise"
            " level",
        )
        _require(
            self.conditional or not self.preconditioned,
            "--network.preconditioned is for a network that sees the noise level: give"
            " --network.conditional too",
        )
        _require(
            (self.preconditioned and self.kind == "unet") or not self.spectral,
            "--network.spectral is for --network.kind unet in EDM's form: give"
            " --network.preconditioned too, or --network.no-spectral",
        )
        _require(
            self.kind != "mlp" or not self.labels,
            "--network.labels is for --network.kind unet or ncsnv2: points have no classes",
        )
        _require(
            self.kind == "unet" or not self.augmented,
            "--network.augmented is for --network.kind unet",
        )

    @property
    def form(self) -> str:
        """The form around the network in words; of the paper's, none."""
        if self.spectral:
            return "EDM's form around the best linear denoiser"
        return "EDM's form" if self.preconditioned else ""


@dataclass(frozen=True, kw_only=True)
class Schedule(_Part):
    """The training levels, Eq. 2."""

    first: float = 5.0
    """sigma_1, about the largest distance between two data (Technique 1)."""
    last: float = 0.01
    """sigma_L."""
    levels: int = 28
    """L (Technique 2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = f"--schedule.first {self.first:g} and --schedule.last {self.last:g}"
        _require(
            self.levels > 1 or math.inf > self.first == self.last > 0,
            f"one level has one sigma above 0, not {ends}: give the same twice",
        )
        _require(
            self.levels == 1 or math.inf > self.first > self.last > 0,
            f"the levels go down to a sigma above 0: first > last > 0, not {ends}",
        )


@dataclass(frozen=True, kw_only=True)
class Train(_Part):
    """How the score network is trained."""

    objective: Literal["plain", "hybrid"] = "plain"
    """plain: denoising score matching (Eq. 1); hybrid: with a discriminator (Eq. 4 and 5)."""
    steps: int = _free_on_resume(1500)
    """Updates of the score network."""
    batch_size: int = 128
    """Images of one update, over all processes."""
    sigmas: Literal["levels", "log-uniform", "log-normal"] = "levels"
    """Law of the noise levels: the schedule's, each as likely as any other; log sigma uniform over
    their range; or normal, as EDM trains."""
    log_mean: float = LOG_MEAN
    """log-normal: the mean of log sigma, EDM's for pixels in [0, 1]."""
    log_deviation: float = 1.2
    """log-normal: the deviation of log sigma, EDM's."""
    label_dropout: float = 0.1
    """With labels: how often the class is withheld, which teaches the whole law and guidance."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    warmup: int = 0
    """Updates over which the learning rate rises in a line from 0; 0: none."""
    decay_from: int = 0
    """Update from which on the learning rate falls as 1 / sqrt(update), as in EDM2; 0: never."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of Adam's averages; the paper's hybrid runs have (0, 0.9)."""
    weight_decay: float = 0.0
    """AdamW's decay of the weights; 0 is Adam."""
    clip_norm: float = math.inf
    """Largest norm of the gradient; a longer one is scaled to it."""
    accumulation: int = 1
    """Parts of a batch whose gradients are added up, for less memory; the sum is the same."""
    ema_decay: float = 0.999
    """Decay of the average of the weights, which samples."""
    ema_warmup: bool = True
    """Let a young average forget the initial weights; off in the paper."""
    ema_profiles: bool = False
    """Keep two more averages in every checkpoint (EDM2), from which cascore convert --ema-length
    makes one of another length when the training is over; --train.keep-every widens the choice."""
    precision: Precision = "float32"
    """tf32: a GPU multiplies with 10 bits of mantissa, several times as fast. bfloat16: autocast of
    both networks, twice as fast where the device computes in it, ten times as slow on a processor
    that does not."""
    channels_last: bool = False
    """unet, ncsnv2: keep the channels of a pixel together in memory, which may be faster."""
    compiled: bool = False
    """Compile the score network (torch.compile), which takes a minute and may be faster."""
    recompute: bool = False
    """unet, ncsnv2: keep what goes into each block alone for the backward pass, which computes the
    rest again: less memory, up to a third more time, the same weights."""
    seed: int = 0
    """Seed of the initial weights and of every draw."""
    save_every: int = _free_on_resume(500)
    """Steps between checkpoints."""
    keep_last: int = _free_on_resume(2)
    """How many of the newest checkpoints to keep."""
    keep_every: int = _free_on_resume(0)
    """Also keep those at multiples of this many steps; 0 keeps none."""
    evaluate_every: int = _free_on_resume(0)
    """Steps between Fréchet distances of fresh samples, the best of which is kept, unless held-out
    loss chooses (--minutes); 0: none."""
    evaluate_count: int = _free_on_resume(1000)
    """Samples of such a distance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            self.accumulation == 1
            or (self.objective == "plain" and self.batch_size % self.accumulation == 0),
            f"--train.accumulation {self.accumulation} must divide --train.batch-size"
            f" {self.batch_size}, and is for --train.objective plain: a discriminator judges the"
            " batch as a whole",
        )


@dataclass(frozen=True, kw_only=True)
class Adversarial(_Part):
    """The discriminator of hybrid training; without effect in a plain run."""

    gan: str = "lsgan"
    """lsgan[-saturating], standard, hinge, wgan, relativistic[-average]-{standard,lsgan,hinge}."""
    width: int = 32
    """Channels of the discriminator (BigGAN's ch), or hidden units for points."""
    steps: int = 1
    """Discriminator updates for each update of the score network."""
    learning_rate: float = 1e-4
    """Learning rate of the discriminator's Adam."""
    betas: tuple[float, float] = (-0.5, 0.9)
    """Decay rates of its averages."""
    weight: float = 1.0
    """lambda of Eq. 5, the weight of the score matching term."""
    clamp: bool = True
    """Whether H is clamped to [0, 1] before the discriminator sees it (never for points)."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model, its data and its training."""

    name: str = "digits"
    """Name of the preset, for the record."""
    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    schedule: Schedule = field(default_factory=Schedule)
    train: Train = field(default_factory=Train)
    adversarial: Adversarial = field(default_factory=Adversarial)
    minutes: float = 0.0
    """Of images: how long to train here, in all; the learning rate follows the time left. 0: as
    many updates as the settings say."""

    def __post_init__(self) -> None:
        _require(
            self.network.augmented or not self.data.shift,
            f"a network that learns from moved images draws moved ones, unless it is told: with"
            f" --data.shift {self.data.shift} give --network.augmented",
        )
        if self.minutes != 0:
            require_in_range({"minutes": self.minutes}, prefix="--")
        _require(
            not (self.minutes and self.train.decay_from),
            f"--train.decay-from {self.train.decay_from} is for a training of so many updates: with"
            f" --minutes {self.minutes:g} the learning rate follows the time left",
        )

    @property
    def at_levels(self) -> bool:
        """Whether its network sees sigma, and was shown the training levels and none between."""
        return self.network.conditional and self.train.sigmas == "levels"


ENDLESS = 10**9
"""Updates of a training that its time ends."""


def by_clock(experiment: Experiment, given: Collection[str]) -> Experiment:
    """An experiment that its minutes can end; a number of updates that is given ends it sooner.

    Args:
        experiment: Settings, such as a preset's.
        given: Which of them a person gave, as "train.steps": these hold.
    """
    train = experiment.train
    if "train.steps" not in given:
        train = replace(train, steps=ENDLESS)
    if "train.decay_from" not in given:
        train = replace(train, decay_from=0)
    return replace(experiment, train=train)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How pictures are drawn from a trained model; None stands for what is not given."""

    method: Literal["cas", "als"] = "cas"
    """Consistent annealed sampling (Algorithm 2) or annealed Langevin (Algorithm 1)."""
    calls: int | None = None
    """Network calls of a chain; by default 12, of als 12 levels."""
    levels: Literal["all"] | None = None
    """all: at every noise level of the training, in place of a number of calls."""
    order: Literal[1, 2] | None = None
    """cas: 1 is the paper's, 2 the multistep rule for few calls; by default 2, but 1 with eta or
    epsilon."""
    n_sigma: int = 1
    """als: calls at each level; cas, at all levels: the schedule is stretched by it."""
    kappa: float | None = None
    """cas: noise of a step in [1, inf]; by default 2.5, or less in few calls of a network that
    sees sigma."""
    eta: float | None = None
    """The paper's step size without units; at most one of kappa, eta, epsilon."""
    epsilon: float | None = None
    """The paper's step size in squared pixels; als: Technique 4 by default."""
    spacing: Spacing | None = None
    """Of the levels; by default centred for cas of order 2 with kappa and a number of calls, else
    geometric, as in training. trained: the levels of the training that are nearest to these, the
    default for a network that sees sigma and was trained at them alone. calibrated: by the exact
    law on the training set's variances."""

    def __post_init__(self) -> None:
        self._require_kinds()
        require_in_range(vars(self), prefix="--")
        sizes = [name for name in ("kappa", "eta", "epsilon") if getattr(self, name) is not None]
        _require(len(sizes) <= 1, f"give at most one of --{' and --'.join(sizes)}")
        _require(
            self.calls is None or self.levels is None, "give --calls or --levels all, not both"
        )
        _require(
            self.spacing != "calibrated" or (self.method == "cas" and sizes in ([], ["kappa"])),
            "--spacing calibrated is for --method cas and a kappa: its levels belong to them",
        )
        calls, n_sigma = self.calls, self.n_sigma
        if self.method == "als":
            for name, value in (("order", self.order), ("kappa", self.kappa)):
                _require(value is None, f"--{name} {value} is for --method cas: leave it out")
            below = (calls or 0) // n_sigma * n_sigma
            _require(
                calls in (None, below),
                f"--calls {calls} is no multiple of --n-sigma {n_sigma}, the calls at each level:"
                f" give {f'{below} or ' * (below > 0)}{below + n_sigma}",
            )
        else:
            _require(
                n_sigma == 1 or self.levels == "all",
                f"--n-sigma {n_sigma} of --method cas stretches the levels of the training: give"
                " --levels all",
            )

    def _require_kinds(self) -> None:
        """Refuse what the command line's parser does, and Python would draw by something else."""
        spacings = get_args(Spacing)
        words = {"method": ("cas", "als"), "levels": ("all", None), "spacing": (*spacings, None)}
        for name, known in words.items():
            value, expected = getattr(self, name), ", ".join(word for word in known if word)
            _require(value in known, f"--{name} is {value!r:.60}; expected one of {expected}")
        for name in ("calls", "n_sigma"):
            value = getattr(self, name)
            whole = value is None or hasattr(value, "__index__")
            option = name.replace("_", "-")
            _require(whole, f"--{option} is {value!r:.60}; expected a whole number")

    @staticmethod
    def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What cascore 0.3 wrote, whose `steps` were the levels of a chain, None for all."""
        if "steps" not in values:
            return values
        new = {"spacing": "geometric", **values}  # 0.3.0 knew no other, and did not name it
        steps = new.pop("steps")
        if new.get("method") == "als":
            new.pop("order", None)  # was written, and without effect
        if steps is None:
            return {**new, "levels": "all"}
        per_level = new.get("n_sigma", 1) if new.get("method") == "als" else 1
        for name, number in (("steps", steps), ("n_sigma", per_level)):
            _require(type(number) is int, f"{name} is {number!r:.60}; expected a whole number")
        return {**new, "calls": steps * per_level}


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is measured, and how."""

    path: Path
    """Folder of a run, a model folder, or a folder of images."""
    data: str | None = None
    """Real images: a data set, folder:PATH or statistics (.npz); default: the model's own."""
    root: str | None = None
    """Folder of the real images' files, where they need one, and of inception, dinov2 and clip."""
    folder: FolderOptions = field(default_factory=FolderOptions)
    """How images of folders are brought to one shape."""
    extractor: str | None = None
    """digits, mnist, fashion-mnist, cifar-10-jpeg, pixels, random-convolution, inception, dinov2
    or clip; default: that of the statistics, the data set's classifier, else random-convolution."""
    metrics: tuple[str, ...] | None = None
    """Default: frechet kernel precision-recall memorisation, and modes of stacked digits."""
    as_published: bool = False
    """Print the divergence of modes as the authors' program does, too."""
    checkpoint: str = "auto"
    """Of a run: newest, best (by the evaluations during training), a step, or auto: of a training
    by the clock its best, else the newest."""
    count: int = 1437
    """How many pictures to draw from a model."""
    seed: int = 0
    """Of the first picture."""
    batch_size: int = 256
    """Pictures at a time."""
    precision: Precision = "float32"
    """Of a model's network: float32, tf32 (GPUs) or bfloat16."""
    compiled: bool = False
    """Compile a model's network."""
    guidance: float | None = None
    """Ask a model for each class as often as the real images have it, this far towards it, and
    judge by class too; by default no class is asked for."""
    sampler: Sampler = field(default_factory=Sampler)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A sampler in force for a model: every setting of one chain, as records hold it."""

    method: Literal["cas", "als"]
    order: Literal[1, 2]
    calls: int
    levels: int
    """Before cas stretches them by n_sigma."""
    n_sigma: int
    kappa: float | None
    """None where eta or epsilon rules."""
    eta: float | None
    """As given; of als without a given size, by Technique 4."""
    epsilon: float | None
    spacing: Spacing

    @property
    def label(self) -> str:
        """The chain in a few words."""
        return chain_words(vars(self))

    @property
    def sampler(self) -> Sampler:
        """The settings that give this chain again, to the bit, for the model that it was of."""
        stretched = self.method == "cas" and self.n_sigma > 1
        values: dict[str, Any] = vars(self) | {
            "calls": None if stretched else self.calls,
            "levels": "all" if stretched else None,
            "order": None if self.method == "als" else self.order,
        }
        return Sampler(**values)
