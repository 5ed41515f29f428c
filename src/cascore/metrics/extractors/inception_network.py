"""Inception-v3 (Szegedy et al., 2016) as the graph that TensorFlow published on 2015-12-05 has it.

The Fréchet Inception Distance and the Inception Score are numbers of this graph, not of later
Inception-v3 models, from which it differs in three ways: an average pool divides by the number of
pixels under its window rather than by 9, the last block pools by maximum, and there are 1,008
logits. The auxiliary classifier served training only and is left out.

A block runs several chains of convolutions side by side and concatenates their results. The names
are those of the weights file that the field uses; its batch normalisations, whose statistics are
fixed, are part of the convolutions before them.
"""

from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn

SIDE = 299
FEATURES = 2048
LOGITS = 1008


class _Conv(NamedTuple):
    """A convolution of a table: channels that leave it, and its kernel (one side if square).

    It keeps the size where `same` is true (zeros around), otherwise it takes whole windows only.
    """

    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    same: bool = True


# Convolutions one after the other; two in place of one see the same input, side by side.
_Chain = tuple[_Conv | tuple[_Conv, _Conv], ...]


class _Convolution(nn.Module):
    """A convolution with an offset, then ReLU."""

    def __init__(self, row: _Conv, inputs: int) -> None:
        super().__init__()
        kernel = (row.kernel, row.kernel) if isinstance(row.kernel, int) else row.kernel
        padding = (kernel[0] // 2, kernel[1] // 2) if row.same else 0
        self.conv = nn.Conv2d(inputs, row.channels, kernel, stride=row.stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out.relu_()


class _Mixed(nn.Module):
    """Chains side by side, concatenated over their channels; the last one sees the pooled input.

    A chain `b` of several convolutions names them b_1, b_2, …, and two side by side b_2a and b_2b.
    """

    def __init__(self, inputs: int, pool: nn.Module, **chains: _Chain) -> None:
        super().__init__()
        self.pool, self.chains = pool, [self._add(inputs, *named) for named in chains.items()]

    def _add(self, width: int, stem: str, chain: _Chain) -> list[list[str]]:
        steps = []
        for number, step in enumerate(chain, 1):
            name = stem if len(chain) == 1 else f"{stem}_{number}"
            rows = (step,) if isinstance(step, _Conv) else step
            steps.append([name] if len(rows) == 1 else [f"{name}a", f"{name}b"])
            for layer, row in zip(steps[-1], rows, strict=True):
                self.add_module(layer, _Convolution(row, width))
            width = sum(row.channels for row in rows)
        return steps

    def forward(self, x: Tensor) -> Tensor:
        *plain, pooled = self.chains
        results = [self._run(chain, x) for chain in plain]
        return torch.cat([*results, self._run(pooled, self.pool(x))], dim=1)

    def _run(self, chain: list[list[str]], x: Tensor) -> Tensor:
        for names in chain:
            parts = [self.get_submodule(name)(x) for name in names]
            x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x


_ACROSS, _DOWN = (1, 7), (7, 1)  # a 7×7 window in two strokes
_FORK = (_Conv(384, (1, 3)), _Conv(384, (3, 1)))  # a 3×3 window parted into a row and a column


def _average() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _halving(channels: int) -> _Conv:
    return _Conv(channels, 3, stride=2, same=False)


def _on_35(inputs: int, pooled: int) -> _Mixed:
    """A block on 35×35 pixels ("A"): 224 channels and those of the pool."""
    return _Mixed(
        inputs,
        _average(),
        branch1x1=(_Conv(64),),
        branch5x5=(_Conv(48), _Conv(64, 5)),
        branch3x3dbl=(_Conv(64), _Conv(96, 3), _Conv(96, 3)),
        branch_pool=(_Conv(pooled),),
    )


def _on_17(width: int) -> _Mixed:
    """A block on 17×17 pixels ("C"), with `width` channels between its strokes."""
    across, down, last = _Conv(width, _ACROSS), _Conv(width, _DOWN), _Conv(192, _ACROSS)
    return _Mixed(
        768,
        _average(),
        branch1x1=(_Conv(192),),
        branch7x7=(_Conv(width), across, _Conv(192, _DOWN)),
        branch7x7dbl=(_Conv(width), down, across, down, last),
        branch_pool=(_Conv(192),),
    )


def _on_8(inputs: int, pool: nn.Module) -> _Mixed:
    """A block on 8×8 pixels ("E")."""
    return _Mixed(
        inputs,
        pool,
        branch1x1=(_Conv(320),),
        branch3x3=(_Conv(384), _FORK),
        branch3x3dbl=(_Conv(448), _Conv(384, 3), _FORK),
        branch_pool=(_Conv(192),),
    )


class InceptionNetwork(nn.Module):
    """The network from scaled pixels to features, and the linear map from there to logits.

    `forward` takes float pixels [N, 3, 299, 299] in [-1, 1) and returns [N, 2048], the mean of
    the last block over its 8×8 pixels. The submodule `fc` turns features into logits [N, 1008].
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(_halving(32), 3)
        self.Conv2d_2a_3x3 = _Convolution(_Conv(32, 3, same=False), 32)
        self.Conv2d_2b_3x3 = _Convolution(_Conv(64, 3), 32)
        self.pool_2 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = _Convolution(_Conv(80), 64)
        self.Conv2d_4a_3x3 = _Convolution(_Conv(192, 3, same=False), 80)
        self.pool_4 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = _on_35(192, pooled=32)
        self.Mixed_5c = _on_35(256, pooled=64)
        self.Mixed_5d = _on_35(288, pooled=64)
        self.Mixed_6a = _Mixed(
            288,
            nn.MaxPool2d(3, stride=2),
            branch3x3=(_halving(384),),
            branch3x3dbl=(_Conv(64), _Conv(96, 3), _halving(96)),
            branch_pool=(),
        )
        self.Mixed_6b = _on_17(128)
        self.Mixed_6c = _on_17(160)
        self.Mixed_6d = _on_17(160)
        self.Mixed_6e = _on_17(192)
        self.Mixed_7a = _Mixed(
            768,
            nn.MaxPool2d(3, stride=2),
            branch3x3=(_Conv(192), _halving(320)),
            branch7x7x3=(_Conv(192), _Conv(192, _ACROSS), _Conv(192, _DOWN), _halving(192)),
            branch_pool=(),
        )
        self.Mixed_7b = _on_8(1280, _average())
        self.Mixed_7c = _on_8(2048, nn.MaxPool2d(3, stride=1, padding=1))
        self.fc = nn.Linear(FEATURES, LOGITS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [N, 2048] of scaled pixels [N, 3, 299, 299]."""
        x = pixels
        for layer in takewhile(lambda layer: layer is not self.fc, self.children()):
            x = layer(x)
        return x.mean(dim=(2, 3))
