"""Our samplers and our networks for diffusers: a scheduler for its pipelines, and a pipeline.

`pipe.scheduler = CASScheduler.from_config(pipe.scheduler.config)` is all that a pipeline needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascore.denoiser import NETWORK_KAPPA, is_blind, kappa_of_steps, own_mean
from cascore.ecosystem.diffusers_folder import require_diffusers
from cascore.ecosystem.levels import typical_levels
from cascore.ecosystem.parametrization import Parametrization, configured, shift_of
from cascore.errors import InputError
from cascore.experiment.chain import SPACINGS, chain_sigmas, resolved
from cascore.experiment.settings import Experiment, Sampler, Schedule, Spacing
from cascore.model.convert import without_paths
from cascore.model.loading import Model, built_denoiser
from cascore.plain import from_plain, to_plain
from cascore.sampling import consistent_steps
from cascore.schedule import check_sigmas

require_diffusers()

from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin, SchedulerMixin  # noqa: E402
from diffusers.configuration_utils import register_to_config  # noqa: E402
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput  # noqa: E402
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers  # noqa: E402
from diffusers.utils import BaseOutput  # noqa: E402
from diffusers.utils.torch_utils import randn_tensor  # noqa: E402

# A scheduler is not told of what its levels are for: pixels in [-1, 1] have variance 2 / 7 and
# latents 1, so it takes what is within a factor 2 of both; pixels in [0, 1] have 1 / 14.
_SHAPE, _VARIANCE, _OF_PIXELS = (3, 64, 64), 1 / 2, 1 / 14
_TAKEN = frozenset(
    (
        *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
        *("rescale_betas_zero_snr", "prediction_type", "clip_sample", "clip_sample_range"),
        *("sigma_min", "sigma_max", "sigma_data"),
    )
)
"""What a configuration of diffusers hands on, beside its family."""


@dataclass
class CASSchedulerOutput(BaseOutput):  # type: ignore[misc]
    """The state of the next step, and H of this one, the expected clean sample."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class CASScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Algorithm 2, consistent annealed sampling, as a scheduler of diffusers.

    Its updates are those of `cascore.consistent_annealed` at the same levels, in the state of the
    pipeline. The last step returns H(x, sigma_L), the denoised sample. Order 1 is DDIM at kappa 1
    and ancestral sampling at kappa 2; order 2 DPM-Solver++(2M) and SDE-DPM-Solver++(2M).

    Its timesteps lie between those of the training, which a network with a table of them, such as
    one of time_embedding_type "learned", does not take: `cascore.from_diffusers` rounds for it.

    Args:
        num_train_timesteps: as in `diffusers.DDIMScheduler`, and so are beta_start, beta_end,
            beta_schedule, trained_betas, rescale_betas_zero_snr, clip_sample, clip_sample_range.
        prediction_type: as there, or flow_prediction.
        family: preserving, flow, edm or exploding; see `cascore.ecosystem.parametrization`.
        shift: of flow matching.
        sigma_min: of EDM and of exploding variance, as are sigma_max and sigma_data.
        kappa: in [1, inf]: how much noise a step adds; None for a network of cascore that sees
            sigma, 2.5 or less in few calls (`cascore.denoiser.kappa_of_steps`).
        order: 1, or 2, the multistep rule; not to be taken for the attribute `order` of diffusers'
            schedulers, the calls that a step makes, which is 1.
        spacing: of the levels: calibrated, centred, geometric or karras; and of exploding variance
            trained, the nearest of num_train_timesteps geometric ones, as long as there are enough.
    """

    _compatibles = [kind.name for kind in KarrasDiffusionSchedulers]  # noqa: RUF012
    order = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        prediction_type: str = "epsilon",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        family: str = "preserving",
        shift: float = 1.0,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        sigma_data: float = 0.5,
        kappa: float | None = 1.5,
        order: int = 2,
        spacing: Spacing = "calibrated",
    ) -> None:
        self.parametrization = _parametrization(self.config)
        known = ("calibrated", *SPACINGS, *("trained",) * (family == "exploding"))
        if spacing not in known:
            raise InputError(
                f"spacing is {spacing!r}; expected of family {family} one of {', '.join(known)}"
            )
        self._clip = clip_sample_range if clip_sample else None
        self._begin: int | None = None
        self._use(self.parametrization.sigmas)

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Any:
        """A scheduler for a network that was trained for another: theirs, or one of ours.

        Further settings, such as kappa, replace those of the configuration.

        Raises:
            InputError: a scheduler of an unknown process, or with a setting that is not known here.
        """
        ours = _translated(dict(config))
        return super().from_config(ours, return_unused_kwargs, **kwargs)

    @property
    def init_noise_sigma(self) -> float:
        """What a pipeline multiplies its first normal numbers by."""
        if self.parametrization.family in ("preserving", "flow"):
            return 1.0
        data = self.parametrization.deviation if self.parametrization.family == "edm" else 0.0
        return float(np.hypot(float(self.levels[0]), data))

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Where a pipeline that begins with a picture enters the chain."""
        self._begin = begin_index

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Choose the levels of a chain, one for each call of the network.

        Args:
            num_inference_steps: how many levels, spaced as the configuration says.
            device: where the timesteps are to live.
            timesteps: of the training, decreasing, in place of the number.
            sigmas: decreasing, in place of the number; of flow matching its times u in (0, 1).

        Raises:
            InputError: none of them, or levels that are no schedule or beyond the training's.
        """
        form = self.parametrization
        if timesteps is not None:
            levels = form.sigma_of(torch.as_tensor(timesteps, dtype=torch.float64))
        elif sigmas is not None:
            levels = torch.as_tensor(sigmas, dtype=torch.float64)
            if form.family == "flow":
                levels = form.sigma_of(form.steps * levels)
        elif num_inference_steps is not None:
            levels = self._spaced(num_inference_steps)
        else:
            raise InputError("give the number of steps, or timesteps, or sigmas")
        self._use(levels, device)

    def _spaced(self, count: int) -> Tensor:
        """So many levels over the range of the training, as the configuration says."""
        sigmas, config = self.parametrization.sigmas, self.config
        first, last = float(sigmas[0]), float(sigmas[-1])
        if config.spacing == "trained":
            sampler = Sampler(calls=count, kappa=config.kappa, order=config.order)
            training = Schedule(first=first, last=last, levels=config.num_train_timesteps)
            return chain_sigmas(resolved(sampler, training, at_levels=True), training)
        return typical_levels(
            (first, last),
            count,
            shape=_SHAPE,
            variance=_OF_PIXELS if self.parametrization.family == "exploding" else _VARIANCE,
            kappa=config.kappa,
            order=config.order,
            spacing=config.spacing,
        )

    def _use(self, levels: Tensor, device: torch.device | str | None = None) -> None:
        """Take these levels, and begin a chain."""
        self.levels = check_sigmas(levels)
        self.parametrization.require_within(self.levels)
        kappa, order, count = self.config.kappa, self.config.order, len(self.levels)
        if kappa is None:
            ratio = float(self.levels[0] / self.levels[-1])
            kappa = kappa_of_steps(NETWORK_KAPPA, count, ratio=ratio, blind=False, order=order)
        self._steps = consistent_steps(self.levels, kappa=kappa, order=order)
        self.num_inference_steps = count
        timesteps = self.parametrization.timestep(self.levels)
        self.timesteps = timesteps.float().to(device or "cpu")
        self._begin = None
        self._index: int | None = None
        self._previous: Tensor | None = None

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """What the network sees of the state; of most families the state itself."""
        form = self.parametrization
        if form.family != "edm" or timestep is None:
            return sample
        sigma = self.levels[self._at(timestep)]
        return sample * float(form.input_scale(sigma) / form.state_scale(sigma))

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> CASSchedulerOutput | tuple[Tensor, Tensor]:
        """One update: x <- (1 - eta) x + eta [H + lead (H - H_previous)] + noise z.

        Args:
            model_output: what the network returned, [N, C, ...]; a learned variance behind the
                channels of the state is left out.
            timestep: of `timesteps`, in their order.
            sample: the state, [N, C, ...], left unchanged.
            generator: of the noise, one for all or one for each row; by default PyTorch's own.
            return_dict: a named result, or the tuple of its fields.
        """
        i = self._at(timestep)
        form, sigma, of = self.parametrization, self.levels[i], self._steps[i]
        x = sample.float() / float(form.state_scale(sigma))
        c_skip, c_out = (float(c) for c in form.skip_and_out(sigma))
        denoised = c_skip * x + c_out * model_output[:, : sample.shape[1]].float()
        if self._clip is not None:
            denoised = denoised.clamp(-self._clip, self._clip)
        following = denoised
        if i + 1 < len(self._steps):
            ahead = denoised
            if of.lead and self._previous is not None:
                ahead = denoised + of.lead * (denoised - self._previous)
            following = (1 - of.eta) * x + of.eta * ahead
            if of.noise:
                z = randn_tensor(
                    x.shape, generator=generator, device=x.device, dtype=model_output.dtype
                )
                following = following + of.noise * z.float()
            following = following * float(form.state_scale(self.levels[i + 1]))
        self._previous, self._index = denoised, i + 1
        result = following.to(sample.dtype), denoised.to(sample.dtype)
        return CASSchedulerOutput(*result) if return_dict else result

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The state of clean samples at timesteps [N]: s (clean + sigma z)."""
        form = self.parametrization
        sigma = form.sigma_of(timesteps.cpu().double())  # MPS has no float64
        shape = (-1, *(1,) * (original_samples.ndim - 1))
        s, sigma = (v.reshape(shape).to(original_samples) for v in (form.state_scale(sigma), sigma))
        return s * (original_samples + sigma * noise)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`add_noise`, as pipelines of flow matching call it."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    def _at(self, timestep: Tensor | float) -> int:
        """The step of a timestep: the one that follows, or where the chain is entered."""
        if self._index is None:
            self._index = self._begin
        if self._index is None:
            distance = (self.timesteps.cpu() - float(timestep)).abs()
            self._index = int(distance.argmin())
        return self._index


