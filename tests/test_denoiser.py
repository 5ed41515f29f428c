"""The contract H(x, sigma) and its wrappers."""

import math

import pytest
import torch
from torch import nn

from cascore.denoiser import (
    ConditionalDenoiser,
    PreconditionedDenoiser,
    UnconditionalDenoiser,
    broadcast_sigma,
    default_kappa,
    is_blind,
    own_kappa,
    own_mean,
    rescaled,
    score,
)
from cascore.errors import InputError
from cascore.guidance import guided, labelled
from cascore.restoration import projected, restored
from cascore.sampling import consistent_annealed
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser


def images(count=4, *, seed=0, dtype=torch.float64):
    return torch.rand(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Recorder(nn.Module):
    """Returns a constant and remembers what it was given."""

    def __init__(self, value):
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, *given):
        self.given = given
        return torch.full_like(given[0], self.value) + self.weight


LEVELS = {
    "number": 0.5,
    "scalar": torch.tensor(0.5),
    "one": torch.tensor([0.5]),
    "each": torch.tensor([0.5, 0.5, 0.5, 0.5]),
    "double": torch.tensor(0.5, dtype=torch.float64),
}


@pytest.mark.parametrize("sigma", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("wrapper", [UnconditionalDenoiser, ConditionalDenoiser])
def test_every_form_of_one_level_gives_the_same_answer_in_the_dtype_of_x(wrapper, dtype, sigma):
    x = images(dtype=dtype)
    denoised = wrapper(Recorder(3.0))(x, sigma)
    assert denoised.dtype == dtype
    assert torch.equal(denoised, x + torch.tensor(1.5, dtype=dtype))


@pytest.mark.parametrize("wrapper", [UnconditionalDenoiser, ConditionalDenoiser])
def test_each_sample_has_its_own_level(wrapper):
    x, sigma = images(), torch.tensor([0.01, 1.0, 7.0, 50.0], dtype=torch.float64)
    denoised = wrapper(Recorder(-2.0))(x, sigma)
    for i in range(4):
        torch.testing.assert_close(denoised[i], x[i] - 2 * sigma[i], rtol=1e-15, atol=1e-15)


def test_the_unconditional_network_sees_x_alone():
    network, x = Recorder(1.0), images()
    UnconditionalDenoiser(network)(x, 0.3)
    assert len(network.given) == 1
    assert network.given[0] is x


@pytest.mark.parametrize("sigma", [0.3, torch.tensor(0.3), torch.full((4,), 0.3)])
def test_the_conditional_network_sees_log_sigma_for_each_sample(sigma):
    network, x = Recorder(1.0), images(dtype=torch.float32)
    ConditionalDenoiser(network)(x, sigma)
    seen, log_sigma = network.given
    assert seen is x
    assert log_sigma.shape == (4,)
    assert log_sigma.dtype == torch.float32
    assert log_sigma.tolist() == pytest.approx([math.log(0.3)] * 4, rel=1e-6)


def test_the_wrappers_own_their_network():
    for wrapper in (UnconditionalDenoiser, ConditionalDenoiser):
        network = Recorder(1.0)
        denoiser = wrapper(network)
        assert set(denoiser.state_dict()) == {"network.weight"}
        denoiser(images(), 2.0).sum().backward()
        assert float(network.weight.grad) == pytest.approx(2.0 * images().numel(), rel=1e-6)


@pytest.mark.parametrize(
    ("sigma", "shape"),
    [(2.0, (1, 1, 1, 1)), (torch.ones(1), (1, 1, 1, 1)), (torch.ones(4), (4, 1, 1, 1))],
)
def test_sigma_is_made_ready_to_multiply(sigma, shape):
    level = broadcast_sigma(sigma, images())
    assert level.shape == shape
    assert level.dtype == torch.float64
    assert broadcast_sigma(sigma, torch.zeros(4, 2)).shape == shape[:2]  # of points


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (1, 1, 1, 1), (0,)])
def test_a_sigma_that_fits_no_sample_is_an_input_error(shape):
    with pytest.raises(InputError, match=r"scalar or \[4\]"):
        broadcast_sigma(torch.ones(shape), images())


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (0.5, 3)])
@pytest.mark.parametrize("sigma", [0.2, torch.tensor([0.05, 0.2, 1.0, 30.0], dtype=torch.float64)])
def test_a_model_of_other_pixels_is_the_optimum_of_ours(low, high, sigma):
    """The optimum for the data moved to [low, high] must become the optimum for the data."""
    data, x = images(6), images(seed=1) + 0.1
    theirs = rescaled(EmpiricalDenoiser(low + (high - low) * data), low, high)
    torch.testing.assert_close(
        theirs(x, sigma), EmpiricalDenoiser(data)(x, sigma), rtol=1e-11, atol=1e-12
    )


def test_a_model_of_minus_one_to_one_has_twice_the_noise():
    given = []

    def model(x, sigma):
        given.append((x, sigma))
        return x**2 + sigma

    x = images()
    denoised = rescaled(model, -1, 1)(x, 0.25)
    assert torch.equal(given[0][0], 2 * x - 1)
    assert given[0][1].item() == 0.5
    torch.testing.assert_close(denoised, ((2 * x - 1) ** 2 + 0.5 + 1) / 2)


