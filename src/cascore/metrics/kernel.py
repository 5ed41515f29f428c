"""The kernel distance between two sets of features (KID), which has no bias at any sample size."""

from dataclasses import dataclass

from torch import Tensor

from cascore.metrics.features import checked_pair
from cascore.stats import Estimate


def kernel_distance(generated: Tensor, reference: Tensor, *, chunk: int = 1024) -> Estimate:
    """KID (Bińkowski et al. 2018) of all images: the unbiased MMD² of k(x, y) = (x·y / D + 1)³.

    mean k(x, x') over x ≠ x' + mean k(y, y') over y ≠ y' - 2 mean k(x, y), in float64. It is a
    U-statistic (Gretton et al. 2012), whose variance has two terms, with n and m images a side:

        4 ζ_x / n + 4 ζ_y / m + 2 ζ_xx / n² + 4 ζ_xy / (n m) + 2 ζ_yy / m².

    ζ_x and ζ_y are the variances of the kernel's mean difference seen from one image, ζ_xx, ζ_xy
    and ζ_yy those of the kernel without what its rows and columns explain. For equal distributions
    only the second line of terms is left, far from them only the first. Estimated from the images'
    mean differences, ζ_x and ζ_y contain noise that counts the second terms twice; they are
    taken off once.

    Features [N, D] of generated and [M, D] of real images are compared `chunk` at a time, which
    bounds the memory beyond them in float64. Those that are not finite, or fewer than 2, raise
    InputError. The distance falls to either side of 0 where the distributions are equal.
    """
    generated, reference = checked_pair(generated, reference, chunk=chunk, least=2)
    n, m = len(generated), len(reference)
    inner, outer = (
        _means(x, x, chunk).without_diagonal(_kernel(x.square().sum(dim=1), x.shape[1]))
        for x in (generated, reference)
    )
    cross = _means(generated, reference, chunk)
    once = (
        4 * float((inner.rows - cross.rows).var()) / n
        + 4 * float((outer.rows - cross.columns).var()) / m
    )
    twice = (
        2 * inner.unexplained / n**2
        + 4 * cross.unexplained / (n * m)
        + 2 * outer.unexplained / m**2
    )
    return Estimate(
        mean=float(inner.rows.mean() + outer.rows.mean() - 2 * cross.rows.mean()),
        error=max(once - twice, twice) ** 0.5,
    )


@dataclass(frozen=True, eq=False)
class _Means:
    """Means of a kernel matrix's rows [n], columns [m] and squares."""

    rows: Tensor
    columns: Tensor
    square: float

    @property
    def unexplained(self) -> float:
        """The mean square of k - row mean - column mean + mean."""
        explained = self.rows.square().mean() + self.columns.square().mean()
        return max(0.0, self.square - float(explained - self.rows.mean() ** 2))

    def without_diagonal(self, diagonal: Tensor) -> "_Means":
        """The means over the other entries of a square matrix."""
        n = len(diagonal)
        return _Means(
            rows=(n * self.rows - diagonal) / (n - 1),
            columns=(n * self.columns - diagonal) / (n - 1),
            square=(n * self.square - float(diagonal.square().mean())) / (n - 1),
        )


def _means(first: Tensor, second: Tensor, chunk: int) -> _Means:
    n, m = len(first), len(second)
    rows, columns, square = first.new_zeros(n), first.new_zeros(m), 0.0
    for i in range(0, n, chunk):
        for j in range(0, m, chunk):
            kernel = _kernel(first[i : i + chunk] @ second[j : j + chunk].T, first.shape[1])
            rows[i : i + chunk] += kernel.sum(dim=1) / m
            columns[j : j + chunk] += kernel.sum(dim=0) / n
            square += float(kernel.square().sum()) / (n * m)
    return _Means(rows, columns, square)


def _kernel(products: Tensor, dimension: int) -> Tensor:
    return (products / dimension + 1) ** 3
