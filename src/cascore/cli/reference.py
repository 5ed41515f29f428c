"""`cascore reference`: statistics of real images, once, for comparisons without the images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.errors import InputError
from cascore.locks import one_writer
from cascore.preprocessing import FolderOptions, is_folder
from cascore.progress import Display


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
        from cascore.evaluation.reference import load_reference, named_data, write_statistics
        from cascore.experiment.build import select_device
        from cascore.metrics import feature_moments

        device = select_device(self.device)
        data = named_data(self.data, root=self.root, folders=self.folder)
        if data.name.endswith(".npz"):
            raise InputError(
                f"{self.data} holds statistics already; give a data set or folder:PATH"
            )
        split = self.split or ("all" if is_folder(data.name) else "train")
        with one_writer(self.out, "a reference"):
            if self.out.exists():
                raise InputError(f"{self.out} is there already: choose another name")
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
            images, extractor = reference.sets[split], reference.extractor
            with Display().counting("features", images.count) as advance:
                moments = feature_moments(extractor, images.images, progress=advance)
            write_statistics(
                self.out, moments, reference.facts[split], shape=images.shape, command=typed
            )
        plain_console().print(
            f"{self.out}: {moments.count:,} images of {self.data} ({split}),"
            f" {moments.dimension} features of {extractor.identity.name}"
        )
        return 0
