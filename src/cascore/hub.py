"""The hub of Hugging Face, through its own client: folders by "hf://user/name", to and fro.

Only the files that a caller names are fetched; what they are is for whoever reads them to check.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cascore.errors import InputError, MissingExtraError

_SCHEME = "hf://"


def is_on_hub(name: object) -> bool:
    """Whether a name is an address on the hub, "hf://user/name" or "hf://user/name@revision"."""
    return isinstance(name, str) and name.startswith(_SCHEME)


def fetch_folder(address: str, patterns: Sequence[str]) -> Path:
    """The files of a repository that match the patterns, in the cache of the client.

    Raises:
        InputError: no such repository, no access or no connection, with the client's own reason.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, _, revision = address.removeprefix(_SCHEME).partition("@")
    with _client(address, "downloaded"):
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(name, revision=revision or None, allow_patterns=list(patterns))
        )


def push_folder(folder: Path, name: str, *, private: bool, message: str) -> str:
    """Make a repository of a model, unless it is there, and commit the folder to it; its address.

    Raises:
        InputError: no access, no connection or a name that the hub refuses, with its reason.
        MissingExtraError: huggingface_hub is not installed.
    """
    name = name.removeprefix(_SCHEME)
    with _client(_SCHEME + name, "uploaded"):
        from huggingface_hub import create_repo, upload_folder

        made = create_repo(name, private=private, exist_ok=True)
        upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=message)
        return f"{_SCHEME}{made.repo_id}"


@contextmanager
def _client(address: str, done: str) -> Iterator[None]:
    """What the client raises is one line that names the address."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "huggingface_hub":
            raise
        raise MissingExtraError(what=address, package="huggingface_hub", extra="hub") from error
    except (OSError, ValueError) as error:  # refusals of the hub, of the net, of names
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{address} cannot be {done}: {reason:.300}") from error
