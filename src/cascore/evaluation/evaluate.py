"""An evaluation: images of a model or of a folder, judged, as records of everything it follows."""

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch

from cascore.errors import InputError
from cascore.evaluation.measure import measure
from cascore.evaluation.metric_choice import Viewed, usable_metrics
from cascore.evaluation.question import AS_THEY_ARE, Counting, Question
from cascore.evaluation.references import (
    RealSets,
    channel_classifier,
    choose_extractor,
    judge_of,
    load_reference,
    named_data,
)
from cascore.evaluation.sources import drawn_source, files_of, files_source
from cascore.experiment.outputs import software
from cascore.experiment.settings import Data
from cascore.measurement import Computation, Measurement
from cascore.model.loading import Model, absent, is_model, load_model

__all__ = ["Answer", "Ready", "evaluate", "ready_for_model"]


@dataclass(frozen=True)
class Answer:
    """Records of all numbers, and what a person should know beside them."""

    records: list[Measurement]
    notices: list[str]


class Ready(NamedTuple):
    """What an evaluation needs beside the judged images."""

    data: str
    view: Viewed
    metrics: list[str]
    notices: list[str]


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
        source = drawn_source(question, model, device=device, counting=counting)
        notices = [*ready.notices, *_other_data(model, ready)]
    elif not question.path.exists():
        raise absent(question.path)
    else:
        data = _data_of_folder(question)
        files = files_of(question)
        ready = ready or _ready(question, data, files.shape, count=files.count, device=device)
        source, notices = files_source(question, files), ready.notices
    view, metrics = ready.view, ready.metrics
    return Answer(
        [
            Measurement(
                metric=each.metric,
                value=each.value,
                error=each.error,
                settings=each.settings,
                floor=each.floor,
                data=ready.data,
                images=facts,
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
            for facts, pixels in source.parts
            for each in measure(metrics, pixels, view)
        ],
        notices,
    )


def _data_of_model(question: Question, model: Model) -> Data:
    own = model.experiment.data
    data = own if question.data in (None, own.name) else Data(name=str(question.data))
    if question.folders != AS_THEY_ARE:
        if not data.name.startswith("folder:"):
            raise InputError("size, crop, filter and mode are for folders of images")
        data = replace(data, **asdict(question.folders))
    return replace(data, root=question.root or data.root)


def _other_data(model: Model, ready: Ready) -> list[str]:
    """Whether the training data are not what they were."""
    train = ready.view.references.get("train")
    was = model.data.get("digest")
    if train is None or was is None or model.data.get("name") != train.name or was == train.digest:
        return []
    return [f"{train.name} is not what the model was trained on: its images have another digest"]


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
            f" {list(real.shape)}: they cannot be compared; --size and --mode bring"
            " folders of images to one shape"
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
