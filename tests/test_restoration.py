"""Restoration against the exact posterior of Gaussian data and of a mixture."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from cascore import consistent_annealed, geometric_sigmas, guided, initial_noise, labelled, load
from cascore.errors import InputError
from cascore.experiment.chain import chain_sigmas
from cascore.experiment.settings import Sampler, Schedule
from cascore.model import restore as tasks
from cascore.noise import KeyedNoise, Purpose
from cascore.operators import blurred, few_numbers, grey, seen_pixels, shrunk
from cascore.restoration import projected, restored
from cascore.sampling import consistent_steps
from cascore.theory import GaussianMixtureDenoiser, gaussian_law

SHAPE, DIMENSION = (3, 4, 4), 48
KNOWN = torch.rand(4, 4, generator=torch.Generator().manual_seed(2)) < 0.4
OPERATORS = {
    "pixels": seen_pixels(KNOWN),
    "grey": grey(),
    "shrunk": shrunk(2),
    "blurred": blurred(0.4),
    "few numbers": few_numbers(9, DIMENSION),
}


class Gaussian:
    """The exact denoiser of N(mean, covariance) as pictures, by one factorization a call."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        root = torch.randn(DIMENSION, DIMENSION, dtype=torch.float64, generator=generator) / 7
        self.covariance = root @ root.T + 0.01 * torch.eye(DIMENSION, dtype=torch.float64)
        self.mean = torch.rand(DIMENSION, dtype=torch.float64, generator=generator)

    def __call__(self, x, sigma):
        noisy = self.covariance + sigma**2 * torch.eye(DIMENSION, dtype=torch.float64)
        gain = torch.linalg.solve(noisy, self.covariance)
        return ((x.flatten(1) - self.mean) @ gain + self.mean).reshape(x.shape)


def matrix_of(operator):
    """The operator's matrix [M, D], column by column."""
    basis = torch.eye(DIMENSION, dtype=torch.float64).reshape(DIMENSION, *SHAPE)
    return operator(basis).flatten(1).T


def posterior(prior, matrix, y, noise):
    """Mean and covariance of the clean datum given y = A clean + noise z, by Bayes."""
    gram = matrix @ prior.covariance @ matrix.T + noise**2 * torch.eye(len(matrix)).double()
    gain = torch.linalg.solve(gram, matrix @ prior.covariance).T
    mean = prior.mean + gain @ (y - matrix @ prior.mean)
    return mean, prior.covariance - gain @ matrix @ prior.covariance


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("sigma", [3.0, 0.2])
def test_on_gaussian_data_it_is_the_exact_denoiser_of_the_posterior(name, noise, sigma):
    prior, operator = Gaussian(), OPERATORS[name]
    matrix = matrix_of(operator)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, *SHAPE, dtype=torch.float64, generator=generator)
    y = torch.randn(1, len(matrix), dtype=torch.float64, generator=generator)
    # Bayes on both observations at once, x = clean + sigma z and y = A clean + noise z.
    every = torch.cat([torch.eye(DIMENSION).double(), matrix])
    own = torch.cat([torch.full((DIMENSION,), sigma**2), torch.full((len(matrix),), noise**2)])
    gram = every @ prior.covariance @ every.T + own.double().diag()
    gain = torch.linalg.solve(gram, every @ prior.covariance).T
    both = torch.cat([x.flatten(1), y.expand(2, -1)], dim=1)
    exact = prior.mean + (both - every @ prior.mean) @ gain.T
    shaped = y.reshape(1, *operator(x).shape[1:])
    denoiser = restored(prior, shaped, operator, noise=noise, iterations=60)
    with torch.no_grad():
        H = denoiser(x, torch.tensor(sigma).double())
    torch.testing.assert_close(H.flatten(1), exact, rtol=0, atol=1e-5)


