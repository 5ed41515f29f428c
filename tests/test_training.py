"""The training loop against a literal transcription in float64, and what each step leaves alone."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cascore.denoiser import (
    ConditionalDenoiser,
    PreconditionedDenoiser,
    UnconditionalDenoiser,
    rescaled,
)
from cascore.errors import InputError
from cascore.losses import GAN_LOSSES, GanLoss, corrupt, dsm_loss, lsgan
from cascore.networks import MLP, BigGANDiscriminator, ConditionalMLP, MLPDiscriminator
from cascore.noise import KeyedNoise, Purpose, philox
from cascore.theory import EmpiricalDenoiser
from cascore.training import KeyedBatches, TrainingDivergedError, TrainState, adam, train
from cascore.training.ema import update_ema
from cascore.training.step import Objective, discriminator_step, score_step

SIGMAS = torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64)
POINTS = torch.rand(11, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
SCORE_ADAM = {"learning_rate": 1e-2, "betas": (0.0, 0.9)}
D_ADAM = {"learning_rate": 2e-2, "betas": (-0.5, 0.9)}


def new_state(*, hybrid=False, seed=0, dtype=torch.float64, network=None):
    torch.manual_seed(1)
    denoiser = UnconditionalDenoiser(network or MLP(width=6, depth=2)).to(dtype)
    state = TrainState(denoiser, adam(denoiser.parameters(), **SCORE_ADAM), seed)
    if hybrid:
        state.discriminator = MLPDiscriminator(width=5, depth=1).to(dtype)
        state.discriminator_optimizer = adam(state.discriminator.parameters(), **D_ADAM)
    return state


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    now = module.state_dict()
    return {name for name in before if not torch.equal(now[name], before[name])}


class LiteralAdam:
    """Kingma & Ba (2015), Algorithm 1, in numpy."""

    def __init__(self, *, learning_rate, betas):
        self.alpha, (self.beta1, self.beta2) = learning_rate, betas
        self.t, self.m, self.v = 0, {}, {}

    def step(self, weights, gradients):
        self.t += 1
        for name, g in gradients.items():
            m = self.m[name] = self.beta1 * self.m.get(name, 0.0) + (1 - self.beta1) * g
            v = self.v[name] = self.beta2 * self.v.get(name, 0.0) + (1 - self.beta2) * g**2
            m_hat, v_hat = m / (1 - self.beta1**self.t), v / (1 - self.beta2**self.t)
            weights[name] = weights[name] - self.alpha * m_hat / (np.sqrt(v_hat) + 1e-8)


@pytest.mark.parametrize(
    ("learning_rate", "betas"),
    [(0.0, (0.0, 0.9)), (-1.0, (0.0, 0.9)), (math.nan, (0.0, 0.9)), (0.1, (-1.0, 0.9)),
     (0.1, (1.0, 0.9)), (0.1, (0.0, 1.0)), (0.1, (0.0, -0.1))],
)  # fmt: skip
def test_adam_refuses_what_does_not_converge(learning_rate, betas):
    with pytest.raises(InputError, match="Adam needs learning rate > 0"):
        adam([nn.Parameter(torch.zeros(1))], learning_rate=learning_rate, betas=betas)


def numpy_weights(module):
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def leaves(weights):
    return {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}


def update(optimizer, weights, tensors, loss):
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    optimizer.step(weights, dict(zip(tensors, (g.numpy() for g in gradients), strict=True)))


def drawn_by_hand(x, seed, draw):
    source = KeyedNoise(seed, indices=range(4)).at(draw)
    sigma = SIGMAS[source.integers(4, high=3, purpose=Purpose.LEVEL)]
    z = source.normal((4, 2), purpose=Purpose.CORRUPTION, dtype=torch.float64)
    return x + sigma[:, None] * z, sigma


def literal_training(state, *, steps, d_steps, weight, clamp, ema_decay, warmup, gan):
    """Sec. 5 of the paper written out: one loop, functional networks, Adam in numpy."""
    opponent, call = state.discriminator, torch.func.functional_call
    d_steps = 0 if opponent is None else d_steps
    h_weights, average = numpy_weights(state.denoiser), numpy_weights(state.denoiser)
    d_weights = {} if opponent is None else numpy_weights(opponent)
    h_adam, d_adam = LiteralAdam(**SCORE_ADAM), LiteralAdam(**D_ADAM)
    low, high = (-math.inf, math.inf) if clamp is None else clamp
    records = []
    for step in range(steps):
        x = KeyedBatches(POINTS, 4, seed=state.seed).batch(step)
        generator = d_loss = None
        for turn in range(1, d_steps + 1):
            d = leaves(d_weights)
            noisy = drawn_by_hand(x, state.seed, step * (d_steps + 1) + turn)
            fake = call(state.denoiser, leaves(h_weights), noisy).detach()
            fake = torch.where(fake < low, low, torch.where(fake > high, high, fake))
            loss = gan.discriminator(call(opponent, d, (x,)), call(opponent, d, (fake,)))
            update(d_adam, d_weights, d, loss)
            d_loss = float(loss.detach())
        h = leaves(h_weights)
        noisy, sigma = drawn_by_hand(x, state.seed, step * (d_steps + 1))
        fake = call(state.denoiser, h, (noisy, sigma))
        loss = dsm = (((fake - x) ** 2).sum(1) / (2 * sigma**2)).mean()
        if opponent is not None:
            d = leaves(d_weights)
            fake = torch.where(fake < low, low, torch.where(fake > high, high, fake))
            adversarial = gan.generator(call(opponent, d, (x,)), call(opponent, d, (fake,)))
            loss, generator = adversarial + weight * dsm, float(adversarial.detach())
        update(h_adam, h_weights, h, loss)
        decay = min(ema_decay, (1 + step) / (10 + step)) if warmup else ema_decay
        average = {n: decay * average[n] + (1 - decay) * value for n, value in h_weights.items()}
        losses = {"dsm": float(dsm.detach()), "generator": generator, "discriminator": d_loss}
        records.append((step + 1, {name: x for name, x in losses.items() if x is not None}))
    return h_weights, average, d_weights, records


@pytest.mark.parametrize(
    ("hybrid", "d_steps", "clamp", "warmup", "gan"),
    [
        (False, 1, (0.0, 1.0), False, "lsgan"),
        (False, 5, None, True, "lsgan"),
        (True, 1, (0.0, 1.0), False, "lsgan"),
        (True, 3, (0.0, 1.0), True, "lsgan"),
        (True, 2, None, False, "lsgan"),
        (True, 2, (0.0, 1.0), False, "relativistic-average-hinge"),
        (True, 1, None, True, "relativistic-standard"),
    ],
)
def test_training_is_the_literal_transcription(hybrid, d_steps, clamp, warmup, gan):
    state = new_state(hybrid=hybrid, seed=2**64 - 3)
    h, average, d, records = literal_training(
        state, steps=12, d_steps=d_steps, weight=0.7, clamp=clamp,
        ema_decay=0.6, warmup=warmup, gan=GAN_LOSSES[gan],
    )  # fmt: skip
    told = list(
        train(
            state,
            KeyedBatches(POINTS, 4, seed=state.seed),
            SIGMAS,
            steps=12,
            ema_decay=0.6,
            ema_warmup=warmup,
            weight=0.7,
            gan=GAN_LOSSES[gan],
            discriminator_steps=d_steps,
            clamp=clamp,
        )
    )
    # 1e-9: rounding of float64, which Adam's division magnifies.
    expected = [(state.denoiser, h), (state.average, average)]
    for module, weights in expected + ([(state.discriminator, d)] if hybrid else []):
        for name, parameter in module.named_parameters():
            np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=0, atol=1e-9)
    assert len(told) == 12
    for mine, (step, losses) in zip(told, records, strict=True):
        assert mine.step == step
        assert mine.numbers == pytest.approx(losses, rel=1e-9)


def test_training_is_a_generator_that_goes_on_where_the_state_is():
    def run(state, steps):
        batches = KeyedBatches(POINTS, 4, seed=0)
        return train(state, batches, SIGMAS, steps=steps, ema_decay=0.9, clamp=None)

    whole, parts = new_state(hybrid=True), new_state(hybrid=True)
    everything = list(run(whole, 9))
    before = copied(parts.denoiser)
    steps = run(parts, 9)
    assert changed(parts.denoiser, before) == set()  # nothing happens before it is asked
    records = [next(steps), next(steps)]
    assert parts.step == 2
    steps.close()
    other = new_state(hybrid=True)
    other.load_tensors(parts.tensors())
    other.step = parts.step
    records += list(run(other, 5)) + list(run(other, 9))
    assert records == everything
    assert list(run(other, 9)) == []
    for name, value in whole.tensors().items():
        assert torch.equal(other.tensors()[name], value), name


def test_the_state_names_everything_that_training_changes():
    state = new_state(hybrid=True)
    before = {name: value.clone() for name, value in state.tensors().items()}
    for _ in train(state, KeyedBatches(POINTS, 4, seed=0), SIGMAS, steps=2, ema_decay=0.9):
        pass
    after = state.tensors()
    assert before.keys() < after.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert not any(p.requires_grad for p in state.average.parameters())
    slots = {"step", "exp_avg", "exp_avg_sq"}
    for module, prefix in (("denoiser", "optimizer"), ("discriminator", "discriminator_optimizer")):
        for name, _ in getattr(state, module).named_parameters():
            assert {f"{prefix}.{name}.{slot}" for slot in slots} <= after.keys()


def test_a_training_starts_from_the_weights_of_another_where_they_fit():
    torch.manual_seed(5)
    other = PreconditionedDenoiser(ConditionalMLP(width=6, depth=2), mean=0.2, deviation=3.0)
    mine = PreconditionedDenoiser(ConditionalMLP(width=6, depth=2), mean=0.5, deviation=0.25)
    state = TrainState(mine)
    assert state.start_from(other) == []
    for module in (state.denoiser, state.average):
        assert float(module.mean) == 0.5  # which was measured on these data
        for name, weight in module.network.state_dict().items():
            assert torch.equal(weight, other.network.state_dict()[name])
    wrapped = TrainState(
        PreconditionedDenoiser(ConditionalMLP(width=6, depth=2), mean=0, deviation=1)
    )
    assert wrapped.start_from(rescaled(other, -1, 1)) == []
    next(train(state, POINTS.float(), SIGMAS.float(), steps=1, batch_size=4))
    with pytest.raises(InputError, match="step 1"):
        state.start_from(other)


def test_what_does_not_fit_another_network_stays_and_is_named():
    torch.manual_seed(5)
    deeper, mine = MLP(width=6, depth=3), new_state()
    before = copied(mine.denoiser)
    kept = mine.start_from(UnconditionalDenoiser(deeper).double())
    named = {line.partition(" ")[0] for line in kept}
    theirs, ours = dict(deeper.named_parameters()), dict(mine.denoiser.network.named_parameters())
    fitting = {n for n in ours if n in theirs and theirs[n].shape == ours[n].shape}
    assert fitting
    assert named == {f"network.{n}" for n in ours.keys() - fitting} | (theirs.keys() - ours.keys())
    assert changed(mine.denoiser, before) <= {f"network.{name}" for name in fitting}
    with pytest.raises(InputError, match="nothing of the other model fits"):
        new_state().start_from(
            UnconditionalDenoiser(BigGANDiscriminator(channels=1, size=8, width=4))
        )


def test_training_draws_nothing_from_the_global_stream():
    network = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))

    def run(seed):
        state = new_state(network=copy.deepcopy(network), seed=seed)
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        batches = KeyedBatches(POINTS, 4, seed=seed)
        losses = [each.dsm for each in train(state, batches, SIGMAS, steps=3, ema_decay=0.9)]
        assert torch.equal(torch.random.get_rng_state(), before)
        return losses

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_dropout_is_another_in_every_step():
    masks = []

    class Watched(nn.Dropout):
        def forward(self, x):
            out = super().forward(x)
            masks.append(out != 0)
            return out

    network = nn.Sequential(nn.Linear(2, 30), nn.Sigmoid(), Watched(0.5), nn.Linear(30, 2))
    state = new_state(network=network, seed=7 + 2**32)
    list(train(state, KeyedBatches(POINTS, 4, seed=0), SIGMAS, steps=4, ema_decay=0.9))
    assert len(masks) == 4
    assert not any(torch.equal(masks[0], mask) for mask in masks[1:])
    for step, mask in enumerate(masks):  # the masks of a stream that Philox seeds
        counter = torch.tensor([[0, 0], [0, 1], [step, step], [7, 7]])
        words = philox(counter, torch.tensor([[7], [1]]))[0].tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((words[0] >> 1 << 31) + (words[1] >> 1))
            assert torch.equal(mask, nn.functional.dropout(torch.ones(4, 30).double()) != 0)


def images(seed, count=3):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


class Affine(nn.Module):
    """H(x, sigma) = a x + b, pixel by pixel."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, sigma):
        if self.training:
            self.calls += 1
        return self.a * x + self.b


