"""The images that an evaluation judges, and what a record says of them: of a model, or files."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cascore.data import ImageSet
from cascore.data.folder import load_folder
from cascore.data.images import array_digest
from cascore.errors import InputError
from cascore.evaluation.question import Counting, Question
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.measurement import (
    Form,
    ImageFacts,
    ModelFacts,
    SamplerFacts,
    Selection,
)
from cascore.model.folder import is_model_folder
from cascore.model.loading import Model
from cascore.model.pretrained import spoken_name
from cascore.pixels import to_uint8
from cascore.plain import to_plain

__all__ = ["Source", "drawn_source", "files_of", "files_source"]


@dataclass(frozen=True, eq=False)
class Source:
    """Images that are judged.

    Attributes:
        parts: What a record says of them, and their pixels, uint8: raw and denoised, or files.
        model: What made them; None for files.
        sampler: How they were drawn; None for files.
        selection: How the model's checkpoint was chosen.
    """

    parts: tuple[tuple[ImageFacts, Tensor], ...]
    model: ModelFacts | None = None
    sampler: SamplerFacts | None = None
    selection: Selection | None = None


def files_of(question: Question) -> ImageSet:
    """The images of a folder.

    Raises:
        InputError: No images, images that do not fit together, or samples of cascore twice.
    """
    if (question.path / "record.json").is_file():
        raise InputError(
            f"{question.path} holds samples of cascore twice: judge {question.path / 'denoised'} or"
            f" {question.path / 'raw'}"
        )
    return load_folder(question.path, "all", options=question.folders)


def files_source(question: Question, files: ImageSet) -> Source:
    """The images of a folder as what is judged."""
    options = question.folders
    steps = asdict(options) if options.size is not None else {}
    if options.mode != "auto":
        steps["mode"] = options.mode
    facts = ImageFacts(
        source="folder",
        path=str(question.path),
        form="images",
        count=files.count,
        digest=array_digest(files.images.numpy()),
        first_seed=None,
        preprocessing=steps,
    )
    return Source(parts=((facts, files.images),))


def drawn_source(
    question: Question, model: Model, *, device: torch.device, counting: Counting
) -> Source:
    """Samples of a model, raw and denoised, from the same chains."""
    seeds = seeds_from(question.first_seed, question.count)
    sampler, schedule = question.sampler, model.experiment.schedule
    calls = build.network_calls(sampler, schedule)
    with counting("sampling", calls * len(seeds)) as advance:
        samples = generate(
            model.denoiser,
            shape=model.shape,
            seeds=seeds,
            sampler=sampler,
            schedule=schedule,
            device=device,
            batch_size=question.batch_size,
            progress=advance,
        )

    def part(form: Form, values: Tensor) -> tuple[ImageFacts, Tensor]:
        pixels = to_uint8(values)
        facts = ImageFacts(
            source="model" if is_model_folder(question.path) else "run",
            path=spoken_name(question.path),
            form=form,
            count=question.count,
            digest=array_digest(pixels.numpy()),
            first_seed=question.first_seed,
            preprocessing={},
        )
        return facts, pixels

    return Source(
        parts=(part("raw", samples.raw), part("denoised", samples.denoised)),
        model=ModelFacts(
            name=model.experiment.name,
            digest=model.digest,
            step=model.step,
            checkpoint=question.checkpoint,
            experiment=to_plain(model.experiment),
            data=to_plain(model.data),
        ),
        sampler=SamplerFacts(settings=_settings(question), nfe=samples.nfe),
        selection=model.selection,
    )


def _settings(question: Question) -> dict[str, Any]:
    """Of the sampler; `tuned` says what chose them, where the person did not."""
    settings = build.settings_of(question.sampler)
    return settings if question.tuned is None else {**settings, "tuned": to_plain(question.tuned)}
