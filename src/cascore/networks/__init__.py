"""Networks: plain `torch.nn.Module`s that know nothing of schedules or losses.

A score network is the f of the denoiser H(x, σ) = x + σ f: its output has the shape of its input.
`MLP`, `NCSNv2` and `UNet` see x alone; `ConditionalMLP` and `ConditionalUNet` receive log σ as
well. A discriminator returns one number per sample. Images come in as float pixels in [0, 1] plus
noise of any size; a network that wants another range rescales inside itself.
"""

from cascore.networks.biggan import BigGANDiscriminator
from cascore.networks.mlp import MLP, ConditionalMLP, MLPDiscriminator
from cascore.networks.ncsnv2 import NCSNv2
from cascore.networks.unet import ConditionalUNet, UNet

__all__ = [
    "MLP",
    "BigGANDiscriminator",
    "ConditionalMLP",
    "ConditionalUNet",
    "MLPDiscriminator",
    "NCSNv2",
    "UNet",
]
