"""The real side of an evaluation: real images, or a file of their statistics, and an extractor.

Such a file holds mean and covariance of features as `mu` and `sigma`, the names that pytorch-fid,
clean-fid and EDM share: each program reads the others' files. Those say nothing else: which images,
how many, seen through which weights. Ours do, in an array of text. Nothing is unpickled.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cascore.data import DATA_ROOT, ImageSet
from cascore.data.folder import load_folder
from cascore.data.stacked import STACKED
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.outputs import software
from cascore.experiment.settings import Data
from cascore.files import file_digest, replaced_file
from cascore.foreign import npz_shape, parsing, read_npz
from cascore.measurement import ExtractorIdentity, Floor, ReferenceFacts
from cascore.metrics import (
    Classifier,
    FeatureExtractor,
    FeatureMoments,
    extract_features,
    extractor_names,
    frechet_estimate,
    load_classifier,
    load_extractor,
    real_floor,
)
from cascore.metrics.extractors.classifier import classifier_names
from cascore.model.wide import read_part, see_widely
from cascore.plain import from_plain, parse_json, to_plain
from cascore.preprocessing import FolderOptions, folder_path, is_folder
from cascore.progress import Display
from cascore.stats import Estimate
from cascore.training import Workers

_FLOOR_REPEATS = 20
_FEW_REPEATS, _LARGE = 4, 512  # a distance in thousands of dimensions takes many seconds
_DRAW = 0  # seed of the subsets of real images
_INCEPTION_DIMENSION = 2048
_LONGEST = 2**22  # bytes of provenance, four a character
_STEPS = {"crop": FolderOptions.crop, "filter": FolderOptions.filter}
"""What brings images of a folder to their shape, beside their size, and what it usually is."""
_SYMMETRY = 1e-4  # of the largest entry; float32 covariances are symmetric to about 1e-7


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images, what sees them, and what is known of them; computed once, on demand."""

    data: Data
    """Settings that loaded them."""
    extractor: FeatureExtractor
    count: int
    """Number of images that are to be judged: the floors are for as many."""
    facts: Mapping[str, ReferenceFacts]
    """What a measurement says of each split: train and test, all of a folder, or unknown."""
    sets: Mapping[str, ImageSet]
    """The images by split; empty where there are only statistics. Splits share no image."""
    statistics: "Statistics | None"
    """The file of statistics, if the reference is one."""
    classifier: Classifier | None
    """Classifier of the images, or of each of three channels; None if there is none."""
    seen: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """Files of the features of splits that were seen by several processes (`see_widely`)."""

    @property
    def split(self) -> str:
        """The split that samples are to be like: train, where there is one."""
        return next(iter(self.facts))

    @cached_property
    def features(self) -> Mapping[str, Tensor]:
        """Features [M, D] of the images of each split."""
        return {
            split: torch.cat([read_part(path)[split] for path in self.seen[split]])
            if split in self.seen
            else extract_features(self.extractor, images.images)
            for split, images in self.sets.items()
        }

    @cached_property
    def moments(self) -> Mapping[str, FeatureMoments]:
        """Moments of the features of each split."""
        if self.statistics is not None:
            return {self.split: self.statistics.moments(self.extractor)}
        return {
            split: FeatureMoments.of(features, extractor=self.extractor.identity)
            for split, features in self.features.items()
        }

    @cached_property
    def floors(self) -> Mapping[str, Floor | None]:
        """What `count` other real images score against each split; None if there are too few."""
        if self.statistics is not None:
            return {self.split: None}
        return {split: self._floor(len(features)) for split, features in self.features.items()}

    def _floor(self, reference_count: int) -> Floor | None:
        everything = torch.cat(list(self.features.values()))
        total, dimension = everything.shape
        if self.count + reference_count > total and total < 2 * (dimension + 1):
            return None
        return real_floor(
            everything,
            count=self.count,
            reference_count=reference_count,
            repeats=_FLOOR_REPEATS if dimension <= _LARGE else _FEW_REPEATS,
            seed=0,
            extractor=self.extractor.identity,
        )

    def see(self, images: Tensor) -> Tensor:
        """Features [count, D] of uint8 images [count, C, H, W], as many as the floors are for."""
        if len(images) != self.count:
            raise InputError(
                f"{len(images)} images, but the floors are for {self.count}: judge as many"
            )
        return extract_features(self.extractor, images)

    def frechet(self, features: Tensor, split: str) -> Estimate:
        """Fréchet distance of features [N, D] to a split, with its error over new samples."""
        return frechet_estimate(features, self.moments[split])


