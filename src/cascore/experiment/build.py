"""Objects from settings: data, networks, the state of a run, its loop."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from cascore.arithmetic import tf32
from cascore.data import ImageSet, PointSet
from cascore.denoiser import (
    ConditionalDenoiser,
    PreconditionedDenoiser,
    SpectralDenoiser,
    UnconditionalDenoiser,
)
from cascore.errors import InputError
from cascore.experiment.settings import Adversarial, Data, Experiment, Network, Schedule, Train
from cascore.losses import GAN_LOSSES, GanLoss, LogNormal, LogUniform, SigmaLaw, UniformLevels
from cascore.measurement import Precision
from cascore.networks import (
    MLP,
    BigGANDiscriminator,
    ConditionalMLP,
    ConditionalUNet,
    MLPDiscriminator,
    NCSNv2,
    UNet,
)
from cascore.plain import from_plain
from cascore.ranges import require_in_range, require_memory
from cascore.schedule import geometric_sigmas
from cascore.spectrum import Spectrum
from cascore.training import Batches, KeyedBatches, Metrics, TrainState, Workers, adam, train
from cascore.training.ema import PROFILES
from cascore.training.loop import Rate, warmed_and_decayed


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a denoiser is built for: its data, as far as the network and its form depend on them."""

    shape: tuple[int, ...]
    """Of one datum."""
    classes: tuple[str, ...] = ()
    """Their names, in the order of the labels."""
    mean: float = 0.0
    """Of all pixels or coordinates."""
    deviation: float = 1.0
    """Of all pixels or coordinates."""
    spectrum: Spectrum | None = None
    """Of the pictures, for a form that is made of it."""

    @classmethod
    def of(cls, data: ImageSet | PointSet, network: Network) -> Self:
        """Of a training set, measured as far as the network's form needs it."""
        classes = data.classes if isinstance(data, ImageSet) and data.labels is not None else ()
        mean, deviation = data.mean_and_deviation
        spectrum = None
        if network.spectral and isinstance(data, ImageSet):
            spectrum = data.spectrum
        return cls(
            shape=data.shape, classes=classes, mean=mean, deviation=deviation, spectrum=spectrum
        )

    @classmethod
    def of_none(
        cls, shape: tuple[int, ...], network: Network, *, classes: tuple[str, ...] = ("",)
    ) -> Self:
        """In place of data, where only the size and the time of a network matter."""
        spectrum = Spectrum.flat(shape) if network.spectral else None
        return cls(shape=shape, classes=classes, spectrum=spectrum)

    @classmethod
    def recorded(cls, shape: tuple[int, ...], data: Mapping[str, Any]) -> Self:
        """Of what a run or a model folder says of its data."""
        classes, mean, deviation = (data.get(k) for k in ("classes", "mean", "deviation"))
        spectrum = data.get("spectrum")
        numbers = [value for value in (mean, deviation) if value is not None]
        named = classes is None or (
            isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
        )
        if not named or not all(type(number) in (int, float) for number in numbers):
            raise InputError(
                "the record of the data does not hold names of classes, or the mean and deviation"
                f" of pixels: {classes!r:.60}, {mean!r:.20}, {deviation!r:.20}"
            )
        return cls(
            shape=shape,
            classes=tuple(classes or ()),
            mean=0.0 if mean is None else float(mean),
            deviation=1.0 if deviation is None else float(deviation),
            spectrum=from_plain(Spectrum, spectrum, "the spectrum of the data")
            if spectrum
            else None,
        )


_BYTES = 4  # of a parameter or a pixel, as float32
_COPIES = 8  # of a batch, at the least, that training holds: clean, noisy, H, their gradients, ...


def load_data(data: Data, split: str) -> ImageSet | PointSet:
    """One split of the experiment's data set."""
    from cascore.data import load  # and with it every format, which a model does not need

    return load(data.name, split, root=data.root, folder=data.options)


def load_data_splits(data: Data) -> Mapping[str, ImageSet]:
    """Every split of the experiment's images: train, and test where anything is held out."""
    from cascore.data import load_image_splits

    return load_image_splits(data.name, root=data.root, folder=data.options)


