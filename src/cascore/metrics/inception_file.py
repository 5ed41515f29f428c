"""Where the weights of the FID's Inception come from, and how to be sure that they are the ones.

One file of 95,628,359 bytes is published under two names, by torch-fidelity and by pytorch-fid:
TensorFlow's graph of 2015-12-05 (Apache License 2.0), converted to PyTorch. Nothing is downloaded
unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cascore.errors import InputError
from cascore.fetching import Download, download
from cascore.files import file_digest

__all__ = [
    "INCEPTION_FILES",
    "INCEPTION_SHA256",
    "download_inception",
    "find_inception",
    "sha256_of",
]

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILES = {
    "weights-inception-2015-12-05-6726825d.pth": (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth"
    ),
    "pt_inception-2015-12-05-6726825d.pth": (
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth"
    ),
}
"""The two names of the file, and the address of each."""

_SIZE = 95_628_359


def find_inception(root: Path | str = "data") -> Path:
    """The weights file in ROOT/inception, under either of its names.

    Raises:
        InputError: It is not there; the message says which file it is, where it is published, its
            SHA-256 and where to put it.
    """
    folder = Path(root) / "inception"
    for name in INCEPTION_FILES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the weights of Inception are not in {folder}. {_advice(folder)}")


def download_inception(
    root: Path | str = "data",
    *,
    progress: Callable[[int], None] = lambda more: None,
) -> Path:
    """Download the weights file to ROOT/inception, unless it is there and whole; its path.

    Args:
        root: The data folder.
        progress: Called with how many more of its bytes have come.

    Raises:
        InputError: No connection, or what came is not the published file.
    """
    folder = Path(root) / "inception"
    for name in INCEPTION_FILES:
        if (folder / name).is_file() and sha256_of(folder / name) == INCEPTION_SHA256:
            return folder / name
    name, address = next(iter(INCEPTION_FILES.items()))
    wanted = Download(address, _SIZE, INCEPTION_SHA256)
    download([wanted], folder, advice=f"or fetch it by hand. {_advice(folder)}", progress=progress)
    return folder / name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _advice(folder: Path) -> str:
    places = " or ".join(INCEPTION_FILES.values())
    return (
        f"It is one file of {_SIZE / 1e6:.1f} MB with SHA-256 {INCEPTION_SHA256}, published as"
        f" {places}: put it into {folder} under its name, or let"
        f" cascore.metrics.download_inception({str(folder.parent)!r}) fetch it"
    )
