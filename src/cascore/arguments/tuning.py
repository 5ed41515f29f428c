"""The command that tunes: tune."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from cascore.arguments.common import Device

__all__ = ["Tune"]


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Find order and kappa for a model and a number of network calls, and say what that gains.

    Example: cascore tune runs/digits --steps 12

    Order 1 is tried at geometric levels, order 2 at centred ones, each as `sample` takes them. All
    candidates are measured on the same seeds, and the best meets the default again on fresh ones;
    within the spread the default is kept. `sample` and `evaluate` then take what was chosen
    (sampler.json beside the model) for that number of calls, where no other setting is given.
    """

    path: tyro.conf.Positional[str]
    """Folder of a run, a model directory, or the name of a model that comes with cascore."""
    steps: int = 12
    """Network calls of a chain."""
    orders: tuple[Literal[1, 2], ...] = (1, 2)
    """Orders that are tried."""
    count: int = 256
    """Pictures of a block."""
    blocks: int = 4
    """Blocks of each candidate; their differences give the spread. As many more at the end."""
    seed: int = 1_000_000
    """Of the first picture; away from those that evaluations judge."""
    data: str | None = None
    """Real images, as for `evaluate`; default: the model's own."""
    root: str | None = None
    """Folder of the real images' files, where they need one, and of inception."""
    extractor: str | None = None
    """As for `evaluate`; default: the data set's classifier, else random-convolution."""
    checkpoint: str = "newest"
    """Of a run: newest, best (by the evaluations during training), or a step."""
    batch_size: int = 256
    """Pictures at a time."""
    out: Path | None = None
    """New folder for record and picture (default: in tuning/ of the model, or tuning/NAME)."""
    device: Device = "auto"
    """Where to compute."""
