"""Files from the network: resumed where they stopped, and taken only if their SHA-256 is right."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cascore.errors import InputError
from cascore.files import file_digest

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


def download(
    files: Sequence[Download],
    folder: Path,
    *,
    advice: str,
    progress: Callable[[int], None] = lambda more: None,
) -> None:
    """Fetch what `folder` does not hold yet; a file takes its name when its SHA-256 is right.

    Until then it is NAME.part, which an interrupted download leaves and a later one goes on with.
    `progress` is called with how many more bytes are there. No connection, and other bytes than
    expected, are an InputError that ends with `advice`, what else one can do: "or put NAME ...".
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        if target.is_file() and file_digest(target) == file.sha256:
            progress(file.size)
            continue
        part = folder / f"{file.name}.part"
        try:
            _fetch(file, part, progress=progress)
        except _CONNECTION as error:
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"{file.url} cannot be fetched ({reason}); run the command again where there is a"
                f" connection, {advice}"
            ) from None
        if file_digest(part) != file.sha256:
            part.unlink()
            raise InputError(
                f"{file.url} gives other bytes than those with SHA-256 {file.sha256}; they were"
                f" thrown away: run the command again, {advice}"
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
