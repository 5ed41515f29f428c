"""The names of the weights in published checkpoints, for each weight of our networks.

The checkpoints are those of Song and Ermon (ermongroup/ncsnv2) and of the paper's authors
(AlexiaJM/AdversarialConsistentScoreMatching). The tensors are the same; a 1×1 convolution may be
stored there as a matrix.
"""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.networks.biggan import BigGANDiscriminator
from cascore.networks.ncsnv2 import NCSNv2
from cascore.networks.unet import UNet

# What the published networks hold and never use: an embedding of the time, singular values that
# were only logged, and the noise levels, which are the schedule's.
_UNUSED = re.compile(r"temb_dense\..*|.*\.sv0|sigmas")
_SINGULAR = ".parametrizations.weight.0."

_UNET_PARTS = {
    "norm1": "normalize0",
    "conv1": "conv0",
    "norm2": "normalize1",
    "conv2": "conv1",
    "shortcut": "nin",
}
_ATTENTION_PARTS = {
    "attention.norm": "normalize",
    "attention.qkv.0": "Q",
    "attention.qkv.1": "K",
    "attention.qkv.2": "V",
    "attention.out": "OUT",
}


def from_published(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `network` out of a published one, in the shapes of ours.

    Args:
        network: an NCSNv2, a UNet or a BigGANDiscriminator of the settings of the checkpoint.
        tensors: the published state by its names, without `module.`.

    Returns:
        A state that `network.load_state_dict` takes.

    Raises:
        InputError: tensors that are missing, surplus or of another shape, listed; or a network
            that has no published form.
    """
    names = published_names(network)
    ours = network.state_dict()
    used = {name: value for name, value in tensors.items() if not _UNUSED.fullmatch(name)}
    faults = [f"missing {name}" for name in sorted(set(names.values()) - used.keys())]
    faults += [f"surplus {name}" for name in sorted(used.keys() - set(names.values()))]
    for name, published in names.items():
        if published in used and _essential(used[published]) != _essential(ours[name]):
            faults.append(
                f"{published} is {list(used[published].shape)}, not {list(ours[name].shape)}"
            )
    if faults:
        shown = "\n  ".join(faults)
        raise InputError(
            f"the checkpoint does not fit this network, {len(faults)} tensors differ:\n  {shown}"
        )
    state = {name: used[published].reshape(ours[name].shape) for name, published in names.items()}
    for name in ours.keys() - state.keys():
        _add_singular_vectors(state, name.partition(_SINGULAR)[0])
    return state


def _add_singular_vectors(state: dict[str, Tensor], layer: str) -> None:
    """The vectors in force: published layers take one power iteration more in each use of them."""
    weight = state[f"{layer}.parametrizations.weight.original"].flatten(1)
    v = F.normalize(state[f"{layer}{_SINGULAR}_u"] @ weight, dim=0)
    state[f"{layer}{_SINGULAR}_v"] = v
    state[f"{layer}{_SINGULAR}_u"] = F.normalize(weight @ v, dim=0)


def _essential(tensor: Tensor) -> list[int]:
    """The shape without ones: those of a 1×1 kernel, or of a vector stored as a row."""
    return [size for size in tensor.shape if size != 1]


def published_names(network: nn.Module) -> dict[str, str]:
    """Our name of each weight -> its published one, where it has one.

    Raises:
        InputError: a network that has no published form.
    """
    if isinstance(network, NCSNv2):
        rules = dict(_ncsnv2_modules(network))
    elif isinstance(network, UNet) and network.unshuffle == 1:
        rules = dict(_unet_modules(network))
    elif isinstance(network, BigGANDiscriminator):
        return dict(_biggan_names(network))
    else:
        raise InputError(f"there is no published form of this {type(network).__name__}")
    names = {}
    for name in network.state_dict():
        module, _, leaf = name.rpartition(".")
        target = rules[module]
        matrix = target.rpartition(".")[2] in ("nin", "Q", "K", "V", "OUT")
        names[name] = f"{target}.{'weights' if matrix and leaf == 'weight' else leaf}"
    return names


def _ncsnv2_modules(network: NCSNv2) -> Iterator[tuple[str, str]]:
    yield from (("stem", "begin_conv"), ("norm", "normalizer"), ("out", "end_conv"))
    # Deepest has one more stage than Deeper, which was named 31 to keep the other names.
    stages = len(network.stages)
    numbers = [1, 2, 3, 31, 4, 5] if stages == 6 else list(range(1, stages + 1))
    for i, number in enumerate(numbers):
        for j in range(2):
            ours, theirs = f"stages.{i}.{j}", f"res{number}.{j}"
            halves = j == 0 and 0 < i < stages - 2
            yield f"{ours}.norm1", f"{theirs}.normalize1"
            yield f"{ours}.conv1", f"{theirs}.conv1"
            yield f"{ours}.norm2", f"{theirs}.normalize2"
            yield f"{ours}.conv2", f"{theirs}.conv2" + ".conv" * halves
            yield f"{ours}.shortcut", f"{theirs}.shortcut" + ".conv" * halves
    numbers = [1, 2, 31, 3, 4, 5] if stages == 6 else numbers
    for i, number in enumerate(numbers):
        ours, theirs = f"refine.{i}", f"refine{number}"
        for k in range(2):
            yield f"{ours}.fuse.{k}", f"{theirs}.msf.convs.{k}"
            yield f"{ours}.pool.convs.{k}", f"{theirs}.crp.convs.{k}"
            for unit in range(2):
                for conv in (1, 2):
                    yield (
                        f"{ours}.adapt.{k}.{unit}.conv{conv}",
                        f"{theirs}.adapt_convs.{k}.{unit + 1}_{conv}_conv",
                    )
        for unit in range(3):
            for conv in (1, 2):
                yield (
                    f"{ours}.output.{unit}.conv{conv}",
                    f"{theirs}.output_convs.{unit + 1}_{conv}_conv",
                )


def _unet_modules(network: UNet) -> Iterator[tuple[str, str]]:
    yield from (("stem", "downblocks.0"), ("norm", "normalize"), ("out", "out"))
    # Attention is a part of our blocks and a neighbour of the published ones.
    for path, modules, theirs, first in (
        ("down", network.down, "downblocks", 1),
        ("middle", network.middle, "middleblocks", 0),
        ("up", network.up, "upblocks", 0),
    ):
        position = first
        for i, module in enumerate(modules):
            yield f"{path}.{i}", f"{theirs}.{position}"
            yield f"{path}.{i}.conv", f"{theirs}.{position}.conv"
            for ours, part in _UNET_PARTS.items():
                yield f"{path}.{i}.{ours}", f"{theirs}.{position}.{part}"
            if not isinstance(getattr(module, "attention", None), nn.Identity | None):
                position += 1
                for ours, part in _ATTENTION_PARTS.items():
                    yield f"{path}.{i}.{ours}", f"{theirs}.{position}.{part}"
            position += 1


def _biggan_names(network: BigGANDiscriminator) -> Iterator[tuple[str, str]]:
    for name in network.state_dict():
        if not name.endswith("._v"):
            theirs = re.sub(r"^blocks\.(\d+)", r"blocks.\1.0", name)
            theirs = theirs.replace(".shortcut.", ".conv_sc.")
            theirs = theirs.replace(".parametrizations.weight.original", ".weight")
            yield name, theirs.replace(f"{_SINGULAR}_u", ".u0")