def test_chains_draw_the_posterior_of_gaussian_data():
    prior, operator, noise, count = Gaussian(), OPERATORS["shrunk"], 0.05, 4000
    matrix = matrix_of(operator)
    clean = prior.mean + torch.linalg.cholesky(prior.covariance) @ torch.randn(
        DIMENSION, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    y = matrix @ clean
    denoiser = restored(prior, y.reshape(1, 3, 2, 2), operator, noise=noise, iterations=12)
    keys = KeyedNoise(range(count))
    start = initial_noise((count, *SHAPE), 30.0, noise=keys).double()
    levels = geometric_sigmas(30.0, 0.005, 40)
    drawn = consistent_annealed(denoiser, start, levels, kappa=1.5, noise=keys).raw.flatten(1)
    mean, covariance = posterior(prior, matrix, y, noise)
    errors = (drawn.mean(dim=0) - mean) / (covariance.diagonal() / count).sqrt()
    assert float(errors.abs().max()) < 4.5
    ratios = drawn.var(dim=0) / covariance.diagonal()
    assert float((ratios - 1).abs().max()) < 0.15  # 4.5 errors of a variance, 40 levels


def test_projection_agrees_with_what_was_seen_and_leaves_the_rest():
    prior = Gaussian()
    x = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for name, operator in OPERATORS.items():
        y = operator(torch.rand(1, *SHAPE, dtype=torch.float64)) + 0.1
        matrix = matrix_of(operator)
        H = prior(x, 0.3)
        expected = H.flatten(1) + (y.flatten(1) - H.flatten(1) @ matrix.T) @ (
            torch.linalg.pinv(matrix).T
        )
        found = projected(prior, y, operator, iterations=60)(x, torch.tensor(0.3).double())
        torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-6, msg=name)
    seen = seen_pixels(KNOWN)
    y = seen(torch.rand(1, *SHAPE, dtype=torch.float64))
    once = projected(prior, y, seen, iterations=1)(x, torch.tensor(0.3).double())
    replaced = prior(x, 0.3).flatten(1)
    kept = KNOWN.expand(SHAPE).flatten()
    replaced[:, kept] = y
    torch.testing.assert_close(once.flatten(1), replaced)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("sigma", [3.0, 0.2])
def test_with_noise_the_projection_is_exact_on_white_gaussian_data(name, sigma):
    operator, noise, variance = OPERATORS[name], 0.1, 0.3
    prior = Gaussian()
    prior.covariance = variance * torch.eye(DIMENSION, dtype=torch.float64)
    x = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = operator(torch.rand(1, *SHAPE, dtype=torch.float64))
    denoiser = projected(prior, y, operator, noise=noise, variance=variance, iterations=60)
    exact = restored(prior, y, operator, noise=noise, iterations=60)  # held to Bayes above
    level = torch.tensor(sigma).double()
    torch.testing.assert_close(denoiser(x, level), exact(x, level), rtol=0, atol=1e-9)


def test_the_step_of_kadkhodaie_and_simoncelli_is_one_towards_this_denoiser():
    prior, operator = Gaussian(), OPERATORS["few numbers"]  # orthonormal rows, as theirs
    matrix = matrix_of(operator)
    x = torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    y = torch.rand(1, 9, dtype=torch.float64)
    f = (prior(x, 0.5) - x).flatten()
    theirs = f - matrix.T @ (matrix @ f) + matrix.T @ (y[0] - matrix @ x.flatten())
    H = projected(prior, y, operator)(x, torch.tensor(0.5).double())
    torch.testing.assert_close((H - x).flatten(), theirs)


def test_modes_of_a_mixture_come_as_often_as_the_posterior_says():
    """Two kinds of datum; what is seen of the first coordinate makes one likelier."""
    means = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    prior = GaussianMixtureDenoiser(means, torch.full((2,), 0.3), torch.tensor([0.5, 0.5]))
    noise, y, count = 1.0, 0.4, 4000

    def first(x):
        return x[:, :1]

    denoiser = restored(prior, torch.tensor([[y]]), first, noise=noise, iterations=2)
    keys = KeyedNoise(range(count))
    start = initial_noise((count, 2), 20.0, noise=keys)
    drawn = consistent_annealed(
        denoiser, start, geometric_sigmas(20.0, 0.02, 60), kappa=2, noise=keys
    ).denoised
    evidence = torch.exp(-((y - means[:, 0]) ** 2) / (2 * (0.3**2 + noise**2)))
    expected = float(evidence[1] / evidence.sum())
    share = float((drawn.sum(dim=1) > 0).float().mean())
    # The formula is exact within a mode, and approximate between modes: not to sampling error.
    assert share == pytest.approx(expected, abs=0.06)
    assert abs(share - 0.5) > 0.06


class Colours(nn.Module):
    """Red and blue pictures of the same brightness, N(means[k], 0.2^2), and their even mixture."""

    def __init__(self):
        super().__init__()
        red, blue = torch.tensor([0.8, 0.35, 0.2]), torch.tensor([0.4, 0.35, 0.2])
        blue[2] += 0.299 * (red[0] - blue[0]) / 0.114
        means = torch.stack([colour[:, None, None].expand(SHAPE) for colour in (red, blue)])
        self.means = nn.Parameter(means.clone(), requires_grad=False)

    def forward(self, x, sigma, label=None):
        chosen = slice(None) if label is None else label.reshape(1)
        means = self.means[chosen]
        even = torch.ones(len(means)) / len(means)
        return GaussianMixtureDenoiser(means, torch.full((len(means),), 0.2), even)(x, sigma)


