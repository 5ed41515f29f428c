"""Labels and classifier-free guidance: on mixtures whose components are known, and as trained."""

import math

import pytest
import torch
from torch import nn

from cascore.denoiser import ConditionalDenoiser, PreconditionedDenoiser, UnconditionalDenoiser
from cascore.errors import InputError
from cascore.guidance import guided, labelled
from cascore.losses import LogNormal, labels_dropped
from cascore.networks import ConditionalUNet, NCSNv2, UNet
from cascore.noise import KeyedNoise
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas
from cascore.theory import GaussianMixtureDenoiser
from cascore.training import TrainState, adam, train

MEANS = torch.tensor([[-1.0, 0.5], [1.5, 0.0], [0.0, -2.0]], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.2, 0.4], dtype=torch.float64)
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


class Mixture(nn.Module):
    """The perfect labelled denoiser of a mixture; negative labels are its whole law."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, sigma, label=None):
        self.calls.append(label)
        one = torch.ones(1, dtype=torch.float64)
        laws = [GaussianMixtureDenoiser(MEANS[[k]], STDS[[k]], one) for k in range(3)]
        whole = GaussianMixtureDenoiser(MEANS, STDS, WEIGHTS)(x, sigma)
        if label is None:
            return whole
        answers = torch.stack([*(law(x, sigma) for law in laws), whole])
        return answers[label.expand(len(x)), torch.arange(len(x))]


def start(count):
    noise = KeyedNoise(range(count))
    return initial_noise((count, 2), 20.0, noise=noise).double(), noise


def test_samples_of_a_class_have_the_law_of_its_component():
    """1,000 pictures of each; 4.5 standard errors, and 2 % for 200 levels in place of all."""
    count = 1000
    label = torch.arange(3).repeat_interleave(count)
    x, noise = start(3 * count)
    sigmas = geometric_sigmas(20, 1e-3, 200)
    of_class = labelled(Mixture(), label)
    drawn = consistent_annealed(of_class, x, sigmas, noise=noise, order=1, kappa=1.5)
    for k in range(3):
        own = drawn.denoised[label == k]
        error = STDS[k] / math.sqrt(count)
        assert bool(((own.mean(0) - MEANS[k]).abs() < 4.5 * error + 0.02 * STDS[k]).all())
        assert bool(((own.std(0) / STDS[k] - 1).abs() < 4.5 / math.sqrt(2 * count) + 0.02).all())


def test_weights_one_and_zero_are_one_branch_to_the_bit():
    x, noise = start(6)
    sigmas, label = geometric_sigmas(20, 0.01, 9), torch.tensor([0, 1, 2, 0, 1, 2])

    def drawn(denoiser):
        return consistent_annealed(denoiser, x, sigmas, noise=noise)

    mixture = Mixture()
    for weight, branch in ((1, labelled(mixture, label)), (0, mixture)):
        mixture.calls.clear()
        result = drawn(guided(labelled(mixture, label), mixture, weight))
        assert len(mixture.calls) == result.nfe == 9
        assert all((told is None) == (weight == 0) for told in mixture.calls)
        expected = drawn(branch)
        assert torch.equal(result.raw, expected.raw)
        assert torch.equal(result.denoised, expected.denoised)


def test_between_and_beyond_both_run_and_are_counted():
    """The score is weight x that of the class + (1 - weight) x that of the whole: by autograd."""
    mixture, label, sigma = Mixture(), torch.tensor(1), torch.tensor(0.7, dtype=torch.float64)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    squared = (x[:, None] - MEANS).square().sum(-1)
    variance = STDS**2 + sigma**2
    logs = WEIGHTS.log() - squared / (2 * variance) - variance.log()
    tilted = 3 * logs[:, 1] - 2 * logs.logsumexp(1)
    (score,) = torch.autograd.grad(tilted.sum(), x)
    denoiser = guided(labelled(mixture, label), mixture, 3)
    # 1e-12: float64, and a score of size 10 times sigma^2.
    torch.testing.assert_close(
        denoiser(x.detach(), sigma), (x + sigma**2 * score).detach(), rtol=1e-12, atol=1e-12
    )
    mixture.calls.clear()
    seen, noise = [], KeyedNoise(range(5))
    result = consistent_annealed(
        denoiser,
        x.detach(),
        geometric_sigmas(5, 0.1, 4),
        noise=noise,
        callback=lambda step, *rest: seen.append(step),
    )
    assert (len(seen), result.nfe, len(mixture.calls)) == (4, 8, 8)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(InputError, match="must be finite"):
        guided(Mixture(), Mixture(), weight)


# --- networks that are told a class

SMALL = {"channels": 1, "width": 4, "multipliers": (1, 2), "attention": (False, True), "blocks": 1}
NETWORKS = {
    "unet": lambda classes: UnconditionalDenoiser(UNet(**SMALL, classes=classes)),
    "conditional": lambda classes: ConditionalDenoiser(ConditionalUNet(**SMALL, classes=classes)),
    "preconditioned": lambda classes: PreconditionedDenoiser(
        ConditionalUNet(**SMALL, classes=classes), mean=0.5, deviation=0.25
    ),
    "ncsnv2": lambda classes: UnconditionalDenoiser(NCSNv2(channels=1, width=4, classes=classes)),
}


def stirred(denoiser):
    """All weights away from 0, where the network's branches and its classes begin."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return denoiser.eval().requires_grad_(False)


