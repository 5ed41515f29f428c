"""Networks: modules of PyTorch that know nothing of schedules or losses.

A score network is the f of the denoiser H(x, σ) = x + σ f: its output has the shape of its input.
`MLP`, `NCSNv2` and `UNet` see x alone; `ConditionalMLP` and `ConditionalUNet` receive log σ as
well. A discriminator returns one number per sample. Images come in as float pixels in [0, 1] plus
noise of any size; a network that wants another range rescales inside itself.
"""

from cascore.networks.biggan import BigGANDiscriminator as BigGANDiscriminator
from cascore.networks.mlp import MLP as MLP
from cascore.networks.mlp import ConditionalMLP as ConditionalMLP
from cascore.networks.mlp import MLPDiscriminator as MLPDiscriminator
from cascore.networks.ncsnv2 import NCSNv2 as NCSNv2
from cascore.networks.unet import ConditionalUNet as ConditionalUNet
from cascore.networks.unet import UNet as UNet
