"""The sheets of the quickstart's page that show the models which come with cascore."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cascore.evaluation.reference import Reference
from cascore.experiment import build
from cascore.experiment.generate import generate, seeds_from
from cascore.experiment.settings import Sampler
from cascore.model.loading import Model, load_model
from cascore.model.pretrained import shipped_folders
from cascore.pixels import to_uint8
from cascore.progress import Display
from cascore.report.page import Exhibit, Gallery
from cascore.stats import independent_difference, verdict

__all__ = ["shipped_gallery"]


def shipped_gallery(
    trained: Model,
    images: Tensor,
    sampler: Sampler,
    judge: Reference,
    *,
    shown: int,
    device: torch.device,
    display: Display,
) -> Gallery | None:
    """Models that come with cascore beside one that was trained here; None if there are none.

    Args:
        trained: here.
        images: its denoised samples, uint8, as many as are judged.
        sampler: that made them, and makes the others.
        judge: of the data that it was trained on.
        shown: pictures of a sheet.
        device: where to compute.
        display: told of the sampling.
    """
    shipped = {name: load_model(path, device=device) for name, path in shipped_folders().items()}
    if not shipped:
        return None
    calls = build.network_calls(sampler, trained.experiment.schedule)
    exhibits = [Exhibit(name="Trained here", note=_note(trained, calls), images=images[:shown])]
    text = [f"All with one sampler: {build.label_of(sampler)}, {calls} network calls."]
    for name, model in shipped.items():
        alike = model.experiment.data.name == trained.experiment.data.name
        count = judge.count if alike else shown
        with display.counting(f"{name}, which comes with cascore", calls * count) as advance:
            samples = generate(
                model.denoiser,
                shape=model.shape,
                seeds=seeds_from(0, count),
                sampler=sampler,
                schedule=model.experiment.schedule,
                device=device,
                progress=advance,
            )
        drawn = to_uint8(samples.denoised)
        exhibits.append(Exhibit(name=name, note=_note(model, calls), images=drawn[:shown]))
        text += _compared(name, drawn, images, judge) if alike else ()
    text.append(f"Each is drawn by its name: cascore sample {next(iter(shipped))}.")
    return Gallery(text=" ".join(text), exhibits=exhibits)


def _note(model: Model, calls: int) -> str:
    steps, batch = model.step, model.experiment.train.batch_size
    return f"{steps:,} training steps of {batch} images, {calls} network calls"


def _compared(name: str, theirs: Tensor, ours: Tensor, judge: Reference) -> Iterator[str]:
    """A sentence on two models of the same data, from the same seeds."""
    a, b = (judge.frechet(judge.see(images), "train") for images in (ours, theirs))
    shipped = independent_difference(b, a)
    words = {
        "tie": "a tie",
        "better": f"{name} comes closer",
        "worse": "the one trained here is closer",
    }
    yield (
        f"To the training images the model trained here has Fréchet distance {a.mean:.2f} ±"
        f" {a.error:.2f}, {name} {b.mean:.2f} ± {b.error:.2f}: {words[verdict(shipped)]}."
    )
