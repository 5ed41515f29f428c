"""The contract of the house: `denoiser(x, sigma) -> H(x, sigma)`, the expected denoised sample.

Sec. 2.3 of the paper, Eq. 3: H(x, sigma) = x + sigma^2 s(x, sigma), the posterior mean of the clean
datum given x = clean + sigma z. A trained network, a foreign model and a closed-form optimum look
the same to a sampler, a loss and a plot.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from cascore.errors import InputError
from cascore.schedule import check_sigmas
from cascore.spectrum import Spectrum, cosines, in_cosines


class Denoiser(Protocol):
    """`denoiser(x, sigma) -> H`: x is [N, ...], sigma a scalar or [N] in x's dtype and device."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        """H(x, sigma), of the shape and dtype of x."""
        ...


def broadcast_sigma(sigma: Tensor | float, x: Tensor) -> Tensor:
    """Sigma in x's dtype and on its device, [1, 1, ...] or [N, 1, ...], ready to multiply x.

    It must be a scalar or one number per sample, else InputError.
    """
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    count = x.shape[0]  # len would fix the batch of an exported graph
    if level.ndim > 1 or (level.ndim == 1 and level.shape[0] not in (1, count)):
        raise InputError(f"sigma must be a scalar or [{count}], not {list(level.shape)}")
    return level.reshape(-1, *(1,) * (x.ndim - 1))


def instead_of(given: object) -> str:
    """Words for an error, where a model was given and its denoiser is meant."""
    return ": give its `denoiser`" if hasattr(given, "denoiser") else ""


NETWORK_KAPPA, EXACT_KAPPA = 2.5, 1.5
_FORGOTTEN = 0.85  # (kappa - 1) log(1 / gamma) of a step, at most
_LEAST = 1e-6  # of a deviation that is divided by: above what rounds, far below 1 / 255 of a pixel


def is_blind(denoiser: Denoiser) -> bool:
    """Whether the network behind a denoiser does not see sigma: its `blind`; without one, no."""
    return bool(getattr(denoiser, "blind", False))


def own_kappa(denoiser: Denoiser) -> float:
    """The kappa that a denoiser wants in many calls: its `kappa`; without one, by its kind.

    A blind one has 2.5, for it has to: below 2 no wrong noise level is ever mended (Proposition 4,
    `docs/blindness.md`). The networks of cascore that see sigma say 2.5 too: they were measured to
    want as much, because noise mends what a network gets wrong (`docs/which-sampler.md`). Any other
    denoiser that sees sigma is taken to be right, where noise only costs: 1.5. `DenoiserWrapper`
    forwards it.
    """
    of_kind = NETWORK_KAPPA if is_blind(denoiser) else EXACT_KAPPA
    return float(getattr(denoiser, "kappa", of_kind))


def default_kappa(denoiser: Denoiser, sigmas: Tensor, *, order: int = 2) -> float:
    """The kappa of a chain through levels [L] that names none: `kappa_of_steps` of its own.

    Levels that are no schedule raise InputError.
    """
    levels, blind = check_sigmas(sigmas), is_blind(denoiser)
    ratio = float(levels[0] / levels[-1])
    return kappa_of_steps(own_kappa(denoiser), len(levels), ratio=ratio, blind=blind, order=order)


def kappa_of_steps(kappa: float, calls: int, *, ratio: float, blind: bool, order: int = 2) -> float:
    """A kappa of many small steps, made smaller where steps are larger, but not below 1.5.

    What is wrong with the noise is multiplied by gamma^(2 kappa - 2) in a step of a denoiser that
    sees sigma. Noise mends what a network gets wrong, and costs more the larger a step is. So the
    mean step, through levels of that `ratio` from first to last in so many `calls`, leaves at least
    exp(-1.7) = 0.18 of it: kappa is at most 1 + 0.85 / log(1 / gamma). Chains of first order, which
    under-disperse, keep theirs, and so do blind denoisers (`own_kappa`). Measured in
    `docs/calibration.md`.
    """
    if blind or order == 1:
        return kappa
    limit = 1 + _FORGOTTEN * (calls - 1) / math.log(ratio) if calls > 1 else 1.0
    return min(kappa, max(EXACT_KAPPA, limit))


def own_mean(denoiser: Denoiser) -> Tensor:
    """The mean of the data where a denoiser says it: its `data_mean`; without one, 0.

    A scalar, or what broadcasts with x. Data with noise sigma_1 have it too, and so should the
    start of a chain. `DenoiserWrapper` forwards it.
    """
    return torch.as_tensor(getattr(denoiser, "data_mean", 0.0))


def evaluations(denoiser: Denoiser) -> int:
    """How often a call evaluates the network: the denoiser's own `evaluations`; without one, 1."""
    return int(getattr(denoiser, "evaluations", 1))


