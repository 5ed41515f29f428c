"""Archives read member by member: nothing is written to the disk, and no name is trusted.

A member whose name is absolute or holds `..`, and a link, condemns its archive: no archive of a
data set has one, so the file is not what it says.
"""

import gzip
import re
import stat
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from cascore.errors import InputError
from cascore.foreign import parsing


def read_tar(path: Path, names: Collection[str], *, limit: int) -> dict[str, bytes]:
    """The content of the members of a .tar.gz file with these names, in whatever folder of it.

    Damage, a link, a name that leads out or comes twice, and more than `limit` bytes in these
    members together, or unpacked twice as many in all, raise InputError.
    """
    contents: dict[str, bytes] = {}
    with (
        parsing(path, ".tar.gz"),
        gzip.open(path, "rb") as unpacked,
        tarfile.open(fileobj=_Bounded(unpacked, path, 2 * limit), mode="r:") as archive,  # type: ignore[call-overload]
    ):
        for member in archive:
            name = _safe_name(member.name, path, ordinary=member.isfile() or member.isdir())
            if name in contents:
                raise InputError(f"{path} holds {name} twice; get it anew")
            if name in names and (stream := archive.extractfile(member)):
                left = limit - sum(map(len, contents.values()))
                if member.size > left:
                    raise _too_large(name, path, left)
                contents[name] = _whole(stream.read(member.size), member.size, left, path, name)
    return contents


class Member(NamedTuple):
    """A file of a .tar: its name, and where its bytes stand in the archive."""

    name: str
    start: int
    size: int


def tar_members(path: Path) -> Iterator[Member]:
    """The files of a .tar that is not compressed, in their order; their content is passed over.

    Damage, a link and a name that leads out raise InputError.
    """
    with (
        parsing(path, ".tar"),
        path.open("rb") as stream,
        tarfile.open(
            fileobj=_Bounded(stream, path, path.stat().st_size + tarfile.RECORDSIZE),  # type: ignore[call-overload]
            mode="r:",
        ) as archive,
    ):
        for member in archive:
            ordinary = (member.isfile() and not member.issparse()) or member.isdir()
            _safe_name(member.name, path, ordinary=ordinary)
            if member.isfile():
                yield Member(member.name, member.offset_data, member.size)
            archive.members = []  # which it would keep


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """An open zip archive; one with a name that leads out, or a link, raises InputError."""
    with parsing(path, ".zip"), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            link = stat.S_ISLNK(member.external_attr >> 16)
            _safe_name(member.filename, path, ordinary=not link)
        yield archive


def read_zip_member(archive: zipfile.ZipFile, name: str, *, path: Path, limit: int) -> bytes:
    """The content of one member; damage, or more than `limit` bytes, raises InputError."""
    with parsing(f"{name} in {path}", "a file of the archive"), archive.open(name) as stream:
        content = stream.read(limit + 1)
    return _whole(content, archive.getinfo(name).file_size, limit, path, name)


def _whole(content: bytes, size: int, limit: int, path: Path, name: str) -> bytes:
    if len(content) > limit:
        raise _too_large(name, path, limit)
    if len(content) != size:
        raise InputError(f"{path} ends inside {name}; it is truncated: get it anew")
    return content


def _too_large(name: str, path: Path, limit: int) -> InputError:
    return InputError(f"{name} in {path} has more than {limit} bytes; get the archive anew")


def _safe_name(name: str, path: Path, *, ordinary: bool) -> str:
    """The last part of a member's name, if it stays inside and is a file or a folder."""
    parsed = PurePosixPath(name.replace("\\", "/"))
    leads_out = parsed.is_absolute() or ".." in parsed.parts or re.match("[A-Za-z]:", name)
    if leads_out or not ordinary:
        fault = "a name that leads out of the archive" if leads_out else "a link or a device"
        raise InputError(f"{path} holds {name!r}, {fault}; it is not what it says: get it anew")
    return parsed.name


class _Bounded:
    """A stream that neither reads nor skips beyond a limit: tar headers claim any size."""

    def __init__(self, stream: gzip.GzipFile | IO[bytes], path: Path, limit: int) -> None:
        self._stream, self._path, self._limit = stream, path, limit
        self.tell = stream.tell

    def seek(self, position: int) -> int:
        if position > self._limit:
            raise InputError(f"{self._path} holds more than {self._limit} bytes: get it anew")
        return self._stream.seek(position)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._limit - self._stream.tell():
            raise InputError(
                f"{self._path} claims a header of {size} bytes, or holds more than {self._limit}:"
                " get it anew"
            )
        return self._stream.read(size)
