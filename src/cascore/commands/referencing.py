"""`cascore reference`: statistics of real images, once, for comparisons without the images."""

from pathlib import Path

from rich.console import Console

from cascore.data import FolderOptions
from cascore.errors import InputError
from cascore.evaluation.reference_file import Provenance, write_statistics
from cascore.evaluation.references import (
    RealSets,
    choose_extractor,
    describe_set,
    load_reference,
    named_data,
)
from cascore.experiment import build
from cascore.experiment.outputs import software
from cascore.metrics import feature_moments
from cascore.progress import Display

__all__ = ["reference"]


def reference(
    name: str,
    out: Path,
    *,
    extractor: str | None,
    split: str,
    root: str | None,
    folders: FolderOptions,
    device: str,
    command: str,
) -> int:
    """Write mean and covariance of features, and where they come from."""
    if out.exists():
        raise InputError(f"{out} is there already: choose another name")
    place = build.select_device(device)
    real = load_reference(named_data(name, root=root, folders=folders), whole=split == "all")
    if not isinstance(real, RealSets):
        raise InputError(f"{name} holds statistics already; give a data set or folder:PATH")
    by_split = {each.split: each for each in real.sets}
    if split not in by_split:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(by_split)}")
    images = by_split[split]
    eyes = choose_extractor(extractor, real, shape=real.shape, root=root, device=place)
    with Display().counting("features", images.count) as advance:
        done = 0

        def watch(count: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        moments = feature_moments(eyes, images.images, progress=watch)
    provenance = Provenance(
        extractor=eyes.identity,
        reference=describe_set(images, real.data),
        software=software(),
        command=command,
    )
    write_statistics(out, moments, provenance)
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"{out}: {moments.count:,} images of {name} ({split}), {moments.dimension} features of"
        f" {eyes.identity.name}"
    )
    return 0
