"""Inception-v3 (Szegedy et al., 2016) as the graph that TensorFlow published on 2015-12-05 has it.

The Fréchet Inception Distance and the Inception Score are numbers of this graph, not of later
Inception-v3 models, from which it differs in three ways: an average pool divides by the number of
pixels under its window rather than by 9, the last block pools by maximum, and there are 1,008
logits. The auxiliary classifier served training only and is left out.

The network is written as a table: a block runs several chains of convolutions side by side and
concatenates their results. The names are those of the weights file that the field uses; its batch
normalisations, whose statistics are fixed, are part of the convolutions before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FEATURES", "LOGITS", "SIDE", "InceptionNetwork"]

SIDE = 299
FEATURES = 2048
LOGITS = 1008


@dataclass(frozen=True)
class _Conv:
    """A convolution of a table: its name, channels that leave it, kernel and stride.

    It keeps the size where `same` is true (zeros around), otherwise it takes whole windows only.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True


_Chain = tuple[tuple[_Conv, ...], ...]


@dataclass(frozen=True)
class _Block:
    """A block of a table: chains side by side; the last of them sees the pooled input.

    A step of a chain with two convolutions applies both to the same input and concatenates.
    """

    name: str
    chains: tuple[_Chain, ...]
    pool: Literal["average", "maximum", "halving"]


def _chain(*steps: _Conv | tuple[_Conv, ...]) -> _Chain:
    return tuple(step if isinstance(step, tuple) else (step,) for step in steps)


def _halving(name: str, channels: int) -> _Conv:
    return _Conv(name, channels, (3, 3), stride=2, same=False)


def _block_35(name: str, pooled: int) -> _Block:
    """A block on 35×35 pixels: 224 channels and those of the pool ("A")."""
    return _Block(
        name,
        (
            _chain(_Conv("branch1x1", 64)),
            _chain(_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, (5, 5))),
            _chain(
                _Conv("branch3x3dbl_1", 64),
                _Conv("branch3x3dbl_2", 96, (3, 3)),
                _Conv("branch3x3dbl_3", 96, (3, 3)),
            ),
            _chain(_Conv("branch_pool", pooled)),
        ),
        "average",
    )


def _block_17(name: str, width: int) -> _Block:
    """A block on 17×17 pixels: 7×7 windows in two strokes, `width` channels between ("C")."""
    across, down = (1, 7), (7, 1)
    return _Block(
        name,
        (
            _chain(_Conv("branch1x1", 192)),
            _chain(
                _Conv("branch7x7_1", width),
                _Conv("branch7x7_2", width, across),
                _Conv("branch7x7_3", 192, down),
            ),
            _chain(
                _Conv("branch7x7dbl_1", width),
                _Conv("branch7x7dbl_2", width, down),
                _Conv("branch7x7dbl_3", width, across),
                _Conv("branch7x7dbl_4", width, down),
                _Conv("branch7x7dbl_5", 192, across),
            ),
            _chain(_Conv("branch_pool", 192)),
        ),
        "average",
    )


def _block_8(name: str, pool: Literal["average", "maximum"]) -> _Block:
    """A block on 8×8 pixels, whose 3×3 windows part into a row and a column ("E")."""

    def parted(stem: str) -> tuple[_Conv, _Conv]:
        return _Conv(f"{stem}a", 384, (1, 3)), _Conv(f"{stem}b", 384, (3, 1))

    return _Block(
        name,
        (
            _chain(_Conv("branch1x1", 320)),
            _chain(_Conv("branch3x3_1", 384), parted("branch3x3_2")),
            _chain(
                _Conv("branch3x3dbl_1", 448),
                _Conv("branch3x3dbl_2", 384, (3, 3)),
                parted("branch3x3dbl_3"),
            ),
            _chain(_Conv("branch_pool", 192)),
        ),
        pool,
    )


