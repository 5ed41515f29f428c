"""What an evaluation is asked."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascore.data import FolderOptions
from cascore.experiment.settings import Sampler

__all__ = ["AS_THEY_ARE", "Counting", "Question"]

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
        tuned: What chose order, kappa and levels of the sampler, if tuning did; for the record.
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
    tuned: Mapping[str, Any] | None = None
    first_seed: int = 0
    count: int = 1437
    batch_size: int = 256
