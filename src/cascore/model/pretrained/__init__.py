"""Models that come with cascore: each folder here that is a model folder, by its name.

To add one: `cascore convert RUN src/cascore/model/pretrained/NAME`. Nothing is written here else:
what is made of these models goes below the working directory.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_MARK = "model.json"


def shipped_folders() -> dict[str, Path]:
    """The model folders in the package by their names, in alphabetical order."""
    return {mark.parent.name: mark.parent for mark in sorted(_HERE.glob(f"*/{_MARK}"))}


def shipped_names() -> tuple[str, ...]:
    """The names of the models that come with cascore."""
    return tuple(shipped_folders())


def is_shipped(folder: Path) -> bool:
    """Whether a model's folder is part of the package, where nothing is written."""
    return folder.resolve().parent == _HERE


def find_model(given: str) -> Path:
    """The folder that a person means: a path that exists wins, then a name of `shipped_names`.

    `./digits` is always a path. What is neither is returned as the path that it would be.
    """
    path = Path(given).expanduser()
    return path if path.exists() else shipped_folders().get(given, path)


def spoken_name(folder: Path) -> str:
    """What to call a model's folder: its name if it comes with cascore, else the path."""
    return folder.name if is_shipped(folder) else str(folder)


def place_for(folder: Path, kind: str) -> Path:
    """Where things made of a model go: FOLDER/kind; of one that comes with cascore, kind/NAME."""
    return Path(kind) / folder.name if is_shipped(folder) else folder / kind