@pytest.mark.parametrize("new", NETWORKS.values(), ids=NETWORKS)
def test_a_label_moves_its_own_picture_and_no_other(new):
    denoiser, sigma = stirred(new(3)), torch.tensor(0.5)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    none = denoiser(x, sigma)
    assert denoiser.classes == 3
    assert torch.equal(denoiser(x, sigma, torch.tensor([-1, -1, -1, -1])), none)
    mixed = denoiser(x, sigma, torch.tensor([0, 2, -1, 0]))
    for row, label in ((0, 0), (1, 2), (3, 0)):
        alone = denoiser(x, sigma, torch.tensor(label))[row]
        torch.testing.assert_close(mixed[row], alone)
        assert float((mixed[row] - none[row]).abs().max()) > 1e-3
    torch.testing.assert_close(mixed[2], none[2])


@pytest.mark.parametrize("new", NETWORKS.values(), ids=NETWORKS)
def test_a_network_without_classes_refuses_a_label(new):
    x = torch.rand(2, 1, 8, 8)
    with pytest.raises(InputError, match="built without classes"):
        new(0)(x, torch.tensor(0.5), torch.tensor([0, 1]))


def test_classes_start_as_if_there_were_none():
    torch.manual_seed(0)
    denoiser = NETWORKS["preconditioned"](3)
    x, sigma = torch.rand(2, 1, 8, 8), torch.tensor(0.5)
    assert torch.equal(denoiser(x, sigma, torch.tensor([0, 2])), denoiser(x, sigma))


def test_labels_are_dropped_as_often_as_asked_by_key():
    labels, noise = torch.arange(20_000) % 7, KeyedNoise(3, indices=range(20_000))
    kept = labels_dropped(labels, 0.1, noise=noise.at(4))
    gone = kept < 0
    assert abs(float(gone.double().mean()) - 0.1) < 5 * math.sqrt(0.09 / 20_000)
    assert torch.equal(kept[~gone], labels[~gone])
    part = labels_dropped(labels[5:9], 0.1, noise=KeyedNoise(3, indices=range(5, 9)).at(4))
    assert torch.equal(part, kept[5:9])
    assert not torch.equal(labels_dropped(labels, 0.1, noise=noise.at(5)), kept)
    assert torch.equal(labels_dropped(labels, 0.0, noise=noise), labels)
    assert bool((labels_dropped(labels, 1.0, noise=noise) == -1).all())


class Flat:
    """Dark images of class 0, bright ones of class 1, three times as many."""

    labels = torch.tensor([0, 1, 1, 1] * 16)
    images = torch.tensor([51, 204], dtype=torch.uint8)[labels].reshape(-1, 1, 1, 1)
    images = images.expand(64, 1, 8, 8)


def test_one_network_learns_each_class_and_the_whole():
    """Told its class, H goes to 0.2 or 0.8; told nothing, around x = 0.5 it lies between.

    At the start all three are one. Four seeds on two kinds of processor came 0.2 to 0.5 apart.
    """
    torch.manual_seed(0)
    denoiser = NETWORKS["preconditioned"](2)
    state = TrainState(denoiser, adam(denoiser.parameters(), learning_rate=1e-2))
    law = LogNormal(mean=0.0, deviation=0.3)
    settings = {"batch_size": 32, "label_dropout": 0.3, "deviation": 0.25}
    for _ in train(state, Flat(), law, steps=120, **settings):
        pass
    average, sigma = state.average.eval(), torch.tensor(1.0)
    x = 0.5 + torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    dark, bright, whole = (average(x, sigma, torch.tensor(k)).mean() for k in (0, 1, -1))
    assert dark + 0.1 < bright
    assert dark < whole < bright


def test_data_without_labels_do_not_train_a_network_of_classes():
    state = TrainState(NETWORKS["unet"](2))
    with pytest.raises(InputError, match="no labels"):
        train(state, torch.rand(8, 1, 8, 8), geometric_sigmas(1, 0.1, 3), steps=1)
    pairs = [(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 1, 0]))]
    (metrics,) = train(state, pairs, geometric_sigmas(1, 0.1, 3), steps=1)
    assert metrics.step == 1
    with pytest.raises(InputError, match="pair"):
        next(train(state, [torch.rand(4, 1, 8, 8)], geometric_sigmas(1, 0.1, 3), steps=2))
