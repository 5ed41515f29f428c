"""Objects from settings: data, networks, the state of a run, schedules and samplers."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cascore.data import FolderOptions, ImageSet, PointSet, load
from cascore.denoiser import ConditionalDenoiser, Denoiser, UnconditionalDenoiser
from cascore.errors import InputError
from cascore.experiment.settings import Adversarial, Data, Experiment, Network, Sampler, Schedule
from cascore.losses import GAN_LOSSES, GanLoss
from cascore.networks import (
    MLP,
    BigGANDiscriminator,
    ConditionalMLP,
    ConditionalUNet,
    MLPDiscriminator,
    NCSNv2,
    UNet,
)
from cascore.noise import Noise
from cascore.sampling import (
    Callback,
    Samples,
    annealed_langevin,
    consistent_annealed,
    order_and_kappa,
)
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas, stretch
from cascore.training import (
    Batches,
    KeyedBatches,
    Metrics,
    TrainState,
    Workers,
    adam,
    train,
)

__all__ = [
    "build_batches",
    "build_denoiser",
    "build_discriminator",
    "build_gan",
    "build_sampler",
    "build_state",
    "data_shape",
    "label_of",
    "load_data",
    "network_calls",
    "resolved",
    "sampling_sigmas",
    "select_device",
    "settings_of",
    "training_loop",
    "training_sigmas",
    "use_threads",
]

_SPACINGS = {
    "geometric": geometric_sigmas,
    "karras": karras_sigmas,
    "centred": centred_sigmas,
}


def load_data(data: Data, split: str) -> ImageSet | PointSet:
    """One split of the experiment's data set."""
    options = FolderOptions()
    if data.name.startswith("folder:"):
        options = FolderOptions(size=data.size, crop=data.crop, filter=data.filter, mode=data.mode)
    root = None if data.root is None else Path(data.root)
    return load(data.name, split, root=root, folder=options)


def data_shape(data: ImageSet | PointSet) -> tuple[int, ...]:
    """Of one datum: (C, H, W) or (2,)."""
    return data.shape if isinstance(data, ImageSet) else tuple(data.points.shape[1:])


