"""Folders that `save_pretrained` of diffusers wrote, read without running anything in them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cascore.errors import InputError, MissingExtraError
from cascore.files import home_expanded
from cascore.foreign import parsing
from cascore.hub import fetch_folder, is_on_hub
from cascore.plain import read_json

_INDEX, _CONFIG, _SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
_WEIGHTS = "diffusion_pytorch_model*.safetensors"
_PARTS = ("unet", "transformer", "scheduler", "vae", "vqvae")


def read_diffusers(folder: str | Path) -> Any:
    """The parts of a saved pipeline by name, or a saved network, with a scheduler saved beside it.

    Only networks and schedulers of diffusers are made, and weights of safetensors are all that is
    loaded.

    Raises:
        InputError: no such folder, other files, weights in another format, or another's class.
        MissingExtraError: diffusers is not installed, or for the hub huggingface_hub.
    """
    require_diffusers()
    if is_on_hub(folder):
        files = (_INDEX, _CONFIG, _SCHEDULER, _WEIGHTS, f"{_WEIGHTS}.index.json")
        path = fetch_folder(str(folder), [*files, *(f"*/{name}" for name in files)])
    else:
        path = home_expanded(folder)
    if (path / _INDEX).is_file():
        listed = read_json(path / _INDEX)
        present = [part for part in _PARTS if listed.get(part)]
        configs = {part: _SCHEDULER if part == "scheduler" else _CONFIG for part in present}
        made = {part: _made(path / part / configs[part], listed[part]) for part in present}
        return SimpleNamespace(**made)
    if (path / _CONFIG).is_file():
        network = _made(path / _CONFIG, None)
        if not (path / _SCHEDULER).is_file():
            return network
        return SimpleNamespace(unet=network, scheduler=_made(path / _SCHEDULER, None))
    raise InputError(
        f"{path} is no folder that save_pretrained of diffusers wrote: it holds neither {_INDEX}"
        f" nor {_CONFIG}"
    )


def require_diffusers() -> None:
    """Raise MissingExtraError, which names the extra, unless diffusers is installed."""
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            what="A folder of diffusers", package="diffusers", extra="diffusers"
        ) from error


def _made(file: Path, listed: Any) -> Any:
    """A network or scheduler of a folder, by the class of diffusers that its file names."""
    import diffusers

    folder, scheduler = file.parent, file.name == _SCHEDULER
    if not file.is_file():
        raise InputError(f"there is no file {file}: the folder is not whole")
    name = read_json(file).get("_class_name")
    library = listed[0] if isinstance(listed, list) and len(listed) == 2 else "diffusers"
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    # A pipeline is a class of diffusers too, whose loader can run what lies in the folder.
    base: Any = diffusers.SchedulerMixin if scheduler else diffusers.ModelMixin
    if library != "diffusers" or not isinstance(kind, type) or not issubclass(kind, base):
        sought = "scheduler" if scheduler else "network"
        raise InputError(
            f"{file} names {library}.{name}, which is no {sought} that diffusers"
            f" {diffusers.__version__} has here; code that comes with a folder is never run"
        )
    if not scheduler and not list(folder.glob(_WEIGHTS)):
        raise InputError(
            f"{folder} holds no weights in safetensors; other formats can run code when they are"
            " loaded: save it again with save_pretrained(..., safe_serialization=True)"
        )
    made: Any = kind
    with parsing(folder, f"a {name} of diffusers", "download or save it again"):
        if scheduler:
            return made.from_pretrained(folder, local_files_only=True)
        return made.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