def drawn(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, a random draw that is the same each time, in their order."""
    if len(rows) <= count:
        return rows
    generator = torch.Generator().manual_seed(_DRAW)
    return rows[torch.randperm(len(rows), generator=generator)[:count].sort().values]


def named_data(name: str, *, root: str | None, folders: FolderOptions) -> Data:
    """Settings of the data set of that name; the options are for folder:PATH alone."""
    return Data(name=name, root=root, **(asdict(folders) if is_folder(name) else {}))


def load_reference(
    data: Data,
    *,
    count: int,
    device: torch.device,
    shape: tuple[int, int, int] | None = None,
    whole: bool = False,
    extractor: str | None = None,
    root: str | None = None,
    preprocessing: FolderOptions | None = None,
) -> Reference:
    """The real images of that name, or the statistics in that file (.npz), and what sees them.

    They are for judging `count` images, at least 2, of a shape (None takes any). A folder is taken
    whole, or as training and held-out images. Without a name the extractor is that of the
    statistics, the data set's classifier, or random-convolution; those that need a file look for it
    in `root`. What cannot be found or compared raises InputError.
    """
    if count < 2:
        raise InputError(f"a Fréchet distance needs at least 2 images, not {count}")
    statistics = None
    if data.name.endswith(".npz"):
        largest = max(_INCEPTION_DIMENSION, math.prod(shape or ()))  # of the extractors by name
        statistics = read_statistics(Path(data.name), largest=largest)
    sets = {} if statistics is not None else _load_sets(data, whole=whole)
    for images in sets.values():
        if images.count < 2:
            raise InputError(
                f"{data.name} has {images.count} image to compare with; give at least 2"
            )
        if shape is not None and images.shape != shape:
            raise InputError(
                f"the judged images have shape {list(shape)}, those of {data.name}"
                f" {list(images.shape)}: they cannot be compared; --size and --mode bring"
                " folders of images to one shape"
            )
        shape = images.shape
    assert shape is not None  # statistics are read for images that are there
    name = extractor or _default_extractor(data, statistics)
    loaded = load_extractor(name, image_shape=shape, root=root or DATA_ROOT, device=device)
    if statistics is None:
        facts = {split: _facts(images, data) for split, images in sets.items()}
    else:
        statistics.moments(loaded)  # refuses those of another extractor
        statistics.require_fitting(shape, preprocessing)
        facts = {statistics.facts.split or "unknown": statistics.facts}
    seen = STACKED.get(data.name, data.name)  # of a stacked set each channel is classified
    classifier = load_classifier(seen) if sets and seen in classifier_names() else None
    return Reference(data, loaded, count, facts, sets, statistics, classifier)


def seen_widely(
    reference: Reference,
    parts: Path,
    *,
    device: torch.device,
    workers: Workers,
    display: Display | None = None,
) -> Reference:
    """The reference once all processes have seen its images, each its share, into files."""
    seen = {}
    for split, images in reference.sets.items():

        def rows_of(rows: slice, split: str = split) -> Mapping[str, Tensor]:
            return {split: reference.sets[split].images[rows]}

        seen[split] = see_widely(
            reference.extractor,
            rows_of,
            parts,
            kind=split,
            count=images.count,
            digest=images.digest,
            device=device,
            workers=workers,
            display=display,
        )
    return replace(reference, seen=seen)


def moments_in_order(reference: Reference, split: str) -> FeatureMoments:
    """Moments of the features of a split that `seen_widely` has left in files, a file at a time.

    The files are those of any number of processes, and so are the sums, in float64.
    """
    nothing = torch.empty(0, reference.extractor.dimension)
    moments = FeatureMoments.of(nothing, extractor=reference.extractor.identity)
    for path in reference.seen[split]:
        moments = moments.update(read_part(path)[split])
    return moments


def _load_sets(data: Data, *, whole: bool) -> Mapping[str, ImageSet]:
    if whole and is_folder(data.name):
        root = None if data.root is None else Path(data.root)
        folder = folder_path(data.name)
        return {"all": load_folder(folder, "all", options=data.options, root=root)}
    sets = build.load_data_splits(data)  # of a single held-out image nothing is known
    return {split: x for split, x in sets.items() if x.count > 1 or split == "train"}


def _default_extractor(data: Data, statistics: "Statistics | None") -> str:
    if statistics is None:
        return data.name if data.name in extractor_names() else "random-convolution"
    if statistics.extractor is not None:
        return statistics.extractor.name
    if len(statistics.mean) == _INCEPTION_DIMENSION:
        return "inception"
    raise InputError(
        f"{statistics.path} does not say which extractor made its {len(statistics.mean)} features:"
        " name it, --extractor NAME"
    )


def _facts(images: ImageSet, data: Data) -> ReferenceFacts:
    defaults = asdict(Data(name=data.name, flip=data.flip, shift=data.shift))
    return ReferenceFacts(
        kind="data",
        name=data.name,
        split=images.split,
        count=images.count,
        available=images.count,
        digest=images.digest,
        settings={name: x for name, x in asdict(data).items() if x != defaults[name]},
        preparation=images.record.preparation,
        provenance="known",
    )


@dataclass(frozen=True, kw_only=True)
class _Provenance:
    """Where statistics come from, as the file says it in JSON."""

    schema: Literal["cascore.statistics/1"] = "cascore.statistics/1"
    extractor: ExtractorIdentity
    reference: ReferenceFacts
    shape: tuple[int, int, int] | None = None
    """Of one image; cascore 0.3 and older did not say it."""
    software: Mapping[str, Any]
    command: str


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of a reference, from a file."""

    path: Path
    mean: Tensor
    """[D] float64."""
    covariance: Tensor
    """[D, D] float64, unbiased in our files, as they come in others."""
    facts: ReferenceFacts
    """What a measurement says of them; of other programs' files, that nothing is known."""
    extractor: ExtractorIdentity | None
    """What made the features; None where it is not known."""
    shape: tuple[int, int, int] | None
    """Channels, height and width of their images; None where it is not known."""

    def require_fitting(
        self, shape: tuple[int, int, int], preprocessing: FolderOptions | None
    ) -> None:
        """Refuse images of another shape, or that other steps brought to theirs, where known."""
        if self.shape is not None and self.shape != shape:
            raise InputError(
                f"{self.path} holds statistics of images of shape {list(self.shape)}, and those"
                f" judged are {list(shape)}: make a reference of that shape"
            )
        steps = self.facts.settings
        if preprocessing is None or preprocessing.size is None or steps.get("size") is None:
            return
        given = asdict(preprocessing)
        for name, usual in _STEPS.items():
            if (was := steps.get(name, usual)) != given[name]:
                raise InputError(
                    f"the images of {self.path} were brought to their shape with {name} {was}, and"
                    f" those judged with {name} {given[name]}: make both with the same"
                )

    def moments(self, extractor: FeatureExtractor) -> FeatureMoments:
        """The moments, taken as those of an extractor; refused if another one made them."""
        dimension, identity = len(self.mean), extractor.identity
        if dimension != extractor.dimension:
            raise InputError(
                f"{self.path} has {dimension} dimensions, features of {identity.name} have"
                f" {extractor.dimension}: they are not of this extractor"
            )
        if self.extractor not in (None, identity):
            raise InputError(
                f"{self.path} holds statistics of {self.extractor}, not of {identity}; name that"
                " extractor, or leave the choice to the file"
            )
        count = self.facts.count or 2  # a distance needs the covariance alone
        return FeatureMoments(count, self.mean, self.covariance * (count - 1), identity)


def require_statistics_name(path: Path) -> None:
    """Raise InputError unless a file's name is one that `write_statistics` takes."""
    if path.suffix != ".npz":
        raise InputError(f"statistics are written to a file that ends in .npz, not to {path.name}")


def write_statistics(
    path: Path,
    moments: FeatureMoments,
    reference: ReferenceFacts,
    *,
    shape: tuple[int, int, int],
    command: str,
) -> None:
    """Write `mu`, `sigma`, `count` and `provenance` (JSON text) as .npz, whole or not at all."""
    require_statistics_name(path)
    provenance = _Provenance(
        extractor=moments.extractor,
        reference=reference,
        shape=shape,
        software=software(),
        command=command,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            mu=moments.mean.numpy(),
            sigma=moments.covariance.numpy(),
            count=np.array(moments.count),
            provenance=np.array(json.dumps(to_plain(provenance))),
        )


def read_statistics(path: Path, *, largest: int = _INCEPTION_DIMENSION) -> Statistics:
    """Statistics of cascore, or the `mu` and `sigma` of another program.

    A file that is no .npz, holds pickled objects, lacks a mean and a covariance, or claims more
    than `largest` dimensions raises InputError.
    """
    number = np.dtype(np.float64).itemsize
    most = {"mu": number * largest, "sigma": number * largest**2, "count": number}
    with parsing(path, "statistics (.npz)"):
        claimed = npz_shape(path, "mu")
        if claimed is not None and len(claimed) == 1 and claimed[0] > largest:
            raise InputError(
                f"{path} has {claimed[0]:,} dimensions, more than the {largest:,} that features of"
                " these images can have: it is of other images, or of another extractor"
            )
        arrays = read_npz(path, {**most, "provenance": _LONGEST})
        if not {"mu", "sigma"} <= arrays.keys():
            raise InputError(f"{path} holds {', '.join(arrays)}; expected arrays mu and sigma")
        mean, covariance = _moments([arrays["mu"], arrays["sigma"]], path)
        count = int(arrays["count"]) if "count" in arrays else None
        text = str(arrays["provenance"]) if "provenance" in arrays else None
    if count is not None and count < 2:
        raise InputError(f"{path} is of {count} images; a covariance needs at least 2")
    if text is not None:
        where = f"{path}: provenance"
        provenance = from_plain(_Provenance, parse_json(text, where), where)
        return Statistics(
            *(path, mean, covariance, provenance.reference, provenance.extractor),
            shape=provenance.shape,
        )
    unknown = ReferenceFacts(
        kind="statistics",
        name=str(path),
        split=None,
        count=count,
        available=None,
        digest=file_digest(path),
        settings={},
        preparation=(),
        provenance="unknown",
    )
    return Statistics(path, mean, covariance, unknown, extractor=None, shape=None)


def _moments(values: Sequence[Any], path: Path) -> list[Tensor]:
    """Mean and covariance in float64, from arrays; refused if they are none."""
    for array in values:
        if array.dtype not in (np.float32, np.float64):
            raise InputError(f"{path} holds {array.dtype}; expected float32 or float64")
    mean, covariance = (torch.from_numpy(array.astype(np.float64)) for array in values)
    if mean.ndim != 1 or len(mean) == 0 or covariance.shape != 2 * mean.shape:
        raise InputError(
            f"{path}: mu has shape {list(mean.shape)} and sigma {list(covariance.shape)}; expected"
            " [D] and [D, D]"
        )
    if not (bool(mean.isfinite().all()) and bool(covariance.isfinite().all())):
        raise InputError(f"{path} holds NaN or infinity")
    skew = float((covariance - covariance.T).abs().max())
    if skew > _SYMMETRY * float(covariance.abs().max()) or bool((covariance.diagonal() < 0).any()):
        raise InputError(f"{path}: sigma is not a covariance: not symmetric, or negative variances")
    values = torch.linalg.eigvalsh(covariance)
    if float(values[0]) < -_SYMMETRY * float(values[-1]):
        raise InputError(
            f"{path}: sigma is not a covariance: eigenvalues from {float(values[0]):.3g} to"
            f" {float(values[-1]):.3g}, and a variance is never negative"
        )
    return [mean, covariance]
