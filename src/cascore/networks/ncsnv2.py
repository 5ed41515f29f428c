"""NCSNv2 (Song and Ermon 2020, arXiv 2006.09011): the RefineNet score network of the paper.

Convolutional stages of falling resolution, and a RefineNet (Lin et al. 2017) that carries their
outputs back up. Normalization is InstanceNorm++; the network does not see the noise level.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.networks.labels import LabelEmbedding, require_no_label

_EPS = 1e-5


class NCSNv2(nn.Module):
    """NCSNv2 without the noise level: x [N, C, H, W] -> f(x) [N, C, H, W].

    f is the residual in H(x, σ) = x + σ f(x). The multipliers give the three networks of Song and
    Ermon: (1, 2, 2, 2) is NCSNv2 (28×28 and 32×32), (1, 2, 2, 4, 4) is NCSNv2Deeper (64×64), and
    (1, 2, 2, 2, 4, 4) is NCSNv2Deepest (larger). The last two stages keep the resolution and
    dilate their convolutions by 2 and 4; those between the first and them each halve it.

    Args:
        channels: channels of the image.
        width: channels of a stage with multiplier 1, at least 2.
        multipliers: channels of each stage in units of the width, at least four.
        classes: how many classes it can be told, whose embedding is added to the output of each
            stage; 0 for a network that sees x alone.

    Raises:
        InputError: settings that do not fit together, images of another number of channels or of a
            size not divisible by 2^(stages - 3), or a label without classes.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        classes: int = 0,
    ) -> None:
        super().__init__()
        _check_settings(channels=channels, width=width, multipliers=multipliers)
        self.channels, self.classes = channels, classes
        self.divisor = 2 ** (len(multipliers) - 3)
        widths = [width * m for m in multipliers]
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        stages = [nn.Sequential(_Block(width, widths[0]), _Block(widths[0], widths[0]))]
        for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            dilation = {len(widths) - 2: 2, len(widths) - 1: 4}.get(i, 1)
            first = (
                _Halving(inputs, outputs) if dilation == 1 else _Dilated(inputs, outputs, dilation)
            )
            stages.append(nn.Sequential(first, _Block(outputs, outputs, dilation=dilation)))
        self.stages = nn.ModuleList(stages)
        refine = [_Refine([widths[-1]], widths[-1])]
        for i in range(len(widths) - 2, -1, -1):
            below, features = refine[-1].features, widths[max(i - 1, 0)]
            refine.append(_Refine([widths[i], below], features, outputs=3 if i == 0 else 1))
        self.refine = nn.ModuleList(refine)
        self.norm = InstanceNormPlus(width)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        self.labels = None
        if classes:
            self.labels = nn.ModuleList(LabelEmbedding(classes, stage) for stage in widths)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return f(x), [N, C, H, W], for pixels in [0, 1] plus noise of any size.

        Labels are int64 [N], from 0 to classes - 1, or negative for no class, as None is for all.
        """
        self._check_images(x)
        if self.labels is None:
            require_no_label(label)
        # Channels last: the 5×5 maxima are ten times faster so, and no convolution is slower.
        h = self.stem((2 * x - 1).contiguous(memory_format=torch.channels_last))
        maps = []
        for number, stage in enumerate(self.stages):
            h = stage(h)
            if self.labels is not None:
                h = h + self.labels[number](label, x.shape[0])[:, :, None, None]
            maps.append(h)
        h = self.refine[0]([maps.pop()])
        for refine in self.refine[1:]:
            h = refine([maps.pop(), h])
        f: Tensor = self.out(F.elu(self.norm(h), inplace=True))
        return f.contiguous()

    def _check_images(self, x: Tensor) -> None:
        divides = x.ndim == 4 and all(n and n % self.divisor == 0 for n in x.shape[2:])
        if not divides or x.shape[1] != self.channels:
            raise InputError(
                f"NCSNv2 got images of shape {list(x.shape)}, expected [N, {self.channels}, height,"
                f" width] with height and width multiples of {self.divisor}; resize the images, or"
                " build it with their channels and other multipliers"
            )


class InstanceNormPlus(nn.Module):
    """InstanceNorm++ of Song and Ermon (2019): instance normalization that keeps relative means.

    With m and v the mean and variance of each channel [N, C] over its pixels, and m̂ the m
    standardized over the channels of a sample: γ ((x - m) / sqrt(v + eps) + α m̂) + β.

    Args:
        channels: C, at least 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(1 + 0.02 * torch.randn(channels))
        self.gamma = nn.Parameter(1 + 0.02 * torch.randn(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, [N, C, H, W]."""
        # One scale and one shift for each channel of a sample: x is read twice and written once.
        v, m = torch.var_mean(x, dim=(2, 3), correction=0)  # [N, C]
        spread, centre = torch.var_mean(m, dim=1, keepdim=True)  # over channels, unbiased
        relative = (m - centre) * torch.rsqrt(spread + _EPS)
        scale = self.gamma * torch.rsqrt(v + _EPS)
        shift = self.gamma * self.alpha * relative + self.beta - m * scale
        return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


class _Residual(nn.Module):
    """Normalize, ELU, convolve, twice, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.norm1 = InstanceNormPlus(inputs)
        self.conv1 = _conv(inputs, inputs, dilation=dilation)
        self.norm2 = InstanceNormPlus(inputs)
        self.conv2 = _conv(inputs, outputs, dilation=dilation)

    def _branch(self, x: Tensor) -> Tensor:
        h = self.conv1(F.elu(self.norm1(x), inplace=True))
        return F.elu(self.norm2(h), inplace=True)


class _Block(_Residual):
    """Residual block that keeps resolution and channels; its shortcut is the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self._branch(x))  # type: ignore[no-any-return]


class _Dilated(_Residual):
    """Residual block that keeps the resolution; its shortcut is a dilated convolution too."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(inputs, outputs, dilation=dilation)
        self.shortcut = _conv(inputs, outputs, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv2(self._branch(x))  # type: ignore[no-any-return]


class _Halving(_Residual):
    """Residual block that averages both its branch and its shortcut over 2×2 pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        # A 1×1 convolution and a mean commute: averaging first costs a quarter.
        h: Tensor = self.shortcut(F.avg_pool2d(x, 2))
        return h + self._pooled(self._branch(x))

    def _pooled(self, h: Tensor) -> Tensor:
        # A 3×3 convolution averaged over 2×2 is one 4×4 convolution of stride 2, whose kernel is
        # the mean of the four shifts: 16 products an output instead of 36.
        kernel = F.avg_pool2d(F.pad(self.conv2.weight, (1, 1, 1, 1)), 2, stride=1)
        return F.conv2d(h, kernel, self.conv2.bias, stride=2, padding=1)


class _Refine(nn.Module):
    """RefineNet block: adapt each input, fuse them at the finest resolution, pool in a chain.

    Args:
        inputs: channels of each input, the finest first.
        features: channels of the output.
        outputs: residual units after the pooling.
    """

    def __init__(self, inputs: Sequence[int], features: int, *, outputs: int = 1) -> None:
        super().__init__()
        self.features = features
        self.adapt = nn.ModuleList(nn.Sequential(_Unit(n), _Unit(n)) for n in inputs)
        self.fuse = nn.ModuleList(
            nn.Conv2d(n, features, 3, padding=1) for n in (inputs if len(inputs) > 1 else ())
        )
        self.pool = _PooledChain(features)
        self.output = nn.Sequential(*(_Unit(features) for _ in range(outputs)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        adapted = [adapt(x) for adapt, x in zip(self.adapt, maps, strict=True)]
        h, size = adapted[0], adapted[0].shape[2:]
        if self.fuse:
            fine, coarse = (fuse(x) for fuse, x in zip(self.fuse, adapted, strict=True))
            h = _enlarged(fine, size) + _enlarged(coarse, size)
        return self.output(self.pool(h))  # type: ignore[no-any-return]


class _Unit(nn.Module):
    """Residual unit without normalization: ELU, convolve, twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, bias=False)
        self.conv2 = _conv(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.elu(self.conv1(F.elu(x)), inplace=True))  # type: ignore[no-any-return]


class _PooledChain(nn.Module):
    """Chained residual pooling: each link is a 5×5 maximum and a convolution of the one before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(channels, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        total = link = F.elu(x)
        for conv in self.convs:
            link = conv(F.max_pool2d(link, 5, stride=1, padding=2))
            total = total + link
        return total


def _conv(inputs: int, outputs: int, *, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=bias)


def _enlarged(x: Tensor, size: torch.Size) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _check_settings(*, channels: int, width: int, multipliers: tuple[int, ...]) -> None:
    if channels < 1 or width < 2 or len(multipliers) < 4 or min(multipliers) < 1:
        raise InputError(
            f"NCSNv2 got channels={channels}, width={width} and multipliers={multipliers}; expected"
            " at least 1 channel, a width of at least 2, and at least four multipliers of at least"
            " 1, such as (1, 2, 2, 2)"
        )
