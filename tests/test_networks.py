"""The networks: parameter counts of the paper's code, forward passes against transcriptions."""

import copy

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import UNet2DModel
from torch import nn
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.networks import (
    MLP,
    BigGANDiscriminator,
    ConditionalMLP,
    ConditionalUNet,
    MLPDiscriminator,
    UNet,
)

DIGITS = {"channels": 1, "width": 16, "multipliers": (1, 2), "attention": (False, True)}


def parameter_count(network):
    return sum(p.numel() for p in network.parameters())


def wake(network):
    """Replace the zeros of the initialization, which would hide what they multiply."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def unet(kind=UNet, **settings):
    torch.manual_seed(0)
    return wake(kind(**{**DIGITS, **settings})).eval()


def images(n=3, channels=1, size=8, seed=2):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


# --- perceptrons ---------------------------------------------------------------------------------


def perceptron(network, x):
    """The layers written out in float64 NumPy."""
    state = {k: v.double().numpy() for k, v in network.state_dict().items()}
    names = [k.removesuffix(".weight") for k in state if k.endswith(".weight")]
    h = x.double().numpy()
    for name in names:
        h = h @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        if name != names[-1]:
            h = np.where(h > 0, h, 0.01 * h)
    return h


def test_mlp_of_figure_2_has_three_hidden_layers_of_512():
    expected = (2 * 512 + 512) + 2 * (512 * 512 + 512) + (512 * 2 + 2)
    assert parameter_count(MLP()) == expected


@pytest.mark.parametrize(("depth", "dimension"), [(1, 2), (3, 2), (2, 5)])
def test_mlps_are_their_layers_written_out(depth, dimension):
    torch.manual_seed(0)
    x = torch.randn(7, dimension)
    network = MLP(dimension=dimension, width=16, depth=depth)
    np.testing.assert_allclose(network(x).detach().numpy(), perceptron(network, x), atol=1e-6)
    network = MLPDiscriminator(dimension=dimension, width=16, depth=depth)
    np.testing.assert_allclose(network(x).detach().numpy(), perceptron(network, x)[:, 0], atol=1e-6)


def test_conditional_mlp_sees_log_sigma_and_its_sines_and_cosines():
    torch.manual_seed(0)
    network = ConditionalMLP(dimension=2, width=16, depth=2)
    x, level = torch.randn(7, 2), torch.linspace(-4.6, 3.9, 7)
    columns = [x, level[:, None]]
    columns += [torch.sin(k * level)[:, None] for k in (1, 2, 4)]
    columns += [torch.cos(k * level)[:, None] for k in (1, 2, 4)]
    # float32 sines of angles up to 18 are off by up to 1e-6
    np.testing.assert_allclose(
        network(x, level).detach().numpy(), perceptron(network, torch.cat(columns, 1)), atol=5e-6
    )
    one_for_all = network(x, torch.tensor(-1.5))
    assert torch.equal(one_for_all, network(x, torch.full((7,), -1.5)))


@pytest.mark.parametrize("kind", [MLP, MLPDiscriminator])
def test_mlps_refuse_points_of_another_dimension_and_settings_below_one(kind):
    for shape in ((7,), (7, 3), (7, 1, 2)):
        with pytest.raises(InputError, match=r"expected \[N, 2\]"):
            kind(width=4)(torch.zeros(shape))
    for name in ("width", "depth", "dimension"):
        with pytest.raises(InputError, match="at least 1"):
            kind(**{name: 0})


# --- U-Net ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 32_856_707),
        (
            {"multipliers": (1, 2, 2, 2, 4, 4), "attention": (False, True, *[False] * 4)},
            111_218_563,
        ),
    ],
    ids=["32x32", "64x64"],
)
def test_unet_has_the_parameters_of_the_papers_code(settings, expected):
    with torch.device("meta"):
        assert parameter_count(UNet(**settings)) == expected


def test_conditional_unet_adds_the_embedding_and_one_projection_a_block():
    with torch.device("meta"):
        extra = parameter_count(ConditionalUNet()) - parameter_count(UNet())
    embedding = (128 * 512 + 512) + (512 * 512 + 512)
    # Output channels of the blocks: 2 a level down, 2 in the middle, 3 a level up.
    outputs = 2 * (128 + 3 * 256) + 2 * 256 + 3 * (3 * 256 + 128)
    assert extra == embedding + outputs * (512 + 1)


def test_unet_initialization_is_that_of_ho_et_al():
    torch.manual_seed(0)
    network = UNet(**{**DIGITS, "width": 64})
    block = network.middle[0]
    fan = 128 * 9  # in and out alike
    limit = (3 / fan) ** 0.5
    # The maximum of 147,456 uniform draws misses the limit by 1e-5 of it, the standard deviation
    # limit / sqrt(3) by 2e-3 (one sigma: 0.12 %).
    assert block.conv1.weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert block.conv1.weight.std().item() == pytest.approx(fan**-0.5, rel=1e-2)
    zeros = [block.conv2, block.attention.out, network.out]
    assert all(not layer.weight.any() for layer in zeros)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(not layer.bias.any() for layer in layers)
    assert not network(images()).any()


BLOCK_IN_DIFFUSERS = {
    "norm1": "norm1",
    "conv1": "conv1",
    "level": "time_emb_proj",
    "norm2": "norm2",
    "conv2": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION_IN_DIFFUSERS = {
    "norm": "group_norm",
    "qkv.0": "to_q",
    "qkv.1": "to_k",
    "qkv.2": "to_v",
    "out": "to_out.0",
}


def in_diffusers(network):
    """The state of the small U-Net by the names of diffusers' UNet2DModel."""
    # Two blocks a level down, three up; the second level has attention.
    places = {
        "stem": "conv_in",
        "norm": "conv_norm_out",
        "out": "conv_out",
        "embed.0": "time_embedding.linear_1",
        "embed.2": "time_embedding.linear_2",
        "down.2": "down_blocks.0.downsamplers.0.conv",
        "up.3.conv": "up_blocks.0.upsamplers.0.conv",
    }
    blocks = {0: ("down_blocks.0", 0), 1: ("down_blocks.0", 1)}
    blocks |= {3: ("down_blocks.1", 0), 4: ("down_blocks.1", 1)}
    ours = {f"down.{i}": place for i, place in blocks.items()}
    ours |= {f"middle.{i}": ("mid_block", i) for i in range(2)}
    ours |= {f"up.{i}": ("up_blocks.0", i) for i in range(3)}
    ours |= {f"up.{i}": ("up_blocks.1", i - 4) for i in range(4, 7)}
    for name, (level, i) in ours.items():
        places |= {f"{name}.{a}": f"{level}.resnets.{i}.{b}" for a, b in BLOCK_IN_DIFFUSERS.items()}
        places |= {
            f"{name}.attention.{a}": f"{level}.attentions.{i}.{b}"
            for a, b in ATTENTION_IN_DIFFUSERS.items()
        }
    split = {name: name.rpartition(".") for name in network.state_dict()}
    return {
        f"{places[module]}.{leaf}": network.state_dict()[name]
        for name, (module, _, leaf) in split.items()
    }