def test_a_rescaled_module_keeps_its_parameters_and_its_mode():
    inner = UnconditionalDenoiser(Recorder(1.0))
    outer = rescaled(inner, -1, 1)
    assert [p is inner.network.weight for p in outer.parameters()] == [True]
    outer.eval()
    assert not inner.network.training


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 0), (math.nan, 1), (0, math.nan)])
def test_pixels_need_a_range(low, high):
    with pytest.raises(InputError, match="low must be below high"):
        rescaled(EmpiricalDenoiser(images()), low, high)


@pytest.mark.parametrize("sigma", [0.7, torch.tensor([0.1, 0.5, 2.0, 9.0], dtype=torch.float64)])
def test_the_score_of_a_standard_normal_is_minus_x_over_its_variance(sigma):
    """p_sigma = N(0, 1 + sigma^2), for which H = x / (1 + sigma^2)."""
    x = images()
    found = score(lambda x, s: x / (1 + broadcast_sigma(s, x) ** 2), x, sigma)
    expected = -x / (1 + broadcast_sigma(sigma, x) ** 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


SEEN = torch.zeros(1, 2, 3, 3)
WRAPPERS = {
    "rescaled": lambda d: rescaled(d, -1, 1),
    "labelled": lambda d: labelled(d, torch.tensor(0)),
    "guided": lambda d: guided(labelled(d, torch.tensor(0)), d, 2.0),
    "projected": lambda d: projected(d, SEEN, lambda x: x),
    "restored": lambda d: restored(d, SEEN, lambda x: x),
    "two of them": lambda d: restored(rescaled(d, -1, 1), SEEN, lambda x: x),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("form", [UnconditionalDenoiser, ConditionalDenoiser])
def test_every_wrapper_says_what_kind_the_network_is(form, wrap):
    wrapped = wrap(form(Recorder(0.0)))
    assert is_blind(wrapped) is (form is UnconditionalDenoiser)
    assert own_kappa(wrapped) == 2.5
    other = wrap(EmpiricalDenoiser(images()))  # which says nothing: it sees sigma, and is right
    assert not is_blind(other)
    assert own_kappa(other) == 1.5


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_says_the_mean_that_the_network_knows(name):
    """In pixels of [0, 1], where 0.4 of [-1, 1] is 0.7, and 0 the middle."""
    centred = "rescaled" in name or name == "two of them"
    known = PreconditionedDenoiser(Recorder(0.0), mean=0.4, deviation=0.2)
    assert float(own_mean(WRAPPERS[name](known))) == pytest.approx(0.7 if centred else 0.4)
    assert float(own_mean(WRAPPERS[name](EmpiricalDenoiser(images())))) == (0.5 if centred else 0)


def test_a_step_leaves_at_least_18_percent_of_what_is_wrong_with_the_noise():
    """Of geometric levels, gamma^(2 kappa - 2); kappa is from 1.5 to 2.5."""
    seeing = ConditionalDenoiser(Recorder(0.0))
    for first, calls in ((5, 6), (5, 8), (25, 9), (50, 12)):
        sigmas = geometric_sigmas(first, 0.01, calls)
        kappa, gamma = default_kappa(seeing, sigmas), float(sigmas[1] / sigmas[0])
        assert 1.5 < kappa < 2.5
        assert gamma ** (2 * kappa - 2) == pytest.approx(math.exp(-1.7))
    assert default_kappa(seeing, geometric_sigmas(50, 0.01, 20)) == 2.5
    assert default_kappa(seeing, geometric_sigmas(50, 0.01, 3)) == 1.5
    assert default_kappa(seeing, torch.tensor([3.0])) == 1.5


def test_what_needs_its_kappa_keeps_it_in_few_calls():
    blind, seeing = UnconditionalDenoiser(Recorder(0.0)), ConditionalDenoiser(Recorder(0.0))
    sigmas = geometric_sigmas(50, 0.01, 5)
    assert default_kappa(blind, sigmas) == 2.5
    assert default_kappa(seeing, sigmas, order=1) == 2.5
    assert default_kappa(EmpiricalDenoiser(images()), sigmas) == 1.5


def test_a_chain_without_a_kappa_takes_that_of_its_levels():
    seeing, x = ConditionalDenoiser(Recorder(0.1)), torch.ones(2, 1, 4, 4)
    sigmas = geometric_sigmas(5.0, 0.01, 7)
    plain = consistent_annealed(seeing, x, sigmas)
    kappa = 1 + 0.85 * 6 / math.log(500)
    assert torch.equal(plain.raw, consistent_annealed(seeing, x, sigmas, kappa=kappa).raw)
    once = consistent_annealed(seeing, x, sigmas, order=1)
    assert torch.equal(once.raw, consistent_annealed(seeing, x, sigmas, order=1, kappa=2.5).raw)


@pytest.mark.parametrize("sigmas", [[], [1.0, 1.0], [1.0, 2.0], [1.0, 0.0], [1.0, -1.0], 1.0])
@pytest.mark.parametrize("form", [UnconditionalDenoiser, ConditionalDenoiser])
def test_levels_that_are_no_schedule_are_refused_where_kappa_follows_from_them(form, sigmas):
    x = torch.ones(2, 1, 4, 4)
    with pytest.raises(InputError, match=r"^sigmas must "):
        consistent_annealed(form(Recorder(0.1)), x, torch.tensor(sigmas))
