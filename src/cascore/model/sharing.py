"""A model folder out of a model that was loaded, for a place of one's own or for the hub."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from cascore.errors import InputError
from cascore.experiment.run_folder import read_checkpoint
from cascore.files import file_digest, replaced_folder, require_new, write_text
from cascore.hub import push_folder
from cascore.locks import new_folder
from cascore.model.convert import convert_run
from cascore.model.folder import WEIGHTS, is_model_folder, read_model_record
from cascore.model.front_matter import front_matter
from cascore.model.pretrained import MODEL_FILES
from cascore.training.checkpoint import verified_record

_CARD = "README.md"


def save_model(source: Path, out: Path, *, checkpoint: str, digest: str) -> None:
    """Write the model folder `out` of a model that was read from a run or a model folder.

    What is written are the files that it was read from, by `digest` of the weights; a card that has
    no front matter for the hub gets one.

    Raises:
        InputError: something is there already, or the source holds other weights by now.
    """
    require_new(out)
    of_run = not is_model_folder(source)
    if (_digest_of(source, checkpoint) if of_run else file_digest(source / WEIGHTS)) != digest:
        raise InputError(f"{source} holds other weights than when it was loaded: load it again")
    if of_run:
        convert_run(source, out, weights="ema", checkpoint=checkpoint)
        return
    record = read_model_record(source)
    with new_folder(out, "saving a model"), replaced_folder(out) as temporary:
        for name in MODEL_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, temporary / name)
        card = temporary / _CARD
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        if not text.startswith("---\n"):
            write_text(card, front_matter(record, ()) + text)


def _digest_of(run: Path, name: str) -> str:
    """Of the weights in a run's checkpoint, as the model that is loaded from it has it."""
    # What is to be known of the checkpoint was said when it was loaded.
    checkpoint, record, _ = read_checkpoint(run, name, verified_record, lambda notice: None)
    return record.digest or file_digest(checkpoint.tensors)


def push_model(
    source: Path, name: str, *, checkpoint: str, digest: str, private: bool, message: str
) -> str:
    """Upload the model folder of `save_model` to the hub; its address.

    Raises:
        InputError: as `save_model` and `push_folder` raise it.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_model(source, folder, checkpoint=checkpoint, digest=digest)
        return push_folder(folder, name, private=private, message=message)
