"""Restoration: the denoiser of pictures of which something was seen, y = A clean + noise z.

A denoiser E[clean | x] becomes one of E[clean | x, y]; any sampler with it draws pictures that are
likely and agree with y, one for each seed, and what they do not share is not in y.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cascore.denoiser import Denoiser, DenoiserWrapper, broadcast_sigma
from cascore.errors import InputError
from cascore.operators import Operator


class _Informed(DenoiserWrapper):
    """A denoiser that knows y: `missing` says how far A H is from it, once all of that fits."""

    def __init__(
        self, denoiser: Denoiser, seen: Tensor, operator: Operator, noise: float, steps: int
    ) -> None:
        super().__init__(denoiser)
        self.seen, self.operator, self.noise, self.steps = seen, operator, noise, steps
        self._linear = False  # until it was tried, once: a GPU would wait for each answer

    def missing(self, H: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Y - A H, and the adjoint u -> A^T u."""
        with torch.enable_grad():
            probe = torch.zeros_like(H, requires_grad=True)
            image = self.operator(probe)

        def adjoint(u: Tensor) -> Tensor:
            return torch.autograd.grad(image, probe, u, retain_graph=True)[0]

        self._require_fitting(image, H)
        of_H = self.operator(H)
        if not self._linear:
            _require_linear(of_H, self.operator(-2 * H))
            self._linear = True
        return self.seen.to(H) - of_H, adjoint

    def _require_fitting(self, image: Tensor, H: Tensor) -> None:
        seen = self.seen
        if seen.is_complex() or image.is_complex():
            raise InputError(
                "what is seen has complex numbers: give their real and imaginary parts,"
                " torch.view_as_real of them, here and in the operator"
            )
        if seen.shape[1:] != image.shape[1:] or len(seen) not in (1, len(H)):
            raise InputError(
                f"what was seen has shape {list(seen.shape)}; of x {list(H.shape)} the operator"
                f" sees {list(image.shape)}"
            )
        if not image.requires_grad:
            raise InputError(
                "the operator has no derivative by x, from which its adjoint comes: write it with"
                " PyTorch alone, and sample under torch.no_grad, not torch.inference_mode"
            )


def _require_linear(image: Tensor, opposite: Tensor) -> None:
    """Refuse an operator by A H and A (-2 H): of what is not linear the answers are not those."""
    if bool((opposite + 2 * image).norm() > 1e-2 * image.norm()):
        raise InputError(
            "the operator is not linear: A(-2 x) is not -2 A(x); a constant that it adds can be"
            " taken off it and off what was seen"
        )


class _Projected(_Informed):
    def __init__(
        self,
        denoiser: Denoiser,
        seen: Tensor,
        operator: Operator,
        noise: float,
        variance: float,
        steps: int,
    ) -> None:
        super().__init__(denoiser, seen, operator, noise, steps)
        self.variance = variance

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        H = self.denoiser(x, sigma)
        missing, adjoint = self.missing(H)
        square = broadcast_sigma(sigma, missing).square()
        doubt = self.noise**2 * (1 / square + 1 / self.variance)  # noise^2 / r^2

        def gram(u: Tensor) -> Tensor:
            return doubt * u + self.operator(adjoint(u))

        return H + adjoint(_solved(gram, missing, self.steps))


