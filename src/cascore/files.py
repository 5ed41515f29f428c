"""Writes that are whole or not at all: beside the old file, flushed to the disk, then renamed."""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from cascore.errors import InputError

_LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{32}")
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}
"""What systems answer that cannot flush a folder; on them a rename is as safe as it gets."""


def home_expanded(path: str | Path) -> Path:
    """A path in which ~ is a home folder; one of a user that is not known is an InputError."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{path} begins with the home folder of a user, which is not known here; give the path"
            " in full"
        ) from None


def temporary_path(path: Path) -> Path:
    """A hidden name beside `path` that nobody else takes; `remove_leftovers` knows it again."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Let a failure name what was to be written, not its hidden name."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        if full or str(temporary) in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` if the block ends without an error."""
    temporary = temporary_path(path)
    try:
        with _named(path, temporary):
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `path` (absent or empty) if the block succeeds."""
    path = path.absolute()  # of "." too, which has no name
    require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    temporary.mkdir()
    try:
        with _named(path, temporary):
            yield temporary
            put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_new(folder: Path) -> None:
    """Raise InputError unless a folder can get its name here: absent, or empty and replaceable."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already: choose another folder")
    if folder.is_dir() and (folder.is_mount() or folder.samefile(Path.cwd())):
        raise InputError(
            f"{folder} is a mounted folder or the working directory, which cannot be made in one"
            " step: name a new folder within it"
        )


def put_in_place(folder: Path, path: Path) -> None:
    """Flush all that a folder holds, and give it its name beside it in one step.

    A `path` that is neither absent nor an empty folder is an InputError.
    """
    for inner in (*folder.rglob("*"), folder):
        _flush(inner)
    try:
        folder.replace(path)
    except OSError:
        require_new(path)
        raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_SYNC):
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, of: str | None = None) -> None:
    """Delete what killed writes of the functions above left in a folder: all, or those `of` a name.

    Only for who alone writes there (`cascore.locks`): an unfinished write looks the same.
    """
    for path in folder.glob(".*"):
        if is_leftover(path, of=of):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Delete a folder: first its name, so that a kill leaves a leftover and not half a folder."""
    temporary = temporary_path(path)
    path.replace(temporary)
    shutil.rmtree(temporary)


def is_leftover(path: Path, *, of: str | None = None) -> bool:
    """Whether the name of a path is one under which things are written here before they are whole.

    With `of`, whether it is to become that name.
    """
    match = _LEFTOVER.fullmatch(path.name)
    return match is not None and of in (None, match[1])


def aside_of(path: Path) -> Path:
    """A free name beside a path: NAME.aside, or where that is taken NAME.aside-2 and so on."""
    first = path.with_name(f"{path.name}.aside")
    others = (path.with_name(f"{first.name}-{number}") for number in count(2))
    return next(name for name in chain([first], others) if not name.exists())


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the name of `aside_of`, and return that."""
    aside = aside_of(path)
    path.replace(aside)
    _flush(path.parent)
    return aside


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def give_usual_mode(path: Path) -> None:
    """The permissions that a new file has: what the umask leaves of reading and writing for all."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
