"""What is in a folder of images, read from their headers, and which sizes would suit it."""

from pathlib import Path
from typing import NamedTuple

from cascore.data.decoding import read_header
from cascore.data.folder import find_images
from cascore.errors import InputError
from cascore.preprocessing import FolderOptions

_SIZES = (64, 32, 16, 8)  # for images that are not all of one small size


class FolderSurvey(NamedTuple):
    """What the headers of a folder's images say: `smallest` is the shortest side of any."""

    images: int
    smallest: int
    one_size: tuple[int, int] | None
    grey: int

    @property
    def all_grey(self) -> bool:
        """Whether no image has colour."""
        return self.grey == self.images

    @property
    def mixed(self) -> bool:
        """Whether some images are grey and some are not."""
        return 0 < self.grey < self.images


def survey_folder(folder: Path) -> FolderSurvey:
    """Read the header of every image under a folder."""
    headers = [read_header(folder, path) for path in find_images(folder)]
    sizes = {(header.height, header.width) for header in headers}
    return FolderSurvey(
        images=len(headers),
        smallest=min(min(size) for size in sizes),
        one_size=next(iter(sizes)) if len(sizes) == 1 else None,
        grey=sum(header.grey for header in headers),
    )


def fitting_sizes(survey: FolderSurvey) -> tuple[int, ...]:
    """Heights and widths to bring the images to, largest first; none enlarges an image."""
    if survey.one_size is not None:
        height, width = survey.one_size
        if height == width <= _SIZES[0]:
            return (height, *(size for size in _SIZES if size < height))
    sizes = tuple(size for size in _SIZES if size <= survey.smallest)
    if not sizes:
        raise InputError(
            f"the smallest image is {survey.smallest} pixels wide or high; expected at least"
            f" {_SIZES[-1]}: take it out, or enlarge it"
        )
    return sizes


def fitting_options(survey: FolderSurvey) -> FolderOptions:
    """How to bring the images to one shape: as they are where they agree, else the largest size."""
    size = fitting_sizes(survey)[0]
    return FolderOptions(
        size=None if survey.one_size == (size, size) else size,
        mode="rgb" if survey.mixed else "auto",
    )
