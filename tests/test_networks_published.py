"""Our networks against the published ones: equal outputs for equal weights.

`tests/data/README.md` says how the expected outputs were made and how weights and images are
filled.
"""

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import Philox

from cascore.errors import InputError
from cascore.networks import MLP, BigGANDiscriminator, NCSNv2, UNet
from cascore.networks.published import from_published, published_names

REFERENCE = np.load(Path(__file__).parent / "data" / "published_networks.npz")
DEEPER, DEEPEST = (1, 2, 2, 4, 4), (1, 2, 2, 2, 4, 4)
SECOND_LEVEL = (False, True, False, False, False, False)
NETWORKS = {
    "ncsnv2-28": (NCSNv2, {}, 28),
    "ncsnv2-32": (NCSNv2, {}, 32),
    "ncsnv2-deeper-64-width-16": (NCSNv2, {"width": 16, "multipliers": DEEPER}, 64),
    "ncsnv2-deeper-64": (NCSNv2, {"multipliers": DEEPER}, 64),
    "ncsnv2-deepest-64-width-16": (NCSNv2, {"width": 16, "multipliers": DEEPEST}, 64),
    "ncsnv2-deepest-64": (NCSNv2, {"multipliers": DEEPEST}, 64),
    "unet-32": (UNet, {}, 32),
    "unet-64": (UNet, {"multipliers": (1, 2, 2, 2, 4, 4), "attention": SECOND_LEVEL}, 64),
    "biggan-28": (BigGANDiscriminator, {"channels": 3, "size": 28, "width": 64}, 28),
    "biggan-32": (BigGANDiscriminator, {"channels": 3, "size": 32, "width": 64}, 32),
    "biggan-64": (BigGANDiscriminator, {"channels": 3, "size": 64, "width": 64}, 64),
}
LARGE = {"ncsnv2-deeper-64", "ncsnv2-deepest-64", "unet-64"}
SMALL = {"multipliers": (1, 1, 1, 1), "width": 2}


def uniform(name, shape):
    raw = Philox(key=zlib.crc32(name.encode())).random_raw(math.prod(shape))
    return (2 * ((raw >> np.uint64(11)) * 2.0**-53) - 1).reshape(shape)


def filled(name, shape):
    """A weight by its published name."""
    values = uniform(name, shape)
    if name.endswith("u0"):
        return values
    if sum(size > 1 for size in shape) > 1:
        return values * math.sqrt(3 / math.prod(shape[1:]))
    scales = ("alpha", "gamma", "normalize.weight", "normalize0.weight", "normalize1.weight")
    return 0.1 * values + name.endswith(scales)


def published_state(network):
    ours = network.state_dict()
    return {
        published: torch.from_numpy(filled(published, tuple(ours[name].shape)))
        for name, published in published_names(network).items()
    }


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NETWORKS]
)
def test_equal_weights_give_the_published_outputs(name):
    kind, settings, size = NETWORKS[name]
    network = kind(**settings).double().eval()
    network.load_state_dict(from_published(network, published_state(network)))
    x = torch.from_numpy(uniform(f"images of {size}", (2, 3, size, size)))
    x *= 1 if kind is BigGANDiscriminator else 5
    expected = torch.from_numpy(REFERENCE[name])
    # Rounding alone: 2^-53 and 2^-24 grow about thirtyfold over a hundred layers.
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        with torch.no_grad():
            output = network.to(dtype)(x.to(dtype)).double()
        seen = output if output.ndim == 1 else output[:, :, ::3, ::3]
        assert (seen - expected).norm() < tolerance * expected.norm(), dtype


def test_what_is_missing_surplus_or_misshapen_is_listed_whole():
    network = NCSNv2(**SMALL)
    state = published_state(network)
    state["res1.0.conv3.weight"] = state.pop("res1.0.conv1.weight")
    state["begin_conv.weight"] = torch.zeros(2, 3, 5, 5)
    with pytest.raises(InputError) as caught:
        from_published(network, state)
    assert "3 tensors differ" in str(caught.value)
    assert "missing res1.0.conv1.weight" in str(caught.value)
    assert "surplus res1.0.conv3.weight" in str(caught.value)
    assert "begin_conv.weight is [2, 3, 5, 5], not [2, 3, 3, 3]" in str(caught.value)


def test_what_published_networks_never_use_is_passed_over():
    network = UNet(width=4, multipliers=(1,), attention=(True,), blocks=1)
    state = published_state(network)
    state |= {"temb_dense.0.weight": torch.zeros(16, 4), "sigmas": torch.zeros(9)}
    assert from_published(network, state).keys() == network.state_dict().keys()


@pytest.mark.parametrize("network", [MLP(width=2), UNet(width=4, unshuffle=2)])
def test_other_networks_have_no_published_form(network):
    with pytest.raises(InputError, match="no published form"):
        from_published(network, {})
