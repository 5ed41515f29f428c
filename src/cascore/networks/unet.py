"""The DDPM U-Net (Ho et al. 2020, arXiv 2006.11239), with and without the noise level.

The layers are diffusers' `UNet2DModel`; this module chooses its settings as Ho et al. have them,
initializes it as they do, and takes the noise level out for the unconditional network.
"""

from typing import ClassVar

from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from cascore.errors import InputError

__all__ = ["ConditionalUNet", "UNet"]

# DDPM's sinusoids were made for timesteps 0 to 1000; log σ from log 0.01 to log 50 spans 850 here.
_TIMESTEPS_PER_LOG_SIGMA = 100.0


class _DDPMUNet(nn.Module):
    """What the two U-Nets share: construction, the pixel-unshuffle stem, the rescaling."""

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
    ) -> None:
        super().__init__()
        _check_settings(
            channels=channels,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            dropout=dropout,
            unshuffle=unshuffle,
        )
        self.channels = channels
        self.unshuffle = unshuffle
        self.divisor = unshuffle * 2 ** (len(multipliers) - 1)
        self.backbone = UNet2DModel(
            in_channels=channels * unshuffle**2,
            out_channels=channels * unshuffle**2,
            block_out_channels=tuple(width * m for m in multipliers),
            layers_per_block=blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]),
            downsample_padding=0,  # pads below and to the right only, as TensorFlow does
            dropout=dropout,
            attention_head_dim=None,  # one head
            norm_num_groups=_group_count(width),
            norm_eps=1e-6,
            flip_sin_to_cos=False,
            freq_shift=1,
        )
        if not self._sees_noise:
            _remove_noise_level(self.backbone)
        _initialize(self.backbone)

    def _run(self, x: Tensor, timestep: Tensor) -> Tensor:
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
        folded = F.pixel_unshuffle(2 * x - 1, self.unshuffle)
        return F.pixel_shuffle(self.backbone(folded, timestep).sample, self.unshuffle)


class UNet(_DDPMUNet):
    """DDPM U-Net that does not see σ, as in the paper: x [N, C, H, W] -> f(x) [N, C, H, W].

    f is the residual in H(x, σ) = x + σ f(x). It starts as f = 0: the last convolution begins at
    0, as does the last layer of each residual branch. The defaults are the paper's network for
    CIFAR-10. The lowest resolution always has one attention layer in the middle of its path, and
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

    Raises:
        InputError: settings that do not fit together, or images of another number of channels or
            of a size not divisible by unshuffle · 2^(levels - 1).
    """

    _sees_noise = False

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), [N, C, H, W], for pixels in [0, 1] plus noise of any size."""
        return self._run(x, x.new_zeros(()))  # diffusers wants a timestep; nothing reads it


class ConditionalUNet(_DDPMUNet):
    """DDPM U-Net that sees σ: x [N, C, H, W], log σ -> f(x, σ) [N, C, H, W].

    Takes the settings of `UNet`. 100 log σ takes the place of DDPM's timestep, so that the
    levels from 0.01 to 50 spread over a range like its 1000 steps.

    Raises:
        InputError: as `UNet` does.
    """

    _sees_noise = True

    def forward(self, x: Tensor, log_sigma: Tensor) -> Tensor:
        """Return f(x, σ), [N, C, H, W]; `log_sigma` is the natural logarithm, a scalar or [N]."""
        return self._run(x, _TIMESTEPS_PER_LOG_SIGMA * log_sigma.expand(x.shape[0]))


def _check_settings(
    *,
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


def _group_count(width: int) -> int:
    groups = min(32, width // 4)  # at least 4 channels a group keeps their relative size
    if groups < 1 or width % groups:
        raise InputError(
            f"the U-Net got width={width}, which does not split into {max(groups, 1)} equal "
            "groups of at least 4 channels; choose a multiple of 4 below 128, or of 32 above"
        )
    return groups


class _NoTimeEmbedding(nn.Module):
    """Stands where diffusers embeds the timestep: there is none."""

    def forward(self, timestep: Tensor) -> None:
        return None


def _remove_noise_level(unet: nn.Module) -> None:
    # A constant timestep would leave each block a 4 × width vector that only acts as a second
    # bias: useless weights, and Adam, moving all of them at once, would move that bias too fast.
    unet.register_module("time_embedding", _NoTimeEmbedding())
    for block in unet.modules():
        if isinstance(block, ResnetBlock2D):
            block.register_module("time_emb_proj", None)  # as if built with temb_channels=None


def _initialize(unet: nn.Module) -> None:
    # Ho et al.: uniform with variance 1 / fan_avg, zero where a residual branch ends.
    for module in unet.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.get_parameter("conv2.weight"))
        elif isinstance(module, Attention):
            nn.init.zeros_(module.get_parameter("to_out.0.weight"))
    nn.init.zeros_(unet.get_parameter("conv_out.weight"))
