"""NCSNv2: its parts against the originals' formulas written out, its shapes and its refusals.

That the whole is the published network, `tests/test_networks_published.py` holds.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.networks import NCSNv2
from cascore.networks.ncsnv2 import InstanceNormPlus, _Halving

SMALL = {"channels": 1, "width": 4}


def small(**settings):
    torch.manual_seed(0)
    return NCSNv2(**{**SMALL, **settings})


def images(n=3, channels=1, size=8, seed=2):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("multipliers", "expected"),
    [((1, 2, 2, 2), 29_694_083), ((1, 2, 2, 4, 4), 83_445_379), ((1, 2, 2, 2, 4, 4), 94_132_611)],
    ids=["ncsnv2", "deeper", "deepest"],
)
def test_it_has_the_parameters_of_the_published_code(multipliers, expected):
    with torch.device("meta"):
        network = NCSNv2(multipliers=multipliers)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_instance_norm_plus_is_its_formula():
    torch.manual_seed(0)
    norm = InstanceNormPlus(5).double()
    nn.init.normal_(norm.beta)
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64) * 3 + 2
    expected = torch.empty_like(x)
    for n in range(2):
        means = [x[n, c].mean() for c in range(5)]
        centre = sum(means) / 5
        spread = sum((m - centre) ** 2 for m in means) / 4
        for c in range(5):
            v = ((x[n, c] - means[c]) ** 2).mean()
            relative = (means[c] - centre) / torch.sqrt(spread + 1e-5)
            normal = (x[n, c] - means[c]) / torch.sqrt(v + 1e-5)
            expected[n, c] = norm.gamma[c] * (normal + norm.alpha[c] * relative) + norm.beta[c]
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-12)


def test_the_kernel_of_the_halving_block_is_convolve_then_average():
    torch.manual_seed(0)
    block = _Halving(3, 5).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    h = F.conv2d(block._branch(x), block.conv2.weight, block.conv2.bias, padding=1)
    expected = F.avg_pool2d(block.shortcut(x) + h, 2)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("multipliers", "size"), [((1, 2, 2, 2), 10), ((1, 1, 1, 2, 2), 12), ((1, 1, 1, 1, 1, 1), 16)]
)
def test_the_output_has_the_shape_and_layout_of_the_input(multipliers, size):
    x = images(2, 3, size)
    output = small(channels=3, multipliers=multipliers)(x)
    assert output.shape == x.shape
    assert output.is_contiguous()


def test_the_gradient_is_the_derivative_and_reaches_every_parameter():
    network = small(width=2).double()
    x = images(1, size=4).double().requires_grad_()
    assert torch.autograd.gradcheck(network, (x,), atol=1e-6)
    network(x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_settings_and_images_that_do_not_fit_are_refused():
    for settings in (
        {"channels": 0},
        {"width": 1},
        {"multipliers": (1, 2, 2)},
        {"multipliers": (0,) * 4},
    ):
        with pytest.raises(InputError, match="expected at least 1 channel"):
            small(**settings)
    for shape in ((1, 1, 9, 8), (1, 3, 8, 8), (1, 8, 8), (1, 1, 0, 8)):
        with pytest.raises(InputError, match=r"expected \[N, 1, height, width\].*multiples of 2"):
            small()(torch.zeros(shape))
