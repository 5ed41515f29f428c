"""`cascore reference`: statistics of real images, once, for comparisons without the images."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cascore.cli import options
from cascore.cli.common import display_of, plain_console
from cascore.errors import InputError
from cascore.locks import one_writer
from cascore.preprocessing import FolderOptions, is_folder

if TYPE_CHECKING:
    import torch

    from cascore.experiment.settings import Data
    from cascore.training import Workers


@dataclass(frozen=True, kw_only=True)
class MakeReference:
    """Write statistics of real images (.npz), to compare with later without the images.

    Other programs read the file too: it holds mu and sigma by the names that they use.
    """

    data: tyro.conf.Positional[str]
    """A data set, or folder:PATH."""
    out: tyro.conf.Positional[Path]
    """New file, .npz."""
    extractor: options.Extractor = None
    split: Literal["train", "test", "all"] | None = None
    """Which images; all is for folders, and their default, as `evaluate --data folder:PATH` takes
    them; of other data it is train."""
    root: options.Root = None
    folder: options.Folders = field(default_factory=FolderOptions)
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Write mean and covariance of features, and where they come from."""
        from cascore.evaluation.reference import named_data, require_statistics_name
        from cascore.experiment.build import select_device
        from cascore.model.wide import ShareDone, discard_parts
        from cascore.training import PATIENCE, held_by_first, joined_processes

        device = select_device(self.device)
        data = named_data(self.data, root=self.root, folders=self.folder)
        if data.name.endswith(".npz"):
            raise InputError(
                f"{self.data} holds statistics already; give a data set or folder:PATH"
            )
        with joined_processes(device, patience=PATIENCE) as (device, workers):
            lock = one_writer(self.out, "a reference")
            with suppress(ShareDone), held_by_first(lock, workers, what=self.out, device=device):
                if self.out.exists():
                    if workers.rank == 0:
                        discard_parts(self.out)
                    raise InputError(f"{self.out} is there already: choose another name")
                require_statistics_name(self.out)
                self._make(data, device, workers, typed)
        return 0

    def _make(self, data: "Data", device: "torch.device", workers: "Workers", typed: str) -> None:
        """See the images, each process its share; the first one writes the statistics."""
        from cascore.evaluation.reference import (
            load_reference,
            moments_in_order,
            seen_widely,
            write_statistics,
        )
        from cascore.model.wide import first_goes_on, parts_beside

        split = self.split or ("all" if is_folder(data.name) else "train")
        reference = load_reference(
            data,
            count=2,
            device=device,
            whole=split == "all",
            extractor=self.extractor,
            root=self.root,
        )
        if split not in reference.sets:
            raise InputError(
                f"{self.data} has no split {split!r}; it has {', '.join(reference.sets)}"
            )
        images = reference.sets[split]
        reference = replace(reference, sets={split: images})
        with parts_beside(self.out) as parts:
            seen = seen_widely(
                reference, parts, device=device, workers=workers, display=display_of(workers)
            )
            first_goes_on(workers)
            moments = moments_in_order(seen, split)
            write_statistics(
                self.out, moments, reference.facts[split], shape=images.shape, command=typed
            )
        plain_console().print(
            f"{self.out}: {moments.count:,} images of {self.data} ({split}),"
            f" {moments.dimension} features of {moments.extractor.name}"
        )