def diffusers_unet():
    return UNet2DModel(
        in_channels=1,
        out_channels=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        downsample_padding=1,
        attention_head_dim=None,
        norm_num_groups=4,
        norm_eps=1e-6,
        flip_sin_to_cos=False,
        freq_shift=1,
    ).eval()


def test_unet_is_the_diffusers_model_with_a_silent_timestep():
    network, whole = unet(), diffusers_unet()
    missing, unexpected = whole.load_state_dict(in_diffusers(network), strict=False)
    assert unexpected == []
    assert all("time_emb" in name for name in missing)
    for name, parameter in whole.named_parameters():
        if "time_emb_proj" in name:
            nn.init.zeros_(parameter)
    network, whole, x = network.double(), whole.double(), images().double()
    for timestep in (0, 700):
        expected = whole(x, timestep).sample
        torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)


def test_conditional_unet_is_the_diffusers_model_at_100_log_sigma():
    network, whole = unet(ConditionalUNet), diffusers_unet()
    whole.load_state_dict(in_diffusers(network))
    x, level = images(), torch.tensor([-4.6, 0.0, 3.9])
    # float32 sines of angles up to 460, which are themselves rounded by up to 2e-5
    expected = whole(x, 100 * level).sample
    torch.testing.assert_close(network(x, level), expected, rtol=0, atol=2e-5)


