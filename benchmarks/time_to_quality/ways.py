"""The ways to train: ours of today and of 0.3, and diffusers', of one U-Net and of theirs."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from cascore.data import ImageSet
from cascore.experiment import build
from cascore.experiment.chain import generate
from cascore.experiment.choose import choose_levels
from cascore.experiment.presets import FOLDER
from cascore.experiment.settings import ENDLESS, Data, Experiment, Network, Sampler, Train
from cascore.training import Pace, Workers

CPU = torch.device("cpu")
BATCH = 32
HALF = build.computes_in_bfloat16(CPU)  # as `--minutes` chooses, and theirs alike
_PARTS = 250  # pictures at a time

Updates = Iterator[tuple[int, Callable[[], nn.Module]]]
"""After each update its number, and what copies the average of the weights."""
Draw = Callable[[nn.Module, Sequence[int]], Tensor]
"""Pictures in [0, 1] of seeds, by an average of the weights."""


@dataclass(frozen=True)
class Drawn:
    """A sampler, and whether it draws from every average, from the last, or of one seed's alone."""

    draw: Draw
    when: Literal["each", "end", "once"] = "each"


@dataclass(frozen=True)
class Training:
    """A training that is about to begin, and the samplers of what it learns."""

    updates: Updates
    samplers: Mapping[str, Drawn]


def network_of(shape: tuple[int, ...]) -> Network:
    """Our U-Net of 1.1 million weights: three resolutions where the sides of pictures allow it."""
    three = all(side % 8 == 0 for side in shape[1:])
    return Network(
        width=32 if three else 40,
        multipliers=(1, 2, 2) if three else (1, 2),
        attention=(False, True, False) if three else (False, True),
        blocks=1,
        unshuffle=2,
    )


# --- ours ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """A form of our network, trained as folders are today or, `constant`, as 0.3's presets were."""

    conditional: bool = False
    preconditioned: bool = False
    spectral: bool = False
    constant: bool = False

    def experiment(self, data: Data, images: ImageSet, seed: int) -> Experiment:
        """Its settings."""
        schedule, _ = choose_levels(images, progress=lambda count: None)
        law = "log-normal" if self.preconditioned else "levels"
        network = replace(
            network_of(images.shape),
            conditional=self.conditional,
            preconditioned=self.preconditioned,
            spectral=self.spectral,
        )
        today = replace(FOLDER.train, sigmas=law)
        train = replace(
            Train(learning_rate=today.learning_rate) if self.constant else today,
            steps=ENDLESS,
            seed=seed,
            batch_size=BATCH,
            precision="bfloat16" if HALF else "float32",
        )
        return Experiment(name="time", data=data, network=network, schedule=schedule, train=train)

    def training(self, data: Data, images: ImageSet, *, seed: int, seconds: float) -> Training:
        """Our loop, its rate by the clock unless it is constant; the default sampler."""
        experiment = self.experiment(data, images, seed)

        def draw(calls: int, denoiser: nn.Module, seeds: Sequence[int]) -> Tensor:
            return generate(
                denoiser,
                shape=images.shape,
                seeds=seeds,
                sampler=Sampler(calls=calls),
                schedule=experiment.schedule,
                at_levels=experiment.at_levels,
                device=CPU,
            ).denoised

        samplers = {
            "the default, 12 calls": Drawn(partial(draw, 12)),
            "the default, 50 calls": Drawn(partial(draw, 50), "end"),
        }
        return Training(self._updates(experiment, images, seconds), samplers)

    def _updates(self, experiment: Experiment, images: ImageSet, seconds: float) -> Updates:
        state = build.build_state(
            experiment, build.Subject.of(images, experiment.network), device=CPU
        )
        pace = Pace(seconds, steps=ENDLESS, warmup=experiment.train.warmup)
        for metrics in build.training_loop(
            experiment,
            state,
            images,
            device=CPU,
            workers=Workers(),
            rate=None if self.constant else pace.rate,
        ):
            yield metrics.step, partial(copy.deepcopy, state.average)


# --- theirs --------------------------------------------------------------------------------------