def require_kind(network: Network, *, points: bool) -> None:
    """Raise InputError for a network of another kind of data than points, or than images."""
    what, fitting = ("points", "mlp") if points else ("images", "unet or ncsnv2")
    if network.kind not in fitting.split(" or "):
        raise InputError(f"--network.kind {network.kind} is not for {what} as here: use {fitting}")


def build_denoiser(network: Network, subject: Subject, *, seed: int) -> nn.Module:
    """The score network behind the contract, its initial weights a function of the seed.

    Raises:
        InputError: a network of another kind of data, one that is to be told classes where the data
            have none, or one of the spectrum of data whose spectrum is not known.
    """
    require_kind(network, points=len(subject.shape) == 1)
    if network.labels and not subject.classes:
        raise InputError("--network.labels needs data with classes, and these have none")
    with torch.device("meta"):  # which takes neither time nor memory
        weights = _build_network(network, subject).parameters()
    require_memory(sum(x.numel() for x in weights), _BYTES, "parameters of a network")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        built = _build_network(network, subject)
    if network.spectral:
        if subject.spectrum is None:
            raise InputError(
                "a network of --network.spectral needs the spectrum of its data, and their record"
                " holds none: of a run, training it again writes one"
            )
        return SpectralDenoiser(
            built, spectrum=subject.spectrum, shape=subject.shape, deviation=subject.deviation
        )
    if network.preconditioned:
        return PreconditionedDenoiser(built, mean=subject.mean, deviation=subject.deviation)
    return ConditionalDenoiser(built) if network.conditional else UnconditionalDenoiser(built)


def _build_network(network: Network, subject: Subject) -> nn.Module:
    shape, classes = subject.shape, len(subject.classes) if network.labels else 0
    if network.kind == "mlp":
        points = ConditionalMLP if network.conditional else MLP
        return points(dimension=shape[0], width=network.width, depth=network.depth)
    if network.kind == "ncsnv2":
        return NCSNv2(
            channels=shape[0], width=network.width, multipliers=network.multipliers, classes=classes
        )
    images = ConditionalUNet if network.conditional else UNet
    return images(
        channels=shape[0],
        width=network.width,
        multipliers=network.multipliers,
        blocks=network.blocks,
        attention=network.attention,
        dropout=network.dropout,
        unshuffle=network.unshuffle,
        classes=classes,
        augmented=network.augmented,
        seen=2 * shape[0] if network.spectral else None,
    )


def build_discriminator(
    adversarial: Adversarial, shape: tuple[int, ...], *, seed: int
) -> nn.Module:
    """The discriminator for data of that shape, its initial weights a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed + 1) % 2**63)
        if len(shape) == 1:
            return MLPDiscriminator(dimension=shape[0], width=adversarial.width)
        channels, height, width = shape
        if height != width:
            raise InputError(f"the discriminator takes square images, not {height} x {width}")
        return BigGANDiscriminator(channels=channels, size=height, width=adversarial.width)


def build_gan(adversarial: Adversarial) -> GanLoss:
    """The pair of losses by its name."""
    if adversarial.gan not in GAN_LOSSES:
        raise InputError(
            f"there is no GAN loss {adversarial.gan!r}; known are {', '.join(GAN_LOSSES)}"
        )
    return GAN_LOSSES[adversarial.gan]


def build_state(experiment: Experiment, subject: Subject, *, device: torch.device) -> TrainState:
    """The state of a run before its first step."""
    settings = experiment.train
    denoiser = build_denoiser(experiment.network, subject, seed=settings.seed).to(device)
    if settings.channels_last:
        denoiser = denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = adam(
        denoiser.parameters(),
        learning_rate=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )
    profiles = PROFILES if settings.ema_profiles else ()
    state = TrainState(denoiser, optimizer, seed=settings.seed, profiles=profiles)
    if settings.objective == "hybrid":
        opponent, shape = experiment.adversarial, subject.shape
        state.discriminator = build_discriminator(opponent, shape, seed=settings.seed).to(device)
        state.discriminator_optimizer = adam(
            state.discriminator.parameters(),
            learning_rate=opponent.learning_rate,
            betas=opponent.betas,
        )
    return state


def build_batches(
    data: ImageSet | PointSet, experiment: Experiment, *, device: torch.device, workers: Workers
) -> Batches:
    """The training batches of a data set."""
    settings, labelled = experiment.train, experiment.network.labels
    row = _COPIES * _BYTES * math.prod(data.shape)
    require_memory(settings.batch_size, row, "rows of a training batch")
    return KeyedBatches(
        data.points if isinstance(data, PointSet) else data.images,
        settings.batch_size,
        settings.seed,
        flip=experiment.data.flip and isinstance(data, ImageSet),
        shift=experiment.data.shift,
        told=experiment.network.augmented,
        workers=workers,
        device=device,
        labels=data.labels if labelled and isinstance(data, ImageSet) else None,
    )


def training_law(experiment: Experiment) -> SigmaLaw:
    """How the noise levels of a training are drawn."""
    settings, schedule = experiment.train, experiment.schedule
    if settings.sigmas == "log-normal":
        return LogNormal(settings.log_mean, settings.log_deviation)
    if settings.sigmas == "log-uniform":
        return LogUniform(schedule.first, schedule.last)
    return UniformLevels(training_sigmas(schedule))


def training_sigmas(schedule: Schedule) -> Tensor:
    """Eq. 2 with the experiment's numbers, [L]."""
    return geometric_sigmas(schedule.first, schedule.last, schedule.levels)