def test_conditional_unet_tells_levels_apart_and_takes_one_for_all():
    network = unet(ConditionalUNet)
    x = images()
    one = network(x, torch.tensor(-1.5))
    assert torch.equal(one, network(x, torch.full((3,), -1.5)))
    # The neighbour on the paper's schedule of CIFAR-10: 232 levels from 50 to 0.01.
    assert (one - network(x, torch.tensor(-1.4631))).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"unshuffle": 2}, (2, 1, 28, 20)),
        (
            {"channels": 3, "unshuffle": 4, "multipliers": (1,), "attention": (True,)},
            (2, 3, 28, 28),
        ),
        ({"multipliers": (1, 1, 2), "attention": (False, False, True), "blocks": 1}, (2, 1, 12, 8)),
    ],
    ids=["folded", "28-by-4", "three-levels"],
)
def test_unet_output_has_the_shape_of_its_input(settings, shape):
    assert unet(**settings)(torch.rand(shape)).shape == shape


def test_unshuffle_is_the_unet_on_folded_pixels():
    folded, plain = unet(unshuffle=2), unet(channels=4)
    plain.load_state_dict(folded.state_dict())
    x = images()
    # Fold and unfold by hand: channel 2 i + j holds the pixels of rows i mod 2, columns j mod 2.
    parts = torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
    out, expected = plain(parts), torch.empty_like(x)
    for channel, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        expected[:, 0, i::2, j::2] = out[:, channel]
    torch.testing.assert_close(folded(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [UNet, ConditionalUNet])
def test_gradient_reaches_every_parameter_of_the_unet(kind):
    network = unet(kind)
    arguments = (images(),) if kind is UNet else (images(), torch.tensor([-4.0, 0.3, 2.0]))
    network(*arguments).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # A key's bias adds the same number to every logit of a query: softmax does not see it.
        if not name.endswith("qkv.1.bias"):
            assert parameter.grad.abs().max() > 1e-6, name


def test_dropout_acts_in_training_only():
    network = unet(dropout=0.5)
    x = images()
    assert torch.equal(network(x), network(x))
    torch.manual_seed(0)
    network.train()
    assert not torch.allclose(network(x), network(x))


def test_unet_can_be_copied_and_restored_bit_for_bit():
    network, other = unet(), unet(ConditionalUNet)
    assert not any("embed" in name or "level" in name for name in network.state_dict())
    for original, arguments in ((network, ()), (other, (torch.tensor(0.5),))):
        stored = safetensors.torch.load(safetensors.torch.save(original.state_dict()))
        fresh = type(original)(**DIGITS).eval()
        fresh.load_state_dict(stored)
        expected = original(images(), *arguments)
        assert torch.equal(fresh(images(), *arguments), expected)
        assert torch.equal(copy.deepcopy(original)(images(), *arguments), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 33}, "multiple of 4"),
        ({"width": 200}, "of 32"),
        *(({name: 0}, "at least 1") for name in ("channels", "blocks", "unshuffle")),
        ({"multipliers": (1, 0)}, "at least 1"),
        ({"multipliers": (), "attention": ()}, "at least one multiplier"),
        ({"attention": (True,)}, "one bool for each"),
        *(({"dropout": share}, r"\[0, 1\)") for share in (1.0, -0.1)),
    ],
    ids=str,
)
def test_unet_refuses_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        UNet(**{**DIGITS, **settings})


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({}, (1, 1, 7, 8), r"7×8.*multiples of 2 .*such as 6 or 8"),
        ({}, (1, 1, 8, 9), r"8×9.*multiples of 2 "),
        ({}, (1, 1, 1, 1), r"1×1.*such as 4 or 2"),
        ({"unshuffle": 8}, (1, 1, 28, 28), r"28×28.*unshuffle=8.*multiples of 16 .*16 or 32"),
        ({}, (1, 3, 8, 8), r"\[1, 3, 8, 8\], expected \[N, 1, height, width\]"),
        ({}, (1, 8, 8), r"expected \[N, 1, height, width\]"),
    ],
)
def test_unet_says_which_images_it_takes(settings, shape, message):
    with pytest.raises(InputError, match=message):
        unet(**settings)(torch.zeros(shape))


# --- BigGAN discriminator ------------------------------------------------------------------------


def discriminator(channels=1, size=8, width=4):
    torch.manual_seed(0)
    return wake(BigGANDiscriminator(channels=channels, size=size, width=width))