def coloured(noise=0.05):
    """A model of two classes, and the brightness of one red picture, which says nothing of it."""
    base, colours = load("digits-aware"), Colours()
    settings = replace(
        base.experiment,
        network=replace(base.experiment.network, labels=True),
        schedule=Schedule(first=30.0, last=0.005, levels=40),
    )
    data = {"classes": ["red", "blue"]}
    model = replace(base, denoiser=colours, shape=SHAPE, experiment=settings, data=data)
    z = KeyedNoise([5, 6]).normal((2, *SHAPE), purpose=Purpose.INITIAL)
    seen = grey()(colours.means[:1] + 0.2 * z[:1]) + noise * grey()(z[1:])
    return model, tasks.Observation(grey(), seen, noise, None, ())


@pytest.mark.parametrize(("label", "index"), [("red", 0), ("blue", 1)])
def test_with_a_label_chains_draw_the_posterior_of_its_component(label, index):
    """Which is Gaussian, of one width along the brightness and another across it.

    One iteration is exact, since A V A^T is a multiple of the identity; what 40 levels do to such
    a width `gaussian_law` says.
    """
    (model, observation), count = coloured(), 3000
    sampler = Sampler(calls=40, kappa=1.5, order=1)
    drawn = tasks.restore(
        model, observation, range(count), sampler, task="colorize", label=label, batch_size=count
    )
    prior = Gaussian()
    prior.mean = model.denoiser.means[index].double().flatten()
    prior.covariance = 0.2**2 * torch.eye(DIMENSION, dtype=torch.float64)
    y = observation.seen.double().flatten()
    mean, covariance = posterior(prior, matrix_of(grey()), y, observation.noise)
    levels = geometric_sigmas(30.0, 0.005, 40)
    steps = consistent_steps(levels, kappa=1.5, order=1)
    widths, axes = torch.linalg.eigh(covariance)
    drawn_variances = [
        gaussian_law(
            steps, mean=0, std=float(width) ** 0.5, start_mean=0, start_std=30
        ).raw_variance
        for width in widths
    ]
    variances = axes.square() @ torch.tensor(drawn_variances, dtype=torch.float64)
    raw = drawn.raw.double().flatten(1)
    errors = (raw.mean(dim=0) - mean) / (variances / count).sqrt()
    assert float(errors.abs().max()) < 4.5
    assert float((raw.var(dim=0) / variances - 1).abs().max()) < 4.5 * math.sqrt(2 / count)


@pytest.mark.parametrize(
    ("sampler", "least", "most"),
    [
        (Sampler(calls=12, spacing="centred"), 1.0, 1.15),
        (Sampler(calls=12, order=1, kappa=2.0, spacing="geometric"), 0.65, 0.75),
    ],
)
def test_in_few_calls_first_order_draws_too_little_of_the_spread_and_is_nearer_for_it(
    sampler, least, most
):
    """The posterior by Bayes, of one component; 400 draws of 32 free directions, 4.5 errors.

    A draw is nearer the truth the less of the spread it has: dB of draws are no measure of it.
    """
    (model, observation), count = coloured(), 400
    drawn = tasks.restore(
        model, observation, range(count), sampler, task="colorize", label="red", batch_size=count
    ).denoised
    prior = Gaussian()
    prior.covariance = 0.2**2 * torch.eye(DIMENSION, dtype=torch.float64)
    y = observation.seen.double().flatten()
    _, covariance = posterior(prior, matrix_of(grey()), y, observation.noise)
    share = float((drawn.double().flatten(1).var(dim=0).sum() / covariance.trace()) ** 0.5)
    chain = model.chain(sampler)
    steps = consistent_steps(
        chain_sigmas(chain, model.experiment.schedule), kappa=chain.kappa, order=chain.order
    )
    stds = torch.linalg.eigvalsh(covariance).sqrt().tolist()
    laws = [gaussian_law(steps, mean=0, std=std, start_mean=0, start_std=30) for std in stds]
    expected = sum(law.denoised_variance for law in laws) / sum(std**2 for std in stds)
    assert share == pytest.approx(expected**0.5, rel=4.5 / math.sqrt(2 * 32 * count))
    assert least < share < most


def test_without_a_label_both_colours_come_equally_often():
    """The mirror that swaps them leaves the brightness: shares are even, 4.5 errors of 1,000."""
    (model, observation), count = coloured(), 1000
    drawn = tasks.restore(
        model, observation, range(count), Sampler(calls=40, kappa=1.5, order=1), task="colorize",
        batch_size=count,
    )  # fmt: skip
    red, blue = ((drawn.raw - mean).square().flatten(1).sum(1) for mean in model.denoiser.means)
    assert abs(float((red < blue).float().mean()) - 0.5) < 4.5 * 0.5 / math.sqrt(count)


