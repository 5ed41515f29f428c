"""Models that come with cascore: each folder here that is a model folder, by its name.

To add one: `cascore convert RUN src/cascore/model/pretrained/NAME`. Nothing is written here else:
what is made of these models goes below the working directory.
"""

from pathlib import Path

from cascore.files import home_expanded
from cascore.hub import fetch_folder, is_on_hub

_HERE = Path(__file__).resolve().parent
_MARK = "model.json"

MODEL_FILES = (
    *(_MARK, "model.safetensors", "discriminator.safetensors", "variances.npy"),
    *("variances.npy.sha256", "sampler.json", "README.md"),
)
"""What a model folder may hold; samples and evaluations of it are not a part of it."""


def shipped_folders() -> dict[str, Path]:
    """The model folders in the package by their names, in alphabetical order."""
    return {mark.parent.name: mark.parent for mark in sorted(_HERE.glob(f"*/{_MARK}"))}


def shipped_names() -> tuple[str, ...]:
    """The names of the models that come with cascore."""
    return tuple(shipped_folders())


def is_shipped(folder: Path) -> bool:
    """Whether a model's folder is the package's, or the hub's cache's: nothing is written there."""
    return folder.resolve().parent == _HERE or _name_on_hub(folder) is not None


def find_model(given: str) -> Path:
    """The folder that a person means: a path that exists wins, then a name of `shipped_names`.

    "hf://user/name" is fetched from the hub, unless it is in the client's cache. `./digits` is
    always a path. What is neither is returned as the path that it would be, ~NAME of nobody is an
    InputError.
    """
    if is_on_hub(given):
        return fetch_folder(given, MODEL_FILES)
    path = home_expanded(given)
    return path if path.exists() else shipped_folders().get(given, path)


def spoken_name(folder: Path) -> str:
    """What to call a model's folder: its name if it is shipped or of the hub, else the path."""
    return _name_on_hub(folder) or (folder.name if is_shipped(folder) else str(folder))


def place_for(folder: Path, kind: str) -> Path:
    """Where things made of a model go: FOLDER/kind; of one that is not to be changed, kind/NAME."""
    if not is_shipped(folder):
        return folder / kind
    return Path(kind) / spoken_name(folder).rpartition("/")[2]


def _name_on_hub(folder: Path) -> str | None:
    """The address of a folder in the cache of the hub's client: .../models--user--name/snapshots/x.

    The resolved path is of no use: the files there are links, the folder is none.
    """
    snapshots = folder.parent
    user, _, name = snapshots.parent.name.removeprefix("models--").partition("--")
    return f"hf://{user}/{name}" if snapshots.name == "snapshots" and name else None