class Told(nn.Module):
    """Our U-Net where theirs stands: it is told the step as log(sigma) / 4, as in EDM's form."""

    def __init__(self, shape: tuple[int, ...], alphas: Tensor, *, seed: int = 0) -> None:
        super().__init__()
        aware = replace(network_of(shape), conditional=True)
        denoiser = build.build_denoiser(aware, build.Subject(shape=shape), seed=seed)
        self.network: nn.Module = denoiser.network  # type: ignore[assignment]
        self.register_buffer("levels", ((1 - alphas) / alphas).log() / 8)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Epsilon."""
        level: Tensor = self.levels[step]  # type: ignore[index]
        return self.network(x, level.expand(len(x)))  # type: ignore[no-any-return]


class Epsilon(nn.Module):
    """Their U-Net; its widths are such that it has as many weights as ours."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.network = UNet2DModel(
            sample_size=shape[1],
            in_channels=shape[0],
            out_channels=shape[0],
            layers_per_block=1,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=16,
            attention_head_dim=8,
        )

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Epsilon."""
        return self.network(x, step).sample  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Theirs:
    """The loop of diffusers' unconditional training example, around its U-Net or around ours."""

    rate: float = 1e-4
    warmup: int = 500
    whole: bool = False

    def training(self, data: Data, images: ImageSet, *, seed: int, seconds: float) -> Training:
        """Their loop and their samplers."""
        from diffusers import DDPMScheduler

        alphas = DDPMScheduler().alphas_cumprod
        network = Epsilon(images.shape) if self.whole else Told(images.shape, alphas, seed=seed)
        drawn = their_samplers(images.shape)
        if self.whole:  # which takes four times as long a call
            del drawn["DDPM, 1000 calls"]
        return Training(self._updates(network, images, seconds, seed), drawn)

    def _updates(self, network: nn.Module, images: ImageSet, seconds: float, seed: int) -> Updates:
        from diffusers import DDPMScheduler
        from diffusers.training_utils import EMAModel

        scheduler, generator = DDPMScheduler(), torch.Generator().manual_seed(seed)
        average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, power=0.75)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        rows = torch.utils.data.DataLoader(
            images.images, batch_size=BATCH, shuffle=True, drop_last=True, generator=generator
        )
        started, step = time.monotonic(), 0

        def averaged() -> nn.Module:
            whole = copy.deepcopy(network)
            average.copy_to(whole.parameters())
            return whole

        while True:
            for batch in rows:
                share = min(1.0, (time.monotonic() - started) / seconds)
                for group in optimizer.param_groups:
                    cosine = 0.5 * (1 + math.cos(math.pi * share))
                    group["lr"] = self.rate * min(step / self.warmup, cosine)
                clean = batch.float() / 127.5 - 1
                noise = torch.randn(clean.shape, generator=generator)
                steps = torch.randint(0, 1000, (len(clean),), generator=generator)
                with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
                    output = network(scheduler.add_noise(clean, noise, steps), steps)
                nn.functional.mse_loss(output.float(), noise).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                average.step(network.parameters())
                step += 1
                yield step, averaged


def their_samplers(shape: tuple[int, ...]) -> dict[str, Drawn]:
    """Their schedulers, which clip x0 to the range of the pixels as they do by default."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    @torch.no_grad()
    def draw(kind: type, calls: int, network: nn.Module, seeds: Sequence[int]) -> Tensor:
        parts = []
        for first in range(0, len(seeds), _PARTS):
            part = seeds[first : first + _PARTS]
            scheduler, generator = kind(), torch.Generator().manual_seed(part[0])
            with warnings.catch_warnings():  # they hand tensors to NumPy, of which NumPy 2 warns
                warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
                scheduler.set_timesteps(calls)
            x = torch.randn(len(part), *shape, generator=generator)
            for step in scheduler.timesteps:
                output = network(x, step.reshape(1))
                x = scheduler.step(output, step, x, generator=generator).prev_sample
            parts.append((x + 1) / 2)
        return torch.cat(parts)

    return {
        "DPM-Solver++, 20 calls": Drawn(partial(draw, DPMSolverMultistepScheduler, 20)),
        "DDPM, 50 calls": Drawn(partial(draw, DDPMScheduler, 50), "end"),
        "DDPM, 1000 calls": Drawn(partial(draw, DDPMScheduler, 1000), "once"),
    }


WAYS: Mapping[str, Ours | Theirs] = {
    "cascore": Ours(conditional=True, preconditioned=True, spectral=True),
    "cascore, EDM's form": Ours(conditional=True, preconditioned=True),
    "cascore, paper's form": Ours(conditional=True),
    "cascore, paper's form, blind": Ours(),
    "cascore 0.3": Ours(constant=True),
    "diffusers' loop": Theirs(),
    "diffusers' loop, our rate": Theirs(
        rate=FOLDER.train.learning_rate, warmup=FOLDER.train.warmup
    ),
    "diffusers": Theirs(whole=True),
}
"""By name."""
