"""Model folders: `model.safetensors`, `model.json` and a card; sampling needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from cascore.experiment.outputs import require_new, software
from cascore.files import file_digest, replaced_folder, write_text
from cascore.measurement import Measurement
from cascore.model.card import model_card
from cascore.model.record import ModelRecord
from cascore.plain import from_plain, read_json, write_json
from cascore.training.checkpoint import write_tensors

__all__ = [
    "DISCRIMINATOR",
    "MODEL",
    "WEIGHTS",
    "is_model_folder",
    "network_of",
    "read_model_record",
    "write_model_folder",
]

MODEL, WEIGHTS = "model.json", "model.safetensors"
DISCRIMINATOR, _CARD = "discriminator.safetensors", "README.md"


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is a model folder, whole or not."""
    return (folder / MODEL).is_file() or (folder / WEIGHTS).is_file()


def network_of(denoiser: nn.Module) -> nn.Module:
    """The bare network of a denoiser: the names of its weights are those of a model's file."""
    network = denoiser.network
    assert isinstance(network, nn.Module)
    return network


def write_model_folder(
    folder: Path,
    record: ModelRecord,
    *,
    weights: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None,
    measured: Sequence[Measurement] = (),
) -> ModelRecord:
    """Write a model folder, whole or not at all.

    Args:
        folder: absent or empty.
        record: its digests and versions are filled in here.
        weights: of the bare network.
        discriminator: its weights, if there is one.
        measured: evaluations of these weights, for the card.

    Returns:
        The record as it was written.

    Raises:
        InputError: something is there already, or evaluations of other weights.
    """
    require_new(folder)
    with replaced_folder(folder) as temporary:
        digests = {}
        for name, tensors in ((WEIGHTS, weights), (DISCRIMINATOR, discriminator)):
            if tensors is not None:
                write_tensors(tensors, temporary / name, target=folder)
                digests[name] = file_digest(temporary / name)
        record = replace(
            record,
            digest=digests[WEIGHTS],
            discriminator=digests.get(DISCRIMINATOR),
            software=software(),
        )
        write_json(temporary / MODEL, record)
        parameters = sum(tensor.numel() for tensor in weights.values())
        card = model_card(record, parameters=parameters, measured=measured)
        write_text(temporary / _CARD, card)
    return record


def read_model_record(folder: Path) -> ModelRecord:
    """The `model.json` of a model folder.

    Raises:
        InputError: it is missing or damaged, or of a later format.
    """
    path = folder / MODEL
    return from_plain(ModelRecord, read_json(path), str(path))
