"""What others train with, each off by default: rate, clipping, accumulation, weight decay."""

import copy
import math
from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.networks import MLP, MLPDiscriminator, NCSNv2, UNet
from cascore.training import TrainState, adam, train
from cascore.training.loop import warmed_and_decayed

SIGMAS = torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64)
POINTS = torch.rand(64, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def new_state(optimizer=None, **settings):
    torch.manual_seed(1)
    denoiser = UnconditionalDenoiser(MLP(width=8, depth=2)).double()
    optimizer = optimizer or (lambda weights: adam(weights, learning_rate=1e-2, **settings))
    return TrainState(denoiser, optimizer(denoiser.parameters()))


def weights(state):
    return torch.cat([weight.detach().flatten() for weight in state.denoiser.parameters()])


def trained(state, steps=4, **settings):
    return [*train(state, POINTS, SIGMAS, steps=steps, batch_size=12, **settings)]


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_accumulation_gives_the_updates_of_the_large_batch(parts):
    whole, cut = new_state(), new_state()
    expected, metrics = trained(whole), trained(cut, accumulation=parts)
    # 1e-9: sums in another order, through four steps of Adam, which divides by gradients' sizes.
    torch.testing.assert_close(weights(cut), weights(whole), rtol=0, atol=1e-9)
    for one, other in zip(metrics, expected, strict=True):
        assert one.dsm == pytest.approx(other.dsm, rel=1e-9)
    assert not torch.equal(weights(whole), weights(new_state()))


def test_accumulation_needs_equal_parts_and_no_discriminator():
    with pytest.raises(InputError, match="cannot be cut into 5 equal parts"):
        trained(new_state(), accumulation=5)
    denoiser = UnconditionalDenoiser(MLP(width=4, depth=1)).double()
    state = TrainState(denoiser, discriminator=MLPDiscriminator(width=4, depth=1).double())
    with pytest.raises(InputError, match="judges the batch as a whole"):
        trained(state, accumulation=2)


def peak_memory(work):
    """The most bytes that the work held at once beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    events = profiled.profiler.kineto_results.events()
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


@pytest.mark.parametrize(
    "network",
    [
        lambda: UNet(
            channels=1, width=16, multipliers=(1, 2), attention=(False, True), dropout=0.2
        ),
        lambda: NCSNv2(channels=1, width=8, multipliers=(1, 2, 2, 2)),
    ],
)
def test_what_is_computed_again_is_not_kept_and_the_weights_are_the_same(network):
    pixels = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    states, peaks = [], []
    for recompute in (False, True):
        torch.manual_seed(1)
        states.append(TrainState(UnconditionalDenoiser(network())))
        settings = {"steps": 3, "batch_size": 16, "recompute": recompute}
        updates = train(states[-1], pixels, SIGMAS, **settings)
        next(updates)  # Adam's moments are there to stay
        peaks.append(peak_memory(lambda updates=updates: list(updates)))
        assert not any("forward" in vars(module) for module in states[-1].denoiser.modules())
    assert torch.equal(weights(states[0]), weights(states[1]))
    assert peaks[1] < 0.6 * peaks[0]


def test_blocks_are_the_same_functions_in_every_update():
    """Others would be compiled anew in each."""
    network = UNet(channels=1, width=8, multipliers=(1, 2), attention=(False, False))
    state = TrainState(UnconditionalDenoiser(network))
    pixels = torch.rand(8, 1, 8, 8)
    updates = train(state, pixels, SIGMAS, steps=3, batch_size=4, recompute=True)
    first, *others = ([block.forward for block in network.down] for _ in updates)
    assert all(a is b for seen in others for a, b in zip(seen, first, strict=True))


class Watched(torch.optim.Adam):
    """Notes the norm of the gradient of each step."""

    def step(self, closure=None):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        self.norms = [*getattr(self, "norms", []), float(torch.cat(gradients).norm())]
        return super().step(closure)


def test_a_long_gradient_is_scaled_to_the_norm_and_a_short_one_left():
    free, clipped = (new_state(lambda w: Watched(w, lr=1e-9)) for _ in range(2))
    trained(free, steps=8)
    limit = sorted(free.optimizer.norms)[4]
    trained(clipped, steps=8, clip_norm=limit)
    for norm, before in zip(clipped.optimizer.norms, free.optimizer.norms, strict=True):
        assert norm == pytest.approx(min(before, limit), rel=1e-4)  # torch adds 1e-6 to the norm


def test_the_rate_rises_in_a_line_and_falls_as_the_inverse_root():
    """EDM2, Eq. 67, and its ramp: by hand."""
    rate = warmed_and_decayed(warmup=4, decay_from=100)
    by_hand = {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 99: 1.0, 100: 1.0, 400: 0.5, 10_000: 0.1}
    assert {step: rate(step) for step in by_hand} == pytest.approx(by_hand)
    assert {warmed_and_decayed()(step) for step in (0, 7, 10**6)} == {1.0}


def test_each_update_has_the_rate_of_its_number_also_when_it_goes_on():
    """Adam's first steps are as long as the rate: the weights move by it. The same after a stop."""
    rate = warmed_and_decayed(warmup=3, decay_from=4)
    state, whole = new_state(), new_state()
    metrics = trained(whole, steps=7, rate=rate)
    rates = [1e-2 * rate(step) for step in range(7)]
    assert [update.learning_rate for update in metrics] == pytest.approx(rates)
    before = weights(state)
    trained(state, steps=1, rate=rate)
    assert float((weights(state) - before).abs().max()) == pytest.approx(rates[0], rel=1e-4)
    trained(state, steps=3, rate=rate)
    resumed = new_state()
    resumed.load_tensors(copy.deepcopy(state.tensors()))
    resumed.step = state.step
    rest = trained(resumed, steps=7, rate=rate)
    assert [update.learning_rate for update in rest] == pytest.approx(rates[3:])
    assert torch.equal(weights(resumed), weights(whole))
    assert all(update.learning_rate is None for update in trained(new_state()))


def test_a_rate_ends_with_its_training_and_the_next_has_its_own():
    """Adam's steps are about as long as the rate; its first is as long as it."""
    state, first = new_state(), weights(new_state())
    trained(state, steps=1, rate=lambda step: 0.0)
    assert torch.equal(weights(state), first)
    for metrics in train(state, POINTS, SIGMAS, steps=9, batch_size=12, rate=lambda step: 0.0):
        if metrics.step == 2:  # left in the middle
            break
    trained(state, steps=3)
    moved = float((weights(state) - first).abs().max())
    assert 0.1 * 1e-2 < moved < 10 * 1e-2
    state.optimizer.param_groups[0]["lr"] = 0.5
    (update,) = trained(state, steps=4, rate=lambda step: 0.5)
    assert update.learning_rate == 0.25


def test_weight_decay_is_decoupled_from_the_gradient():
    """Loshchilov & Hutter (2019): without a gradient, weights shrink by 1 - rate x decay a step."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0], dtype=torch.float64))
    optimizer = adam([weight], learning_rate=0.1, betas=(-0.5, 0.9), weight_decay=0.2)
    weight.grad = torch.zeros_like(weight)
    for _ in range(3):
        optimizer.step()
    expected = torch.tensor([2.0, -3.0], dtype=torch.float64) * (1 - 0.02) ** 3
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-14, atol=0)
    trained(new_state(weight_decay=0.1), steps=1)  # which the training state takes


def test_what_is_off_changes_nothing():
    """Off: to the bit. On: another result."""
    plain, off = new_state(), new_state(weight_decay=0.0)
    trained(plain)
    trained(off, clip_norm=math.inf, accumulation=1, rate=None, deviation=math.inf)
    assert torch.equal(weights(plain), weights(off))
    for settings in ({"clip_norm": 1e-3}, {"deviation": 0.3}, {"rate": lambda step: 0.5}):
        other = new_state()
        trained(other, **settings)
        assert not torch.equal(weights(plain), weights(other)), settings
