"""Small networks of diffusers with random weights, and their pipelines."""

import diffusers
import torch

CHANNELS, SIZE = 3, 8


def seeded(make):
    """What a constructor makes, its weights always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = make().eval()
        for parameter in made.parameters():  # diffusers begins some layers at 0
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return made


def unet(**settings):
    """A U-Net of pixels; further settings are of `UNet2DModel`."""
    given = {
        "sample_size": SIZE, "in_channels": CHANNELS, "out_channels": CHANNELS,
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
    } | settings  # fmt: skip
    return seeded(lambda: diffusers.UNet2DModel(**given))


def transformer():
    """A DiT of latents with ten classes and none, and a learned variance."""
    return seeded(
        lambda: diffusers.DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8,
            num_layers=2, norm_num_groups=4, sample_size=4, patch_size=2,
            num_embeds_ada_norm=10,
        )
    )  # fmt: skip


def told_by_text():
    """A U-Net of latents of 4×4 that sees embeddings of a text, eight numbers each."""
    return seeded(
        lambda: diffusers.UNet2DConditionModel(
            sample_size=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), cross_attention_dim=8,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=4,
        )
    )  # fmt: skip


def autoencoder():
    """From 4 channels of 4×4 to 3 of 8×8."""
    return seeded(
        lambda: diffusers.AutoencoderKL(
            block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=SIZE,
        )
    )  # fmt: skip


def pixels(count=5, seed=0):
    """Normal numbers of the shape of pictures."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, CHANNELS, SIZE, SIZE, generator=generator)
