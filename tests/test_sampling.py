"""The samplers' contract: what they call, what they return, what they leave alone."""

import math
import weakref
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cascore.denoiser import ConditionalDenoiser, UnconditionalDenoiser, default_kappa, rescaled
from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose
from cascore.sampling import (
    annealed_langevin,
    consistent_annealed,
    consistent_steps,
    initial_noise,
    langevin_steps,
    order_and_kappa,
)
from cascore.schedule import allowed_interval, geometric_sigmas, langevin_step_size
from cascore.theory import UnitNoiseDenoiser

SIGMAS = torch.tensor([8.0, 3.0, 2.0, 0.5, 0.1], dtype=torch.float64)
SAMPLERS = {
    "langevin": lambda *args, **kwargs: annealed_langevin(*args, eta=0.3, **kwargs),
    "first order": lambda *args, **kwargs: consistent_annealed(*args, order=1, **kwargs),
    "second order": lambda *args, **kwargs: consistent_annealed(*args, order=2, **kwargs),
}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def shrink(x, sigma):
    """The optimum of data N(0, 1): a smooth denoiser that works on each number alone."""
    return x / (1 + sigma**2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def start(*shape, seed=1, dtype=torch.float32):
    return 8 * torch.randn(shape, generator=seeded(seed), dtype=dtype)


class Counting:
    """A denoiser that writes down what it is asked."""

    def __init__(self):
        self.sigmas = []
        self.points = []
        self.answers = []

    def __call__(self, x, sigma):
        assert sigma.dtype == x.dtype
        assert sigma.shape == ()
        self.sigmas.append(float(sigma))
        self.points.append(x.clone())
        self.answers.append(shrink(x, sigma))
        return self.answers[-1].clone()


# What is called, and with what


def test_annealed_langevin_calls_n_sigma_times_per_level():
    denoiser = Counting()
    x = start(2, 3, dtype=torch.float64)
    samples = annealed_langevin(denoiser, x, SIGMAS, eta=0.1, n_sigma=7, noise=seeded())
    assert denoiser.sigmas == SIGMAS.repeat_interleave(7).tolist()
    assert samples.nfe == 35


@every_sampler
def test_one_call_a_level_whose_last_answer_is_denoised_and_which_the_callback_sees(sampler):
    denoiser, seen, copies = Counting(), [], []

    def callback(step, sigma, x, H):
        seen.append((step, sigma, x, H))
        copies.append((x.clone(), H.clone()))

    x = start(2, 3, dtype=torch.float64)
    samples = sampler(denoiser, x, SIGMAS, noise=seeded(), callback=callback)
    assert samples.nfe == 5
    assert torch.equal(samples.denoised, denoiser.answers[-1])  # never extrapolated
    assert denoiser.sigmas == SIGMAS.tolist()
    assert [shown[:2] for shown in seen] == list(enumerate(SIGMAS.tolist()))
    for (_, _, *shown), copied, point, answer in zip(
        seen, copies, denoiser.points, denoiser.answers, strict=True
    ):
        for kept, then, asked in zip(shown, copied, (point, answer), strict=True):
            assert torch.equal(kept, then)  # nothing is changed in place
            assert torch.equal(kept, asked)


# Steps


@pytest.mark.parametrize("step", [{"kappa": 1.25}, {"kappa": 2}, {"eta": 0.9}, {"kappa": math.inf}])
@pytest.mark.parametrize("order", [1, 2])
def test_last_step_is_first_order_without_noise(step, order):
    denoiser = Counting()
    samples = consistent_annealed(
        denoiser, start(2, 3, dtype=torch.float64), SIGMAS, **step, order=order, noise=seeded()
    )
    # gamma_L is gamma_{L-1} = 0.1 / 0.5
    keep = 1 - step["eta"] if "eta" in step else 0.2 ** step["kappa"]
    expected = keep * denoiser.points[-1] + (1 - keep) * denoiser.answers[-1]
    assert torch.allclose(samples.raw, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("step", [{}, {"kappa": 1}, {"kappa": math.inf}, {"eta": 0.3}])
@pytest.mark.parametrize("order", [1, 2])
def test_one_level_is_one_denoising(step, order):
    x = start(2, 3)
    samples = consistent_annealed(
        shrink, x, torch.tensor([0.7]), **step, order=order, noise=seeded()
    )
    assert torch.equal(samples.raw, shrink(x, torch.tensor(0.7)))
    assert torch.equal(samples.raw, samples.denoised)
    assert samples.nfe == 1


DEFAULTS = [
    ({}, {"order": 2, "kappa": 1.5}),
    ({"order": 1}, {"order": 1, "kappa": 1.5}),
    ({"kappa": 1.1}, {"order": 2, "kappa": 1.1}),
    ({"order": 1, "kappa": 1.1}, {"order": 1, "kappa": 1.1}),
    ({"eta": 0.9}, {"order": 1, "kappa": None}),
    ({"epsilon": 0.009}, {"order": 1, "kappa": None}),
    ({"order": 2, "eta": 0.9}, {"order": 2, "kappa": None}),
]


@pytest.mark.parametrize(("arguments", "in_force"), DEFAULTS, ids=str)
def test_order_and_kappa_where_they_are_not_given(arguments, in_force):
    assert order_and_kappa(**arguments) == (in_force["order"], in_force["kappa"])
    steps = consistent_steps(SIGMAS, **arguments)
    assert steps == consistent_steps(SIGMAS, **(arguments | in_force))
    assert any(step.lead for step in steps) == (in_force["order"] == 2)


class Aware(nn.Module):
    def forward(self, x, log_sigma):
        return -x / (1 + log_sigma.exp())[:, None]


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: rescaled(d, -1.0, 1.0)])
@pytest.mark.parametrize(
    ("denoiser", "kappa"),
    [
        (UnconditionalDenoiser(nn.Tanh()), 2.5),
        (ConditionalDenoiser(Aware()), default_kappa(ConditionalDenoiser(Aware()), SIGMAS)),
        (UnitNoiseDenoiser(torch.zeros(2)), 2.5),
        (shrink, 1.5),
    ],
)
def test_a_chain_without_settings_has_the_kappa_of_its_denoiser(wrap, denoiser, kappa):
    """Networks of cascore say it, what is blind needs it; another callable is taken to be right."""
    x = start(3, 2)
    bare, named = (
        consistent_annealed(wrap(denoiser), x, SIGMAS, **settings)
        for settings in ({}, {"kappa": kappa, "order": 2})
    )
    assert torch.equal(bare.raw, named.raw)
    of_eta = consistent_annealed(wrap(denoiser), x, SIGMAS, eta=0.9)
    assert torch.equal(
        of_eta.raw, consistent_annealed(wrap(denoiser), x, SIGMAS, eta=0.9, order=1).raw
    )


