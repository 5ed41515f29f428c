"""Networks of diffusers as denoisers: x = clean + sigma z of pixels in [0, 1], or of latents.

A variance-preserving network sees x / sqrt(1 + sigma^2), with alpha_bar = 1 / (1 + sigma^2), of
pixels in [-1, 1]; `cascore.ecosystem.parametrization` has the other families.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cascore.denoiser import broadcast_sigma
from cascore.ecosystem.diffusers_folder import read_diffusers
from cascore.ecosystem.levels import typical_levels
from cascore.ecosystem.parametrization import Parametrization, parametrization_of
from cascore.errors import InputError

CALLED_ALIKE = frozenset(
    ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel", "SD3Transformer2DModel")
)
"""Networks of diffusers whose pipelines hand them the state and the timestep as they are."""
_OF_PIXELS = 1 / 14  # the variance of pixels in [0, 1], as in natural_variances; latents have 1


class DiffusersDenoiser(nn.Module):
    """H(x, sigma) by a network of diffusers; `from_diffusers` makes it.

    Attributes:
        network: the network itself, which sees its own pixels and timesteps.
        parametrization: what it is told and what it returns.
        autoencoder: what makes pixels of latents; None where x are pixels.
        conditioning: further arguments of the network, by name.
        sigmas: the training levels, [T] float64, decreasing, in units of x.
        shape: of one x, (channels, height, width); None where the network does not say.
        data_mean: 0 of the network's own units in those of x: where its own chains begin.
    """

    def __init__(
        self,
        network: nn.Module,
        parametrization: Parametrization,
        *,
        autoencoder: nn.Module | None = None,
        conditioning: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.parametrization = network, parametrization
        self.autoencoder, self.conditioning = autoencoder, dict(conditioning or {})
        # Pixels of [-1, 1]; those of ScoreSdeVe and latents are taken as they are.
        pixels = autoencoder is None and parametrization.family != "exploding"
        self._span, self._low = (2.0, -1.0) if pixels else (1.0, 0.0)
        self.data_mean = -self._low / self._span
        self.sigmas = parametrization.sigmas / self._span
        self.shape = _shape_of(network)
        embedding = getattr(network, "time_proj", None)
        self._whole = isinstance(embedding, nn.Embedding)  # of timesteps: none between two

    def forward(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """H(x, sigma), of the shape and dtype of x; the label goes to the network's class_labels.

        Raises:
            InputError: a sigma beyond the training levels.
        """
        form, precise = self.parametrization, torch.promote_types(x.dtype, torch.float32)
        theirs = self._low + self._span * x.to(precise)
        level = self._span * broadcast_sigma(sigma, theirs)
        form.require_within(level, units=self._span)
        timestep = form.timestep(level.reshape(-1)).expand(len(x))
        if self._whole:
            timestep = timestep.round().long()
        given = {name: _of_each(value, len(x)) for name, value in self.conditioning.items()}
        if label is not None:
            given["class_labels"] = label
        seen = (form.input_scale(level) * theirs).to(_dtype_of(self.network, precise))
        output = _tensor_of(self.network(seen, timestep=timestep, **given)).to(precise)
        c_skip, c_out = form.skip_and_out(level)
        # What is beyond the channels of x is a learned variance, which no sampler here uses.
        denoised = c_skip * theirs + c_out * output[:, : x.shape[1]]
        return ((denoised - self._low) / self._span).to(x.dtype)

    def levels(self, count: int, *, kappa: float | None = None, order: int | None = None) -> Tensor:
        """Levels for a chain of so many calls over the whole range, by `typical_levels`."""
        if self.shape is None:
            raise InputError("the network does not say the size of its pictures: choose levels")
        ends = float(self.sigmas[0]), float(self.sigmas[-1])
        variance = _OF_PIXELS if self.autoencoder is None else 1.0
        return typical_levels(
            ends, count, shape=self.shape, variance=variance, kappa=kappa, order=order
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The pictures of latents: pixels in [0, 1], by the pipeline's autoencoder."""
        if self.autoencoder is None:
            raise InputError("x are pixels already: there is no autoencoder to decode with")
        config: Any = self.autoencoder.config
        factor, shift = config.get("scaling_factor", 1.0), config.get("shift_factor") or 0.0
        scaled = (latents / factor + shift).to(_dtype_of(self.autoencoder, latents.dtype))
        decoder: Any = self.autoencoder
        pixels = _tensor_of(decoder.decode(scaled))
        return (pixels.to(latents.dtype) / 2 + 0.5).clamp(0, 1)


