"""The training loop, a generator of metrics: printing, saving and stopping belong to the caller."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from cascore.errors import InputError
from cascore.losses import Corrupted, GanLoss, SigmaLaw, corrupt, labels_dropped, law_of, lsgan
from cascore.noise import KeyedNoise, Purpose
from cascore.training.batches import Batch, Batches, TrainingData, as_batches
from cascore.training.ema import power_decay, update_ema, warmed_decay
from cascore.training.parallel import ALONE, Workers
from cascore.training.recompute import recomputed
from cascore.training.state import TrainState
from cascore.training.step import (
    Clamp,
    Objective,
    TrainingDivergedError,
    discriminator_step,
    is_read_at_once,
    score_step,
)


@dataclass(frozen=True)
class Metrics:
    """What an update reports: losses by name, means over the global batch.

    There is dsm, and in hybrid training generator and discriminator. To read them is to wait for a
    GPU; who reads all of them does it where an update is `settled`, for those since the last.

    Attributes:
        step: Number of the update, from 1.
        losses: Scalars, where they were computed.
        learning_rate: Of the update, where a schedule rules it.
        settled: Whether the losses are known to be finite up to this one: in every update on a
            processor, in every twentieth and the last on a GPU.
    """

    step: int
    losses: Mapping[str, Tensor]
    learning_rate: float | None = None
    settled: bool = True

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The losses, and the learning rate if there is one."""
        read = torch.stack(list(self.losses.values())).tolist()
        rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return dict(zip(self.losses, read, strict=True)) | rate

    @property
    def dsm(self) -> float:
        """The denoising score matching loss, Eq. 1."""
        return self.numbers["dsm"]


class Backlog:
    """Updates whose numbers are to be read, but not before they are settled."""

    def __init__(self) -> None:
        self._waiting: list[Metrics] = []

    def readable(self, update: Metrics) -> list[Metrics]:
        """Take an update; what can be read now without holding up the next, in order."""
        self._waiting.append(update)
        return self.rest() if update.settled else []

    def rest(self) -> list[Metrics]:
        """What is still to be read, whatever that holds up."""
        waiting, self._waiting = self._waiting, []
        return waiting


READ_EVERY = 20
"""Updates between looks at what a GPU computes."""

Rate = Callable[[int], float]
"""What multiplies the learning rate in update `step`, counted from 0."""


def warmed_and_decayed(warmup: int = 0, decay_from: int = 0) -> Rate:
    """EDM2's rate (Karras et al., 2312.02696, Eq. 67): up in a line, then down as 1 / sqrt(step).

    It does not depend on where training ends, so a training may be made longer.

    Args:
        warmup: The updates of the way up, 0 for none.
        decay_from: The update from which on the rate falls as sqrt(it / step); 0 for never.
    """

    def rate(step: int) -> float:
        up = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return up / math.sqrt(max(1.0, step / decay_from)) if decay_from else up

    return rate


