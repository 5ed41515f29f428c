"""Multilayer perceptrons for points in a few dimensions: the networks of the paper's Figure 2."""

import torch
from torch import Tensor, nn

from cascore.errors import InputError

# Angular frequencies of log σ: one turn over 6.3, 3.1 and 1.6 e-folds of the noise level.
_FREQUENCIES = (1.0, 2.0, 4.0)


class MLP(nn.Module):
    """Score network of the paper's Figure 2: x [N, dimension] -> f(x) [N, dimension].

    LeakyReLU (slope 0.01) after each of the `depth` hidden layers; σ is not seen.

    Args:
        dimension: coordinates of a point.
        width: units of a hidden layer.
        depth: hidden layers.

    Raises:
        InputError: a setting below 1, or points that are not [N, dimension].
    """

    def __init__(self, *, dimension: int = 2, width: int = 512, depth: int = 3) -> None:
        super().__init__()
        self.dimension = dimension
        self.layers = _layers(inputs=dimension, outputs=dimension, width=width, depth=depth)

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), [N, dimension]."""
        _check_points(x, self.dimension)
        return self.layers(x)  # type: ignore[no-any-return]


class ConditionalMLP(nn.Module):
    """Score network that sees the noise level: x [N, dimension], log σ -> f(x, σ) [N, dimension].

    An `MLP`, with its settings, whose input is x, log σ, and sines and cosines of log σ, which let
    it tell neighbouring levels apart.
    """

    frequencies: Tensor

    def __init__(self, *, dimension: int = 2, width: int = 512, depth: int = 3) -> None:
        super().__init__()
        self.dimension = dimension
        inputs = dimension + 1 + 2 * len(_FREQUENCIES)
        self.layers = _layers(inputs=inputs, outputs=dimension, width=width, depth=depth)
        self.register_buffer("frequencies", torch.tensor(_FREQUENCIES), persistent=False)

    def forward(self, x: Tensor, log_sigma: Tensor) -> Tensor:
        """Return f(x, σ), [N, dimension]; `log_sigma` is the natural logarithm, a scalar or [N]."""
        _check_points(x, self.dimension)
        level = log_sigma.expand(x.shape[0])[:, None]
        angles = level * self.frequencies
        return self.layers(torch.cat([x, level, angles.sin(), angles.cos()], dim=1))  # type: ignore[no-any-return]


class MLPDiscriminator(nn.Module):
    """Discriminator for points: x [N, dimension] -> D(x) [N], unbounded; the settings of `MLP`."""

    def __init__(self, *, dimension: int = 2, width: int = 512, depth: int = 3) -> None:
        super().__init__()
        self.dimension = dimension
        self.layers = _layers(inputs=dimension, outputs=1, width=width, depth=depth)

    def forward(self, x: Tensor) -> Tensor:
        """Return D(x), [N]."""
        _check_points(x, self.dimension)
        return self.layers(x).squeeze(1)  # type: ignore[no-any-return]


def _layers(*, inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    if min(inputs, outputs, width, depth) < 1:
        raise InputError(
            f"an MLP got width={width} and depth={depth} for points of dimension "
            f"{min(inputs, outputs)}; each must be at least 1"
        )
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(inputs if i == 0 else width, width), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def _check_points(x: Tensor, dimension: int) -> None:
    if x.ndim != 2 or x.shape[1] != dimension:
        raise InputError(
            f"the network got points of shape {list(x.shape)}, expected [N, {dimension}]; reshape "
            f"them, or build the network with another `dimension`"
        )
