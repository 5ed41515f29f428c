"""Reference statistics in a file: mean and covariance of features, and where they come from.

The arrays are called `mu` and `sigma`, as in the files that pytorch-fid, clean-fid and EDM share:
each program reads the others' files. Those say nothing else: which images, how many, seen through
which weights. Ours do, in an array of text. Nothing is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.files import file_digest, replaced_file
from cascore.measurement import ReferenceFacts
from cascore.metrics import ExtractorIdentity, FeatureMoments
from cascore.plain import from_plain, parse_json

__all__ = ["STATISTICS", "Provenance", "Statistics", "read_statistics", "write_statistics"]

STATISTICS = "cascore.statistics/1"
_SYMMETRY = 1e-4  # of the largest entry; float32 covariances are symmetric to about 1e-7


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where statistics come from.

    Attributes:
        extractor: What made the features.
        reference: Which images they are of.
        software: Versions.
        command: What was typed.
    """

    extractor: ExtractorIdentity
    reference: ReferenceFacts
    software: Mapping[str, Any]
    command: str


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of a reference.

    Attributes:
        path: The file.
        mean: [D] float64.
        covariance: [D, D] float64, unbiased in our files, as they come in others.
        count: Images, None where it is not known.
        provenance: None where it is not known.
    """

    path: Path
    mean: Tensor
    covariance: Tensor
    count: int | None
    provenance: Provenance | None

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        return len(self.mean)

    def moments(self, extractor: ExtractorIdentity) -> FeatureMoments:
        """The moments, taken as those of an extractor.

        Raises:
            InputError: The file says that another one made them.
        """
        known = self.provenance
        if known is not None and known.extractor != extractor:
            raise InputError(
                f"{self.path} holds statistics of {known.extractor}, not of {extractor}; name that"
                " extractor, or leave the choice to the file"
            )
        count = self.count or 2  # a distance needs the covariance alone
        return FeatureMoments(count, self.mean, self.covariance * (count - 1), extractor)

    @property
    def reference(self) -> ReferenceFacts:
        """What a record says of them."""
        known = self.provenance
        if known is not None:
            return known.reference
        return ReferenceFacts(
            kind="statistics",
            name=str(self.path),
            split=None,
            count=self.count,
            available=None,
            digest=file_digest(self.path),
            settings={},
            preparation=(),
            provenance="unknown",
        )


def write_statistics(path: Path, moments: FeatureMoments, provenance: Provenance) -> None:
    """Write `mu`, `sigma`, `count` and `provenance` (JSON text), whole or not at all.

    Raises:
        InputError: A name that does not end in .npz, or moments of fewer than 2 images.
    """
    if path.suffix != ".npz":
        raise InputError(f"statistics are written to a file that ends in .npz, not to {path.name}")
    said = json.dumps({"schema": STATISTICS, **asdict(provenance)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            mu=moments.mean.numpy(),
            sigma=moments.covariance.numpy(),
            count=np.array(moments.count),
            provenance=np.array(said),
        )


def read_statistics(path: Path) -> Statistics:
    """Statistics of cascore, or the `mu` and `sigma` of another program.

    Raises:
        InputError: No such file; one that is no .npz, holds pickled objects, or lacks `mu` or
            `sigma`; numbers that are not a mean and a covariance.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{path} holds one array; expected arrays mu and sigma")
        with loaded as file:
            if not {"mu", "sigma"} <= set(file.files):
                raise InputError(
                    f"{path} holds {', '.join(file.files)}; expected arrays mu and sigma"
                )
            mean, covariance = _array(file["mu"], path), _array(file["sigma"], path)
            count = int(file["count"]) if "count" in file.files else None
            said = str(file["provenance"]) if "provenance" in file.files else None
    except InputError:
        raise
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} cannot be read as statistics (.npz): {error}") from None
    _require_moments(mean, covariance, path)
    if count is not None and count < 2:
        raise InputError(f"{path} is of {count} images; a covariance needs at least 2")
    provenance = None if said is None else _provenance(said, path)
    return Statistics(path, mean, covariance, count, provenance)


def _array(values: Any, path: Path) -> Tensor:
    if values.dtype not in (np.float32, np.float64):
        raise InputError(f"{path} holds {values.dtype}; expected float32 or float64")
    return torch.from_numpy(values.astype(np.float64))


def _require_moments(mean: Tensor, covariance: Tensor, path: Path) -> None:
    d = len(mean) if mean.ndim == 1 else 0
    if d == 0 or covariance.shape != (d, d):
        raise InputError(
            f"{path}: mu has shape {list(mean.shape)} and sigma {list(covariance.shape)}; expected"
            " [D] and [D, D]"
        )
    if not (bool(mean.isfinite().all()) and bool(covariance.isfinite().all())):
        raise InputError(f"{path} holds NaN or infinity")
    skew = float((covariance - covariance.T).abs().max())
    if skew > _SYMMETRY * float(covariance.abs().max()) or bool((covariance.diagonal() < 0).any()):
        raise InputError(f"{path}: sigma is not a covariance: not symmetric, or negative variances")


def _provenance(said: str, path: Path) -> Provenance:
    values = parse_json(said, f"{path}: its provenance")
    schema = values.pop("schema", None) if isinstance(values, dict) else None
    if schema != STATISTICS:
        raise InputError(f"{path}: its schema is {schema!r:.60}; this cascore reads {STATISTICS!r}")
    return from_plain(Provenance, values, f"{path}: provenance")
