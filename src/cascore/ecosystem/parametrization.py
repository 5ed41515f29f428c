"""What a diffusion network is told and what it returns, in one form: EDM's, Eq. 7 (2206.00364).

H(x, sigma) = c_skip x + c_out F(c_in x, c_noise), with x = clean + sigma z. Networks of diffusers
differ in these four coefficients alone, and the state of its schedulers is s x with one more:

| family     | s, c_in                   | c_noise        | F: c_skip, c_out                |
| ---------- | ------------------------- | -------------- | ------------------------------- |
| preserving | 1 / sqrt(1 + sigma^2)     | t of sigma     | epsilon: 1, -sigma              |
|            |                           |                | sample: 0, 1                    |
|            |                           |                | v: s^2, -sigma s                |
| flow       | 1 / (1 + sigma)           | T sigma s      | s, -sigma s                     |
| edm        | 1, 1 / sqrt(sigma^2 + d^2) | log(sigma) / 4 | d^2 c_in^2, sigma d c_in        |
| exploding  | 1                         | sigma          | score: 1, sigma^2; sample: 0, 1 |

In the first row alpha_bar = s^2; t goes from one training timestep to the next in proportion to log
sigma. In the second, flow matching's own time is sigma s = sigma / (1 + sigma), and v = z - clean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cascore.ecosystem.diffusers_folder import require_diffusers
from cascore.errors import InputError

Family = Literal["preserving", "flow", "edm", "exploding"]

_PREDICTIONS: Mapping[Family, tuple[str, ...]] = {
    "preserving": ("epsilon", "sample", "v_prediction"),
    "flow": ("flow_prediction",),
    "edm": ("epsilon", "v_prediction"),
    "exploding": ("score", "sample"),
}
_SLACK = 1e-4  # relative: levels come as float32, and of flow matching as u next to 1
_PRESERVING = frozenset(
    f"{name}Scheduler"
    for name in (
        *("DDPM", "DDPMParallel", "DDIM", "DDIMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete"),
        *("EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"),
        *("DPMSolverMultistep", "DPMSolverSinglestep", "DPMSolverSDE", "DEISMultistep"),
        *("UniPCMultistep", "SASolver"),
    )
)
"""Schedulers of diffusers for networks of a discrete, variance-preserving process."""
_OTHERS = ("FlowMatch", "EDM", "ScoreSdeVe", "CASScheduler")
"""How the names of the other schedulers that are known begin, ours among them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parametrization:
    """What a network is told and what it returns, and the levels it was trained at.

    Attributes:
        family: the row of the table above.
        prediction: what F is, by diffusers' word.
        sigmas: [T] float64, decreasing, in units of the network's pixels; only the first and the
            last are a bound where the network saw every level between.
        steps: T of the training; its timesteps are 0, ..., T - 1, and `sigmas` may lack the last
            ones, where no signal is left.
        deviation: d, EDM's deviation of the data.
    """

    family: Family
    prediction: str
    sigmas: Tensor
    steps: int = 1000
    deviation: float = 0.5

    def __post_init__(self) -> None:
        known = _PREDICTIONS[self.family]
        if self.prediction not in known:
            raise InputError(
                f"prediction_type is {self.prediction!r}; expected one of {', '.join(known)}"
            )
        if len(self.sigmas) < 2 or not bool((self.sigmas[1:] < self.sigmas[:-1]).all()):
            raise InputError(
                "the scheduler's noise does not grow from each training timestep to the next"
            )

    def state_scale(self, sigma: Tensor) -> Tensor:
        """The factor s from x = clean + sigma z to the state of a scheduler of diffusers."""
        if self.family == "preserving":
            return (1 + sigma.square()).rsqrt()
        return 1 / (1 + sigma) if self.family == "flow" else torch.ones_like(sigma)

    def input_scale(self, sigma: Tensor) -> Tensor:
        """c_in, the factor from x to what the network sees."""
        if self.family == "edm":
            return (sigma.square() + self.deviation**2).rsqrt()
        return self.state_scale(sigma)

    def skip_and_out(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """c_skip and c_out, the weights of x and of F in H."""
        s, one = self.input_scale(sigma), torch.ones_like(sigma)
        if self.family == "edm":
            sign = 1 if self.prediction == "epsilon" else -1
            return (self.deviation * s).square(), sign * self.deviation * sigma * s
        if self.family == "flow":
            return s, -sigma * s
        return {
            "epsilon": (one, -sigma),
            "sample": (torch.zeros_like(sigma), one),
            "v_prediction": (s.square(), -sigma * s),
            "score": (one, sigma.square()),
        }[self.prediction]

    def timestep(self, sigma: Tensor) -> Tensor:
        """c_noise, what the network is told of a sigma; a real number between two timesteps."""
        if self.family == "flow":
            return self.steps * sigma / (1 + sigma)
        if self.family == "edm":
            return sigma.log() / 4
        if self.family == "exploding":
            return sigma
        logs = self.sigmas.flip(0).log().to(sigma)  # of the timesteps 0, 1, ...
        at = sigma.log()
        upper = torch.searchsorted(logs, at).clamp(1, len(logs) - 1)
        lower, step = logs[upper - 1], logs[upper] - logs[upper - 1]
        return (upper - 1 + (at - lower) / step).clamp(0, len(logs) - 1)

    def sigma_of(self, timestep: Tensor) -> Tensor:
        """The sigma of a timestep, the inverse of `timestep`; those beyond the last have its."""
        if self.family == "flow":
            share = (timestep / self.steps).clamp(max=1 - 1e-9)
            return (share / (1 - share)).clamp(max=float(self.sigmas[0]))
        if self.family == "edm":
            return (4 * timestep).exp()
        if self.family == "exploding":
            return timestep
        logs = self.sigmas.flip(0).log().to(timestep)
        lower = timestep.floor().long().clamp(0, len(logs) - 2)
        share = (timestep - lower).clamp(0, 1)
        return (logs[lower] + share * (logs[lower + 1] - logs[lower])).exp()

    def require_within(self, sigma: Tensor, *, units: float = 1.0) -> None:
        """Raise InputError unless every sigma is within the training levels.

        The message states both in pixels of which a unit is so many of the network's.
        """
        high, low = float(self.sigmas[0]), float(self.sigmas[-1])
        least, most = float(sigma.min()), float(sigma.max())
        if not low * (1 - _SLACK) <= least <= most <= high * (1 + _SLACK):
            wrong = least if not least >= low * (1 - _SLACK) else most
            raise InputError(
                f"sigma = {wrong / units:.6g} is outside of what the network was trained at:"
                f" {low / units:.6g} to {high / units:.6g}; take levels between, such as"
                " denoiser.levels(12)"
            )


def parametrization_of(scheduler: Any) -> Parametrization:
    """The parametrization that a scheduler of diffusers, or ours for it, states.

    Raises:
        InputError: a scheduler of another process, or a setting that changes what the network is
            told in a way that is not known here.
    """
    if isinstance(own := getattr(scheduler, "parametrization", None), Parametrization):
        return own
    return configured(dict(scheduler.config), type(scheduler).__name__)


def configured(config: Mapping[str, Any], name: str | None) -> Parametrization:
    """The parametrization of the configuration of a scheduler of that name, if it has one.

    Its keys tell the family: flow matching has a shift and no betas, EDM a sigma_data.

    Raises:
        InputError: a scheduler of another process, or a setting that changes what the network is
            told in a way that is not known.
        MissingExtraError: diffusers is not installed.
    """
    if name is not None and name not in _PRESERVING and not name.startswith(_OTHERS):
        raise _of_no_known_process(name)
    for key, known in _KNOWN.items():
        if config.get(key, known) not in (known, None):
            spoken = name or "the scheduler"
            raise InputError(f"{spoken} has {key} = {config[key]!r}; known is {known!r}")
    prediction = str(config.get("prediction_type") or "epsilon")
    steps = int(config.get("num_train_timesteps", 1000))
    flow = prediction == "flow_prediction" or config.get("use_flow_sigmas")
    if flow or ("shift" in config and "beta_start" not in config):
        return flow_matching(steps, shift_of(config))
    if "beta_start" in config:
        alpha_bar = ddpm_scheduler(config).alphas_cumprod
        return variance_preserving(alpha_bar, _ALSO_CALLED.get(prediction, prediction))
    # Others have the two sigmas too, but say neither what is predicted nor where sampling ends.
    if not ("sigma_max" in config and config.keys() & {"prediction_type", "sampling_eps"}):
        raise _of_no_known_process(name or "the scheduler")
    ends = torch.tensor((config["sigma_max"], config["sigma_min"]), dtype=torch.float64)
    if "sigma_data" in config:
        deviation = float(config["sigma_data"])
        return Parametrization(
            family="edm", prediction=prediction, sigmas=ends, deviation=deviation
        )
    prediction = str(config.get("prediction_type") or "score")
    return Parametrization(family="exploding", prediction=prediction, sigmas=ends)


def _of_no_known_process(name: str) -> InputError:
    """What to say of a scheduler whose networks cannot be read."""
    return InputError(
        f"{name} is of no process that is known here: variance-preserving ones (DDPM, DDIM, PNDM,"
        " Euler, Heun, DPM-Solver, DEIS, UniPC, SA), flow matching, EDM and ScoreSdeVe are"
    )


_KNOWN: Mapping[str, object] = {
    "timestep_type": "discrete",
    "invert_sigmas": False,
    "thresholding": False,
    "snr_shift_scale": 1,
}
"""Settings that are known at these values alone."""
_ALSO_CALLED = {"original_sample": "sample"}
_OF_BETAS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    "rescale_betas_zero_snr",
)