def train(
    state: TrainState,
    data: TrainingData,
    sigmas: Tensor | SigmaLaw,
    *,
    steps: int,
    batch_size: int | None = None,
    rate: Rate | None = None,
    clip_norm: float = math.inf,
    accumulation: int = 1,
    deviation: float = math.inf,
    label_dropout: float = 0.1,
    ema_decay: float = 0.999,
    ema_warmup: bool = True,
    precision: torch.dtype = torch.float32,
    weight: float = 1.0,
    gan: GanLoss = lsgan,
    discriminator_steps: int = 1,
    clamp: Clamp = None,
    compiled: bool = False,
    recompute: bool = False,
    workers: Workers = ALONE,
) -> Iterator[Metrics]:
    """Sec. 5: alternate updates of D (Eq. 4) and of the score network (Eq. 1 or 5) up to `steps`.

    In a program of one's own::

        state = TrainState(denoiser)
        for metrics in train(state, images, sigmas, steps=2000):
            print(metrics.step, metrics.dsm)
        samples = consistent_annealed(state.average, x, sigmas)

    Without a discriminator in the state this is plain denoising score matching. The state is
    complete whenever the loop yields: save it there, stop there, and go on later. Every draw is a
    function of (state.seed, step), so a training that goes on is the uninterrupted one to the bit.
    The batches of an iterable are not: it starts from its beginning, in the order that it chooses.

    Args:
        state: The state to train, changed in place; it goes on from `state.step`.
        data: A tensor [N, ...], float or uint8 pixels, which are brought to [0, 1]; an image or
            point set; an iterable of batches that can be started again, such as a DataLoader,
            each a tensor or a tuple or list that begins with one; or what has `batch(step)`.
        sigmas: [L], the training levels; or another law of sigma, such as `LogNormal`.
        steps: Updates of the score network when training ends, those already done included.
        batch_size: Rows of an update where the data do not come in batches; 128 by default.
        rate: What the learning rate of the score network is multiplied by, by the update's number.
        clip_norm: The largest norm of its gradient; a longer one is scaled to it.
        accumulation: In how many parts the batch of a score update goes through the network, which
            saves memory: the gradients add up to those of the whole. Not for hybrid training.
        deviation: Of the data, where the denoiser is EDM's: the loss is weighted by 1 / c_out^2.
        label_dropout: With which probability a label is withheld, where the denoiser knows classes,
            so that one network learns each class and the whole.
        ema_decay: Decay of the weights' average, 0.999 or 0.9999 in the paper.
        ema_warmup: Let the average forget the initial weights sooner (`warmed_decay`).
        precision: Type of the networks' products, by autocast if not float32; weights, averages,
            the noisy data and the losses stay as they are.
        weight: lambda of Eq. 5.
        gan: The pair of adversarial losses.
        discriminator_steps: Updates of D for each of the score network, on the same images with
            fresh noise.
        clamp: The data range that H is clamped to before D sees it, (0, 1) for images as in the
            authors' code; None for data without a range.
        compiled: Whether the score network is compiled, which takes a minute and may be faster.
        recompute: Whether its blocks are computed again in the backward pass, which saves memory.
        workers: The processes that train together; the iterable of each gives its equal share.

    Yields:
        `Metrics` once per update of the score network.

    Raises:
        InputError: a state or data that are none of these, at once; batches that end, when they do.
        TrainingDivergedError: a loss that is not finite; the state is that of the last step, except
            that D may be ahead within it. On a GPU it is found at the next `settled` update, and
            the state is lost: go on from one that was saved.
    """
    if not isinstance(state, TrainState):
        raise InputError(
            f"train changes a TrainState, not a {type(state).__name__}: make one of the denoiser,"
            " state = TrainState(denoiser); its average is what samples afterwards"
        )
    for name, number in (
        ("discriminator_steps", discriminator_steps),
        ("accumulation", accumulation),
    ):
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}")
    if accumulation > 1 and state.discriminator is not None:
        raise InputError("accumulation is for plain training: D judges the batch as a whole")
    batches = as_batches(
        data,
        batch_size=batch_size,
        seed=state.seed,
        workers=workers,
        like=next(state.denoiser.parameters()),
        labelled=getattr(state.denoiser, "classes", 0) > 0,
    )
    objective = Objective(
        weight, gan, clamp, precision, workers, deviation, clip_norm, accumulation
    )
    decay = partial(warmed_decay, ema_decay) if ema_warmup else lambda step: ema_decay
    turns = 0 if state.discriminator is None else discriminator_steps
    draw = partial(_drawn, law_of(sigmas), label_dropout)
    module = torch.compile(state.denoiser) if compiled else state.denoiser
    assert isinstance(module, nn.Module)
    updates = _updates(
        state, module, batches, draw, objective, steps=steps, turns=turns, decay=decay
    )
    updates = _recomputing(updates, state.denoiser) if recompute else updates
    return updates if rate is None else _rated(updates, state, rate)


def _drawn(law: SigmaLaw, label_dropout: float, batch: Batch, noise: KeyedNoise) -> Corrupted:
    drawn = corrupt(batch.clean, law, noise=noise)._replace(augmentation=batch.augmentation)
    if batch.labels is None:
        return drawn
    return drawn._replace(label=labels_dropped(batch.labels, label_dropout, noise=noise))


def _recomputing(updates: Iterator[Metrics], denoiser: nn.Module) -> Iterator[Metrics]:
    with recomputed(denoiser):  # once: for other functions it would be compiled anew
        yield from updates