def drawn(seed=0):
    noise = KeyedNoise(seed, indices=range(3))
    return corrupt(images(seed), torch.tensor([1.0, 0.1]), noise=noise)


def test_the_score_step_leaves_the_discriminator_as_it_is():
    torch.manual_seed(0)
    d, h = BigGANDiscriminator(channels=1, size=8, width=2), Affine(0.5, 0.1)
    d.train()
    before, h_before = copied(d), copied(h)
    gradients = {name: p.grad for name, p in d.named_parameters()}
    optimizer = adam(h.parameters(), learning_rate=0.1, betas=(0.0, 0.9))
    for seed in range(3):
        score_step(h, optimizer, d, drawn(seed), Objective())
    assert changed(d, before) == set()
    assert {name: p.grad for name, p in d.named_parameters()} == gradients
    assert d.training
    assert all(p.requires_grad for p in d.parameters())
    assert {"a", "b"} <= changed(h, h_before)


def test_the_discriminator_step_leaves_the_denoiser_as_it_is():
    torch.manual_seed(0)
    d, h = BigGANDiscriminator(channels=1, size=8, width=2), Affine(0.5, 0.1)
    before, d_before = {n: p.detach().clone() for n, p in h.named_parameters()}, copied(d)
    optimizer = adam(d.parameters(), learning_rate=0.1, betas=(-0.5, 0.9))
    loss = discriminator_step(d, optimizer, h, drawn(), Objective())
    assert all(torch.equal(p, before[name]) for name, p in h.named_parameters())
    assert all(p.grad is None for p in h.parameters())
    assert not loss.requires_grad
    vectors = {name for name in d_before if name.endswith(("_u", "_v"))}
    moved = changed(d, d_before)
    assert vectors & moved  # the power iteration takes its step here
    assert {name for name, _ in d.named_parameters()} <= moved