def select_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: a device that this machine or this build of PyTorch does not have.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    here = ["cuda"] * cuda + ["mps"] * mps + ["cpu"]
    if name not in ("auto", *here):
        raise InputError(f"device {name} is not available here; found: {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16; a processor that does not is ten times slower."""
    if device.type != "cpu":
        return device.type == "cuda"
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def remarks_of_precision(precision: Precision, device: torch.device) -> list[str]:
    """What to say of a precision that costs time there, or gains none."""
    if precision == "bfloat16" and not computes_in_bfloat16(device):
        return ["bfloat16 is slower here than float32: this device does not compute in it"]
    if precision == "tf32" and device.type != "cuda":
        return ["tf32 is of GPUs: here it is float32"]
    return []


def remarks_of_training(settings: Train, device: torch.device) -> list[str]:
    """`remarks_of_precision`, and of a GPU that is to train in float32 what would be faster."""
    if device.type != "cuda" or settings.precision != "float32":
        return remarks_of_precision(settings.precision, device)
    return [
        "float32 in full, as asked: a GPU that knows TF32 is several times as fast with"
        " --train.precision tf32, and large networks more with bfloat16"
    ]


def use_threads(threads: int | None) -> None:
    """Set PyTorch's CPU threads; None leaves them alone."""
    if threads is not None:
        require_in_range({"threads": threads})
        torch.set_num_threads(threads)


def training_loop(
    experiment: Experiment,
    state: TrainState,
    data: ImageSet | PointSet,
    *,
    device: torch.device,
    workers: Workers,
    rate: Rate | None = None,
) -> Iterator[Metrics]:
    """The training loop of an experiment, from the state's step to the settings' last.

    The learning rate is that of the settings, unless a rate is given in its place.
    """
    settings, opponent = experiment.train, experiment.adversarial
    in_pixels = isinstance(data, ImageSet)
    if rate is None and (settings.warmup or settings.decay_from):
        rate = warmed_and_decayed(settings.warmup, settings.decay_from)
    updates = train(
        state,
        build_batches(data, experiment, device=device, workers=workers),
        training_law(experiment),
        steps=settings.steps,
        rate=rate,
        clip_norm=settings.clip_norm,
        accumulation=settings.accumulation,
        deviation=data.mean_and_deviation[1] if experiment.network.preconditioned else math.inf,
        label_dropout=settings.label_dropout,
        ema_decay=settings.ema_decay,
        ema_warmup=settings.ema_warmup,
        precision=torch.bfloat16 if settings.precision == "bfloat16" else torch.float32,
        weight=opponent.weight,
        gan=build_gan(opponent),
        discriminator_steps=opponent.steps,
        clamp=(0.0, 1.0) if opponent.clamp and in_pixels else None,
        compiled=settings.compiled,
        recompute=settings.recompute,
        workers=workers,
    )
    return _each_with_tf32(updates, allowed=settings.precision == "tf32")


def _each_with_tf32(updates: Iterator[Metrics], *, allowed: bool) -> Iterator[Metrics]:
    """The updates; what is done between them computes as it would."""
    while True:
        with tf32(allowed):
            update = next(updates, None)
        if update is None:
            return
        yield update
