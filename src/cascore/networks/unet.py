"""The DDPM U-Net (Ho et al. 2020, arXiv 2006.11239), with and without the noise level.

The unconditional one is the paper's: the layers of Ho et al., their initialization, no embedding
of the noise level; the strided convolutions pad on all sides, as the paper's code has them.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.networks.labels import LabelEmbedding, require_no_label

# DDPM's sinusoids were made for timesteps 0 to 1000; log σ from log 0.01 to log 50 spans 850 here.
_TIMESTEPS_PER_LOG_SIGMA = 100.0
_LONGEST_PERIOD = 10_000.0
_EPS = 1e-6
_AUGMENTATIONS = 3  # numbers that say how an image was mirrored and moved


class _DDPMUNet(nn.Module):
    """What the two U-Nets share: everything but the forward passes."""

    _sees_noise: ClassVar[bool]

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[bool, ...] = (False, True, False, False),
        dropout: float = 0.0,
        unshuffle: int = 1,
        classes: int = 0,
        augmented: bool = False,
        seen: int | None = None,
    ) -> None:
        super().__init__()
        _check_settings(channels, multipliers, blocks, attention, dropout, unshuffle)
        self.channels = channels if seen is None else seen
        self.unshuffle = unshuffle
        self.divisor = unshuffle * 2 ** (len(multipliers) - 1)
        self.width, self.classes = width, classes
        embedding = 4 * width if self._sees_noise or classes or augmented else 0
        self.embed = None
        if self._sees_noise:
            layers = nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
            self.embed = nn.Sequential(*layers)
        groups = _group_count(width)
        widths = [width * m for m in multipliers]
        last = len(widths) - 1
        block = partial(_Block, groups=groups, dropout=dropout, embedding=embedding)
        self.stem = nn.Conv2d(self.channels * unshuffle**2, width, 3, padding=1)
        skips = [width]
        inputs = width
        down: list[nn.Module] = []
        for level, outputs in enumerate(widths):
            for _ in range(blocks):
                down.append(block(inputs, outputs, attends=attention[level]))
                skips.append(outputs)
                inputs = outputs
            if level < last:
                down.append(nn.Conv2d(inputs, inputs, 3, stride=2, padding=1))
                skips.append(inputs)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList(block(inputs, inputs, attends=first) for first in (True, False))
        up: list[nn.Module] = []
        for level in range(last, -1, -1):
            for _ in range(blocks + 1):
                up.append(block(inputs + skips.pop(), widths[level], attends=attention[level]))
                inputs = widths[level]
            if level > 0:
                up.append(_Upsample(inputs))
        self.up = nn.ModuleList(up)
        self.norm = nn.GroupNorm(groups, width, eps=_EPS)
        self.out = nn.Conv2d(width, channels * unshuffle**2, 3, padding=1)
        self.labels = LabelEmbedding(classes, embedding) if classes else None
        _initialize(self)
        self.augmentation = nn.Linear(_AUGMENTATIONS, embedding, bias=False) if augmented else None
        if self.augmentation is not None:
            nn.init.zeros_(self.augmentation.weight)

    def _run(
        self, x: Tensor, level: Tensor | None, label: Tensor | None, augmentation: Tensor | None
    ) -> Tensor:
        self._check_images(x)
        condition = self._condition(level, label, augmentation, x.shape[0])
        h = self.stem(F.pixel_unshuffle(x, self.unshuffle))
        skips = [h]
        for module in self.down:
            h = module(h, condition) if isinstance(module, _Block) else module(h)
            skips.append(h)
        for module in self.middle:
            h = module(h, condition)
        for module in self.up:
            if isinstance(module, _Block):
                h = module(torch.cat([h, skips.pop()], dim=1), condition)
            else:
                h = module(h)
        h = self.out(F.silu(self.norm(h), inplace=True))
        return F.pixel_shuffle(h, self.unshuffle)

    def _condition(
        self, level: Tensor | None, label: Tensor | None, augmentation: Tensor | None, count: int
    ) -> Tensor | None:
        """What the blocks are told: noise level, class and augmentation, as far as they see them.

        No augmentation is one of zeros, which adds nothing.
        """
        told = [] if level is None else [level]
        if self.labels is None:
            require_no_label(label)
        else:
            told.append(self.labels(label, count))
        if self.augmentation is not None:
            if augmentation is None:
                augmentation = self.augmentation.weight.new_zeros(count, _AUGMENTATIONS)
            told.append(self.augmentation(augmentation))
        elif augmentation is not None:
            raise InputError(
                "the network was built without augmentation, so it is told none: build it with"
                " `augmented`, or leave it out"
            )
        return F.silu(sum(told[1:], start=told[0])) if told else None

    def _check_images(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"the U-Net got images of shape {list(x.shape)}, expected "
                f"[N, {self.channels}, height, width]; build it with the images' `channels`"
            )
        height, width = x.shape[2:]
        if height % self.divisor or width % self.divisor:
            below = height - height % self.divisor
            raise InputError(
                f"the U-Net got images of {height}×{width}; with these multipliers and "
                f"unshuffle={self.unshuffle}, height and width must be multiples of "
                f"{self.divisor} (such as {below or 2 * self.divisor} or "
                f"{below + self.divisor}); pad or resize the images, or build it with fewer "
                "multipliers or a smaller unshuffle"
            )


class UNet(_DDPMUNet):
    """DDPM U-Net that does not see σ, as in the paper: x [N, C, H, W] -> f(x) [N, C, H, W].

    f is the residual in H(x, σ) = x + σ f(x). It starts as f = 0: the last convolution begins at
    0, as does the last layer of each residual branch. The defaults are the paper's network for
    CIFAR-10; with multipliers (1, 2, 2, 2, 4, 4) and two more attention flags it is the paper's for
    64×64. The lowest resolution always has one attention layer in the middle of its path, and
    group normalization min(32, width / 4) groups.

    Args:
        channels: channels of the image.
        width: channels of a level with multiplier 1: a multiple of 4 below 128, of 32 from there.
        multipliers: one per resolution; each further level halves the image.
        blocks: residual blocks per level on the way down (one more on the way up).
        attention: one per level: whether self-attention follows each of its blocks.
        dropout: probability, in [0, 1), before the last convolution of each residual block.
        unshuffle: k folds k×k pixels into channels before the U-Net and unfolds them after, which
            makes it cheaper by nearly k²; 1 does nothing.
        classes: how many classes it can be told, which its residual blocks get as an embedding;
            0 for a network that sees x alone.
        augmented: whether it is told, in training, how its images were augmented (EDM, Appendix
            F.2): an embedding of three numbers, all 0 for images that are as they were.
        seen: channels of what it sees, where they are not the image's.

    Raises:
        InputError: settings that do not fit together, images of another number of channels or of a
            size not divisible by unshuffle · 2^(levels - 1), or a label without classes.
    """

    _sees_noise = False

    def forward(
        self, x: Tensor, label: Tensor | None = None, augmentation: Tensor | None = None
    ) -> Tensor:
        """Return f(x), [N, C, H, W], for pixels in [0, 1] plus noise of any size.

        Labels are int64 [N], from 0 to classes - 1, or negative for no class, as None is for all.
        The augmentation is [N, 3]: mirrored or not, and moved how far; None is not at all.
        """
        return self._run(x, None, label, augmentation)


class ConditionalUNet(_DDPMUNet):
    """DDPM U-Net that sees σ: x [N, C, H, W], log σ -> f(x, σ) [N, C, H, W].

    Takes the settings of `UNet` and raises what it raises. 100 log σ takes the place of DDPM's
    timestep, so that the levels from 0.01 to 50 spread over a range like its 1000 steps.
    """

    _sees_noise = True

    def forward(
        self,
        x: Tensor,
        log_sigma: Tensor,
        label: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Return f(x, σ), [N, C, H, W]; `log_sigma` is the natural logarithm, a scalar or [N].

        Labels and augmentation are those of `UNet`; their embeddings are added to that of the noise
        level.
        """
        timestep = _TIMESTEPS_PER_LOG_SIGMA * log_sigma.expand(x.shape[0])
        assert self.embed is not None
        return self._run(x, self.embed(_sinusoids(timestep, self.width)), label, augmentation)


