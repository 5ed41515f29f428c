"""Denoisers of a class: a label bound to a denoiser that takes one, and classifier-free guidance.

Ho & Salimans (2207.12598), in terms of H: of a network that knows the class and, where it is told
none, the whole law, H = H_all + weight (H_class - H_all). Weight 1 is the class, 0 the whole law;
above 1 pictures are more typical of their class, and less varied.
"""

from torch import Tensor, nn

from cascore.denoiser import Denoiser, DenoiserWrapper, evaluations
from cascore.errors import InputError


class _Labelled(DenoiserWrapper):
    def __init__(self, denoiser: nn.Module, label: Tensor) -> None:
        super().__init__(denoiser)
        self.label = label

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        denoised: Tensor = self.denoiser(x, sigma, self.label.to(x.device))
        return denoised


def labelled(denoiser: nn.Module, label: Tensor) -> Denoiser:
    """H(x, sigma) of a class: the denoiser with its third argument bound.

    Args:
        denoiser: called as `denoiser(x, sigma, label)`, as the denoisers of `cascore.denoiser` are.
        label: int64, a scalar or [N]; negative for no class.
    """
    return _Labelled(denoiser, label)


class _Guided(DenoiserWrapper):
    def __init__(self, conditional: Denoiser, unconditional: Denoiser, weight: float) -> None:
        super().__init__(conditional)
        self.unconditional, self.weight = unconditional, weight
        self.evaluations += evaluations(unconditional)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        whole = self.unconditional(x, sigma)
        return whole + self.weight * (self.denoiser(x, sigma) - whole)


def guided(conditional: Denoiser, unconditional: Denoiser, weight: float) -> Denoiser:
    """Classifier-free guidance: H = H_all + weight (H_class - H_all).

    At weights 1 and 0 it is one of the two itself, to the bit, and the other is never called.
    Elsewhere a call costs two evaluations of the network, which `Samples.nfe` counts.

    Args:
        conditional: H of the class, such as `labelled(denoiser, label)`.
        unconditional: H of the whole law, such as the denoiser itself.
        weight: any finite number; published models are best between 1 and 4.
    """
    if not -float("inf") < weight < float("inf"):
        raise InputError(f"the weight of guidance must be finite, not {weight}")
    if weight in (0, 1):
        return conditional if weight == 1 else unconditional
    return _Guided(conditional, unconditional, weight)