def _translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our configuration for a network whose scheduler has another's configuration."""
    if "family" in config:
        return dict(config)
    form = configured(config, config.get("_class_name"))
    taken = {key: value for key, value in config.items() if key in _TAKEN}
    return {
        **taken,
        "family": form.family,
        "prediction_type": form.prediction,
        "shift": shift_of(config),
        "_class_name": CASScheduler.__name__,
    }


def _parametrization(config: Mapping[str, Any]) -> Parametrization:
    """Of our own configuration, which has the keys of all families."""
    of = {
        "flow": ("num_train_timesteps", "prediction_type", "shift"),
        "edm": ("prediction_type", "sigma_min", "sigma_max", "sigma_data"),
        "exploding": ("prediction_type", "sigma_min", "sigma_max"),
        "preserving": (*sorted(_TAKEN - {"sigma_min", "sigma_max", "sigma_data"}),),
    }
    family = config["family"]
    if family not in of:
        raise InputError(f"family is {family!r}; expected one of {', '.join(of)}")
    return configured({key: config[key] for key in of[family]}, CASScheduler.__name__)


@dataclass
class CascoreModelOutput(BaseOutput):  # type: ignore[misc]
    """H(x, sigma), of the shape of x."""

    sample: Tensor


class CascoreModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A network of cascore as a model of diffusers: told sigma as its timestep, it returns H.

    Args:
        shape: of one picture, (channels, height, width).
        experiment: the settings, as `model.json` has them.
        data: what is known of the training set.
        pixel_range: of the network's own pixels; None for [0, 1].
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        shape: Sequence[int],
        experiment: Mapping[str, Any],
        data: Mapping[str, Any],
        pixel_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        settings = from_plain(Experiment, experiment, "config.json: experiment")
        pixels = None if pixel_range is None else (pixel_range[0], pixel_range[1])
        self.denoiser = built_denoiser(settings, tuple(shape), data, pixels)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> CascoreModelOutput | tuple[Tensor]:
        """H(x, sigma) of pixels in [0, 1], x = clean + sigma z, at sigma = timestep."""
        label = () if class_labels is None else (class_labels,)
        denoised: Tensor = self.denoiser(sample, timestep, *label)
        return CascoreModelOutput(denoised) if return_dict else (denoised,)


class CascorePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Pictures of a network of cascore by a pipeline of diffusers.

    `CascorePipeline.from_model(cascore.load("digits")).save_pretrained("folder")` makes a folder
    that `CascorePipeline.from_pretrained("folder")` reads; their weights are safetensors.
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: CascoreModel, scheduler: CASScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @classmethod
    def from_model(cls, model: Model) -> "CascorePipeline":
        """The pipeline of a model of pictures, with the kappa and the levels that are its default.

        Raises:
            InputError: a model of points.
        """
        if len(model.shape) != 3:
            raise InputError(f"{model!r} is of points: a pipeline draws pictures")
        experiment, data = without_paths(model.experiment, model.data)
        unet = CascoreModel(
            shape=list(model.shape),
            experiment=to_plain(experiment),
            data=to_plain(data),
            pixel_range=model.pixel_range,
        )
        unet.denoiser.load_state_dict(model.denoiser.state_dict())
        schedule, chain = model.experiment.schedule, model.chain(Sampler())
        scheduler = CASScheduler(
            num_train_timesteps=schedule.levels,
            family="exploding",
            prediction_type="sample",
            sigma_min=schedule.last,
            sigma_max=schedule.first,
            # One that sees sigma has another kappa for each number of calls.
            kappa=chain.kappa if is_blind(model.denoiser) else None,
            order=chain.order,
            spacing="trained" if model.experiment.at_levels else chain.spacing,
        )
        return cls(unet.eval().to(model.device), scheduler)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int = 12,
        class_labels: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Draw pictures.

        Args:
            batch_size: how many.
            generator: of all noise, one for all or one for each picture.
            num_inference_steps: calls of the network.
            class_labels: of a network of classes, int64 [batch_size].
            output_type: pil, np for [N, H, W, C], or pt for [N, C, H, W] in [0, 1].
            return_dict: a named result with `images`, or a tuple of them.
        """
        device = self._execution_device
        labels = None if class_labels is None else class_labels.to(device)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        shape = (batch_size, *self.unet.config.shape)
        x = randn_tensor(shape, generator=generator, device=device, dtype=self.unet.dtype)
        mean = own_mean(self.unet.denoiser).to(x)  # an offloaded unet is elsewhere
        x = x * self.scheduler.init_noise_sigma + mean
        for timestep in self.progress_bar(self.scheduler.timesteps):
            denoised = self.unet(x, timestep, labels).sample
            x = self.scheduler.step(denoised, timestep, x, generator=generator).prev_sample
        images = x.clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).float().numpy()
            if output_type == "pil":
                images = self.numpy_to_pil(images)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)