class _Block(nn.Module):
    """Residual block: normalize, SiLU, convolve, twice; then self-attention where it is due."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        groups: int,
        dropout: float,
        embedding: int,
        attends: bool,
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=_EPS)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.level = nn.Linear(embedding, outputs) if embedding else None
        self.norm2 = nn.GroupNorm(groups, outputs, eps=_EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = _Attention(outputs, groups=groups) if attends else nn.Identity()

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        if self.level is not None:
            h = h + self.level(level)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h), inplace=True)))
        return self.attention(self.shortcut(x) + h)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention of one head over all pixels, as a residual branch."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=_EPS)
        self.qkv = nn.ModuleList(nn.Linear(channels, channels) for _ in range(3))
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # [N, H W, C]
        q, k, v = (project(pixels) for project in self.qkv)
        h = self.out(F.scaled_dot_product_attention(q, k, v))
        return x + h.transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]


class _Upsample(nn.Module):
    """Each pixel repeated 2×2, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0))  # type: ignore[no-any-return]


def _sinusoids(timestep: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of timesteps [N] at width / 2 frequencies from 1 down to 1e-4."""
    half = width // 2
    exponents = torch.arange(half, device=timestep.device, dtype=timestep.dtype) / (half - 1)
    angles = timestep[:, None] * torch.exp(-math.log(_LONGEST_PERIOD) * exponents)
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))


def _initialize(unet: nn.Module) -> None:
    # Ho et al.: uniform with variance 1 / fan_avg, zero where a residual branch ends.
    for module in unet.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    for layer in _last_of_branches(unet):
        nn.init.zeros_(layer.weight)


def _last_of_branches(unet: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    for module in unet.modules():
        if isinstance(module, _Block):
            yield module.conv2
        elif isinstance(module, _Attention | _DDPMUNet):
            yield module.out


def _group_count(width: int) -> int:
    groups = min(32, width // 4)  # at least 4 channels a group keeps their relative size
    if groups < 1 or width % groups:
        raise InputError(
            f"the U-Net got width={width}, which does not split into {max(groups, 1)} equal "
            "groups of at least 4 channels; choose a multiple of 4 below 128, or of 32 above"
        )
    return groups


def _check_settings(
    channels: int,
    multipliers: tuple[int, ...],
    blocks: int,
    attention: tuple[bool, ...],
    dropout: float,
    unshuffle: int,
) -> None:
    if not multipliers or min(channels, blocks, unshuffle, *multipliers) < 1:
        raise InputError(
            f"the U-Net got channels={channels}, blocks={blocks}, unshuffle={unshuffle} and "
            f"multipliers={multipliers}; each number must be at least 1, and there must be at "
            "least one multiplier"
        )
    if len(attention) != len(multipliers):
        raise InputError(
            f"the U-Net got {len(attention)} values of attention for {len(multipliers)} "
            f"multipliers; give one bool for each, such as attention={(False,) * len(multipliers)}"
        )
    if not 0 <= dropout < 1:
        raise InputError(f"the U-Net got dropout={dropout}; choose a probability in [0, 1)")
