"""How the images of a folder become tensors of one shape: the choices, wherever they are made."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from cascore.errors import InputError
from cascore.ranges import require_in_range

Crop = Literal["center", "none"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How the images of a folder become tensors of one shape; what cannot be is an InputError."""

    size: int | None = None
    """For a folder of images: height and width in pixels to bring every image to; without, all must
    be of one size."""
    crop: Crop = "center"
    """For a folder, with a size: cut the middle square out first, or stretch."""
    filter: Filter = "lanczos"
    """For a folder, with a size: the resampling filter, antialiased (except nearest)."""
    mode: Literal["auto", "rgb", "grey"] = "auto"
    """For a folder: take grey or colour images as they are, or convert all to colour or to grey
    (0.299 R + 0.587 G + 0.114 B)."""

    def __post_init__(self) -> None:
        require_in_range({"size": self.size})
        for field in fields(FolderOptions)[1:]:
            value, allowed = getattr(self, field.name), get_args(field.type)
            if value not in allowed:
                raise InputError(f"{field.name} is {value!r}; expected one of {', '.join(allowed)}")
