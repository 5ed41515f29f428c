"""A GPU is not waited for: what trains and samples reads no number and copies little on the way.

There is none here. On the meta device, which holds shapes and no numbers, to read one is an error;
copies onto it are counted.
"""

from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cascore.denoiser import PreconditionedDenoiser, UnconditionalDenoiser
from cascore.experiment.chain import generate
from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.settings import Sampler, Schedule
from cascore.losses import LogNormal, LogUniform
from cascore.networks import MLP, BigGANDiscriminator, ConditionalUNet, UNet
from cascore.noise import KeyedNoise
from cascore.plain import read_json_lines
from cascore.schedule import geometric_sigmas
from cascore.training import KeyedBatches, TrainingDivergedError, TrainState, train
from cascore.training.held_out import denoising_errors
from cascore.training.loop import READ_EVERY

CPU, META = torch.device("cpu"), torch.device("meta")
SMALL = {"channels": 1, "width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (False, True)}
SIGMAS = geometric_sigmas(5, 0.1, 12)


class Copies(TorchDispatchMode):
    """Notes the copies between devices, in both directions."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, given=(), named=None):
        named = named or {}
        made = function(*given, **named)
        homes = {x.device.type for x in (*given, made) if isinstance(x, torch.Tensor) and x.ndim}
        if len(homes) > 1:
            self.seen.append(str(function))
        return made


class Made(TorchFunctionMode):
    """Notes the tensors that are made of numbers of ours on the device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, given=(), named=None):
        made = function(*given, **(named or {}))
        of_ours = function in (torch.tensor, torch.as_tensor) and not torch.is_tensor(given[0])
        if of_ours and made.device == META:
            self.seen.append(function.__name__)
        return made


def seen_in(work):
    """The copies in what is done, and the tensors made of numbers."""
    with Copies() as copies, Made() as made:
        work()
    return copies.seen, made.seen


def state_of(denoiser, discriminator=None):
    """On the device, with optimizers that know it."""
    on_it = [x if x is None else x.to(META) for x in (denoiser, discriminator)]
    adams = [None if x is None else torch.optim.Adam(x.parameters()) for x in on_it]
    return TrainState(
        on_it[0],
        adams[0],
        discriminator=on_it[1],
        discriminator_optimizer=adams[1],
        profiles=() if discriminator is not None else (0.05,),
    )


@pytest.mark.parametrize("resident", [False, True])
def test_an_update_reads_nothing_and_copies_its_rows_alone(resident):
    network = ConditionalUNet(**SMALL, classes=3)
    state = state_of(PreconditionedDenoiser(network, mean=0.4, deviation=0.3))
    pixels, labels = torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 3
    pixels = pixels.to(META) if resident else pixels
    batches = KeyedBatches(pixels, 8, 0, flip=True, shift=1, device=META, labels=labels)
    settings = {"clip_norm": 1.0, "accumulation": 2, "deviation": 0.3}
    updates = train(
        state, batches, LogNormal(), steps=9, rate=lambda step: 1 / (1 + step), **settings
    )
    next(updates)  # keys are copied once
    copies, made = seen_in(lambda: next(updates))
    assert len(copies) == 2  # pictures, or where they are; and labels
    assert made == []


def test_an_update_of_both_players_reads_nothing_and_copies_its_rows_alone():
    discriminator = BigGANDiscriminator(channels=1, size=8, width=2)
    state = state_of(UnconditionalDenoiser(UNet(**SMALL)), discriminator)
    batches = KeyedBatches(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), 8, 0, device=META)
    updates = train(state, batches, SIGMAS, steps=9, clamp=(0.0, 1.0), discriminator_steps=2)
    first = next(updates)
    assert list(first.losses) == ["dsm", "generator", "discriminator"]
    assert seen_in(lambda: next(updates)) == (["aten._to_copy.default"], [])