def test_kappa_of_each_step():
    each = [1.0, 2.0, math.inf, 1.5, 3.0]
    steps = consistent_steps(SIGMAS, kappa=each)
    for i, step in enumerate(steps):
        assert step == consistent_steps(SIGMAS, kappa=each[i])[i]
    gammas = [3 / 8, 2 / 3, 1 / 4, 1 / 5, 1 / 5]
    expected = [gamma**kappa for gamma, kappa in zip(gammas, each, strict=True)]
    assert [1 - step.eta for step in steps] == pytest.approx(expected, rel=1e-13)


@given(kappa=st.floats(1, 40), eta=st.floats(1e-12, 1.99))
def test_the_weights_of_a_step_add_up_to_one_exactly(kappa, eta):
    steps = consistent_steps(SIGMAS, kappa=kappa) + langevin_steps(SIGMAS, eta=eta)
    assert all(Fraction(1 - step.eta) + Fraction(step.eta) == 1 for step in steps)


def test_second_order_weights_by_hand():
    # log2 steps of 1, 2, 1, 1: r = 1/2, 2, 1, so 1 / (2 r) = 1, 1/4, 1/2; first and last have none
    sigmas = torch.tensor([8.0, 4.0, 1.0, 0.5, 0.25], dtype=torch.float64)
    leads = [step.lead for step in consistent_steps(sigmas, order=2)]
    assert leads == pytest.approx([0, 1, 0.25, 0.5, 0])


