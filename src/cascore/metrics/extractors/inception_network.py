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
    """A convolution of a table: its name, channels that leave it, kernel (one side if square).

    It keeps the size where `same` is true (zeros around), otherwise it takes whole windows only.
    """

    name: str
    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    same: bool = True


# The convolutions of a fork see the same input, and their results are concatenated.
_Fork = tuple[_Conv, _Conv]
_Chain = tuple[_Conv | _Fork, ...]


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
    """Chains side by side, concatenated over their channels; the last one sees the pooled input."""

    def __init__(self, inputs: int, pool: nn.Module, *chains: _Chain) -> None:
        super().__init__()
        self.pool, self.chains = pool, chains
        for chain in chains:
            width = inputs
            for step in chain:
                rows = (step,) if isinstance(step, _Conv) else step
                for row in rows:
                    self.add_module(row.name, _Convolution(row, width))
                width = sum(row.channels for row in rows)

    def forward(self, x: Tensor) -> Tensor:
        *plain, pooled = self.chains
        results = [self._run(chain, x) for chain in plain]
        return torch.cat([*results, self._run(pooled, self.pool(x))], dim=1)

    def _run(self, chain: _Chain, x: Tensor) -> Tensor:
        for step in chain:
            if isinstance(step, _Conv):
                x = self.get_submodule(step.name)(x)
            else:
                x = torch.cat([self.get_submodule(row.name)(x) for row in step], dim=1)
        return x


def _average() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _halving(name: str, channels: int) -> _Conv:
    return _Conv(name, channels, 3, stride=2, same=False)


def _on_35(inputs: int, pooled: int) -> _Mixed:
    """A block on 35×35 pixels ("A"): 224 channels and those of the pool."""
    double = "branch3x3dbl"
    return _Mixed(
        inputs,
        _average(),
        (_Conv("branch1x1", 64),),
        (_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, 5)),
        (_Conv(f"{double}_1", 64), _Conv(f"{double}_2", 96, 3), _Conv(f"{double}_3", 96, 3)),
        (_Conv("branch_pool", pooled),),
    )


def _to_17() -> _Mixed:
    """From 35×35 to 17×17 pixels."""
    double = "branch3x3dbl"
    return _Mixed(
        288,
        nn.MaxPool2d(3, stride=2),
        (_halving("branch3x3", 384),),
        (_Conv(f"{double}_1", 64), _Conv(f"{double}_2", 96, 3), _halving(f"{double}_3", 96)),
        (),
    )


def _on_17(width: int) -> _Mixed:
    """A block on 17×17 pixels ("C"): 7×7 windows in two strokes, `width` channels between."""
    across, down = (1, 7), (7, 1)
    return _Mixed(
        768,
        _average(),
        (_Conv("branch1x1", 192),),
        (
            _Conv("branch7x7_1", width),
            _Conv("branch7x7_2", width, across),
            _Conv("branch7x7_3", 192, down),
        ),
        (
            _Conv("branch7x7dbl_1", width),
            _Conv("branch7x7dbl_2", width, down),
            _Conv("branch7x7dbl_3", width, across),
            _Conv("branch7x7dbl_4", width, down),
            _Conv("branch7x7dbl_5", 192, across),
        ),
        (_Conv("branch_pool", 192),),
    )


def _to_8() -> _Mixed:
    """From 17×17 to 8×8 pixels."""
    return _Mixed(
        768,
        nn.MaxPool2d(3, stride=2),
        (_Conv("branch3x3_1", 192), _halving("branch3x3_2", 320)),
        (
            _Conv("branch7x7x3_1", 192),
            _Conv("branch7x7x3_2", 192, (1, 7)),
            _Conv("branch7x7x3_3", 192, (7, 1)),
            _halving("branch7x7x3_4", 192),
        ),
        (),
    )


def _on_8(inputs: int, pool: nn.Module) -> _Mixed:
    """A block on 8×8 pixels ("E"), whose 3×3 windows part into a row and a column."""

    def fork(stem: str) -> _Fork:
        return _Conv(f"{stem}a", 384, (1, 3)), _Conv(f"{stem}b", 384, (3, 1))

    double = "branch3x3dbl"
    return _Mixed(
        inputs,
        pool,
        (_Conv("branch1x1", 320),),
        (_Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (_Conv(f"{double}_1", 448), _Conv(f"{double}_2", 384, 3), fork(f"{double}_3")),
        (_Conv("branch_pool", 192),),
    )


class InceptionNetwork(nn.Module):
    """The network from scaled pixels to features, and the linear map from there to logits.

    `forward` takes float pixels [N, 3, 299, 299] in [-1, 1) and returns [N, 2048], the mean of
    the last block over its 8×8 pixels. The submodule `fc` turns features into logits [N, 1008].
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(_halving("", 32), 3)
        self.Conv2d_2a_3x3 = _Convolution(_Conv("", 32, 3, same=False), 32)
        self.Conv2d_2b_3x3 = _Convolution(_Conv("", 64, 3), 32)
        self.pool_2 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = _Convolution(_Conv("", 80), 64)
        self.Conv2d_4a_3x3 = _Convolution(_Conv("", 192, 3, same=False), 80)
        self.pool_4 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = _on_35(192, pooled=32)
        self.Mixed_5c = _on_35(256, pooled=64)
        self.Mixed_5d = _on_35(288, pooled=64)
        self.Mixed_6a = _to_17()
        self.Mixed_6b = _on_17(128)
        self.Mixed_6c = _on_17(160)
        self.Mixed_6d = _on_17(160)
        self.Mixed_6e = _on_17(192)
        self.Mixed_7a = _to_8()
        self.Mixed_7b = _on_8(1280, _average())
        self.Mixed_7c = _on_8(2048, nn.MaxPool2d(3, stride=1, padding=1))
        self.fc = nn.Linear(FEATURES, LOGITS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [N, 2048] of scaled pixels [N, 3, 299, 299]."""
        x = pixels
        for layer in takewhile(lambda layer: layer is not self.fc, self.children()):
            x = layer(x)
        return x.mean(dim=(2, 3))
