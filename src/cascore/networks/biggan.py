"""The discriminator of BigGAN (Brock et al. 2018, arXiv 1809.11096), without classes."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from cascore.errors import InputError


class BigGANDiscriminator(nn.Module):
    """BigGAN's residual discriminator: images [N, channels, size, size] -> D(x) [N], unbounded.

    Every weight is divided by its largest singular value (spectral normalization, Miyato et al.
    2018) and starts as Glorot and Bengio (2010) have it, as in the paper's code. The estimate of
    that value takes one power-iteration step in each forward pass in training mode; its vectors are
    buffers and are saved with the weights.

    The layout follows from `size`, in units of `width` channels:

    - below 64: four blocks of 4 units, of which the first two halve the image, or only the first
      where two would leave fewer than 4×4 pixels (sizes 8 to 15);
    - from 64: one halving block for each time the image can be halved without falling below
      4×4 pixels, of 1, 2, 4, 8, 16, 16, ... units, then one block of 16 units at that size.
      This is BigGAN's layout at 64×64, and at 128×128 without its attention layer.

    Args:
        channels: channels of the image.
        size: height and width of the image, at least 8.
        width: channels of one unit; the paper uses 64.

    Raises:
        InputError: a size below 8, another setting below 1, or images of another shape.
    """

    def __init__(self, *, channels: int, size: int, width: int) -> None:
        super().__init__()
        if min(channels, width) < 1:
            raise InputError(
                f"BigGANDiscriminator got channels={channels} and width={width}; "
                "both must be at least 1"
            )
        self.channels = channels
        self.size = size
        blocks: list[nn.Module] = []
        inputs = channels
        for i, (units, halves) in enumerate(_layout(size)):
            outputs = units * width
            blocks.append(_Block(inputs=inputs, outputs=outputs, halves=halves, first=i == 0))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = _normalized(nn.Linear(inputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return D(x), [N], for float pixels in [0, 1]."""
        expected = (self.channels, self.size, self.size)
        if x.shape[1:] != expected:
            raise InputError(
                f"BigGANDiscriminator got images of shape {list(x.shape)}, expected "
                f"[N, {self.channels}, {self.size}, {self.size}]; resize the images, or build it "
                "with their channels and size"
            )
        features = F.relu(self.blocks(x)).sum(dim=(2, 3))
        return self.linear(features).squeeze(1)  # type: ignore[no-any-return]


class _Stage(NamedTuple):
    """One residual block: its channels in units of the width, and whether it halves the image."""

    units: int
    halves: bool


def _layout(size: int) -> list[_Stage]:
    if size < 8:
        raise InputError(
            f"BigGANDiscriminator got size={size}, expected at least 8; enlarge the images"
        )
    halvings = (size // 4).bit_length() - 1  # as many as leave at least 4 pixels
    if size < 64:
        return [_Stage(4, i < min(halvings, 2)) for i in range(4)]
    return [_Stage(min(2**i, 16), True) for i in range(halvings)] + [_Stage(16, False)]


class _Block(nn.Module):
    """Residual block: two 3×3 convolutions beside a shortcut, both averaged over 2×2 if it halves.

    The first block sees pixels, not activations: no ReLU before its first convolution.
    """

    def __init__(self, *, inputs: int, outputs: int, halves: bool, first: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = first
        self.conv1 = _normalized(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = _normalized(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut: nn.Module = nn.Identity()
        if halves or inputs != outputs:
            self.shortcut = _normalized(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(x))
        h = self._pool(self.conv2(F.relu(h)))
        # BigGAN convolves before it pools except in its first block; a 1×1 convolution and a
        # mean commute, and this order is four times cheaper.
        return h + self.shortcut(self._pool(x))  # type: ignore[no-any-return]

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halves else x


def _normalized(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    # Before spectral_norm, which prepares its singular vectors from the weight it is given.
    nn.init.xavier_uniform_(layer.weight)
    return spectral_norm(layer)