def test_default_of_langevin_is_technique_4():
    sigmas = geometric_sigmas(50.0, 0.01, 232)
    steps = langevin_steps(sigmas, n_sigma=5)
    assert steps[0].eta == pytest.approx(6.184e-6 / 1e-4, rel=1e-4)
    assert steps == langevin_steps(sigmas, epsilon=langevin_step_size(sigmas, 5), n_sigma=5)


def test_eta_and_epsilon_are_one_step_size():
    low, high = allowed_interval(SIGMAS).eta
    eta = (low + high) / 2
    for a, b in zip(
        consistent_steps(SIGMAS, eta=eta), consistent_steps(SIGMAS, epsilon=eta * 0.01), strict=True
    ):
        assert a == pytest.approx(b, rel=1e-12)


# What is left alone


@every_sampler
@pytest.mark.parametrize("sigmas", [SIGMAS, SIGMAS[:1]])
def test_identity_denoiser_does_not_alias(sampler, sigmas):
    x, seen = start(2, 3), []
    before = x.clone()
    samples = sampler(
        lambda x, sigma: x,
        x,
        sigmas,
        noise=seeded(),
        callback=lambda step, sigma, x, H: seen.append(x),
    )
    assert torch.equal(x, before)
    raw, denoised = samples.raw.clone(), samples.denoised.clone()
    samples.denoised.zero_()
    assert torch.equal(x, before)
    assert torch.equal(samples.raw, raw)
    assert torch.equal(seen[-1], denoised)
    samples.raw.fill_(1)
    assert torch.equal(x, before)
    assert not samples.denoised.any()


@every_sampler
def test_one_output_buffer_gives_the_same_result(sampler):
    x, buffer = start(2, 3), torch.empty(2, 3)
    fresh = sampler(shrink, x, SIGMAS, noise=seeded())
    reused = sampler(lambda x, sigma: buffer.copy_(shrink(x, sigma)), x, SIGMAS, noise=seeded())
    buffer.zero_()
    assert torch.equal(fresh.raw, reused.raw)
    assert torch.equal(fresh.denoised, reused.denoised)


class Network(nn.Module):
    """A denoiser with dropout, nested modules and a parameter; fails at a call if asked."""

    def __init__(self, fail_at=None):
        super().__init__()
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
        self.scale = nn.Parameter(torch.ones(()))
        self.fail_at, self.calls, self.modes = fail_at, 0, []

    def forward(self, x, sigma):
        self.modes.append([module.training for module in self.modules()])
        if self.calls == self.fail_at:
            raise RuntimeError("the network broke")
        self.calls += 1
        return self.inner(shrink(x, sigma)) * self.scale


@every_sampler
@pytest.mark.parametrize("fail_at", [None, 0, 3])
def test_mode_of_every_submodule_is_restored(sampler, fail_at):
    network = Network(fail_at)
    network.train()
    network.inner[1].eval()  # a part that its owner has frozen
    before = [module.training for module in network.modules()]
    assert True in before
    assert False in before
    if fail_at is None:
        sampler(network, start(2, 3), SIGMAS, noise=seeded())
    else:
        with pytest.raises(RuntimeError, match="broke"):
            sampler(network, start(2, 3), SIGMAS, noise=seeded())
    assert not any(mode for modes in network.modes for mode in modes)
    assert [module.training for module in network.modules()] == before


