"""Consistent annealed sampling and adversarial score matching for PyTorch.

Names are loaded when they are first used (PEP 562), so that `import cascore` loads no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascore.denoiser import ConditionalDenoiser as ConditionalDenoiser
    from cascore.denoiser import Denoiser as Denoiser
    from cascore.denoiser import UnconditionalDenoiser as UnconditionalDenoiser
    from cascore.denoiser import rescaled as rescaled
    from cascore.denoiser import score as score
    from cascore.errors import InputError as InputError
    from cascore.losses import corrupt as corrupt
    from cascore.losses import dsm_loss as dsm_loss
    from cascore.losses import hybrid_loss as hybrid_loss
    from cascore.model.loading import load_model as load_model
    from cascore.noise import KeyedNoise as KeyedNoise
    from cascore.sampling import Samples as Samples
    from cascore.sampling import annealed_langevin as annealed_langevin
    from cascore.sampling import consistent_annealed as consistent_annealed
    from cascore.sampling import initial_noise as initial_noise
    from cascore.schedule import centred_sigmas as centred_sigmas
    from cascore.schedule import geometric_sigmas as geometric_sigmas
    from cascore.schedule import karras_sigmas as karras_sigmas
    from cascore.schedule import stretch as stretch
    from cascore.training import TrainState as TrainState
    from cascore.training import train as train

_HOME = {
    "ConditionalDenoiser": "denoiser",
    "Denoiser": "denoiser",
    "InputError": "errors",
    "KeyedNoise": "noise",
    "Samples": "sampling",
    "TrainState": "training",
    "UnconditionalDenoiser": "denoiser",
    "annealed_langevin": "sampling",
    "centred_sigmas": "schedule",
    "consistent_annealed": "sampling",
    "corrupt": "losses",
    "dsm_loss": "losses",
    "geometric_sigmas": "schedule",
    "hybrid_loss": "losses",
    "initial_noise": "sampling",
    "load_model": "model.loading",
    "karras_sigmas": "schedule",
    "rescaled": "denoiser",
    "score": "denoiser",
    "stretch": "schedule",
    "train": "training",
}

__all__ = ["__version__", *_HOME]
__version__ = version("cascore")


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'cascore' has no attribute {name!r}")
    return getattr(import_module(f"cascore.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