def _rated(updates: Iterator[Metrics], state: TrainState, rate: Rate) -> Iterator[Metrics]:
    """The updates, each at its own learning rate, which is a function of its number alone.

    Afterwards the optimizer has its full rate again, for a training that goes on at another one.
    """
    groups = state.optimizer.param_groups
    for group in groups:
        group.setdefault("initial_lr", group["lr"])
    scheduler = LambdaLR(state.optimizer, rate, last_epoch=state.step - 1)
    try:
        for metrics in updates:
            (used, *_) = scheduler.get_last_lr()
            scheduler.step()
            yield replace(metrics, learning_rate=float(used))
    finally:
        for group, full in zip(groups, scheduler.base_lrs, strict=True):
            group["lr"] = full
            group.pop("initial_lr", None)


def _updates(
    state: TrainState,
    module: nn.Module,
    batches: Batches,
    draw: Callable[[Batch, KeyedNoise], Corrupted],
    objective: Objective,
    *,
    steps: int,
    turns: int,
    decay: Callable[[int], float],
) -> Iterator[Metrics]:
    """The loop, of the denoiser as a `module`; `turns` updates of D precede each of its own."""
    workers, discriminator = objective.workers, state.discriminator
    denoiser_here = module if state.sharded else workers.wrap(module)
    discriminator_here = None if discriminator is None else workers.wrap(discriminator)
    state.denoiser.train()
    keyed = cache(partial(_keyed_rows, state.seed, workers))
    unread = _Unread()
    while state.step < steps:
        given = batches.batch(state.step)
        batch = Batch(*given) if isinstance(given, tuple) else Batch(given)
        noise = keyed(len(batch.clean))
        # The first draw of a step is the score network's, the others are D's.
        first, *others = (noise.at(state.step * (turns + 1) + turn) for turn in range(turns + 1))
        losses: dict[str, Tensor] = {}
        with _keyed_dropout(state, batch.clean.device, workers), _at(state.step):
            for other in others:
                assert discriminator_here is not None
                assert state.discriminator_optimizer is not None
                losses["discriminator"] = discriminator_step(
                    discriminator_here.train(),
                    state.discriminator_optimizer,
                    state.denoiser,
                    draw(batch, other),
                    objective,
                )
            dsm, generator = score_step(
                denoiser_here, state.optimizer, discriminator, draw(batch, first), objective
            )
        update_ema(state.average, state.denoiser, decay=decay(state.step))
        state.step += 1
        for length, average in state.profiles.items():
            update_ema(average, state.denoiser, decay=power_decay(length, state.step))
        losses = {"dsm": dsm} | ({} if generator is None else {"generator": generator}) | losses
        settled = unread.settled(losses, last=state.step == steps, step=state.step)
        yield Metrics(step=state.step, losses=losses, settled=settled)


def _keyed_rows(seed: int, workers: Workers, count: int) -> KeyedNoise:
    """The noise of this process's rows, of so many; its keys are on the device after one step."""
    return KeyedNoise(seed, indices=workers.rows(count * workers.count))


class _Unread:
    """Losses on a GPU, which is not waited for: their sum is looked at from time to time."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def settled(self, losses: Mapping[str, Tensor], *, last: bool, step: int) -> bool:
        """Whether all losses so far are known to be finite.

        Raises:
            TrainingDivergedError: one is not.
        """
        if is_read_at_once(losses["dsm"].device):  # where every update looked at its own
            return True
        here = torch.stack(list(losses.values())).sum()
        # What is not finite stays so in a sum.
        self._sum = here if self._sum is None else self._sum + here
        self._count += 1
        if not last and self._count < READ_EVERY:
            return False
        if not bool(torch.isfinite(self._sum)):
            raise TrainingDivergedError(
                f"step {step}: the loss is not finite, in this update or in one of the"
                f" {self._count - 1} before"
            )
        self._sum, self._count = None, 0
        return True


@contextmanager
def _at(step: int) -> Iterator[None]:
    try:
        yield
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"step {step + 1}: {error}") from None


@contextmanager
def _keyed_dropout(state: TrainState, device: torch.device, workers: Workers) -> Iterator[None]:
    """Key the global stream, from which dropout draws, by (seed, step, rank), then restore it."""
    source = KeyedNoise(state.seed, indices=[2 * workers.rank, 2 * workers.rank + 1])
    halves = source.at(state.step).integers(2, high=2**31, purpose=Purpose.DROPOUT)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(halves[0]) << 31 | int(halves[1]))
        yield