@every_sampler
def test_no_graph_is_kept_although_a_denoiser_may_differentiate_inside(sampler):
    scale, seen = torch.ones((), requires_grad=True), []

    def by_gradient(x, sigma):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            energy = scale * (leaf**2 / (2 * (1 + sigma**2))).sum()
            (gradient,) = torch.autograd.grad(energy, leaf, create_graph=True)
        return gradient

    samples = sampler(
        by_gradient,
        start(2, 3).requires_grad_(),
        SIGMAS,
        noise=seeded(),
        callback=lambda step, sigma, x, H: seen.append(torch.is_grad_enabled() or x.requires_grad),
    )
    assert not any(seen)
    assert torch.is_grad_enabled()
    expected = sampler(shrink, start(2, 3), SIGMAS, noise=seeded())
    for found, plain in ((samples.raw, expected.raw), (samples.denoised, expected.denoised)):
        assert not found.requires_grad
        assert torch.allclose(found, plain, rtol=1e-5)


# Types, noise, memory


@every_sampler
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    ratios=st.lists(st.floats(0.1, 0.95), max_size=6),
)
def test_shape_and_dtype_are_the_starts(sampler, dtype, shape, ratios):
    sigmas = 5 * torch.tensor([1.0, *ratios], dtype=torch.float64).cumprod(0)
    inside = []

    def denoiser(x, sigma):
        inside.append((x.dtype, sigma.dtype, tuple(x.shape)))
        return shrink(x, sigma)

    noise = KeyedNoise(list(range(shape[0])))
    samples = sampler(denoiser, torch.ones(shape, dtype=dtype), sigmas, noise=noise)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert inside == [(wide, wide, tuple(shape))] * len(sigmas)
    for result in (samples.raw, samples.denoised):
        assert result.dtype == dtype
        assert tuple(result.shape) == tuple(shape)
        assert bool(torch.isfinite(result).all())


@every_sampler
def test_low_precision_is_rounded_once_at_the_end(sampler):
    """bfloat16 near 0.7 has spacing 0.004: a state kept in it could not show a step of 0.001."""
    x = start(64, 3).bfloat16()
    low = sampler(shrink, x, SIGMAS, noise=seeded())
    high = sampler(shrink, x.float(), SIGMAS, noise=seeded())
    assert torch.equal(low.raw, high.raw.bfloat16())
    assert torch.equal(low.denoised, high.denoised.bfloat16())


@every_sampler
def test_picture_does_not_depend_on_its_batch(sampler):
    seeds, shape = [7, 7 + 2**32, 0, 2**64 - 1, 12345], (3, 5, 5)

    def pictures(chosen):
        noise = KeyedNoise(chosen)
        x = initial_noise((len(chosen), *shape), 8.0, noise=noise)
        return sampler(shrink, x, SIGMAS, noise=noise)

    together = pictures(seeds)
    for batch in ([0], [4], [1, 2], [3, 0, 4], [4, 3, 2, 1, 0]):
        some = pictures([seeds[i] for i in batch])
        assert torch.equal(some.raw, together.raw[batch])
        assert torch.equal(some.denoised, together.denoised[batch])
    assert len({tuple(picture.flatten().tolist()) for picture in together.raw}) == 5


@every_sampler
def test_noise_is_seeds_0_to_n_unless_given(sampler):
    x = initial_noise((3, 2), 8.0)
    assert torch.equal(x, initial_noise((3, 2), 8.0, noise=KeyedNoise(range(3))))
    given = sampler(shrink, x, SIGMAS, noise=KeyedNoise(range(3)))
    assert torch.equal(sampler(shrink, x, SIGMAS).raw, given.raw)
    assert not torch.equal(sampler(shrink, x, SIGMAS, noise=KeyedNoise([0, 1, 3])).raw, given.raw)


@pytest.mark.parametrize(
    "noise", [None, seeded(6), KeyedNoise(range(4))], ids=["default", "stream", "keyed"]
)
def test_initial_noise_is_where_it_is_asked_for(noise):
    assert initial_noise((4, 2), 8.0, noise=noise).device == torch.device("cpu")
    if not isinstance(noise, torch.Generator):  # whose numbers cannot be drawn on no device
        assert initial_noise((4, 2), 8.0, noise=noise, device="meta").device.type == "meta"


