"""The settings of a network, read off the shapes of its published weights.

The names are those of `cascore.networks.published`. What no weight shows is the size of the images:
these networks are convolutions.
"""

import re
from collections.abc import Mapping
from itertools import count
from typing import Literal, NamedTuple

from torch import Tensor


class Recognised(NamedTuple):
    """What the weights of a network say of it; blocks and attention are of a U-Net."""

    kind: Literal["unet", "ncsnv2"]
    channels: int
    width: int
    multipliers: tuple[int, ...]
    blocks: int = 0
    attention: tuple[bool, ...] = ()

    @property
    def words(self) -> str:
        """The network in a few words."""
        name = {"unet": "a U-Net", "ncsnv2": "an NCSNv2"}[self.kind]
        return f"{name} of width {self.width} with multipliers {self.multipliers}"


def recognised(tensors: Mapping[str, Tensor]) -> Recognised | None:
    """The settings of a published NCSNv2 or U-Net; None if the weights are of no whole one."""
    try:
        if "begin_conv.weight" in tensors:
            return _ncsnv2(tensors)
        return _unet(tensors) if "downblocks.0.weight" in tensors else None
    except (KeyError, IndexError):
        return None


def _ncsnv2(tensors: Mapping[str, Tensor]) -> Recognised | None:
    width, channels = tensors["begin_conv.weight"].shape[:2]
    stages = sorted(
        {match[1] for name in tensors if (match := re.match(r"res(\d+)\.", name))},
        key=lambda number: 3.5 if number == "31" else int(number),  # between the third and fourth
    )
    outputs = [tensors[f"res{number}.1.conv2.weight"].shape[0] for number in stages]
    multipliers = _multiples(outputs, width)
    if multipliers is None:
        return None
    return Recognised("ncsnv2", channels, width, multipliers)


def _unet(tensors: Mapping[str, Tensor]) -> Recognised | None:
    width, channels = tensors["downblocks.0.weight"].shape[:2]
    outputs: list[list[int]] = [[]]  # of the residual blocks, level by level
    attention = [False]
    for place in count(1):
        module = f"downblocks.{place}"
        if f"{module}.conv1.weight" in tensors:
            outputs[-1].append(tensors[f"{module}.conv1.weight"].shape[0])
        elif f"{module}.Q.weights" in tensors:
            attention[-1] = True
        elif f"{module}.weight" in tensors:  # a convolution that halves the image
            outputs.append([])
            attention.append(False)
        else:
            break
    blocks = {len(level) for level in outputs}
    multipliers = _multiples([level[-1] for level in outputs], width)
    if multipliers is None or len(blocks) != 1:
        return None
    return Recognised("unet", channels, width, multipliers, blocks.pop(), tuple(attention))


def _multiples(outputs: list[int], width: int) -> tuple[int, ...] | None:
    if not outputs or any(output % width for output in outputs):
        return None
    return tuple(output // width for output in outputs)
