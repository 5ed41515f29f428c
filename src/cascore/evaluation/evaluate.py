"""An evaluation: samples of a model, or images of a folder, against real images, as measurements.

`EvaluationSettings` say what is asked; a `Reference` is the real side; each number is a
`Measurement`; an `Evaluation` is all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from cascore.data import ImageSet
from cascore.data.folder import load_folder
from cascore.data.images import array_digest
from cascore.errors import InputError
from cascore.evaluation.classes import proportional_labels
from cascore.evaluation.metrics import (
    few_images,
    measured,
    needs_features,
    needs_real_features,
    usable_metrics,
)
from cascore.evaluation.reference import Reference, load_reference, named_data, seen_widely
from cascore.experiment.chain import require_room, seeds_from
from cascore.experiment.outputs import software
from cascore.experiment.periodic import FIRST_SEED
from cascore.experiment.settings import Data, EvaluationSettings, Experiment
from cascore.measurement import Computation, Form, ImageFacts, Measurement, ModelFacts, SamplerFacts
from cascore.model.advice import Choice
from cascore.model.folder import is_model_folder
from cascore.model.loading import Model, absent, is_model, load
from cascore.model.pretrained import spoken_name
from cascore.model.wide import Drawn, draw_widely, first_goes_on, read_part, see_widely
from cascore.pixels import to_uint8
from cascore.plain import to_plain
from cascore.preprocessing import FolderOptions, folder_path, is_folder
from cascore.progress import Display
from cascore.training import ALONE, Workers


@dataclass(frozen=True)
class Evaluation:
    """All numbers of an evaluation, what a person should know beside them, and the images."""

    measurements: list[Measurement]
    notices: list[str]
    """What could not be measured, and what is not as it was."""
    images: Mapping[Form, Tensor]
    """uint8 [count, C, H, W], raw and denoised of a model, or those of a folder."""


def evaluate(
    settings: EvaluationSettings,
    *,
    device: torch.device,
    model: Model | None = None,
    reference: Reference | None = None,
    display: Display | None = None,
    command: str = "",
    tuned: Choice | None = None,
    parts: Path | None = None,
    workers: Workers = ALONE,
) -> Evaluation:
    """Measure a model's samples, raw and denoised, or the images of a folder.

    The model of `settings.path`, and the real side, can be given where they are there already, as
    from another checkpoint. `command` is what was typed, and `tuned` what chose the sampler, if
    tuning did: for the records. In a folder of `parts` samples and features are kept on the way,
    drawn and seen by all `workers`; the others end there with ShareDone, and the first one
    measures. What cannot be found, does not fit together, or is of another shape raises InputError.
    """
    source = _source(settings, model, device)
    reference = reference or reference_for(settings, source, device=device)
    usable, notices = usable_metrics(
        settings.metrics,
        reference,
        as_published=settings.as_published,
        by_class=settings.guidance is not None,
    )
    sets = [*reference.sets.values(), *([source] if isinstance(source, ImageSet) else [])]
    notices += dict.fromkeys(f"{x.name}: {text}" for x in sets for text in x.record.remarks)
    labels: Tensor | None = None
    if isinstance(source, Model):
        labels = _asked_for(settings, source, reference)
    elif settings.guidance is not None:
        raise InputError(f"--guidance {settings.guidance:g} is for models, not for a folder")
    judged = _judged(settings, source, labels, display, parts, workers)
    seen: list[Path] = []
    if parts is not None and any(map(needs_features, usable)):
        together: dict[str, Any] = {"device": device, "workers": workers, "display": display}
        if any(map(needs_real_features, usable)):
            reference = seen_widely(reference, parts, **together)
        seen = see_widely(
            reference.extractor,
            judged.images,
            parts,
            kind="judged",
            count=reference.count,
            digest=judged.digest,
            **together,
        )
    first_goes_on(workers)
    images, features = judged.images(slice(None)), [read_part(path) for path in seen]
    made: dict[str, Any] = {"model": None, "sampler": None, "selection": None}
    if isinstance(source, Model):
        made = _made(settings, source, tuned, judged.nfe)
        notices += _other_data(source, reference)
    measurements: list[Measurement] = []
    for form, pixels in images.items():
        blank = Measurement(
            metric="",
            value=None,
            error=None,
            settings={},
            floor=None,
            data=reference.data.name,
            images=_image_facts(settings, form, pixels),
            extractor=None,
            references=(),
            computation=Computation(
                device=device.type,
                threads=torch.get_num_threads(),
                batch_size=settings.batch_size,
                precision=settings.precision,
                compiled=settings.compiled,
            ),
            software=software(),
            command=command,
            **made,
        )
        known = torch.cat([part[form] for part in features]) if features else None
        measurements += measured(usable, blank, pixels, reference, labels=labels, seen=known)
    notices += few_images(usable, reference)
    if not settings.as_published:
        measurements = [m for m in measurements if m.metric != "modes-kl-as-published"]
    return Evaluation(measurements, notices, images)


def checkpoint_measure(
    experiment: Experiment, folder: Path, *, device: torch.device
) -> Callable[[int], Measurement]:
    """What `training_run` calls at a checkpoint's step: the distance that chooses the best one.

    It is the Fréchet distance of the denoised samples of the default sampler to the training
    images, in the default features. The real images are seen once. The samples have seeds of their
    own, so that a later evaluation of the chosen checkpoint does not repeat the luck that chose it.
    """
    reference: Reference | None = None

    def measure(step: int) -> Measurement:
        nonlocal reference
        settings = EvaluationSettings(
            path=folder,
            metrics=("frechet",),
            checkpoint=str(step),
            seed=FIRST_SEED,
            count=experiment.train.evaluate_count,
        )
        model = load(folder, device=device, checkpoint=str(step))
        reference = reference or reference_for(settings, model, device=device)
        evaluation = evaluate(
            settings,
            device=device,
            model=model,
            reference=reference,
            command="cascore train, evaluate_every",
        )
        return next(
            number
            for number in evaluation.measurements
            if number.images.form == "denoised" and number.references[0].split == reference.split
        )

    return measure


def reference_for(
    settings: EvaluationSettings, source: Model | ImageSet, *, device: torch.device
) -> Reference:
    """The real side of an evaluation of a model, or of the images of a folder."""
    preprocessing: FolderOptions | None
    if isinstance(source, ImageSet):
        data, shape, count = _data_of_folder(settings), source.shape, source.count
        preprocessing = settings.folder
    else:
        if len(source.shape) != 3:
            raise InputError("the model makes points; only images are judged so far")
        data, count = _data_of_model(settings, source), settings.count
        channels, height, width = source.shape
        shape, trained_on = (channels, height, width), source.experiment.data
        preprocessing = trained_on.options if is_folder(trained_on.name) else None
    return load_reference(
        data,
        count=count,
        device=device,
        shape=shape,
        whole=isinstance(source, ImageSet),
        extractor=settings.extractor,
        root=settings.root,
        preprocessing=preprocessing,
    )


def _data_of_model(settings: EvaluationSettings, model: Model) -> Data:
    """The named data, or those that the model was trained on; a folder like that of the training.

    Size, crop, filter and mode of a folder are those of the model's own, where none are given.
    """
    trained_on = model.experiment.data
    name = settings.data or trained_on.name
    if name == trained_on.name or (is_folder(name) and is_folder(trained_on.name)):
        data = replace(trained_on, name=name)
    else:
        data = Data(name=name)
    unset = vars(FolderOptions())
    given = {name: x for name, x in vars(settings.folder).items() if x != unset[name]}
    if given and not is_folder(data.name):
        raise InputError("size, crop, filter, mode and the like are for folders of images")
    if settings.data is None and is_folder(name) and not folder_path(name).is_dir():
        raise InputError(
            f"the images that the model was trained on, {name}, are not here: say where they are"
            " now with --data folder:PATH"
        )
    return replace(data, root=settings.root or data.root, **given)


def _data_of_folder(settings: EvaluationSettings) -> Data:
    if settings.data is None:
        raise InputError(
            f"{settings.path} is neither a run nor a model folder; to judge a folder of images,"
            " name the real images to compare with: --data digits"
        )
    return named_data(settings.data, root=settings.root, folders=settings.folder)


def _other_data(model: Model, reference: Reference) -> list[str]:
    """Whether the training data are not what they were."""
    train, was = reference.facts.get("train"), model.data.get("digest")
    if train is None or was in (None, train.digest):
        return []
    name = str(model.data.get("name"))
    if name != train.name and not (is_folder(name) and is_folder(train.name)):
        return []
    return [f"{train.name} is not what the model was trained on: its images have another digest"]


def _source(
    settings: EvaluationSettings, model: Model | None, device: torch.device
) -> Model | ImageSet:
    """The model, which computes as the settings say, or the images of a folder."""
    if model is None and not is_model(settings.path):
        return _files(settings)
    if model is None:
        model = load(settings.path, device=device, checkpoint=settings.checkpoint)
    require_room(settings.count, model.shape)
    return replace(model, precision=settings.precision, compiled=settings.compiled)


def _files(settings: EvaluationSettings) -> ImageSet:
    """The images of a folder; refused where samples of cascore are in it twice."""
    if not settings.path.exists():
        raise absent(settings.path)
    _data_of_folder(settings)  # asks for --data before many files are read
    if (settings.path / "record.json").is_file():
        raise InputError(
            f"{settings.path} holds samples of cascore twice: judge {settings.path / 'denoised'} or"
            f" {settings.path / 'raw'}"
        )
    return load_folder(settings.path, "all", options=settings.folder)


def _image_facts(settings: EvaluationSettings, form: Form, images: Tensor) -> ImageFacts:
    """What a record says of samples of a model, or of the images of a folder."""
    options, of_files = settings.folder, form == "images"
    steps: dict[str, Any] = {}
    if of_files and options.size is not None:
        steps = {name: getattr(options, name) for name in ("size", "crop", "filter", "mode")}
    if of_files and options.mode != "auto":
        steps["mode"] = options.mode
    if of_files and options.skip_broken:
        steps["skip_broken"] = True
    made_by: Literal["run", "model"] = "model" if is_model_folder(settings.path) else "run"
    return ImageFacts(
        source="folder" if of_files else made_by,
        path=str(settings.path) if of_files else spoken_name(settings.path),
        form=form,
        count=len(images),
        digest=array_digest(images.numpy()),
        first_seed=None if of_files else settings.seed,
        preprocessing=steps,
    )


def _asked_for(settings: EvaluationSettings, model: Model, reference: Reference) -> Tensor | None:
    """The class of each picture, where classes are asked for."""
    if settings.guidance is None:
        return None
    if not model.classes:
        raise InputError(f"--guidance {settings.guidance:g} is for models that know classes")
    real = reference.sets.get(reference.split)
    return proportional_labels(real, model.classes, settings.count)


class _Judged(NamedTuple):
    """What is judged: the images of some rows by form, what decides them, and network calls."""

    images: Callable[[slice], Mapping[Form, Tensor]]
    digest: str
    nfe: int


def _judged(
    settings: EvaluationSettings,
    source: Model | ImageSet,
    labels: Tensor | None,
    display: Display | None,
    parts: Path | None,
    workers: Workers,
) -> _Judged:
    """The images of a folder; or samples of a model, raw and denoised, from the same chains."""
    if isinstance(source, ImageSet):
        return _Judged(lambda rows: {"images": source.images[rows]}, source.digest, 0)
    seeds = seeds_from(settings.seed, settings.count)
    how: dict[str, Any] = {
        "labels": labels,
        "guidance": 1.0 if settings.guidance is None else settings.guidance,
        "batch_size": settings.batch_size,
        "display": display,
    }
    if parts is not None:
        drawn = draw_widely(source, seeds, settings.sampler, parts, workers=workers, **how)
        return _Judged(lambda rows: _by_form(drawn.rows(rows)), drawn.folder.name, drawn.nfe)
    samples = source.draw(seeds, settings.sampler, **how)
    whole = Drawn(to_uint8(samples.raw), to_uint8(samples.denoised), samples.nfe)
    return _Judged(lambda rows: {x: y[rows] for x, y in _by_form(whole).items()}, "", whole.nfe)


def _by_form(drawn: Drawn) -> dict[Form, Tensor]:
    return {"raw": drawn.raw, "denoised": drawn.denoised}


def _made(
    settings: EvaluationSettings, model: Model, tuned: Choice | None, nfe: int
) -> dict[str, Any]:
    """What made the samples of a model, for its measurements."""
    chain = asdict(model.chain(settings.sampler))
    chosen: dict[str, Any] = {} if tuned is None else {"tuned": to_plain(tuned)}
    if settings.guidance is not None:
        chosen["guidance"] = settings.guidance
    return {
        "model": ModelFacts(
            name=model.experiment.name,
            digest=model.digest,
            step=model.step,
            checkpoint=settings.checkpoint,
            experiment=to_plain(model.experiment),
            data=to_plain(model.data),
        ),
        "sampler": SamplerFacts(settings={**chain, **chosen}, nfe=nfe),
        "selection": model.selection,
    }