def test_guidance_goes_beyond_the_class_at_two_evaluations_a_call():
    model, observation = coloured()
    given = {"task": "colorize", "label": "red", "guidance": 3.0}
    found = tasks.posterior(model, observation, **given)
    colours = model.denoiser
    prior = guided(labelled(colours, torch.tensor(0)), colours, 3.0)
    expected = restored(prior, observation.seen, grey(), noise=observation.noise)
    x, sigma = torch.rand(2, *SHAPE), torch.tensor(0.9)
    assert torch.equal(found(x, sigma), expected(x, sigma))
    drawn = tasks.restore(model, observation, range(2), Sampler(calls=3), batch_size=2, **given)
    assert drawn.nfe == 6
    for wrong in ({"guidance": 2.0}, {"label": "green"}, {"label": "red", "guidance": math.inf}):
        with pytest.raises(InputError):
            tasks.posterior(model, observation, task="colorize", **wrong)


def test_a_call_of_the_network_is_one_evaluation_and_parts_do_not_depend_on_the_batch():
    prior, operator = Gaussian(), OPERATORS["grey"]
    y = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    denoiser = restored(prior, y, operator, noise=0.05, iterations=3)
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    whole = denoiser(x, torch.tensor(0.4).double())
    torch.testing.assert_close(denoiser(x[1:2], torch.tensor(0.4).double())[0], whole[1])
    assert not whole.requires_grad
    assert consistent_annealed(denoiser, x, geometric_sigmas(1.0, 0.1, 3)).nfe == 3


def test_the_operators_see_what_they_say():
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    torch.testing.assert_close(grey()(x)[:, 0], torch.einsum("nchw,c->nhw", x, weights))
    torch.testing.assert_close(shrunk(2)(x)[0, 1, 1, 0], x[0, 1, 2:4, 0:2].mean())
    torch.testing.assert_close(seen_pixels(KNOWN)(x)[1], x[1][:, KNOWN].flatten())
    rows = matrix_of(few_numbers(9, DIMENSION))
    torch.testing.assert_close(rows @ rows.T, torch.eye(9, dtype=torch.float64))
    wide = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    wide[0, 0, 15, 15] = 1
    bell = blurred(1.5)(wide)[0, 0]
    away = torch.arange(31, dtype=torch.float64) - 15
    assert float(bell.sum()) == pytest.approx(1)
    variance = float((bell.sum(dim=0) * away**2).sum())
    assert math.sqrt(variance) == pytest.approx(1.5, rel=0.03)  # cut at three deviations


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: seen_pixels(torch.ones(4, 4)),
        lambda: seen_pixels(torch.zeros(4, 4, dtype=torch.bool)),
        lambda: seen_pixels(KNOWN)(torch.rand(1, 3, 5, 5)),
        lambda: grey()(torch.rand(1, 1, 4, 4)),
        lambda: shrunk(0),
        lambda: shrunk(3)(torch.rand(1, 3, 4, 4)),
        lambda: blurred(0.0),
        lambda: few_numbers(49, 48),
        lambda: restored(Gaussian(), torch.rand(1, 3), grey(), noise=-1.0),
        lambda: restored(Gaussian(), torch.rand(1, 3), grey())(
            torch.rand(1, *SHAPE).double(), torch.tensor(1.0)
        ),
    ],
)
def test_what_cannot_be_seen_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def seeing(way, operator, denoiser=None):
    """What one way makes of two pictures, of which the operator saw as much as of zeros."""
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    prior = Gaussian() if denoiser is None else denoiser
    return way(prior, operator(torch.zeros_like(x)), operator, noise=0.1)(x, torch.tensor(0.5))


@pytest.mark.parametrize("way", [projected, restored])
def test_an_operator_of_ones_own_may_see_one_number(way):
    one = seeing(way, lambda x: x.flatten(1).sum(dim=1))  # [N], and the same as [N, 1]
    torch.testing.assert_close(one, seeing(way, lambda x: x.flatten(1).sum(dim=1, keepdim=True)))


@pytest.mark.parametrize("way", [projected, restored])
@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (torch.square, "not linear"),
        (torch.relu, "not linear"),
        (lambda x: x + 1, "not linear"),
        (torch.detach, "no derivative"),
        (torch.fft.rfft2, "view_as_real"),
    ],
)
def test_an_operator_that_is_none_is_refused_in_words(way, operator, message):
    with pytest.raises(InputError, match=message):
        seeing(way, operator)


def test_a_spectrum_is_seen_by_its_real_and_imaginary_parts():
    spectrum = seeing(projected, lambda x: torch.view_as_real(torch.fft.rfft2(x)))
    assert spectrum.abs().max() < seeing(projected, grey()).abs().max()  # all of it is 0


def test_restored_says_that_it_needs_a_derivative():
    with torch.inference_mode(), pytest.raises(InputError, match=r"torch\.no_grad"):
        seeing(restored, grey())
    with pytest.raises(InputError, match="`projected` needs none"):
        seeing(restored, grey(), lambda x, sigma: x.detach())
