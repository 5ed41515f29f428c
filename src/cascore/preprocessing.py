"""A folder of images by name, and how its images become tensors of one shape."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cascore.errors import InputError
from cascore.files import home_expanded
from cascore.ranges import require_in_range

Crop = Literal["center", "none"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
Mode = Literal["auto", "rgb", "grey"]

_FOLDER = "folder:"


def is_folder(name: str) -> bool:
    """Whether a data set's name is folder:PATH."""
    return name.startswith(_FOLDER)


def folder_path(name: str) -> Path:
    """The path in folder:PATH, where ~ is the user's home; no path at all is an InputError."""
    path = name.removeprefix(_FOLDER)
    if not path.strip():
        raise InputError(
            f"{name!r} names no folder: a path has to follow, as in folder:photos (is a variable"
            " empty?)"
        )
    return home_expanded(path)


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
    mode: Mode = "auto"
    """For a folder: take grey or colour images as they are, or convert all to colour or to grey
    (0.299 R + 0.587 G + 0.114 B)."""
    labels: bool = True
    """For a folder: take subfolders as classes, where every image lies in one."""
    skip_broken: bool = False
    """For a folder: leave out images that cannot be read, in place of refusing the folder."""

    def __post_init__(self) -> None:
        require_in_range({"size": self.size})
        for name, kind in (("crop", Crop), ("filter", Filter), ("mode", Mode)):
            value, allowed = getattr(self, name), get_args(kind)
            if value not in allowed:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