@pytest.mark.parametrize("sampler", [Sampler(calls=5), Sampler(method="als", calls=6, n_sigma=2)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_chain_copies_what_it_needs_before_it_begins(sampler, guidance):
    """As much for many calls as for few, and no number is read."""
    network = ConditionalUNet(**SMALL, classes=3)
    denoiser = PreconditionedDenoiser(network, mean=0.4, deviation=0.3).to(META)
    told = []

    def draw(calls):
        try:
            generate(
                denoiser,
                shape=(1, 8, 8),
                seeds=range(4),
                sampler=replace(sampler, calls=calls),
                schedule=Schedule(first=5.0, last=0.01, levels=20),
                device=META,
                labels=torch.arange(4) % 3,
                guidance=guidance,
                progress=told.append,
            )
        except NotImplementedError:  # of the pictures on their way back, which are none
            return

    few, many = (seen_in(lambda calls=calls: draw(calls)) for calls in (sampler.calls, 14))
    assert told == [4] * (sampler.calls + 14)
    assert few == many


class NoDoubles(TorchDispatchMode):
    """A device is as Apple's GPUs are: float64 on it is an error."""

    def __init__(self, device):
        super().__init__()
        self.forbidden = device, torch.float64

    def __torch_dispatch__(self, function, types, given=(), named=None):
        made = function(*given, **(named or {}))
        if isinstance(made, torch.Tensor) and (made.device, made.dtype) == self.forbidden:
            raise TypeError("the device knows no float64")
        return made


def test_errors_by_level_need_no_float64_of_the_device():
    """They come to where their numbers would be read, which are none."""
    denoiser = UnconditionalDenoiser(UNet(**SMALL)).to(META)
    pixels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    with NoDoubles(META), pytest.raises(NotImplementedError, match="no data"):
        denoising_errors(denoiser, pixels, [0.1], seed=0)


@pytest.mark.parametrize("law", [LogUniform(5.0, 0.01), LogNormal()])
def test_levels_need_no_float64_of_the_device(law):
    like = torch.empty(8, 1, device=META)
    with NoDoubles(META):
        drawn = law.draw(KeyedNoise(0, indices=torch.arange(8)), like)
    assert (drawn.shape, drawn.dtype, drawn.device) == ((8,), torch.float32, META)


# --- what is read later, on a processor that is taken for a GPU


@pytest.fixture
def unread(monkeypatch):
    for name in ("step", "loop"):
        monkeypatch.setattr(f"cascore.training.{name}.is_read_at_once", lambda device: False)


def tiny(steps, *, data=None):
    torch.manual_seed(0)
    data = torch.rand(30, 2) if data is None else data
    return train(
        TrainState(UnconditionalDenoiser(MLP(width=4, depth=2))), data, SIGMAS, steps=steps
    )


def test_losses_are_settled_from_time_to_time_and_at_the_end(unread):
    updates = list(tiny(2 * READ_EVERY + 3))
    settled = [update.step for update in updates if update.settled]
    assert settled == [READ_EVERY, 2 * READ_EVERY, 2 * READ_EVERY + 3]


def test_they_are_those_that_are_read_at_once(monkeypatch):
    at_once = list(tiny(5))
    monkeypatch.setattr("cascore.training.loop.is_read_at_once", lambda device: False)
    assert [x.numbers for x in tiny(5)] == [x.numbers for x in at_once]


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_loss_that_is_not_finite_is_found_where_losses_are_settled(unread, value):
    data = torch.rand(30, 2)
    data[7] = value
    seen = []
    with pytest.raises(
        TrainingDivergedError, match=f"step {READ_EVERY}: .* {READ_EVERY - 1} before"
    ):
        seen.extend(update.settled for update in tiny(2 * READ_EVERY, data=data))
    assert seen == [False] * (READ_EVERY - 1)


def test_a_run_notes_every_update_however_late_it_is_read(unread, tmp_path):
    roll = PRESETS["swiss-roll"]
    experiment = replace(roll, train=replace(roll.train, steps=7))
    stop, run = iter([False] * 4 + [True]), tmp_path / "run"
    steps = training_run(experiment, run, device=CPU, should_stop=lambda: next(stop))
    updates = list(steps)
    assert not any(update.settled for update in updates)
    lines = read_json_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["dsm"] for line in lines] == [update.dsm for update in updates]
