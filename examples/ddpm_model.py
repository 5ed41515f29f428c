"""Consistent annealed sampling for a DDPM model that knows nothing of cascore.

    python examples/ddpm_model.py

trains a U-Net of diffusers on the digits as diffusers trains (epsilon prediction, linear betas), in
minutes on one core, writes it as a pipeline to ./ddpm, and draws from it with diffusers' samplers
and with ours. Needs the extra diffusers. A Fréchet distance near that of real digits is good.
"""

import argparse

import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DModel,
)
from torch.nn import functional as F

import cascore
from cascore.data import load_images
from cascore.diffusers import CASScheduler
from cascore.metrics import extract_features, feature_moments, frechet_estimate, load_classifier
from cascore.pixels import save_png, sheet, to_float, to_uint8

SAMPLERS = (
    (DDPMScheduler, 1000),
    (DDPMScheduler, 12),
    (DDIMScheduler, 12),
    (DPMSolverMultistepScheduler, 12),
    (CASScheduler, 12),
)


def trained(steps: int, *, width: int) -> DDPMPipeline:
    """A pipeline whose network has learned to tell the noise in a digit."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(width, 2 * width), attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    scheduler, images = DDPMScheduler(), 2 * to_float(load_images("digits", "train").images) - 1
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        clean = images[torch.randint(len(images), (64,))]
        z, t = torch.randn_like(clean), torch.randint(1000, (64,))
        loss = F.mse_loss(network(scheduler.add_noise(clean, z, t), t).sample, z)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
    network.load_state_dict(average.module.state_dict())
    return DDPMPipeline(network.eval(), scheduler)


def main() -> None:
    """Train, draw with each sampler, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1, help="draws of each sampler of 12 calls")
    given = parser.parse_args()
    pipe = trained(given.steps, width=given.width)
    pipe.save_pretrained("ddpm")
    pipe.set_progress_bar_config(disable=True)
    eyes = load_classifier("digits")
    real, test = (load_images("digits", split).images for split in ("train", "test"))
    reference, config = feature_moments(eyes, real), pipe.scheduler.config
    for kind, calls in SAMPLERS:
        pipe.scheduler, distances = kind.from_config(config), []
        for seed in range(given.seeds if calls < 1000 else 1):  # 1000 cost as much as 83 times 12
            drawn = pipe(
                batch_size=given.count,
                num_inference_steps=calls,
                generator=torch.Generator().manual_seed(seed),
                output_type="np",
            ).images
            images = to_uint8(torch.from_numpy(drawn).permute(0, 3, 1, 2))
            distances.append(frechet_estimate(extract_features(eyes, images), reference))
        each = "   ".join(f"{distance.mean:.3f} ± {distance.error:.3f}" for distance in distances)
        print(f"{kind.__name__:28}{calls:5} calls   {each}", flush=True)
    save_png(sheet(images[:64], columns=8), "ddpm.png")
    score = frechet_estimate(extract_features(eyes, test), reference)
    print(f"{'real digits, 360 of them':38}   {score.mean:.3f} ± {score.error:.3f}")
    # The same network behind the contract, for every sampler and every use of cascore.
    denoiser = cascore.from_diffusers(pipe)
    mean = cascore.own_mean(denoiser)  # the middle of its pixels
    x = cascore.initial_noise((4, *denoiser.shape), denoiser.levels(12)[0], mean=mean)
    cascore.consistent_annealed(denoiser, x, denoiser.levels(12))


if __name__ == "__main__":
    main()