def shift_of(config: Mapping[str, Any]) -> float:
    """The shift of flow matching; a dynamic one depends on the size of the picture, and is 1."""
    if config.get("use_dynamic_shifting"):
        return 1.0
    return float(config.get("shift") or config.get("flow_shift") or 1.0)


def ddpm_scheduler(config: Mapping[str, Any]) -> Any:
    """Diffusers' own scheduler of the betas of a configuration, so that alpha_bar is theirs."""
    require_diffusers()
    from diffusers import DDPMScheduler

    return DDPMScheduler(**{key: config[key] for key in _OF_BETAS if key in config})


def variance_preserving(alpha_bar: Tensor, prediction: str) -> Parametrization:
    """The discrete process of `alpha_bar` [T], decreasing: sigma^2 = (1 - alpha_bar) / alpha_bar.

    Timesteps without any signal, where alpha_bar = 0, have no sigma and are left out.
    """
    kept = alpha_bar.detach().cpu().double()
    steps, kept = len(kept), kept[kept > 0]
    return Parametrization(
        family="preserving",
        prediction=prediction,
        sigmas=((1 - kept) / kept).sqrt().flip(0),
        steps=steps,
    )


def flow_matching(steps: int, shift: float) -> Parametrization:
    """Rectified flow, (1 - u) clean + u z at u = 1 / T, ..., (T - 1) / T; sigma = u / (1 - u).

    A shift of the times is a factor of sigma, u' / (1 - u') = shift u / (1 - u).
    """
    if not shift > 0 or not math.isfinite(shift):
        raise InputError(f"shift is {shift}; expected a positive number")
    u = torch.arange(steps - 1, 0, -1, dtype=torch.float64) / steps
    return Parametrization(
        family="flow", prediction="flow_prediction", sigmas=shift * u / (1 - u), steps=steps
    )