def projected(
    denoiser: Denoiser,
    seen: Tensor,
    operator: Operator,
    *,
    noise: float = 0.0,
    variance: float = 1 / 14,
    iterations: int = 20,
) -> Denoiser:
    """H + A^T (A A^T + noise^2 / r^2)^-1 (y - A H): what y says is taken from y, the rest from H.

    r^2 = 1 / (1 / sigma^2 + 1 / variance) is the variance of a clean pixel given x, as if all were
    independent: exact for white Gaussian data, and the proximal step of DiffPIR (2305.08995). That
    y says something of other pixels too, given x, it leaves out, and `restored` does not. Without
    noise it is H + A^+ (y - A H), the projection of Kadkhodaie & Simoncelli (2007.13640), whose
    step along (1 - A^+ A)(H - x) + A^+ (y - A x) is one towards it, and DDNM (2212.00490); where A
    keeps pixels, it replaces those. A call costs one evaluation and no derivative.

    Args:
        denoiser: H(x, sigma).
        seen: y, [1, ...] for all rows of x, or a row for each.
        operator: A, of `cascore.operators` or any linear function of x.
        noise: deviation of what was added to A clean; at least 0.
        variance: of a clean pixel; that of photographs in [0, 1] by default.
        iterations: at most, of the conjugate gradients that apply the inverse; one is exact where
            A A^T is a multiple of the identity, as it is for all but a blur.

    Raises:
        InputError: a negative noise, a variance that is not positive; y is not of the shape of A x,
            or A is not linear, or has no derivative (when it is called).
    """
    _require_noise(noise)
    if not variance > 0:
        raise InputError(f"the variance of a pixel must be positive, not {variance}")
    return _Projected(denoiser, seen, operator, noise, variance, iterations)


class _Restored(_Informed):
    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        with torch.enable_grad():
            variable = x.detach().requires_grad_()
            H = self.denoiser(variable, sigma)
        if not H.requires_grad:
            raise InputError(
                "the denoiser has no derivative by x: `projected` needs none, and torch.no_grad"
                " leaves it, as torch.inference_mode does not"
            )
        square = broadcast_sigma(sigma, x).square()
        missing, adjoint = self.missing(H.detach())

        def spread(u: Tensor) -> Tensor:
            """V A^T u, with V = sigma^2 dH/dx."""
            (along,) = torch.autograd.grad(H, variable, adjoint(u), retain_graph=True)
            return square * along

        def covariance(u: Tensor) -> Tensor:
            return self.noise**2 * u + self.operator(spread(u))

        return H.detach() + spread(_solved(covariance, missing, self.steps))


def restored(
    denoiser: Denoiser, seen: Tensor, operator: Operator, *, noise: float = 0.0, iterations: int = 1
) -> Denoiser:
    """E[clean | x, y] by moments: H + V A^T (A V A^T + noise^2)^-1 (y - A H), V = sigma^2 dH/dx.

    V is the covariance of the clean picture given x, so that the formula is exact where clean given
    x is Gaussian, as it is for Gaussian data (MMPS of Rozet et al., 2405.13712; also 2310.06721). A
    call evaluates the network once and goes back through it iterations + 1 times.

    Args:
        denoiser: H(x, sigma), differentiable in x.
        seen: y, [1, ...] for all rows of x, or a row for each.
        operator: A, of `cascore.operators` or any linear function of x.
        noise: deviation of what was added to A clean; at least 0.
        iterations: of the conjugate gradients that apply the inverse.

    Raises:
        InputError: a negative noise; y is not of the shape of A x, A is not linear, or it or the
            denoiser has no derivative (when it is called).
    """
    _require_noise(noise)
    return _Restored(denoiser, seen, operator, noise, iterations)


def _require_noise(noise: float) -> None:
    if not noise >= 0:
        raise InputError(f"the deviation of the noise must be at least 0, not {noise}")


def _solved(matrix: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> Tensor:
    """Conjugate gradients (Hestenes & Stiefel 1952) from 0 for each row of [N, ...] by itself.

    A row whose residual is at rounding, or along which the matrix is not positive, stays.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        products = (a * b).reshape(len(a), -1)  # of [N] too
        return products.sum(dim=1).reshape(-1, *(1,) * (a.ndim - 1))

    solution, residual = torch.zeros_like(right), right
    direction, square = residual, dot(residual, residual)
    least = square * torch.finfo(right.dtype).eps ** 2
    for _ in range(iterations):
        image = matrix(direction)
        curvature = dot(direction, image)
        going = (square > least) & (curvature > 0)
        step = torch.where(going, square / curvature, 0.0)
        solution = solution + step * direction
        residual = residual - step * image
        after = dot(residual, residual)
        direction = residual + torch.where(going, after / square, 0.0) * direction
        square = torch.where(going, after, square)
    return solution