def normalized_layers(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(("size", "expected"), [(28, 4_204_801), (32, 4_204_801), (64, 19_542_721)])
def test_discriminator_has_the_parameters_of_the_papers_code(size, expected):
    with torch.device("meta"):
        network = BigGANDiscriminator(channels=3, size=size, width=64)
    assert parameter_count(network) == expected


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (8, [4, 4, 4, 4]),
        (15, [7, 7, 7, 7]),
        (16, [8, 4, 4, 4]),
        (28, [14, 7, 7, 7]),
        (63, [31, 15, 15, 15]),
        (64, [32, 16, 8, 4, 4]),
        (100, [50, 25, 12, 6, 6]),
        (128, [64, 32, 16, 8, 4, 4]),
    ],
)
def test_discriminator_layout(size, sides):
    network = BigGANDiscriminator(channels=1, size=size, width=1)
    widths = [4] * 4 if size < 64 else [1, 2, 4, 8, 16, 16][: len(sides)]
    x, seen = images(2, 1, size), []
    for block in network.blocks:
        x = block(x)
        seen.append((x.shape[1], x.shape[2]))
    assert seen == list(zip(widths, sides, strict=True))


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 64)])
def test_discriminator_is_its_blocks_written_out(channels, size):
    network = discriminator(channels, size, width=2).eval()
    halves = [True, False, False, False] if size == 8 else [True, True, True, True, False]

    def conv(layer, x):
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    x = images(3, channels, size)
    h = x
    for i, (block, half) in enumerate(zip(network.blocks, halves, strict=True)):
        residual = conv(block.conv1, h if i == 0 else h.relu())
        residual = conv(block.conv2, residual.relu())
        if half:  # BigGAN's order: the first block pools first, the others convolve first
            residual = F.avg_pool2d(residual, 2)
            h = (
                conv(block.shortcut, F.avg_pool2d(h, 2))
                if i == 0
                else F.avg_pool2d(conv(block.shortcut, h), 2)
            )
        elif h.shape[1] != residual.shape[1]:
            h = conv(block.shortcut, h)
        h = h + residual
    expected = h.relu().sum((2, 3)) @ network.linear.weight[0] + network.linear.bias
    assert expected.shape == (3,)
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


def test_discriminator_starts_as_glorot_and_bengio_have_it():
    torch.manual_seed(0)
    network = BigGANDiscriminator(channels=1, size=8, width=16)
    weight = network.blocks[1].conv1.parametrizations.weight.original
    limit = (6 / (2 * 64 * 9)) ** 0.5
    # The maximum of 36,864 uniform draws misses the limit by 3e-5 of it, the deviation by 2e-3.
    assert weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=1e-2)


def test_power_iteration_brings_the_largest_singular_value_to_one():
    network = discriminator()
    with torch.no_grad():
        for layer in normalized_layers(network):
            layer.parametrizations.weight.original *= 3

    def largest():
        network.eval()
        values = [torch.linalg.svdvals(m.weight.flatten(1))[0] for m in normalized_layers(network)]
        network.train()
        return torch.stack(values)

    assert (largest() - 1).abs().max() > 0.01  # the estimate is still that of other weights
    for _ in range(300):
        network(images(1))
    # The iteration approaches from below, quickly or not as the first two values are far or near.
    torch.testing.assert_close(largest(), torch.ones(len(largest())), rtol=0, atol=2e-3)


def test_discriminator_is_restored_bit_for_bit_with_its_power_iteration():
    network = discriminator()
    network(images(2))
    stored = safetensors.torch.load(safetensors.torch.save(network.state_dict()))
    fresh = discriminator()
    fresh.load_state_dict(stored)
    copied = copy.deepcopy(network)
    for _ in range(3):  # each pass moves the vectors on, in all three alike
        outputs = [m(images(4)) for m in (network, fresh, copied)]
        assert torch.equal(outputs[0], outputs[1])
        assert torch.equal(outputs[0], outputs[2])


def test_only_training_moves_the_power_iteration():
    network = discriminator()
    before = copy.deepcopy(network.state_dict())
    network.eval()(images(2))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    network.train()(images(2))
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(name.endswith(("_u", "_v")) for name in moved)


def test_discriminator_refuses_settings_and_images_that_do_not_fit():
    for settings, message in (
        ({"size": 7}, "size=7, expected at least 8"),
        ({"channels": 0}, "at least 1"),
        ({"width": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            BigGANDiscriminator(**{"channels": 1, "size": 8, "width": 4, **settings})
    for shape in ((2, 3, 8, 8), (2, 1, 8, 16), (1, 8, 8)):
        with pytest.raises(InputError, match=r"expected \[N, 1, 8, 8\]"):
            discriminator()(torch.zeros(shape))