def test_no_global_stream_is_touched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for sampler in SAMPLERS.values():
        sampler(shrink, start(2, 3), SIGMAS, noise=seeded())
        sampler(shrink, start(2, 3), SIGMAS, noise=KeyedNoise([1, 2]))
    initial_noise((2, 3), 8.0, noise=seeded())
    assert torch.equal(torch.rand(3), expected)


class Recording:
    """A source that notes what it was asked for."""

    def __init__(self):
        self.asked = []

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        self.asked.append((tuple(shape), purpose, step, dtype))
        return torch.zeros(tuple(shape), dtype=dtype, device=device)

    def integers(self, count, *, high, purpose, step=0, device="cpu"):
        raise AssertionError("a sampler draws no integers")


def test_noise_is_asked_for_by_purpose_and_step():
    noise = Recording()
    consistent_annealed(shrink, start(2, 3, dtype=torch.float64), SIGMAS, kappa=2, noise=noise)
    assert noise.asked == [((2, 3), Purpose.CHAIN, step, torch.float64) for step in range(4)]
    noise = Recording()
    annealed_langevin(shrink, start(2, 3), SIGMAS, eta=0.2, n_sigma=2, noise=noise)
    assert noise.asked == [((2, 3), Purpose.CHAIN, step, torch.float32) for step in range(10)]
    noise = Recording()
    consistent_annealed(shrink, start(2, 3), SIGMAS, kappa=1, noise=noise)
    assert noise.asked == []  # the probability-flow ODE needs none
    initial_noise([2, 3], 8.0, noise=noise)
    assert noise.asked == [((2, 3), Purpose.INITIAL, 0, torch.float32)]


@pytest.mark.parametrize("noise", [seeded(6), KeyedNoise(range(1000))], ids=["stream", "keyed"])
def test_initial_noise_has_the_deviation_sigma(noise):
    x = initial_noise((1000, 64), 8.0, noise=noise)
    assert x.dtype == torch.float32
    assert x.shape == (1000, 64)
    # 64,000 numbers: standard errors 8 / sqrt(n) of the mean, 8 / sqrt(2 n) of the deviation
    assert abs(float(x.mean())) < 5 * 8 / math.sqrt(64000)
    assert abs(float(x.std()) - 8) < 5 * 8 / math.sqrt(128000)


def test_a_start_is_around_the_mean_that_it_is_given():
    mean = torch.tensor([[0.25], [0.5]], dtype=torch.float64)  # one for each of two channels
    found = initial_noise((3, 2, 4), 8.0, mean=mean, noise=KeyedNoise(range(3)))
    assert found.dtype == torch.float32
    assert torch.equal(found, initial_noise((3, 2, 4), 8.0) + mean.float())


