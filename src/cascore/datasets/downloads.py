"""Files that a program may fetch, with their sizes and SHA-256; how one is fetched.

The sums are those of the checksum lists of tensorflow/datasets (url_checksums/cifar10.txt,
mnist.txt and fashion_mnist.txt), so they stand in a public place that is none of the servers'.
"""

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cascore.errors import InputError

__all__ = ["DOWNLOADS", "Download", "download"]

_SECONDS = 30.0  # without a byte, and the server counts as gone
_CHUNK = 2**18
# Other OSErrors are of the disk, and say so themselves.
_CONNECTION = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(ConnectionError, TimeoutError),
)


class Download(NamedTuple):
    """A file on a server: its address, its bytes and their SHA-256 in hexadecimal."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address, which the file keeps."""
        return self.url.rpartition("/")[2]


def _four(address: str, *facts: tuple[int, str]) -> tuple[Download, ...]:
    names = [f"{part}-{kind}.gz" for part in ("train", "t10k") for kind in _KINDS]
    return tuple(
        Download(f"{address}/{name}", size, digest)
        for name, (size, digest) in zip(names, facts, strict=True)
    )


_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_MNIST = _four(
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
_FASHION_MNIST = _four(
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
DOWNLOADS: Mapping[str, tuple[Download, ...]] = MappingProxyType(
    {
        "cifar-10": (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        "mnist": _MNIST,
        "fashion-mnist": _FASHION_MNIST,
        "stacked-mnist": _MNIST,
        "stacked-fashion-mnist": _FASHION_MNIST,
    }
)
"""The files of each data set that a program may fetch."""


def download(
    files: Sequence[Download],
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda more: None,
) -> None:
    """Fetch what `folder` does not hold yet; a file takes its name when its SHA-256 is right.

    Until then it is NAME.part, which an interrupted download leaves and a later one goes on with.

    Args:
        files: What to fetch.
        folder: Where to; made if absent.
        progress: Called with how many more bytes are there.

    Raises:
        InputError: No connection, or the server has other bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        if target.is_file() and _digest(target) == file.sha256:
            progress(file.size)
            continue
        part = folder / f"{file.name}.part"
        try:
            _fetch(file, part, progress=progress)
        except _CONNECTION as error:
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"{file.url} cannot be fetched ({reason}); run the command again where there is a"
                f" connection, or put {file.name} somewhere and name it with --source"
            ) from None
        if _digest(part) != file.sha256:
            part.unlink()
            raise InputError(
                f"{file.url} gives other bytes than those with SHA-256 {file.sha256}; they were"
                f" thrown away: run the command again, or get {file.name} elsewhere and name it"
                " with --source"
            )
        part.replace(target)


def _fetch(file: Download, part: Path, *, progress: Callable[[int], None]) -> None:
    """Bring NAME.part to the full size, from where it is."""
    start = part.stat().st_size if part.is_file() else 0
    if start >= file.size:  # whole but never checked, or something else: the sum will tell
        progress(file.size)
        return
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={start}-"})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        goes_on = answer.status == http.client.PARTIAL_CONTENT
        if not goes_on:
            start = 0
        progress(start)
        with part.open("ab" if goes_on else "wb") as stream:
            # Never more than one byte too many, whatever the server would like to send.
            left = file.size + 1 - start
            while left and (chunk := answer.read(min(_CHUNK, left))):
                stream.write(chunk)
                left -= len(chunk)
                progress(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
    if left > 1:
        raise http.client.IncompleteRead(b"", left - 1)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
