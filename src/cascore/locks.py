"""One writer at a time: whatever writes a folder or a file holds the lock that lies beside it."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cascore.errors import InputError
from cascore.files import remove_leftovers, require_new, temporary_path
from cascore.plain import printable

_MOMENT = 0.3  # seconds in which a lock that is just given back is got


@contextmanager
def one_writer(target: Path, work: str, *, wait: float = _MOMENT) -> Iterator[None]:
    """Hold the lock of a folder or file that is going to be written, there already or not.

    It is the lock of the place itself, by whatever links that is named. The kernel gives back the
    lock of a process that ends, however it ends. What killed writers left of `target` is removed.
    The folder that `target` is to lie in is made, and removed again where nothing came of it.

    Args:
        target: What is written.
        work: What for, in words, for whom this makes wait: "training".
        wait: Seconds to wait for another writer.

    Raises:
        InputError: another process (or this one) writes there, with what, where and since when; or
            nothing can be written there.
    """
    named = target.absolute()  # of "." too, which has no name
    try:
        place = named.resolve()
    except (OSError, RuntimeError):  # links that lead to each other
        raise InputError(f"{target} cannot be written: its links lead nowhere") from None
    if not place.name:
        raise InputError(f"{target} cannot be written: it is the root; name a new folder within it")
    made = [folder for folder in place.parents if not folder.exists()]  # the lowest first
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # a name that is too long while it is being written
            temporary_path(place).lstat()
        path = _lock_path(place)
        lock = FileLock(path, timeout=wait, thread_local=False)
        lock.acquire()
    except Timeout:
        if (reason := _refusal(path)) is not None:
            raise InputError(f"{target} cannot be written: {reason}") from None
        raise InputError(
            f"{target} is being written by {_holder(path)}: wait for its end, or choose another"
            " place"
        ) from None
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from None
    try:
        process = f"process {os.getpid()} on {socket.gethostname()}"
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        with suppress(OSError):  # it serves a message alone, and a full disk is told elsewhere
            path.write_text(f"{work}, {process} since {since}")
        for path_of_it in {place, named}:
            remove_leftovers(path_of_it.parent, of=path_of_it.name)
        yield
    finally:
        # Removed while it is held: who waits for the removed file is told so by filelock, which
        # takes a lock only on a file that has a name.
        if sys.platform != "win32":
            path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # not empty: the usual case
            for folder in made:
                folder.rmdir()


@contextmanager
def one_file(path: Path, work: str) -> Iterator[None]:
    """Hold the lock of a file that is to be written, in place of an older one perhaps.

    A folder, a device and the like, and a place where nothing can be written are an InputError.
    """
    if path.exists() and not path.is_file():
        what = "a folder: name a file in it" if path.is_dir() else "no file: name another place"
        raise InputError(f"{path} is {what}")
    with one_writer(path, work):
        yield


@contextmanager
def new_folder(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of a folder that is to be made; one that is there already is an InputError."""
    with one_writer(folder, work):
        require_new(folder)
        yield


def _lock_path(target: Path) -> Path:
    """Beside the target; within it where only that can be written, as a mounted folder."""
    if target.is_dir() and not os.access(target.parent, os.W_OK):
        return target / ".lock"
    return target.with_name(f".{target.name}.lock")


def _refusal(path: Path) -> str | None:
    """Why a lock cannot be made here; a missing folder looks to filelock as a lock given back."""
    if path.exists():
        return None
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        return error.strerror
    return None


def _holder(path: Path) -> str:
    """Who holds a lock, in the words that it left."""
    try:
        words = path.read_text(errors="replace")[:200]
    except OSError:
        words = ""
    return printable(words) or "another process"
