"""What samples leave on the disk: PNGs, sheets and a record, written as one folder."""

import hashlib
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cascore.files import replaced_folder
from cascore.pixels import save_png, sheet, to_uint8
from cascore.plain import write_json
from cascore.sampling import Samples

SHEET = 256  # pictures on a sheet at most


class Outcomes(Protocol):
    """Samples of both kinds: floats, or the uint8 pictures that they make."""

    @property
    def raw(self) -> Tensor:
        """[N, ...]."""

    @property
    def denoised(self) -> Tensor:
        """[N, ...]."""


def file_name(words: str) -> str:
    """Words as a name of a file: small letters, digits and dots, all else a hyphen."""
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")


def told_apart(words: str) -> str:
    """A user's words for `file_name`, with a digest where that would take others for the same."""
    if file_name(words) == words.replace(" ", "-"):
        return words
    digest = hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()
    return f"{words} {digest[:8]}"


def write_samples(
    samples: Outcomes,
    folder: Path,
    *,
    seeds: Sequence[int],
    record: Mapping[str, Any],
    columns: int | None = None,
) -> None:
    """Write `denoised/` and `raw/` (a PNG for each seed), a sheet of each, and `record.json`.

    The sheets have so many columns, or are square. Points are written as `denoised.npy` and
    `raw.npy`; the record with the software's versions.
    """
    with replaced_folder(folder) as temporary:
        _write_pictures(samples, temporary, seeds=seeds, columns=columns)
        write_json(temporary / "record.json", {**record, "software": software()})


def write_restoration(
    samples: Samples,
    folder: Path,
    *,
    seeds: Sequence[int],
    record: Mapping[str, Any],
    seen: Tensor,
    whole: Tensor | None,
) -> None:
    """Write what `write_samples` writes, and what the pictures say together, of [1, C, H, W] each.

    `seen.png` is what was seen, `mean.png` the mean of the denoised pictures, `spread.png` their
    standard deviation, white where it is 1/4 or more, and `restored.png` a row of these: the whole
    picture where it is known, what was seen, the mean, the spread, and the first pictures.
    """
    drawn = samples.denoised.clamp(0, 1)
    mean, spread = drawn.mean(dim=0, keepdim=True), 4 * drawn.std(dim=0, correction=0, keepdim=True)
    parts = {"seen": seen, "mean": mean, "spread": spread}
    row = [*([] if whole is None else [whole]), *parts.values(), drawn[:6]]
    pictures = to_uint8(torch.cat(row))
    with replaced_folder(folder) as temporary:
        _write_pictures(samples, temporary, seeds=seeds, columns=None)
        for name, picture in parts.items():
            save_png(sheet(to_uint8(picture)), temporary / f"{name}.png")
        save_png(sheet(pictures, columns=len(pictures)), temporary / "restored.png")
        write_json(temporary / "record.json", {**record, "software": software()})


def _write_pictures(
    samples: Outcomes, folder: Path, *, seeds: Sequence[int], columns: int | None
) -> None:
    """A PNG for each seed and a sheet, denoised and raw; of points two arrays."""
    for name, values in (("denoised", samples.denoised), ("raw", samples.raw)):
        if values.ndim == 2:
            np.save(folder / f"{name}.npy", values.numpy(), allow_pickle=False)
        else:
            (folder / name).mkdir()
            images = values if values.dtype == torch.uint8 else to_uint8(values)
            for image, seed in zip(images, seeds, strict=True):
                save_png(image, folder / name / f"seed-{seed:08d}.png")
            save_png(sheet(images[:SHEET], columns=columns), folder / f"{name}.png")


def software() -> dict[str, str]:
    """The versions that a number depends on."""
    return {
        "cascore": version("cascore"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
