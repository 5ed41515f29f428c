"""An evaluation: images of a model or of a folder, judged, as records of everything it follows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.datasets import FolderOptions, ImageSet
from cascore.datasets.folder import load_folder
from cascore.datasets.records import array_digest
from cascore.errors import InputError
from cascore.experiments import build
from cascore.experiments.config import Data, Sampler
from cascore.experiments.generate import generate, seeds_from
from cascore.experiments.measure import measure
from cascore.experiments.metric_choice import Viewed, usable_metrics
from cascore.experiments.model_folder import is_model_folder
from cascore.experiments.models import Model, is_model, load_model
from cascore.experiments.outputs import software
from cascore.experiments.records import (
    Computation,
    Form,
    JudgedImages,
    ModelFacts,
    Record,
    SamplerFacts,
    Selection,
    to_plain,
)
from cascore.experiments.references import (
    RealSets,
    channel_classifier,
    choose_extractor,
    judge_of,
    load_reference,
    named_data,
)
from cascore.pixels import to_uint8

__all__ = ["Answer", "Counting", "Question", "Ready", "evaluate", "ready_for_model"]

Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: title and total; gives a function to call with how much more is done."""

AS_THEY_ARE = FolderOptions()


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is judged, and how.

    Attributes:
        path: Folder of a run, a model directory, or a folder of images.
        data: Real images to compare with: a name, folder:PATH or a file of statistics (.npz);
            None takes those that the model was trained on.
        root: Folder of the real images' files, and of extractors that need a file.
        folders: How images of folders are brought to one shape.
        extractor: A name; None takes that of the statistics or the data set's classifier, or
            random-convolution where there is none.
        metrics: Names; None takes the usual ones.
        as_published: Give the divergence of modes as the authors' program prints it, too.
        checkpoint: Of a run: newest, best, or a step.
        sampler: Of a model.
        first_seed: Of a model's first image.
        count: Images to draw from a model.
        batch_size: Images at a time; moves numbers by rounding.
    """

    path: Path
    data: str | None = None
    root: str | None = None
    folders: FolderOptions = AS_THEY_ARE
    extractor: str | None = None
    metrics: tuple[str, ...] | None = None
    as_published: bool = False
    checkpoint: str = "newest"
    sampler: Sampler = field(default_factory=Sampler)
    first_seed: int = 0
    count: int = 1437
    batch_size: int = 256


@dataclass(frozen=True)
class Answer:
    """Records of all numbers, and what a person should know beside them."""

    records: list[Record]
    notices: list[str]


class Ready(NamedTuple):
    """What an evaluation needs beside the judged images."""

    data: str
    view: Viewed
    metrics: list[str]
    notices: list[str]


@dataclass(frozen=True, eq=False)
class _Source:
    """Images by form, and where they come from."""

    images: dict[Form, Tensor]
    facts: JudgedImages
    model: ModelFacts | None = None
    sampler: SamplerFacts | None = None
    selection: Selection | None = None


def evaluate(
    question: Question,
    *,
    device: torch.device,
    counting: Counting,
    command: str,
    ready: Ready | None = None,
) -> Answer:
    """Judge a model's samples, raw and denoised, or a folder of images.

    Args:
        question: What is judged, and how.
        device: Where a model samples.
        counting: Shows progress.
        command: What was typed, for the records.
        ready: Of the same question of another checkpoint, to spare the real images' features.

    Raises:
        InputError: What cannot be found, does not fit together, or is of another shape.
    """
    if is_model(question.path):
        model = load_model(question.path, device=device, checkpoint=question.checkpoint)
        ready = ready or ready_for_model(question, model, device=device)
        source = _drawn(question, model, device=device, counting=counting)
    else:
        files = _files(question)
        data = _data_of_folder(question)
        ready = ready or _ready(question, data, files.shape, count=files.count, device=device)
        source = _of_files(question, files)
    view, metrics = ready.view, ready.metrics
    return Answer(
        [
            Record(
                metric=each.metric,
                value=each.value,
                error=each.error,
                settings=each.settings,
                floor=each.floor,
                data=ready.data,
                images=replace(source.facts, form=form, digest=digest),
                model=source.model,
                sampler=source.sampler,
                extractor=each.extractor,
                references=each.references,
                selection=source.selection,
                computation=Computation(
                    device=device.type,
                    threads=torch.get_num_threads(),
                    batch_size=question.batch_size,
                ),
                software=software(),
                command=command,
            )
            for form, images in source.images.items()
            for digest in [array_digest(images.numpy())]
            for each in measure(metrics, images, view)
        ],
        ready.notices,
    )


def _data_of_model(question: Question, model: Model) -> Data:
    own = model.experiment.data
    data = own if question.data in (None, own.name) else Data(name=str(question.data))
    if question.folders != AS_THEY_ARE:
        if not data.name.startswith("folder:"):
            raise InputError("size, crop, filter and mode are for folders of images")
        data = replace(data, **asdict(question.folders))
    return replace(data, root=question.root or data.root)


def _data_of_folder(question: Question) -> Data:
    if question.data is None:
        raise InputError(
            f"{question.path} is neither a run nor a model directory; to judge a folder of images,"
            " name the real images to compare with: --data digits"
        )
    return named_data(question.data, root=question.root, folders=question.folders)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise InputError("the model makes points; only images are judged so far")
    channels, height, width = shape
    return channels, height, width


def ready_for_model(question: Question, model: Model, *, device: torch.device) -> Ready:
    """What an evaluation of a model needs beside its samples: all that can be refused beforehand.

    Raises:
        InputError: Real images that cannot be found, of another shape, or points.
    """
    data, shape = _data_of_model(question, model), _image_shape(model.shape)
    return _ready(question, data, shape, count=question.count, device=device)


def _ready(
    question: Question,
    data: Data,
    shape: tuple[int, int, int],
    *,
    count: int,
    device: torch.device,
) -> Ready:
    real = load_reference(data, whole=not is_model(question.path))
    if isinstance(real, RealSets) and real.shape != shape:
        raise InputError(
            f"the images of {question.path} have shape {list(shape)}, those of {real.data.name}"
            f" {list(real.shape)}: they cannot be compared; --size brings folders of images to one"
        )
    extractor = choose_extractor(
        question.extractor, real, shape=shape, root=question.root, device=device
    )
    judge, references = judge_of(real, extractor, count=count)
    classifier = channel_classifier(real.data.name) if isinstance(real, RealSets) else None
    view = Viewed(judge, references, classifier, question.as_published)
    metrics, notices = usable_metrics(question.metrics, view)
    if question.as_published and "modes" not in metrics:
        raise InputError(
            "as published is the divergence of modes, which is not measured here; it is of stacked"
            " digits, or of a data set with a classifier and --metrics modes"
        )
    if not metrics:
        raise InputError(f"nothing can be measured: {'; '.join(notices)}")
    return Ready(data.name, view, metrics, notices)


def _files(question: Question) -> ImageSet:
    if (question.path / "record.json").is_file():
        raise InputError(
            f"{question.path} holds samples of cascore twice: judge {question.path / 'denoised'} or"
            f" {question.path / 'raw'}"
        )
    if question.data is None:
        _data_of_folder(question)
    return load_folder(question.path, "all", options=question.folders)


def _of_files(question: Question, files: ImageSet) -> _Source:
    options = question.folders
    steps = asdict(options) if options.size is not None else {}
    if options.mode != "auto":
        steps["mode"] = options.mode
    facts = JudgedImages(
        source="folder",
        path=str(question.path),
        form="images",
        count=files.count,
        digest="",
        first_seed=None,
        preprocessing=steps,
    )
    return _Source(images={"images": files.images}, facts=facts)


def _drawn(
    question: Question, model: Model, *, device: torch.device, counting: Counting
) -> _Source:
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
    return _Source(
        images={"raw": to_uint8(samples.raw), "denoised": to_uint8(samples.denoised)},
        facts=JudgedImages(
            source="model" if is_model_folder(question.path) else "run",
            path=str(question.path),
            form="raw",
            count=question.count,
            digest="",
            first_seed=question.first_seed,
            preprocessing={},
        ),
        model=ModelFacts(
            name=model.experiment.name,
            digest=model.digest,
            step=model.step,
            checkpoint=question.checkpoint,
            experiment=to_plain(asdict(model.experiment)),
            data=to_plain(model.data),
        ),
        sampler=SamplerFacts(settings=to_plain(build.settings_of(sampler)), nfe=samples.nfe),
        selection=model.selection,
    )
