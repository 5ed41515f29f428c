"""Networks: plain `torch.nn.Module`s that know nothing of schedules or losses.

A score network is the f of the denoiser H(x, σ) = x + σ f: its output has the shape of its input.
`MLP` and `UNet` see x alone; `ConditionalMLP` and `ConditionalUNet` receive log σ as well.
A discriminator returns one number per sample. Images come in as float pixels in [0, 1] plus
noise of any size; the networks rescale inside themselves.

The U-Nets are imported when first asked for, because diffusers takes seconds to import.
"""

from typing import TYPE_CHECKING, Any

from cascore.networks.biggan import BigGANDiscriminator
from cascore.networks.mlp import MLP, ConditionalMLP, MLPDiscriminator

if TYPE_CHECKING:
    from cascore.networks.unet import ConditionalUNet, UNet

__all__ = [
    "MLP",
    "BigGANDiscriminator",
    "ConditionalMLP",
    "ConditionalUNet",
    "MLPDiscriminator",
    "UNet",
]


def __getattr__(name: str) -> Any:
    """Import the U-Nets on first use (PEP 562)."""
    if name in ("ConditionalUNet", "UNet"):
        from cascore.networks import unet

        return getattr(unet, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