def from_diffusers(
    source: Any,
    *,
    scheduler: Any = None,
    autoencoder: Any = None,
    conditioning: Mapping[str, Any] | None = None,
) -> DiffusersDenoiser:
    """The denoiser in a pipeline of diffusers, in a folder that it saved, or of a network.

    H(x, sigma) is the network's own, neither clipped nor thresholded. Between two training
    timesteps the network is told a real number, linear in log sigma; where it looks timesteps up
    in a table, the nearest. A variance that the network learned is left out.

    Args:
        source: a pipeline; a network, called as network(x, timestep=t); or as text a folder that
            `save_pretrained` wrote or "hf://user/name". Of a folder only safetensors and the
            classes of diffusers itself are loaded: no code in it runs.
        scheduler: of diffusers, whose configuration says what the network was trained for; by
            default the pipeline's or the folder's own. It is not stepped.
        autoencoder: for a network of latents; by default the pipeline's `vae` or `vqvae`.
        conditioning: further arguments of the network by name, as encoder_hidden_states; tensors
            have one row, or as many as x. A class may also be bound by `cascore.labelled`.

    Raises:
        InputError: no scheduler, one of an unknown process, a network that its pipeline prepares
            in a way of its own, or a folder without safetensors.
        MissingExtraError: a folder is given and diffusers is not installed.
    """
    if isinstance(source, str | Path):
        source = read_diffusers(source)
    network, process = source, scheduler
    if not isinstance(source, nn.Module):
        network = getattr(source, "unet", None) or getattr(source, "transformer", None)
        process = scheduler or getattr(source, "scheduler", None)
        owned = getattr(source, "vae", None) or getattr(source, "vqvae", None)
        autoencoder = autoencoder or owned
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{type(source).__name__} is neither a network nor a pipeline with a unet or a"
            " transformer, nor a folder of one"
        )
    kind = type(network)
    if kind.__module__.startswith("diffusers.") and kind.__name__ not in CALLED_ALIKE:
        raise InputError(
            f"{kind.__name__} is called by its pipeline in a way of its own; known are"
            f" {', '.join(sorted(CALLED_ALIKE))}. Wrap it in a module that is called as"
            " network(x, timestep=t) and returns the tensor, and give scheduler= and autoencoder="
        )
    if process is None:
        raise InputError(
            "a network alone does not say what it was trained to predict: give scheduler=, of"
            " diffusers, with its configuration"
        )
    return DiffusersDenoiser(
        network, parametrization_of(process), autoencoder=autoencoder, conditioning=conditioning
    ).eval()


def _of_each(value: Any, count: int) -> Any:
    """An argument of the network for so many pictures: a tensor of one row is that of each."""
    one = isinstance(value, Tensor) and value.shape[:1] == (1,)
    return value.expand(count, *value.shape[1:]) if one else value


def _tensor_of(output: Any) -> Tensor:
    """The tensor in what a network of diffusers returns."""
    if isinstance(output, Tensor):
        return output
    found: Tensor = output[0] if isinstance(output, tuple) else output.sample
    return found


def _dtype_of(module: nn.Module, default: torch.dtype) -> torch.dtype:
    """The dtype of a module's weights, in which it computes."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), default)


def _shape_of(network: nn.Module) -> tuple[int, ...] | None:
    """The shape of one picture by the network's configuration."""
    config: Any = getattr(network, "config", None)
    get = getattr(config, "get", None)
    channels, size = (get("in_channels"), get("sample_size")) if get else (None, None)
    if channels is None or size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return (channels, height, width)