class Recorder(nn.Module):
    """D(x) = w times the mean pixel, keeping what it was shown."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.w * x.flatten(1).mean(1)


@pytest.mark.parametrize("clamp", [(0.0, 1.0), None])
def test_the_clamp_acts_on_what_the_discriminator_sees(clamp):
    h, d, draw = Affine(3.0, -1.0), Recorder(), drawn()
    expected = 3 * draw.noisy - 1
    assert expected.min() < 0
    assert expected.max() > 1
    if clamp is not None:
        expected = expected.clamp(0, 1)
    objective = Objective(clamp=clamp)
    discriminator_step(d, torch.optim.SGD(d.parameters(), lr=0.0), h, draw, objective)
    score_step(h, torch.optim.SGD(h.parameters(), lr=0.0), d, draw, objective)
    both, fake = d.seen
    assert torch.equal(both[:3], draw.clean)
    assert torch.equal(both[3:], expected)
    assert torch.equal(fake, expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", GAN_LOSSES)
def test_real_images_are_judged_only_where_the_score_network_minimises_a_relativistic_loss(
    name, precision
):
    """To the bit: what the score step computes of D(real), where it is asked for it or not."""
    gan, draw, found = GAN_LOSSES[name], drawn(), []
    for asked in (gan, gan._replace(relativistic=True)):
        h, d = Affine(0.5, 0.1), Recorder()
        optimizer = torch.optim.SGD(h.parameters(), lr=0.1)
        losses = score_step(h, optimizer, d, draw, Objective(gan=asked, precision=precision))
        seen = [torch.equal(images, draw.clean) for images in d.seen]
        assert seen == ([True, False] if asked.relativistic else [False])
        found.append([*losses, *(parameter.grad for parameter in h.parameters())])
    assert all(map(torch.equal, *found))
    real, fake = torch.tensor([[0.3, -2.0], [0.1, 1.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(gan.generator(real, fake), real, allow_unused=True)
    assert gan.relativistic == (gradient is not None)


def test_the_average_of_the_weights():
    module, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        module.weight.fill_(2.0)
        average.weight.fill_(4.0)
    module.running_mean.fill_(7.0)
    update_ema(average, module, decay=0.75)
    assert average.weight.tolist() == [3.5] * 3  # 0.75 * 4 + 0.25 * 2
    assert average.running_mean.tolist() == [7.0] * 3  # buffers are copied, not averaged
    assert module.weight.tolist() == [2.0] * 3


def test_a_small_network_approaches_the_loss_of_the_exact_optimum():
    """No denoiser has a smaller expected loss than the closed form for the empirical data."""
    data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.3, 0.8]]).repeat(90, 1)
    levels = torch.tensor([1.0, 0.4], dtype=torch.float64)
    torch.manual_seed(0)
    denoiser = ConditionalDenoiser(ConditionalMLP(width=48, depth=2))
    optimizer = adam(denoiser.parameters(), learning_rate=5e-3, betas=(0.9, 0.999))
    state = TrainState(denoiser, optimizer, seed=0)
    test = corrupt(data[:3].repeat(2000, 1), levels, noise=KeyedNoise(123, indices=range(6000)))

    def loss(h):
        with torch.no_grad():
            return float(dsm_loss(h(test.noisy, test.sigma), test).mean())

    before, best = loss(state.average), loss(EmpiricalDenoiser(data[:3]))
    list(train(state, KeyedBatches(data, 256, seed=0), levels, steps=500, ema_decay=0.98))
    assert before > 2 * best
    # Within 3 % of the optimum; 6,000 draws can favour a network by about 1 %.
    assert 0.99 * best < loss(state.average) < 1.03 * best


class Poisoned:
    """Batches whose row 2 is not finite at one step."""

    batch_size = 4

    def __init__(self, step, value=math.nan):
        self.step, self.value, self.good = step, value, KeyedBatches(POINTS, 4, seed=0)

    def batch(self, step):
        clean = self.good.batch(step)
        if step == self.step:
            clean[2] = self.value
        return clean


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("hybrid", "message"),
    [
        (False, "the loss is not finite (worst sample: nan at sigma = {sigma:.4g})"),
        (True, "the discriminator's loss is not finite"),
    ],
)
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(hybrid, message, value):
    state = new_state(hybrid=hybrid)
    steps = train(state, Poisoned(5, value), SIGMAS, steps=9, ema_decay=0.9)
    for _ in range(5):
        next(steps)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    level = KeyedNoise(0, indices=range(4)).at(5).integers(4, high=3, purpose=Purpose.LEVEL)[2]
    with pytest.raises(TrainingDivergedError) as stopped:
        next(steps)
    expected = f"step 6: {message.format(sigma=float(SIGMAS[level]))}"
    assert str(stopped.value).startswith(expected)
    assert state.step == 5
    assert all(torch.equal(before[name], tensor) for name, tensor in state.tensors().items())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.tensors().values())


def test_a_generator_loss_that_is_not_finite_stops_as_well():
    broken = GanLoss(discriminator=lsgan.discriminator, generator=lambda real, fake: fake.sum() / 0)
    batches = KeyedBatches(POINTS, 4, seed=0)
    with pytest.raises(TrainingDivergedError, match=r"^step 1: the loss is not finite"):
        next(train(new_state(hybrid=True), batches, SIGMAS, steps=9, gan=broken, ema_decay=0.9))


def test_what_cannot_be_trained_is_refused():
    state = new_state(hybrid=True)
    batches = KeyedBatches(POINTS, 4, seed=0)
    for name in ("discriminator_steps", "accumulation"):
        with pytest.raises(InputError, match=f"{name} must be at least 1, not 0"):
            train(state, batches, SIGMAS, steps=1, **{name: 0})
    with pytest.raises(InputError, match="comes with a discriminator"):
        TrainState(state.denoiser, discriminator_optimizer=state.discriminator_optimizer)
    with pytest.raises(InputError, match=r"not a UnconditionalDenoiser: .*TrainState\(denoiser\)"):
        train(state.denoiser, batches, SIGMAS, steps=1)
    for model in (SimpleNamespace(denoiser=state.denoiser), lambda x, sigma: x):
        with pytest.raises(InputError, match=f"not {type(model).__name__}"):
            TrainState(model)
    for other in (torch.optim.SGD, lambda p: torch.optim.Adam(p, amsgrad=True)):
        with pytest.raises(InputError, match="moments of Adam"):
            TrainState(state.denoiser, other(state.denoiser.parameters()), seed=0)


@pytest.mark.parametrize("hybrid", [False, True])
def test_bfloat16_rounds_the_products_and_nothing_else(hybrid):
    runs = {}
    for precision in (torch.float32, torch.bfloat16):
        state = new_state(hybrid=hybrid, dtype=torch.float32)
        data = KeyedBatches(POINTS.float(), 64, 0)
        metrics = list(train(state, data, SIGMAS, steps=3, ema_decay=0.9, precision=precision))
        assert {value.dtype for value in state.denoiser.state_dict().values()} == {torch.float32}
        runs[precision] = [step.dsm for step in metrics]
    exact, rounded = (torch.tensor(losses) for losses in runs.values())
    assert not torch.equal(exact, rounded)
    # A product of bfloat16 is off by at most 2^-8 of itself; a loss has a few of them in a row.
    torch.testing.assert_close(exact, rounded, rtol=8 * 2**-8, atol=0)
