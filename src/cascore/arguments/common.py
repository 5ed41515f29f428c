"""What several commands take."""

from typing import TYPE_CHECKING, Literal

from cascore.experiment.presets import SAMPLERS

__all__ = ["Crop", "Device", "Filter", "Mode", "SamplerName"]

Device = Literal["auto", "cpu", "cuda", "mps"]
Crop = Literal["center", "none"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
Mode = Literal["auto", "rgb", "grey"]
if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]