@contextmanager
def evaluation_mode(denoiser: Denoiser) -> Iterator[None]:
    """Dropout off and statistics frozen within; every submodule's own mode afterwards."""
    modules = list(denoiser.modules()) if isinstance(denoiser, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def as_told(*extras: Tensor | None) -> tuple[Tensor | None, ...]:
    """The extras up to the last that is one: what takes none of them is called without."""
    while extras and extras[-1] is None:
        extras = extras[:-1]
    return extras


class _NetworkDenoiser(nn.Module):
    """What every form around a network shares: the network, and its classes.

    A label, int64 [N] or a scalar, is passed on to a network of classes: the index of a class, or
    negative for none, as no label is for all. `cascore.guidance.labelled` binds one. In training a
    network may also be told how the data were augmented, [N, 3]; samples are drawn without.
    """

    blind, kappa = False, NETWORK_KAPPA

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def data_mean(self) -> Tensor | float:
        """What the form knows of the mean of the data; 0 if nothing."""
        return 0.0

    @property
    def classes(self) -> int:
        """How many classes the network can be told, 0 for none."""
        return int(getattr(self.network, "classes", 0))

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        label: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """H(x, sigma), where the network is told the label and the augmentation, if there are."""
        told = as_told(label, augmentation)
        return self._form(x, broadcast_sigma(sigma, x), lambda *seen: self.network(*seen, *told))

    def _form(self, x: Tensor, level: Tensor, network: Callable[..., Tensor]) -> Tensor:
        """H at a level of as many dimensions as x, by what the network makes of what it sees."""
        raise NotImplementedError


class UnconditionalDenoiser(_NetworkDenoiser):
    """Technique 3: s(x, sigma) = f(x) / sigma, so H(x, sigma) = x + sigma f(x)."""

    blind = True

    def _form(self, x: Tensor, level: Tensor, network: Callable[..., Tensor]) -> Tensor:
        return x + level * network(x)


class ConditionalDenoiser(_NetworkDenoiser):
    """s(x, sigma) = f(x, log sigma) / sigma, so H(x, sigma) = x + sigma f(x, log sigma).

    The network sees log sigma as [N].
    """

    def _form(self, x: Tensor, level: Tensor, network: Callable[..., Tensor]) -> Tensor:
        return x + level * network(x, level.reshape(-1).log().expand(x.shape[0]))


class PreconditionedDenoiser(_NetworkDenoiser):
    """EDM, Eq. 7: H = m + c_skip (x - m) + c_out F(c_in (x - m), log(sigma) / 4).

    With the mean m and the deviation s of the data, c_skip = s^2 / (sigma^2 + s^2),
    c_out = sigma s / sqrt(sigma^2 + s^2), c_in = 1 / sqrt(sigma^2 + s^2): what the network sees and
    what it is to return have variance 1 at every sigma (Karras et al., 2206.00364, Table 1).

    Args:
        network: F, which sees its noise level, as `ConditionalUNet` does.
        mean: m, of all pixels of the data.
        deviation: s, positive; both are buffers, saved with the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, *, mean: float, deviation: float) -> None:
        super().__init__(network)
        _require_deviation(deviation)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))

    @property
    def data_mean(self) -> Tensor:
        """m, a scalar."""
        return self.mean

    def _form(self, x: Tensor, level: Tensor, network: Callable[..., Tensor]) -> Tensor:
        s = self.deviation.to(x.dtype)
        length = (level.square() + s.square()).sqrt()
        away = x - self.mean.to(x.dtype)
        estimate = network(away / length, _c_noise(level, x))
        c_skip, c_out = (s / length).square(), level * (s / length)
        return self.mean.to(x.dtype) + c_skip * away + c_out * estimate


def _c_noise(level: Tensor, x: Tensor) -> Tensor:
    """What the network of EDM's form is told of the noise, log(sigma) / 4; [N]."""
    return (level.reshape(-1).log() / 4).expand(x.shape[0])


def _require_deviation(deviation: float) -> None:
    if not 0 < deviation < math.inf:
        raise InputError(f"the deviation of the data must be positive, not {deviation}")


class SpectralDenoiser(_NetworkDenoiser):
    """H = m + W (x - m) + c_out F(seen, log(sigma) / 4): EDM's form around Wiener's filter.

    W is the best linear denoiser of pictures of this spectrum: in cosines along the axes of colour
    it multiplies a coefficient of variance v by v / (v + sigma^2). Where all variances are s^2, it
    is EDM's c_skip. The network is left what is not linear. It sees both parts of x, what W keeps
    and what it takes away, each with variance 1 at every sigma, as [N, 2 C, H, W]; c_out is EDM's.

    Args:
        network: F, which sees its noise level, as `ConditionalUNet(seen=2 * channels)` does.
        spectrum: Of the data, with their mean m; saved with the weights.
        shape: [C, H, W] of a picture.
        deviation: s of all pixels of the data, positive.

    Raises:
        InputError: A spectrum of pictures of another shape, or a deviation that is not positive;
            in a call, pictures of another shape, which have other frequencies.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    deviation: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self, network: nn.Module, *, spectrum: Spectrum, shape: Sequence[int], deviation: float
    ) -> None:
        super().__init__(network)
        channels, height, width = shape
        if channels != len(spectrum.mean):
            raise InputError(
                f"this spectrum has {len(spectrum.mean)} channels, and the pictures have {channels}"
            )
        _require_deviation(deviation)
        self.register_buffer("mean", torch.tensor(spectrum.mean)[:, None, None])
        self.register_buffer("axes", torch.tensor(spectrum.axes))
        self.register_buffer("variances", spectrum.variances(height, width))
        self.register_buffer("deviation", torch.tensor(deviation))
        for name, side in (("rows", height), ("columns", width)):
            self.register_buffer(name, cosines(side).float(), persistent=False)

    @property
    def data_mean(self) -> Tensor:
        """m, [C, 1, 1]."""
        return self.mean

    def _form(self, x: Tensor, level: Tensor, network: Callable[..., Tensor]) -> Tensor:
        if x.shape[1:] != self.variances.shape:
            raise InputError(
                f"this denoiser is of the spectrum of pictures {list(self.variances.shape)}, not"
                f" {list(x.shape[1:])}"
            )
        s, v, m = (known.to(x.dtype) for known in (self.deviation, self.variances, self.mean))
        away, noise = x - m, level.square()
        w, lost = v / (v + noise), noise / (v + noise)  # 1 - w, which would round to 0
        kept = self._filtered(away, w)
        taken = away - kept
        # Of pictures without any variance nothing is kept: 0, and not 0 / 0.
        of_kept, of_taken = (
            variances.mean((1, 2, 3), keepdim=True).sqrt().clamp(min=_LEAST)
            for variances in (v * w, noise * lost)
        )
        seen = torch.cat([kept / of_kept, taken / of_taken], dim=1)
        c_out = level * (s / (noise + s.square()).sqrt())
        return m + kept + c_out * network(seen, _c_noise(level, x))

    def _filtered(self, away: Tensor, w: Tensor) -> Tensor:
        """W (x - m): each coefficient of x - m, multiplied by its w."""
        axes, rows, columns = (b.to(away.dtype) for b in (self.axes, self.rows, self.columns))
        with _without_autocast(away.device):
            coefficients = w * in_cosines(away, axes, rows, columns)
            return in_cosines(coefficients, axes.T, rows.T, columns.T)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """For products that bfloat16 would leave with an error as large as sigma = 0.01.

    TF32, where it is asked for, rounds pixels to 10 bits: an error of 1e-4, which 8 bits hide.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class DenoiserWrapper(nn.Module):
    """A denoiser around another: what samplers ask of that one beside H holds of both."""

    def __init__(self, denoiser: Callable[..., Tensor]) -> None:
        super().__init__()
        self.denoiser = denoiser  # registered as a submodule when it is one
        self.blind, self.kappa = is_blind(denoiser), own_kappa(denoiser)
        self.evaluations = evaluations(denoiser)

    @property
    def data_mean(self) -> Tensor:
        """The mean of the data, where the denoiser within says it."""
        return own_mean(self.denoiser)


class _Rescaled(DenoiserWrapper):
    """H of [0, 1] pixels by a denoiser of [low, high] pixels."""

    def __init__(self, denoiser: Denoiser, low: float, high: float) -> None:
        super().__init__(denoiser)
        self.low, self.span = low, high - low

    @property
    def data_mean(self) -> Tensor:
        """That of the denoiser within, in [0, 1]; 0 is the middle of [-1, 1]."""
        return (own_mean(self.denoiser) - self.low) / self.span

    def forward(self, x: Tensor, sigma: Tensor | float, *label: Tensor) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        theirs = self.denoiser(self.low + self.span * x, self.span * level, *label)
        return (theirs - self.low) / self.span


def rescaled(denoiser: Denoiser, low: float, high: float) -> Denoiser:
    """A denoiser of [low, high] pixels seen in [0, 1]: of [-1, 1], (D(2x - 1, 2 sigma) + 1) / 2."""
    if not low < high:
        raise InputError(f"low must be below high, not {low} and {high}")
    return _Rescaled(denoiser, low, high)


def score(denoiser: Denoiser, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Eq. 3: s(x, sigma) = (H(x, sigma) - x) / sigma^2, of the shape of x."""
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return (denoiser(x, level) - x) / broadcast_sigma(level, x) ** 2
