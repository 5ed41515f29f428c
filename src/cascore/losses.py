"""Training objectives: Eq. 1 (DSM), Eq. 4 (discriminator), Eq. 5 (hybrid), other GAN losses.

A GAN loss is a pair of functions of (D(real), D(fake)): one for the discriminator, one for the
score network. Least squares is the paper's; the others are those that the authors' code has.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.denoiser import broadcast_sigma
from cascore.errors import InputError
from cascore.noise import Noise, Purpose, as_source
from cascore.schedule import check_sigmas


@runtime_checkable
class SigmaLaw(Protocol):
    """How a training draws its noise levels."""

    def draw(self, noise: Noise, like: Tensor) -> Tensor:
        """Sigma [N] for a batch [N, ...], in its dtype and on its device."""
        ...


@dataclass(frozen=True, eq=False)
class UniformLevels:
    """Eq. 1: each of the levels [L] is as likely as any other."""

    sigmas: Tensor

    def __post_init__(self) -> None:
        check_sigmas(self.sigmas)

    @cached_property
    def _copies(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}

    def draw(self, noise: Noise, like: Tensor) -> Tensor:
        """Sigma [N]."""
        source, of = as_source(noise, len(like)), (like.device, like.dtype)
        if of not in self._copies:  # once: a GPU would wait for each copy
            self._copies[of] = self.sigmas.to(*of)
        levels = self._copies[of]
        level = source.integers(
            len(like), high=len(levels), purpose=Purpose.LEVEL, device=like.device
        )
        return levels[level]


@dataclass(frozen=True)
class LogUniform:
    """Log sigma is uniform from log first down to log last: Eq. 1 in the limit of many levels.

    The levels of a batch are spread evenly over the law, which leaves the objective as it is and
    its gradients less noisy (VDM, 2107.00630).
    """

    first: float
    last: float

    def draw(self, noise: Noise, like: Tensor) -> Tensor:
        """Sigma [N]."""
        source = as_source(noise, len(like))
        share = source.spread(len(like), purpose=Purpose.LEVEL, device=like.device)
        log_sigma = math.log(self.first) + share.to(like.dtype) * math.log(self.last / self.first)
        return log_sigma.exp()


@dataclass(frozen=True)
class LogNormal:
    """Log sigma is N(mean, deviation^2), as EDM trains (Table 1), where pixels are in [-1, 1].

    Those of a batch are spread evenly over the law, as in `LogUniform`.
    """

    mean: float = -1.2 - math.log(2)  # of pixels in [0, 1]
    deviation: float = 1.2

    def draw(self, noise: Noise, like: Tensor) -> Tensor:
        """Sigma [N]."""
        source = as_source(noise, len(like))
        share = source.spread(len(like), purpose=Purpose.LEVEL, device=like.device)
        z = math.sqrt(2) * torch.erfinv(2 * share - 1)
        return (self.mean + self.deviation * z.to(like.dtype)).exp()


class Corrupted(NamedTuple):
    """One draw of p(x, x~, sigma): clean [N, ...], noisy = clean + sigma z, sigma [N].

    Beside it stands what the denoiser is told, if there is any: labels, int64 [N], and how the
    data were augmented, float [N, 3].
    """

    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    label: Tensor | None = None
    augmentation: Tensor | None = None


def law_of(sigmas: Tensor | SigmaLaw) -> SigmaLaw:
    """Levels [L] as the law under which each is as likely as any other; a law as it is."""
    return sigmas if isinstance(sigmas, SigmaLaw) else UniformLevels(check_sigmas(sigmas))


def corrupt(clean: Tensor, sigmas: Tensor | SigmaLaw, *, noise: Noise) -> Corrupted:
    """The draw of Eq. 1: sigma uniform over the levels [L], x~ = x + sigma z of x [N, ...].

    In place of the levels stands any other law of sigma, such as `LogNormal`. `KeyedNoise.at(step)`
    as the noise makes the draw of a training step.
    """
    source = as_source(noise, len(clean))
    sigma = law_of(sigmas).draw(noise, clean)
    z = source.normal(
        clean.shape, purpose=Purpose.CORRUPTION, dtype=clean.dtype, device=clean.device
    )
    return Corrupted(clean=clean, noisy=clean + broadcast_sigma(sigma, clean) * z, sigma=sigma)


def labels_dropped(labels: Tensor, probability: float, *, noise: Noise) -> Tensor:
    """Classifier-free guidance, Algorithm 1: each label is -1, no class, with this probability.

    Args:
        labels: int64 [N].
        probability: in [0, 1], to within 2^-31 (Ho & Salimans, 2207.12598, have 0.1 and 0.2).
        noise: as in `corrupt`, with a purpose of its own.
    """
    source, cells = as_source(noise, len(labels)), 2**31
    cell = source.integers(len(labels), high=cells, purpose=Purpose.LABEL, device=labels.device)
    return torch.where(cell < round(probability * cells), -1, labels)


def dsm_loss(denoised: Tensor, drawn: Corrupted, *, deviation: float = math.inf) -> Tensor:
    """Eq. 1 for each sample: ||H(x~, sigma) - x||^2 / (2 sigma^2), summed over pixels; [N].

    With the deviation s of the data the weight 1 / sigma^2 becomes EDM's, 1 / c_out^2 with
    c_out = sigma s / sqrt(sigma^2 + s^2): the error of the network F itself. The paper's is its
    limit of infinite s, because in H = x + sigma f the factor of the network is sigma.

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
    c_out = drawn.sigma
    if deviation != math.inf:
        c_out = c_out * deviation / (c_out.square() + deviation**2).sqrt()
    error = (denoised - drawn.clean) / broadcast_sigma(c_out, denoised)
    return error.square().reshape(len(error), math.prod(error.shape[1:])).sum(1) / 2


Adversarial = Callable[[Tensor, Tensor], Tensor]


class GanLoss(NamedTuple):
    """Two functions of (D(real), D(fake)), each [N], to minimise; each returns a scalar.

    A loss is relativistic if the generator's looks at D(real). Of any other the training computes
    no D(real) in the score network's turn, and gives None for it.
    """

    discriminator: Adversarial
    generator: Callable[[Any, Tensor], Tensor]
    relativistic: bool = True


def _plain(phi: Callable[[Tensor], Tensor]) -> GanLoss:
    """Phi of the discriminator's answers, each with the sign of the answer that is wanted."""
    return GanLoss(
        discriminator=lambda real, fake: phi(real).mean() + phi(-fake).mean(),
        generator=lambda real, fake: phi(fake).mean(),
        relativistic=False,
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
    real: Tensor | None, fake: Tensor, dsm: Tensor, *, weight: float, gan: GanLoss = lsgan
) -> Tensor:
    """Eq. 5: E(D(H) - 1)^2 + lambda E||H - x||^2 / (2 sigma^2); scalar.

    As in Eq. 4, with the gradient of H; only the relativistic losses look at `real`, of others it
    may be None. `dsm` [N] is of `dsm_loss`, `weight` is lambda.
    """
    return gan.generator(real, fake) + weight * dsm.mean()
