"""The commands that judge: evaluate, compare, verify, reference."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.arguments.common import Crop, Device, Filter, Mode, SamplerName
from cascore.experiment.settings import Sampler
from cascore.measurement import METRIC_NAMES

__all__ = ["Compare", "Evaluate", "MakeReference", "Verify"]

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[METRIC_NAMES]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a model, or a folder of images from any program, against real images.

    Examples:
    cascore evaluate runs/digits --steps 12
    cascore evaluate pictures --data folder:photos --size 64
    cascore evaluate pictures --data statistics.npz --extractor inception
    """

    path: tyro.conf.Positional[str]
    """Folder of a run, a model directory, the name of a model that comes with cascore, or a folder
    of images."""
    data: str | None = None
    """Real images: a data set, folder:PATH or statistics (.npz); default: the model's own."""
    root: str | None = None
    """Folder of the real images' files, where they need one, and of inception."""
    size: int | None = None
    """Folders of images: height and width in pixels to bring every image to; recorded."""
    crop: Crop = "center"
    """Folders of images, with a size: cut the middle square out first, or stretch."""
    filter: Filter = "lanczos"
    """Folders of images, with a size: the resampling filter."""
    mode: Mode = "auto"
    """Folders of images: take images as they are, or convert all to colour or to grey."""
    extractor: str | None = None
    """digits, mnist, fashion-mnist, pixels, random-convolution or inception; default: the data
    set's classifier, else random-convolution."""
    metrics: tuple[MetricName, ...] | None = None
    """Default: frechet kernel precision-recall memorisation, and modes of stacked digits."""
    as_published: bool = False
    """Print the divergence of modes as the authors' program does, too."""
    out: Path | None = None
    """File for the records (default: in evaluations/ of the model, or evaluations/NAME; none for a
    folder of images)."""
    checkpoint: str = "newest"
    """Of a run: newest, best (by the evaluations during training), or a step."""
    count: int = 1437
    """How many pictures to draw from a model."""
    seed: int = 0
    """Of the first picture."""
    batch_size: int = 256
    """Pictures at a time."""
    like: SamplerName | None = None
    """The paper's settings by name, in place of those below (`cascore presets` lists them)."""
    sampler: tyro.conf.OmitArgPrefixes[Sampler] = field(default_factory=Sampler)
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Rank numbers of records, and draw them; refuse if their provenance differs.

    Example: cascore compare runs/a runs/b --metric frechet --out compare.png
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Files of records, or folders that hold them: runs, or their evaluations/."""
    metric: str = "frechet"
    """frechet, kernel, precision, recall, density, coverage, modes, modes-kl, memorisation or
    inception-score."""
    form: Literal["denoised", "raw", "both"] = "denoised"
    """Of samples; images of other programs are always taken."""
    split: Literal["train", "test", "all"] | None = None
    """Of the real images; default: train, where there are several."""
    accept: tuple[str, ...] = ()
    """Fields that may differ all the same, as a refusal names them."""
    out: Path | None = None
    """Also draw a picture: .png, .svg or .pdf."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Compute the numbers of a file of records again: equal, within uncertainty, or different."""

    file: tyro.conf.Positional[Path]
    """Records that `cascore evaluate` wrote."""
    root: str | None = None
    """Folder of the real images' files now (default: where they were)."""
    device: Device | None = None
    """Where to compute (default: where it was)."""


@dataclass(frozen=True, kw_only=True)
class MakeReference:
    """Write statistics of real images (.npz), to compare with later without the images.

    Other programs read the file too: it holds mu and sigma by the names that they use.
    """

    data: tyro.conf.Positional[str]
    """A data set, or folder:PATH."""
    out: tyro.conf.Positional[Path]
    """New file, .npz."""
    extractor: str | None = None
    """As for `evaluate`; default: the data set's classifier, else random-convolution."""
    split: Literal["train", "test", "all"] = "train"
    """Which images; all is for folders."""
    root: str | None = None
    """Folder of the images' files, where they need one, and of inception."""
    size: int | None = None
    """Folder of images: height and width in pixels to bring every image to."""
    crop: Crop = "center"
    """Folder of images, with a size: cut the middle square out first, or stretch."""
    filter: Filter = "lanczos"
    """Folder of images, with a size: the resampling filter."""
    mode: Mode = "auto"
    """Folder of images: take images as they are, or convert all to colour or to grey."""
    device: Device = "auto"
    """Where to compute."""