_TO_17 = _Block(
    "Mixed_6a",
    (
        _chain(_halving("branch3x3", 384)),
        _chain(
            _Conv("branch3x3dbl_1", 64),
            _Conv("branch3x3dbl_2", 96, (3, 3)),
            _halving("branch3x3dbl_3", 96),
        ),
        (),
    ),
    "halving",
)

_TO_8 = _Block(
    "Mixed_7a",
    (
        _chain(_Conv("branch3x3_1", 192), _halving("branch3x3_2", 320)),
        _chain(
            _Conv("branch7x7x3_1", 192),
            _Conv("branch7x7x3_2", 192, (1, 7)),
            _Conv("branch7x7x3_3", 192, (7, 1)),
            _halving("branch7x7x3_4", 192),
        ),
        (),
    ),
    "halving",
)

_STEM: tuple[_Conv | None, ...] = (  # None: the 3×3 maximum of every second pixel
    _halving("Conv2d_1a_3x3", 32),
    _Conv("Conv2d_2a_3x3", 32, (3, 3), same=False),
    _Conv("Conv2d_2b_3x3", 64, (3, 3)),
    None,
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, (3, 3), same=False),
    None,
)

_BLOCKS = (
    _block_35("Mixed_5b", 32),
    _block_35("Mixed_5c", 64),
    _block_35("Mixed_5d", 64),
    _TO_17,
    _block_17("Mixed_6b", 128),
    _block_17("Mixed_6c", 160),
    _block_17("Mixed_6d", 160),
    _block_17("Mixed_6e", 192),
    _TO_8,
    _block_8("Mixed_7b", "average"),
    _block_8("Mixed_7c", "maximum"),
)


class InceptionNetwork(nn.Module):
    """The network from scaled pixels to features, and the linear map from there to logits.

    `forward` takes float pixels [N, 3, 299, 299] in [-1, 1) and returns [N, 2048], the mean of
    the last block over its 8×8 pixels. The submodule `fc` turns features into logits [N, 1008].
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for row in _STEM:
            if row is not None:
                self.add_module(row.name, _Convolution(row, channels))
                channels = row.channels
        for block in _BLOCKS:
            mixed = _Mixed(block, channels)
            self.add_module(block.name, mixed)
            channels = mixed.channels
        self.fc = nn.Linear(channels, LOGITS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [N, 2048] of scaled pixels [N, 3, 299, 299]."""
        x = pixels
        for row in _STEM:
            x = _halved_maximum(x) if row is None else self.get_submodule(row.name)(x)
        for block in _BLOCKS:
            x = self.get_submodule(block.name)(x)  # [N, 288, 35, 35], [N, 768, 17, 17], ...
        return x.mean(dim=(2, 3))


class _Convolution(nn.Module):
    """Convolution with an offset, ReLU."""

    def __init__(self, row: _Conv, inputs: int) -> None:
        super().__init__()
        height, width = row.kernel
        self.conv = nn.Conv2d(
            inputs,
            row.channels,
            row.kernel,
            stride=row.stride,
            padding=(height // 2, width // 2) if row.same else 0,
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out.relu_()


class _Mixed(nn.Module):
    """Chains of convolutions side by side, concatenated over their channels."""

    def __init__(self, block: _Block, inputs: int) -> None:
        super().__init__()
        self.block = block
        self.channels = 0
        for chain in block.chains:
            width = inputs
            for step in chain:
                for row in step:
                    self.add_module(row.name, _Convolution(row, width))
                width = sum(row.channels for row in step)
            self.channels += width

    def forward(self, x: Tensor) -> Tensor:
        *plain, pooled = self.block.chains
        results = [self._run(chain, x) for chain in plain]
        results.append(self._run(pooled, self._pool(x)))
        return torch.cat(results, dim=1)

    def _run(self, chain: _Chain, x: Tensor) -> Tensor:
        for step in chain:
            parts = [self.get_submodule(row.name)(x) for row in step]
            x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        if self.block.pool == "halving":
            return _halved_maximum(x)
        if self.block.pool == "maximum":
            return F.max_pool2d(x, 3, stride=1, padding=1)
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _halved_maximum(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)
