"""What samples leave on the disk: PNGs, sheets and a record, written as one folder."""

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cascore.files import replaced_folder
from cascore.pixels import save_png, sheet, to_uint8
from cascore.plain import write_json
from cascore.sampling import Samples

SHEET = 256  # pictures on a sheet at most


def file_name(words: str) -> str:
    """Words as a name of a file: small letters, digits and dots, all else a hyphen."""
    return re.sub(r"[^a-z0-9.]+", "-", words.lower())


def write_samples(
    samples: Samples,
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
        for name, values in (("denoised", samples.denoised), ("raw", samples.raw)):
            if values.ndim == 2:
                np.save(temporary / f"{name}.npy", values.numpy(), allow_pickle=False)
            else:
                (temporary / name).mkdir()
                images = to_uint8(values)
                for image, seed in zip(images, seeds, strict=True):
                    save_png(image, temporary / name / f"seed-{seed:08d}.png")
                save_png(sheet(images[:SHEET], columns=columns), temporary / f"{name}.png")
        write_json(temporary / "record.json", {**record, "software": software()})


def software() -> dict[str, str]:
    """The versions that a number depends on."""
    return {
        "cascore": version("cascore"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
