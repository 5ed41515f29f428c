"""The front door: a trained model, out of a run's folder or out of a model folder."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from cascore.arithmetic import computed, require_precision
from cascore.denoiser import Denoiser, is_blind, own_mean, rescaled
from cascore.errors import InputError, nearest
from cascore.experiment import build
from cascore.experiment.chain import generate, resolved
from cascore.experiment.learned import read_learned
from cascore.experiment.run_folder import (
    is_run,
    read_checkpoint,
    read_data,
    read_experiment,
    read_variances,
)
from cascore.experiment.settings import Chain, Experiment, Sampler, Spacing
from cascore.files import file_digest
from cascore.guidance import guided, labelled
from cascore.measurement import Precision, Selection
from cascore.model.advice import Advised, advised
from cascore.model.folder import (
    MODEL,
    WEIGHTS,
    fitting_tensors,
    is_model_folder,
    network_of,
    read_model_record,
)
from cascore.model.pretrained import find_model, shipped_names, spoken_name
from cascore.progress import Display
from cascore.sampling import Callback, Samples
from cascore.training.checkpoint import Checkpoint, unverified, verified_record


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model:
    """A trained model: it draws samples, and its `denoiser` goes wherever a denoiser does.

    Attributes:
        denoiser: H(x, sigma) of pixels in [0, 1] (or of points), in evaluation mode.
        shape: the shape of one datum, (channels, height, width) or (dimension,).
        experiment: the settings of its network, data and training.
        step: the number of updates of the score network.
        digest: the SHA-256 of the file of the weights.
        data: what it was trained on, as far as that is known: name, count, digest, ...
        folder: where it was read from.
        variances: of its training data along their principal axes, [D]; None if they are not known.
        pixel_range: of the network's own pixels, where they are not [0, 1].
        selection: how its checkpoint was chosen; None if no number chose it.
        warning: that it has not learned its pictures yet, where its training found so.
        precision: in which samples are computed.
        compiled: whether they are by a compiled network.
    """

    denoiser: nn.Module
    shape: tuple[int, ...]
    experiment: Experiment
    step: int
    digest: str
    data: Mapping[str, Any]
    folder: Path
    variances: Tensor | None = None
    pixel_range: tuple[float, float] | None = None
    selection: Selection | None = None
    warning: str = ""
    precision: Precision = "float32"
    compiled: bool = False

    def __repr__(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.denoiser.parameters())
        return (
            f"<Model {spoken_name(self.folder)}: {'×'.join(map(str, self.shape))},"
            f" {parameters:,} parameters, step {self.step:,}, on {self.device}>"
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the model folder that `cascore.load` reads, with the files it was loaded from.

        Its card begins with the YAML that the hub of Hugging Face reads.

        Raises:
            InputError: something is there already, or other weights are where it was loaded from.
        """
        from cascore.model.sharing import save_model

        save_model(self.folder, Path(folder), checkpoint=self._checkpoint, digest=self.digest)

    def push_to_hub(
        self, name: str, *, private: bool = False, message: str = "A model of cascore"
    ) -> str:
        """Upload the model folder to the hub as "user/name", made if need be; its hf:// address.

        The account is that of `hf auth login`, the client's own command.

        Raises:
            InputError: no access or no connection, with the client's own reason.
            MissingExtraError: huggingface_hub is not installed.
        """
        from cascore.model.sharing import push_model

        return push_model(
            self.folder,
            name,
            checkpoint=self._checkpoint,
            digest=self.digest,
            private=private,
            message=message,
        )

    @property
    def _checkpoint(self) -> str:
        """Which one of its run's it is: the best may be gone from among the newest."""
        return str(self.step) if self.selection is None else "best"

    @property
    def sigmas(self) -> Tensor:
        """The training levels (Eq. 2), [L] float64, decreasing."""
        return build.training_sigmas(self.experiment.schedule)

    @property
    def data_mean(self) -> Tensor:
        """The mean of the data as the network's form knows it, or 0: the `mean` of a start."""
        return own_mean(self.denoiser)

    @property
    def device(self) -> torch.device:
        """The device of the weights, where samples are computed."""
        return next(self.denoiser.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the weights, as `torch.nn.Module.to` does, and return the model."""
        self.denoiser.to(device)
        return self

    def sample(
        self,
        seeds: Iterable[int],
        *,
        method: Literal["cas", "als"] = "cas",
        order: Literal[1, 2] | None = None,
        calls: int | None = None,
        levels: Literal["all"] | None = None,
        n_sigma: int = 1,
        kappa: float | None = None,
        eta: float | None = None,
        epsilon: float | None = None,
        spacing: Spacing | None = None,
        label: str | Sequence[str] | None = None,
        guidance: float = 1.0,
        batch_size: int = 256,
        progress: bool = True,
    ) -> Samples:
        """Draw one datum for each seed: the very pictures of `cascore sample` at these settings.

        With no setting but `calls` given, what `cascore tune` chose for the model is taken.

        Args:
            seeds: integers from 0 to 2^64 - 1; a seed's picture is the same in every batch.
            method, order, calls, ..., spacing: the fields of `experiment.settings.Sampler`, which
                says what each is, and the options of `cascore sample`.
            label: the name of a class, several that share the seeds equally, one after the other,
                or "all" classes; without one, pictures are of no particular class.
            guidance: how far towards the class: 1 is the class as it was learned, more is more
                typical and less varied, 0 is no class; beside 0 and 1 each call costs two.
            batch_size: how many are drawn at a time.
            progress: whether to show a bar, in a terminal or a notebook; elsewhere there is none.

        Returns:
            `Samples` on the CPU, float32 `[len(seeds), *shape]`.

        Raises:
            InputError: no seed, or settings that contradict each other or do not fit the model.
        """
        if isinstance(seeds, int):
            raise InputError(f"seeds is {seeds}; expected one for each datum: range({seeds})")
        drawn = seeds if isinstance(seeds, range) else list(seeds)
        sampler = Sampler(
            method=method, order=order, calls=calls, levels=levels, n_sigma=n_sigma,
            kappa=kappa, eta=eta, epsilon=epsilon, spacing=spacing,
        )  # fmt: skip
        display = Display(plain=False) if progress else None
        return self.draw(
            drawn,
            self.advised(sampler).sampler,
            labels=self.labels(label, len(drawn)),
            guidance=guidance,
            batch_size=batch_size,
            display=display,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that it can be asked for."""
        named = build.Subject.recorded(self.shape, self.data).classes
        return named if self.experiment.network.labels else ()

    def labels(self, label: str | Sequence[str] | None, count: int) -> Tensor | None:
        """The class of each of `count` pictures, int64, in runs of equal length; None of none.

        Raises:
            InputError: a class that it does not know, or a count that they cannot share equally.
        """
        if label is None:
            return None
        names = [label] if isinstance(label, str) or not isinstance(label, Iterable) else [*label]
        if not all(isinstance(name, str) for name in names):
            known = ", ".join(map(repr, self.classes)) or "none"
            raise InputError(f"label is {label!r:.60}; expected names, which are text: {known}")
        names = [*self.classes] if names == ["all"] else names
        unknown = [name for name in names if name not in self.classes]
        if unknown or not names:
            known, near = ", ".join(self.classes) or "none", nearest("".join(unknown), self.classes)
            raise InputError(
                f"there is no class {', '.join(unknown) or label!r}{near}: this model knows {known}"
            )
        if count % len(names):
            more = -(-count // len(names)) * len(names)
            raise InputError(
                f"{count} pictures cannot be shared by {len(names)} classes: ask for {more}"
            )
        which = torch.tensor([self.classes.index(name) for name in names])
        return which.repeat_interleave(count // len(names))

    def of_class(self, label: str, *, guidance: float = 1.0) -> Denoiser:
        """H(x, sigma) of a class by its name, guided towards it, for any sampler or restoration.

        Raises:
            InputError: a class that the model does not know.
        """
        which = self.labels(label, 1)
        assert which is not None
        return guided(labelled(self.denoiser, which[0]), self.denoiser, guidance)

    @cached_property
    def _computed(self) -> nn.Module:
        """H as samples are drawn by it, which knows for how many pictures it was compiled."""
        return computed(self.denoiser, precision=self.precision, compiled=self.compiled)

    def chain(self, sampler: Sampler) -> Chain:
        """The chain that settings come to for this model."""
        experiment, blind = self.experiment, is_blind(self.denoiser)
        return resolved(sampler, experiment.schedule, at_levels=experiment.at_levels, blind=blind)

    def advised(self, sampler: Sampler) -> Advised:
        """The sampler with what was tuned for this model, where nothing else was asked for."""
        schedule = self.experiment.schedule
        return advised(sampler, self.folder, digest=self.digest, schedule=schedule)

    def draw(
        self,
        seeds: Sequence[int],
        sampler: Sampler,
        *,
        labels: Tensor | None = None,
        guidance: float = 1.0,
        batch_size: int = 256,
        display: Display | None = None,
        callback: Callback | None = None,
    ) -> Samples:
        """Draw one datum for each seed by the settings of a sampler, showing progress.

        The labels are of `Model.labels`, one for each seed.
        """
        chain = self.chain(sampler)
        calls = chain.calls * len(seeds)
        nobody = nullcontext(lambda calls: None)
        with display.counting("sampling", calls) if display else nobody as advance:
            return generate(
                self._computed,
                shape=self.shape,
                seeds=seeds,
                sampler=chain.sampler,
                schedule=self.experiment.schedule,
                variances=self.variances,
                device=self.device,
                labels=labels,
                guidance=guidance,
                batch_size=batch_size,
                progress=advance,
                callback=callback,
            )


def built_denoiser(
    experiment: Experiment,
    shape: tuple[int, ...],
    data: Mapping[str, Any],
    pixels: tuple[float, float] | None,
) -> nn.Module:
    """The denoiser that settings describe, of [0, 1], its weights those before any training.

    `data` is the record of the training set, `pixels` the network's own where they are others.
    """
    subject = build.Subject.recorded(shape, data)
    denoiser = build.build_denoiser(experiment.network, subject, seed=0)
    if pixels is None:
        return denoiser
    seen = rescaled(denoiser, *pixels)
    assert isinstance(seen, nn.Module)
    return seen


def is_model(path: Path) -> bool:
    """Whether a path is the folder of a run or a model folder, whole or not."""
    return is_run(path) or is_model_folder(path)


def require_model(path: Path) -> None:
    """Raise InputError unless a path is the folder of a run or a model folder."""
    if not path.exists():
        raise absent(path)
    if not is_model(path):
        raise InputError(
            f"{path} is neither a run nor a model folder: it holds no experiment.json and no"
            f" {MODEL}{_instead(path)}"
        )


def _instead(path: Path) -> str:
    """What is done with a model of another kind; empty where it is none that is known."""
    if path.suffix in (".pth", ".pt"):
        return "; cascore convert makes a model folder of a published checkpoint"
    if any((path / name).is_file() for name in ("model_index.json", "config.json")):
        return "; a model of diffusers is sampled from Python, by cascore.from_diffusers"
    return ""


def absent(path: Path) -> InputError:
    """What to say of a model that is not there."""
    return InputError(
        f"{path} is neither a run nor a model folder, because there is no such path, nor a model"
        f" that comes with cascore; those are {', '.join(shipped_names()) or 'none'}"
    )


def load(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "cpu",
    checkpoint: str = "auto",
    precision: Precision = "float32",
    compiled: bool = False,
    notify: Callable[[str], None] = warnings.warn,
) -> Model:
    """The model of a model folder, or of a run's checkpoint, whose average of the weights it takes.

    Args:
        name_or_path: a run's folder, a model folder, or, as text, "hf://user/name" on the hub, or
            the name of a model that comes with cascore, unless there is such a path.
        device: where it is to compute.
        checkpoint: for a run: newest (that is whole), best (by the evaluations during training), a
            step, or auto: of a training by the clock its best, else the newest.
        precision: in which it computes samples: float32; tf32, which on a GPU is faster; or
            bfloat16. The weights and what samplers compute are float32 in each, and `denoiser`
            itself computes as PyTorch does.
        compiled: whether `torch.compile`, with CUDA graphs on a GPU, makes its samples faster; the
            first batch waits for it, for a minute or more.
        notify: told of checkpoints that were passed over and why, of one that is unverified, of a
            precision that is slow there, and that a model has not learned its pictures yet, where
            its training found so.

    Raises:
        InputError: neither, no such checkpoint or precision, or files that are damaged or do not
            fit together.
    """
    require_precision(precision)
    folder = find_model(name_or_path) if isinstance(name_or_path, str) else name_or_path
    require_model(folder)
    if not is_model_folder(folder):
        model = _of_run(folder, checkpoint, notify)
    elif checkpoint in ("auto", "newest"):
        model = _of_folder(folder)
    else:
        raise InputError(f"{folder} is a model folder: it has no checkpoints to choose from")
    slow = build.remarks_of_precision(precision, torch.device(device))
    for remark in (*([model.warning] if model.warning else []), *slow):
        notify(remark)
    model.denoiser.eval().requires_grad_(False)
    return replace(model.to(device), precision=precision, compiled=compiled)


def _of_run(folder: Path, name: str, notify: Callable[[str], None]) -> Model:
    experiment, data = read_experiment(folder), read_data(folder)
    shape = tuple(data["shape"])
    subject = build.Subject.recorded(shape, data)
    denoiser = build.build_denoiser(experiment.network, subject, seed=experiment.train.seed)

    def weights(checkpoint: Checkpoint) -> tuple[str | None, dict[str, Tensor]]:
        record = verified_record(checkpoint)
        return record.digest, fitting_tensors(denoiser, checkpoint.tensors, prefix="ema.")

    checkpoint, (digest, tensors), selection = read_checkpoint(folder, name, weights, notify)
    if digest is None:
        notify(unverified(checkpoint))
    denoiser.load_state_dict(tensors)
    learned = read_learned(folder)
    return Model(
        denoiser=denoiser,
        shape=shape,
        experiment=experiment,
        step=checkpoint.step,
        digest=digest or file_digest(checkpoint.tensors),
        data=data,
        folder=folder,
        variances=read_variances(folder),
        selection=selection,
        warning="" if learned is None else learned.words,
    )


def _of_folder(folder: Path) -> Model:
    record, path = read_model_record(folder), folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"there is no file {path}: the model folder is not whole")
    if (digest := file_digest(path)) != record.digest:
        raise InputError(
            f"{path} is not the file that {MODEL} describes: its SHA-256 is {digest[:16]}..., not"
            f" {record.digest[:16]}...; convert or download it again"
        )
    try:
        denoiser = built_denoiser(record.experiment, record.shape, record.data, record.other_pixels)
    except (InputError, RuntimeError) as error:  # PyTorch's word for a width beyond all memory
        raise InputError(f"{folder / MODEL} does not describe a model: {error}") from None
    bare = denoiser if record.other_pixels is None else denoiser.denoiser
    assert isinstance(bare, nn.Module)
    network = network_of(bare)
    network.load_state_dict(fitting_tensors(network, path))
    return Model(
        denoiser=denoiser,
        shape=record.shape,
        experiment=record.experiment,
        step=record.step,
        digest=digest,
        data=record.data,
        folder=folder,
        variances=read_variances(folder),
        pixel_range=record.other_pixels,
        selection=record.selection,
        warning=str(record.source.get("warning", "")),
    )