class LiveBytes(TorchDispatchMode):
    """The most bytes of storage alive at once among the tensors made under this mode."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.live:
                    self.live[key] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, key, None)
        self.peak = max(self.peak, sum(self.live.values()))
        return out


@pytest.mark.parametrize(
    ("name", "buffers"), [("langevin", 4), ("first order", 4), ("second order", 5)]
)
def test_memory_is_a_few_buffers_of_the_batch_at_any_number_of_steps(name, buffers):
    """The state, H, its predecessor at order 2, one z, and what one operation needs beside them."""
    x = start(4, 1000)
    size = x.numel() * x.element_size()
    peaks = []
    for count in (8, 64):
        sigmas, noise = geometric_sigmas(8.0, 0.1, count), seeded()
        with LiveBytes() as mode:
            SAMPLERS[name](shrink, x, sigmas, noise=noise)
        peaks.append(mode.peak)
    assert 2 * size <= peaks[0]  # the meter sees something
    assert max(peaks) <= (buffers + 0.1) * size
    assert peaks[1] <= peaks[0] + 0.1 * size


# Mistakes


@every_sampler
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(2, 3, dtype=torch.int64)}, "float tensor"),
        ({"x": torch.tensor(1.0)}, "float tensor"),
        ({"x": torch.zeros(2, 3).numpy()}, "not ndarray"),
        ({"sigmas": torch.tensor([1.0, 2.0])}, "sigmas must"),
        ({"noise": [1, 2]}, r"KeyedNoise\(seeds\)"),
        ({"denoiser": SimpleNamespace(denoiser=shrink)}, "give its `denoiser`"),
    ],
    ids=["integers", "a number", "an array", "schedule", "seeds", "a model"],
)
def test_what_no_sampler_takes_is_refused_before_any_call(sampler, arguments, message):
    denoiser = Counting()
    with pytest.raises(InputError, match=message):
        sampler(**{"denoiser": denoiser, "x": start(2, 3), "sigmas": SIGMAS} | arguments)
    assert denoiser.sigmas == []


@every_sampler
@pytest.mark.parametrize("answer", [None, SimpleNamespace(sample=torch.zeros(2, 3))])
def test_what_is_no_tensor_is_no_answer_of_a_denoiser(sampler, answer):
    with pytest.raises(InputError, match=f"the denoiser returned {type(answer).__name__}"):
        sampler(lambda x, sigma: answer, start(2, 3), SIGMAS)


def test_a_chain_starts_at_a_positive_level():
    with pytest.raises(InputError, match="-5"):
        initial_noise((2, 3), -5.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"kappa": kappa}, "kappa") for kappa in (0.99, 0.0, -1.0, math.nan)),
        *(({"kappa": kappas}, "kappa") for kappas in ([1.5] * 4, [1.5] * 6, [2, 2, 2, 2, 0.5])),
        *(
            ({"kappa": kappa}, "kappa must be a number")
            for kappa in ("2", True, 2j, ["2"] * 5, [True] * 5, torch.tensor(True))
        ),
        *(({name: "0.5"}, f"{name} must be a number, not '0.5'") for name in ("eta", "epsilon")),
        *(
            ({"order": order}, f"order must be 1 or 2, not {order!r}")
            for order in (0, 3, -1, 2.0, True, "2")
        ),
        ({"kappa": 1.5, "eta": 0.9}, "at most one of kappa, eta, epsilon"),
        ({"kappa": 1.5, "epsilon": 0.009}, "at most one of kappa, eta, epsilon"),
        ({"eta": 0.9, "epsilon": 0.009}, "at most one of kappa, eta, epsilon"),
    ],
    ids=str,
)
def test_settings_of_consistent_sampling_that_are_refused(settings, message):
    for sigmas in (SIGMAS, SIGMAS[:1]):
        with pytest.raises(InputError, match=message):
            consistent_annealed(shrink, start(2, 3), sigmas, **settings)
    with pytest.raises(InputError, match="keyed for 3 samples, not for 2"):
        consistent_annealed(shrink, start(2, 3), SIGMAS, noise=KeyedNoise([1, 2, 3]))


@pytest.mark.parametrize("size", [0.0, -0.1, 2.0, 5.0, math.nan])
def test_a_langevin_step_that_does_not_contract_is_refused(size):
    for settings in ({"eta": size}, {"epsilon": size * 0.1**2}):
        with pytest.raises(InputError, match=r"0 < eta < 2, that is 0 < epsilon < 0\.02"):
            annealed_langevin(shrink, start(2, 3), SIGMAS, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eta": 0.1, "epsilon": 0.001}, "at most one of eta, epsilon"),
        ({"eta": "0.5"}, "eta must be a number, not .0.5."),
        ({"eta": 0.1, "n_sigma": 0}, "n_sigma"),
        ({"eta": 0.1, "n_sigma": -2}, "n_sigma"),
    ],
    ids=str,
)
def test_settings_of_langevin_that_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        annealed_langevin(shrink, start(2, 3), SIGMAS, **settings)
