"""Which real images to compare with, and through which eyes: data sets, folders, statistics."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cascore.data import DATA_ROOT, FolderOptions, ImageSet
from cascore.data.folder import load_folder
from cascore.data.stacked import STACKED
from cascore.errors import InputError
from cascore.evaluation.judge import Judge, new_judge
from cascore.evaluation.reference_file import Statistics, read_statistics
from cascore.experiment import build
from cascore.experiment.settings import Data
from cascore.measurement import ReferenceFacts
from cascore.metrics import (
    Classifier,
    FeatureExtractor,
    extractor_names,
    load_classifier,
    load_extractor,
)

__all__ = [
    "RealSets",
    "channel_classifier",
    "choose_extractor",
    "describe_set",
    "judge_of",
    "load_reference",
    "named_data",
]

FOLDER = "folder:"
_INCEPTION_DIMENSION = 2048


@dataclass(frozen=True, eq=False)
class RealSets:
    """Real images of a data set: train and test, or all of a folder.

    Attributes:
        data: Settings that loaded them.
        sets: The images.
    """

    data: Data
    sets: tuple[ImageSet, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.sets[0].shape


def named_data(name: str, *, root: str | None, folders: FolderOptions) -> Data:
    """Settings of the data set of that name; the options are for folder:PATH alone."""
    if name.startswith(FOLDER):
        return Data(name=name, root=root, **asdict(folders))
    return Data(name=name, root=root)


def load_reference(data: Data, *, whole: bool) -> RealSets | Statistics:
    """The real images of that name, or the statistics in that file.

    Args:
        data: Settings of the data set; a name that ends in .npz is a file of statistics.
        whole: Take a folder as one set, as for a folder that is compared with it, rather than as
            the training and held-out images of a model.

    Raises:
        InputError: No such data or file, or points.
    """
    if data.name.endswith(".npz"):
        return read_statistics(Path(data.name))
    if whole and data.name.startswith(FOLDER):
        options = FolderOptions(size=data.size, crop=data.crop, filter=data.filter, mode=data.mode)
        root = None if data.root is None else Path(data.root)
        folder = Path(data.name.removeprefix(FOLDER))
        return RealSets(data, (load_folder(folder, "all", options=options, root=root),))
    sets = []
    for split in ("train", "test"):
        loaded = build.load_data(data, split)
        if not isinstance(loaded, ImageSet):
            raise InputError(f"{data.name} is a set of points; only images are judged so far")
        sets.append(loaded)
    return RealSets(data, tuple(sets))


def choose_extractor(
    name: str | None,
    real: RealSets | Statistics,
    *,
    shape: tuple[int, int, int],
    root: str | None,
    device: torch.device,
) -> FeatureExtractor:
    """The extractor of that name; by default that of the statistics, or the data set's classifier.

    Data sets without a classifier are seen by `random-convolution`.

    Raises:
        InputError: No such extractor, one that does not take the images, or statistics that do not
            say which one made them.
    """
    if name is None:
        name = _default_extractor(real)
    place = DATA_ROOT if root is None else root
    extractor = load_extractor(name, image_shape=shape, root=place, device=device)
    if isinstance(real, Statistics) and real.dimension != extractor.dimension:
        raise InputError(
            f"{real.path} has {real.dimension} dimensions, features of {name} have"
            f" {extractor.dimension}: they are not of this extractor"
        )
    return extractor


def _default_extractor(real: RealSets | Statistics) -> str:
    if isinstance(real, RealSets):
        own = real.data.name
        return own if own in extractor_names() else "random-convolution"
    if real.provenance is not None:
        return real.provenance.extractor.name
    if real.dimension == _INCEPTION_DIMENSION:
        return "inception"
    raise InputError(
        f"{real.path} does not say which extractor made its {real.dimension} features: name it,"
        " --extractor NAME"
    )


def channel_classifier(data: str) -> Classifier | None:
    """The classifier of each channel of a stacked set, of the images of any other, or None."""
    name = STACKED.get(data, data)
    known = set(extractor_names()) - {"pixels", "random-convolution", "inception"}
    return load_classifier(name) if name in known else None


def judge_of(
    real: RealSets | Statistics, extractor: FeatureExtractor, *, count: int
) -> tuple[Judge, dict[str, ReferenceFacts]]:
    """A judge of `count` images, and what a record says of each set that it knows.

    Raises:
        InputError: Fewer than 2 images, or statistics of another extractor.
    """
    if isinstance(real, RealSets):
        judge = new_judge(extractor=extractor, sets=real.sets, count=count)
        return judge, {each.split: describe_set(each, real.data) for each in real.sets}
    split = real.reference.split or "unknown"
    known = {split: real.moments(extractor.identity)}
    judge = new_judge(extractor=extractor, sets=(), moments=known, count=count)
    return judge, {split: real.reference}


def describe_set(images: ImageSet, data: Data) -> ReferenceFacts:
    """What a record says of a set of real images, all of which are compared with."""
    defaults = asdict(Data())
    given = asdict(replace(data, flip=False))
    return ReferenceFacts(
        kind="data",
        name=data.name,
        split=images.split,
        count=images.count,
        available=images.count,
        digest=images.digest,
        settings={
            name: value
            for name, value in given.items()
            if name not in ("name", "flip") and value != defaults[name]
        },
        preparation=images.record.preparation,
        provenance="known",
    )