def build_denoiser(network: Network, shape: tuple[int, ...], *, seed: int) -> nn.Module:
    """The score network behind the contract, its initial weights a function of the seed."""
    _require_kind(network, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        built = _build_network(network, shape)
    return ConditionalDenoiser(built) if network.conditional else UnconditionalDenoiser(built)


def _require_kind(network: Network, shape: tuple[int, ...]) -> None:
    what, fitting = ("points", "mlp") if len(shape) == 1 else ("images", "unet or ncsnv2")
    if network.kind not in fitting.split(" or "):
        raise InputError(f"network.kind is {network.kind}, but the data are {what}: use {fitting}")


def _build_network(network: Network, shape: tuple[int, ...]) -> nn.Module:
    if network.kind == "mlp":
        points = ConditionalMLP if network.conditional else MLP
        return points(dimension=shape[0], width=network.width, depth=network.depth)
    if network.kind == "ncsnv2":
        return NCSNv2(channels=shape[0], width=network.width, multipliers=network.multipliers)
    images = ConditionalUNet if network.conditional else UNet
    return images(
        channels=shape[0],
        width=network.width,
        multipliers=network.multipliers,
        blocks=network.blocks,
        attention=network.attention,
        dropout=network.dropout,
        unshuffle=network.unshuffle,
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


def build_state(
    experiment: Experiment, shape: tuple[int, ...], *, device: torch.device
) -> TrainState:
    """The state of a run before its first step."""
    settings = experiment.train
    denoiser = build_denoiser(experiment.network, shape, seed=settings.seed).to(device)
    state = TrainState(
        denoiser,
        adam(denoiser.parameters(), learning_rate=settings.learning_rate, betas=settings.betas),
        seed=settings.seed,
    )
    if settings.objective == "hybrid":
        opponent = experiment.adversarial
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
    settings = experiment.train
    return KeyedBatches(
        data.points if isinstance(data, PointSet) else data.images,
        settings.batch_size,
        settings.seed,
        flip=experiment.data.flip and isinstance(data, ImageSet),
        workers=workers,
        device=device,
    )


def training_sigmas(schedule: Schedule) -> Tensor:
    """Eq. 2 with the experiment's numbers, [L]."""
    return geometric_sigmas(schedule.first, schedule.last, schedule.levels)


def sampling_sigmas(sampler: Sampler, schedule: Schedule) -> Tensor:
    """The levels of a chain: its own count and spacing over the range of the training's."""
    count = schedule.levels if sampler.steps is None else sampler.steps
    if count > 1 and schedule.levels == 1:
        raise InputError(
            f"the model was trained at the one level {schedule.first:g}, so a chain has one level,"
            f" not {count}: sample with --method als --steps 1 --n-sigma 10 --eta 0.2"
        )
    spaced = _SPACINGS[resolved(sampler).spacing or "geometric"]
    sigmas = spaced(schedule.first, schedule.last if count > 1 else schedule.first, count)
    return stretch(sigmas, sampler.n_sigma) if sampler.method == "cas" else sigmas


def build_sampler(
    sampler: Sampler, schedule: Schedule
) -> Callable[[Denoiser, Tensor, Noise, Callback | None], Samples]:
    """A function of (denoiser, start, noise, callback) that runs one chain."""
    sigmas = sampling_sigmas(sampler, schedule)

    def run(denoiser: Denoiser, x: Tensor, noise: Noise, callback: Callback | None) -> Samples:
        if sampler.method == "als":
            return annealed_langevin(
                denoiser,
                x,
                sigmas,
                eta=sampler.eta,
                epsilon=sampler.epsilon,
                n_sigma=sampler.n_sigma,
                noise=noise,
                callback=callback,
            )
        return consistent_annealed(
            denoiser,
            x,
            sigmas,
            kappa=sampler.kappa,
            eta=sampler.eta,
            epsilon=sampler.epsilon,
            order=sampler.order,
            noise=noise,
            callback=callback,
        )

    return run


def select_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: a device that this machine or this build of PyTorch does not have.
    """
    has = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(each for each in ("cuda", "mps", "cpu") if has[each])
    if not has[name]:
        found = ", ".join(each for each, there in has.items() if there)
        raise InputError(f"device {name} is not available here; found: {found}")
    return torch.device(name)


def use_threads(threads: int | None) -> None:
    """Set PyTorch's CPU threads; None leaves them alone."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    torch.set_num_threads(threads)


def settings_of(sampler: Sampler) -> dict[str, object]:
    """The sampler's settings for a record, with the kappa and the spacing in force."""
    return asdict(resolved(sampler))


def resolved(sampler: Sampler) -> Sampler:
    """The sampler with the order, kappa and spacing in force, where they were not given.

    Levels are geometric, as in training; but centred in a chain of second order with levels of its
    own and a step size in kappa. One in eta or epsilon wants geometric levels, all steps alike.
    """
    order, kappa = sampler.order, None
    if sampler.method == "cas":
        in_force, kappa = order_and_kappa(
            order=sampler.order, kappa=sampler.kappa, eta=sampler.eta, epsilon=sampler.epsilon
        )
        order = 1 if in_force == 1 else 2
    centred = sampler.steps is not None and order == 2 and kappa is not None
    spacing = sampler.spacing or ("centred" if centred else "geometric")
    return replace(sampler, order=order, kappa=kappa, spacing=spacing)


def label_of(sampler: Sampler) -> str:
    """The sampler in a few words, its levels where they are not the paper's."""
    sampler = resolved(sampler)
    spaced = "" if sampler.spacing == "geometric" else f", {sampler.spacing} levels"
    if sampler.method == "als":
        return f"ALS, n_sigma {sampler.n_sigma}{spaced}"
    sizes = {name: getattr(sampler, name) for name in ("eta", "epsilon", "kappa")}
    name, size = next((name, size) for name, size in sizes.items() if size is not None)
    return f"CAS, order {sampler.order}, {name} {size:g}{spaced}"


def network_calls(sampler: Sampler, schedule: Schedule) -> int:
    """How many network calls one chain takes."""
    levels = len(sampling_sigmas(sampler, schedule))
    return levels * (sampler.n_sigma if sampler.method == "als" else 1)


def training_loop(
    experiment: Experiment,
    state: TrainState,
    data: ImageSet | PointSet,
    *,
    device: torch.device,
    workers: Workers,
) -> Iterator[Metrics]:
    """The training loop of an experiment, from the state's step to the settings' last."""
    settings, opponent = experiment.train, experiment.adversarial
    in_pixels = isinstance(data, ImageSet)
    return train(
        state,
        build_batches(data, experiment, device=device, workers=workers),
        training_sigmas(experiment.schedule),
        steps=settings.steps,
        ema_decay=settings.ema_decay,
        ema_warmup=settings.ema_warmup,
        precision=torch.bfloat16 if settings.precision == "bfloat16" else torch.float32,
        weight=opponent.weight,
        gan=build_gan(opponent),
        discriminator_steps=opponent.steps,
        clamp=(0.0, 1.0) if opponent.clamp and in_pixels else None,
        workers=workers,
    )
