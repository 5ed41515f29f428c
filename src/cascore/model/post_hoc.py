"""An average of a run's weights of a length that is chosen when the training is over (EDM2)."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from cascore.errors import InputError
from cascore.experiment.build import Subject, build_denoiser, load_data_splits
from cascore.experiment.looks import error_levels, errors_on, mean_loss
from cascore.experiment.run_folder import CHECKPOINTS, read_checkpoint, read_data, read_experiment
from cascore.training.checkpoint import Checkpoint, checkpoints, read_tensors, verified_record
from cascore.training.ema import PROFILES, Combination, Profile, combination
from cascore.training.state import profile_prefix

LENGTHS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
MISFIT = 0.1
"""Of the profile that is made, relative to the one that is asked for."""


def post_hoc_average(
    run: Path, last: Checkpoint, length: float, *, notify: Callable[[str], None]
) -> dict[str, Tensor]:
    """The average of a relative length of a run's weights up to a checkpoint, float32 by name.

    It is made of the averages of `PROFILES` in that checkpoint and in the earlier ones that the run
    kept; `notify` is told of those that are damaged, which are left out.

    Raises:
        InputError: The run kept no such averages, or they do not make this one to a tenth.
    """
    kept = _kept(run, last, notify)
    made = combination([profile for _, profile in kept], Profile(length, last.step))
    if made.misfit > MISFIT:
        raise InputError(
            f"an average of length {length:g} is {made.misfit:.0%} off what the averages of"
            f" {len(kept) // len(PROFILES)} checkpoints make: choose one nearer to"
            f" {PROFILES[0]:g} to {PROFILES[-1]:g}, or train with --train.keep-every, which keeps"
            " more of them"
        )
    return _combined(kept, made)


def _combined(kept: list[tuple[Checkpoint, Profile]], made: Combination) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for (source, profile), share in zip(kept, made.shares, strict=True):
        for name, tensor in _own(source, profile).items():
            part = share * tensor.double()
            total[name] = total[name] + part if name in total else part
    return {name: tensor.float() for name, tensor in total.items()}


def losses_by_length(run: Path, *, notify: Callable[[str], None]) -> dict[float, float]:
    """EDM's loss on held-out images of the averages of several lengths that a run can make.

    Of its newest checkpoint, at the levels and with the noise of a training's looks.

    Raises:
        InputError: no such averages, or no held-out images.
    """
    experiment, data = read_experiment(run), read_data(run)
    last, _, _ = read_checkpoint(run, "auto", verified_record, notify)
    held_out = load_data_splits(experiment.data).get("test")
    if held_out is None:
        raise InputError(f"{experiment.data.name} has no held-out images: give --ema-length")
    subject = Subject.recorded(tuple(data["shape"]), data)
    denoiser = build_denoiser(experiment.network, subject, seed=0)
    kept = _kept(run, last, notify)
    losses = {}
    for length in LENGTHS:
        made = combination([profile for _, profile in kept], Profile(length, last.step))
        if made.misfit <= MISFIT:
            denoiser.load_state_dict(_combined(kept, made))
            errors = errors_on(denoiser, held_out, experiment=experiment)
            losses[length] = mean_loss(
                errors, error_levels(experiment), held_out.mean_and_deviation[1]
            )
    return losses


def _kept(
    run: Path, last: Checkpoint, notify: Callable[[str], None]
) -> list[tuple[Checkpoint, Profile]]:
    """The averages in a checkpoint and in the earlier ones of the run."""
    sources = [last]
    for checkpoint in checkpoints(run / CHECKPOINTS):
        if 0 < checkpoint.step < last.step:  # one of step 0 is of no training
            try:
                verified_record(checkpoint)
                sources.append(checkpoint)
            except InputError as error:
                notify(f"{checkpoint.folder.name} is passed over: {error}")
    return [(source, Profile(own, source.step)) for source in sources for own in PROFILES]


def _own(source: Checkpoint, profile: Profile) -> dict[str, Tensor]:
    tensors = read_tensors(source.tensors, prefix=f"{profile_prefix(profile.length)}.")
    if not tensors:
        raise InputError(
            f"{source.folder} holds the one average that samples: train with"
            " --train.ema-profiles to choose its length afterwards"
        )
    return tensors
