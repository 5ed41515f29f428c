"""The page that `cascore quickstart` leaves behind: one HTML file that needs nothing else.

A `Report` is what the page says; `render` turns it into HTML with the template beside this module.
Images and charts are in the page itself and it names no address, so it can be kept, mailed and
read offline. The packages that draw it come with the extra `report`.
"""

from __future__ import annotations

import base64
import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from torch import Tensor

from cascore import pixels
from cascore.errors import InputError, MissingExtraError
from cascore.files import replaced_file
from cascore.report.charts import SERIES, Band, Mark, loss_chart, quality_chart
from cascore.report.records import (
    Distance,
    Exhibit,
    Film,
    Gallery,
    LossCurve,
    NeighbourRow,
    Report,
    SamplerRow,
)

__all__ = [
    "Distance",
    "Exhibit",
    "Film",
    "Gallery",
    "LossCurve",
    "NeighbourRow",
    "Report",
    "SamplerRow",
    "render",
    "require_report_packages",
    "write_report",
]

_PACKAGES = ("jinja2", "matplotlib")
_SHEET_IMAGES = 64
_SHEET_WIDTH = 640  # of an image sheet, in pixels: sharp on a dense screen, small in the file
_TILE_WIDTH = 128  # of a single image
_FILM_WIDTH = 12  # frames side by side on a wide page
_SHEET_LINES = 58  # dark grey lines between images suit a light page and a dark one


def require_report_packages() -> None:
    """Raise MissingExtraError before any work is done, if the page could not be drawn after it."""
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(what="The report", package=package, extra="report") from error


def render(report: Report) -> str:
    """The page, a complete HTML document.

    Raises:
        InputError: Images that are not uint8 with 1 or 3 channels.
        MissingExtraError: Packages of the extra `report` are not installed.
    """
    require_report_packages()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cascore.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(sheet=_sheet, tile=_tile, number=_number, verdict=_verdict)
    keyed = [(_key(index), index % SERIES + 1, row) for index, row in enumerate(report.rows)]
    frames = len(report.film.sigmas)
    return environment.get_template("report.html.j2").render(
        report=report,
        keyed=keyed,
        across=math.ceil(frames / max(1, math.ceil(frames / _FILM_WIDTH))),
        quality_chart=_quality_chart(keyed),
        loss_chart=loss_chart(report.losses.steps, report.losses.values),
        verdict=_memorisation_verdict(report.memorisation_ratio),
    )


def write_report(report: Report, path: Path | str) -> Path:
    """Write the page to a file, whole or not at all, and return the file's path.

    Raises:
        InputError: No such folder, or what `render` refuses.
        MissingExtraError: Packages of the extra `report` are not installed.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} in; make it first")
    content = render(report).encode()
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def _quality_chart(keyed: Sequence[tuple[str, int, SamplerRow]]) -> str:
    marks = [
        Mark(
            key=key,
            series=series,
            nfe=row.nfe,
            raw=row.to_train_raw.value,
            denoised=row.to_train_denoised.value,
        )
        for key, series, row in keyed
    ]
    floors = {
        (d.floor_mean, d.floor_spread)
        for _, _, row in keyed
        for d in (row.to_train_raw, row.to_train_denoised)
    }
    bands = [Band(mean - 2 * spread, mean + 2 * spread) for mean, spread in sorted(floors)]
    return quality_chart(marks, bands)


def _key(index: int) -> str:
    """A, B, ..., Z, AA, AB, ...: what a sampler is called in the chart."""
    quotient, letter = divmod(index, len(ascii_uppercase))
    return (_key(quotient - 1) if quotient else "") + ascii_uppercase[letter]


def _columns(images: Tensor) -> int:
    return min(8, math.ceil(math.sqrt(len(images))))


def _sheet(images: Tensor) -> str:
    """A data: URI of the first images, side by side, enlarged without smoothing."""
    shown = images[:_SHEET_IMAGES].detach().cpu()
    columns = _columns(shown)
    scale = max(1, round(_SHEET_WIDTH / (columns * shown.shape[-1])))
    return _data_uri(
        pixels.grid(shown, columns=columns, scale=scale, padding=4, background=_SHEET_LINES)
    )


def _tile(image: Tensor) -> str:
    """A data: URI of one image, enlarged without smoothing."""
    scale = max(1, _TILE_WIDTH // image.shape[-1])
    return _data_uri(pixels.grid(image.detach().cpu()[None], columns=1, scale=scale, padding=0))


def _data_uri(image: Tensor) -> str:
    return "data:image/png;base64," + base64.b64encode(pixels.encode_png(image)).decode("ascii")


def _number(value: float) -> str:
    """About three significant digits, without an exponent."""
    if not math.isfinite(value):
        return "not finite"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    return f"{value:,.{min(3, max(0, digits))}f}"


def _verdict(distance: Distance) -> str:
    """How a distance stands to its floor, in the words of the table; "" if above it."""
    if not distance.at_floor:
        return ""
    below = distance.value < distance.floor_mean - 2 * distance.floor_spread
    return "below the floor" if below else "at the floor"


def _memorisation_verdict(ratio: float) -> str:
    if ratio >= 0.9:
        return "The samples are no closer to the training images than to images never seen."
    if ratio >= 0.7:
        return "The samples lean towards the training images; look at the pairs below."
    return "The samples are much closer to the training images: this model copies."
