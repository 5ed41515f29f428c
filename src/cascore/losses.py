"""Training objectives: Eq. 1 (DSM), Eq. 4 (discriminator), Eq. 5 (hybrid), other GAN losses.

A GAN loss is a pair of functions of (D(real), D(fake)): one for the discriminator, one for the
score network. Least squares is the paper's; the others are those that the authors' code has.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.denoiser import broadcast_sigma
from cascore.errors import InputError
from cascore.noise import Noise, Purpose, as_source
from cascore.schedule import check_sigmas


class Corrupted(NamedTuple):
    """One draw of p(x, x~, sigma): clean [N, ...], noisy = clean + sigma z, sigma [N]."""

    clean: Tensor
    noisy: Tensor
    sigma: Tensor


def corrupt(clean: Tensor, sigmas: Tensor, *, noise: Noise) -> Corrupted:
    """The draw of Eq. 1: sigma uniform over the levels [L], x~ = x + sigma z of x [N, ...].

    `KeyedNoise.at(step)` as the noise makes the draw of a training step.
    """
    source, levels = as_source(noise, len(clean)), check_sigmas(sigmas)
    level = source.integers(
        len(clean), high=len(levels), purpose=Purpose.LEVEL, device=clean.device
    )
    sigma = levels.to(device=clean.device, dtype=clean.dtype)[level]
    z = source.normal(
        clean.shape, purpose=Purpose.CORRUPTION, dtype=clean.dtype, device=clean.device
    )
    return Corrupted(clean=clean, noisy=clean + broadcast_sigma(sigma, clean) * z, sigma=sigma)


def dsm_loss(denoised: Tensor, drawn: Corrupted) -> Tensor:
    """Eq. 1 for each sample: ||H(x~, sigma) - x||^2 / (2 sigma^2), summed over pixels; [N].

    Raises:
        InputError: H has not the shape of the data, or either is in half precision.
    """
    if denoised.shape != drawn.clean.shape:
        raise InputError(f"H is {list(denoised.shape)}, the data {list(drawn.clean.shape)}")
    for name, tensor in (("H", denoised), ("the data", drawn.clean)):
        if tensor.dtype.itemsize < 4:
            raise InputError(
                f"{name} is {tensor.dtype}, which cannot hold an error of sigma = 0.01 between"
                " pixels: keep x and H = x + sigma f in float32, and only f in half precision"
            )
    error = (denoised - drawn.clean) / broadcast_sigma(drawn.sigma, denoised)
    return error.square().reshape(len(error), math.prod(error.shape[1:])).sum(1) / 2


Adversarial = Callable[[Tensor, Tensor], Tensor]


class GanLoss(NamedTuple):
    """Two functions of (D(real), D(fake)), each [N], to minimise; each returns a scalar."""

    discriminator: Adversarial
    generator: Adversarial


def _plain(phi: Callable[[Tensor], Tensor]) -> GanLoss:
    """Phi of the discriminator's answers, each with the sign of the answer that is wanted."""
    return GanLoss(
        discriminator=lambda real, fake: phi(real).mean() + phi(-fake).mean(),
        generator=lambda real, fake: phi(fake).mean(),
    )


def _paired(phi: Callable[[Tensor], Tensor]) -> GanLoss:
    """Relativistic paired (Jolicoeur-Martineau 2018): phi of D(real_i) - D(fake_i).

    Twice, once for each side: in Eq. 5 the factor weighs against lambda.
    """
    return GanLoss(
        discriminator=lambda real, fake: 2 * phi(real - fake).mean(),
        generator=lambda real, fake: 2 * phi(fake - real).mean(),
    )


def _average(phi: Callable[[Tensor], Tensor]) -> GanLoss:
    """Relativistic average: each side against the mean of the other."""

    def against_average(real: Tensor, fake: Tensor) -> Tensor:
        return phi(real - fake.mean()).mean() + phi(real.mean() - fake).mean()

    return GanLoss(
        discriminator=against_average, generator=lambda real, fake: against_average(fake, real)
    )


_PHI: Mapping[str, Callable[[Tensor], Tensor]] = {
    "standard": lambda answer: F.softplus(-answer),  # Goodfellow et al. (2014), on logits
    "lsgan": lambda answer: (answer - 1).square(),  # Mao et al. (2017), targets +1 and -1
    "hinge": lambda answer: F.relu(1 - answer),  # Lim & Ye (2017), Miyato et al. (2018)
}

lsgan = _plain(_PHI["lsgan"])
"""Eq. 4 and the first term of Eq. 5."""

wgan = _plain(torch.neg)
"""Arjovsky et al. (2017); what bounds D is its spectral normalization alone."""

GAN_LOSSES: Mapping[str, GanLoss] = MappingProxyType(
    {
        "lsgan": lsgan,
        # As published, the score network minimises D's own term, so that the two agree.
        "lsgan-saturating": lsgan._replace(generator=lambda real, fake: (fake + 1).square().mean()),
        "standard": _plain(_PHI["standard"]),  # non-saturating
        "wgan": wgan,
        "hinge": _plain(_PHI["hinge"])._replace(generator=wgan.generator),
        **{f"relativistic-{name}": _paired(phi) for name, phi in _PHI.items()},
        **{f"relativistic-average-{name}": _average(phi) for name, phi in _PHI.items()},
    }
)
"""The ten GAN losses of the authors' code by name, and `relativistic-hinge`, which is ours."""


def discriminator_loss(real: Tensor, fake: Tensor, *, gan: GanLoss = lsgan) -> Tensor:
    """Eq. 4 (printed with max, meant to be minimised): E(D(x) - 1)^2 + E(D(H) + 1)^2; scalar.

    `real` is D(x), `fake` D(H(x~, sigma)) of an H without gradient, both [N]; `gan` may be another
    of `GAN_LOSSES`.
    """
    return gan.discriminator(real, fake)


def hybrid_loss(
    real: Tensor, fake: Tensor, dsm: Tensor, *, weight: float, gan: GanLoss = lsgan
) -> Tensor:
    """Eq. 5: E(D(H) - 1)^2 + lambda E||H - x||^2 / (2 sigma^2); scalar.

    As in Eq. 4, with the gradient of H; only the relativistic losses look at `real`. `dsm` [N] is
    of `dsm_loss`, `weight` is lambda.
    """
    return gan.generator(real, fake) + weight * dsm.mean()
