"""The Fréchet distance: moments of features, the distance of two Gaussians, its standard error."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.measurement import ExtractorIdentity
from cascore.metrics.features import FeatureExtractor, checked_features, features_in_batches
from cascore.stats import Estimate

_BLOCK = 128  # columns between two updates of the remainder; 64 and 256 were slower at D = 2048


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Count, mean and scatter of features seen so far, all that a Fréchet distance needs.

    Immutable: `update` and `merge` return new moments, so a stream is
    `moments = moments.update(batch)` and shards are `a.merge(b)`, in any grouping.
    `mean` is [D] float64, zeros while nothing was counted. `scatter` [D, D], the sum of outer
    products of the deviations from the mean, is what is kept because it exists for any count and
    adds up; `covariance` divides it.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    extractor: ExtractorIdentity

    @classmethod
    def of(cls, features: Tensor, *, extractor: ExtractorIdentity) -> "FeatureMoments":
        """Moments of features [N, D], two passes in float64; N may be 0, all must be finite."""
        features = checked_features(features, "features")
        mean = features.sum(dim=0) / max(1, len(features))
        deviations = features - mean
        return cls(len(features), mean, deviations.T @ deviations, extractor)

    @property
    def dimension(self) -> int:
        """Length of one feature vector."""
        return len(self.mean)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance [D, D] in float64: the scatter over count - 1, count at least 2."""
        if self.count < 2:
            raise InputError(
                f"a covariance needs at least 2 feature vectors, these moments count {self.count}"
            )
        return self.scatter / (self.count - 1)

    def update(self, features: Tensor) -> "FeatureMoments":
        """Moments of everything counted so far and of features [N, D] on top."""
        return self.merge(FeatureMoments.of(features, extractor=self.extractor))

    def merge(self, other: "FeatureMoments") -> "FeatureMoments":
        """Moments of both sets together: the pairwise update of Chan, Golub & LeVeque (1983)."""
        _require_comparable(self, other)
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        shift = other.mean - self.mean
        return FeatureMoments(
            count=count,
            mean=self.mean + shift * (other.count / count),
            scatter=self.scatter
            + other.scatter
            + torch.outer(shift, shift) * (self.count * other.count / count),
            extractor=self.extractor,
        )


def feature_moments(
    extractor: FeatureExtractor,
    images: Tensor,
    *,
    progress: Callable[[int], None] = lambda more: None,
) -> FeatureMoments:
    """Moments of the features of images uint8 [N, C, H, W]; `progress` hears how many more."""
    nothing = torch.empty(0, extractor.dimension)
    moments = FeatureMoments.of(nothing, extractor=extractor.identity)
    for features in features_in_batches(extractor, images):
        moments = moments.update(features)
        progress(len(features))
    return moments


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982), the FID's formula.

    `|m_a - m_b|² + tr(A) + tr(B) - 2 tr((A^½ B A^½)^½)`, with unbiased covariances A and B. The
    last trace is the sum of the singular values of F_aᵀ F_b for any factors A = F_a F_aᵀ and
    B = F_b F_bᵀ: no square root is taken of a product's rounding error, so singular covariances
    (fewer images than dimensions, constant features) cost no digits.

    The distance of finite sets is biased upwards, by about a constant over the number of images:
    two distances of different counts do not compare. `frechet_estimate` adds the standard error,
    `frechet_extrapolated` the limit of infinitely many generated images.

    It is symmetric, >= 0, in squared units of the features. Its rounding error is below 1e-8 of the
    sum of the traces; a direction whose variance is less than D times 2e-16 of the largest cannot
    be told from a constant and counts as one. Moments of different extractors or dimensions, or of
    fewer than 2 images, raise InputError.
    """
    _require_comparable(a, b)
    traces = float(a.covariance.trace() + b.covariance.trace())
    common = _nuclear_norm(covariance_factor(a.covariance).T @ covariance_factor(b.covariance))
    shift = float((a.mean - b.mean).square().sum())
    return max(0.0, shift + traces - 2 * common)  # rounding can make equal sets slightly negative


def _require_comparable(a: FeatureMoments, b: FeatureMoments) -> None:
    if a.extractor != b.extractor:
        raise InputError(
            f"moments of different extractors cannot meet: {a.extractor} and {b.extractor}; "
            "compute both with the same extractor"
        )
    if a.dimension != b.dimension:
        raise InputError(
            f"features of {a.dimension} and of {b.dimension} dimensions cannot meet, "
            f"although both claim to come from {a.extractor}"
        )


def _nuclear_norm(matrix: Tensor) -> float:
    """The sum of the singular values; of F_aᵀ F_b it is tr((A^½ B A^½)^½).

    They are taken as the roots of the eigenvalues of the smaller Gram matrix, in a fifth of the
    time of a singular value decomposition (D = 2048, one thread). Squaring costs half of the digits
    of a small singular value, unless the matrix is graded, its rows decreasing as those of
    `covariance_factor` make them: then small eigenvalues keep their own relative accuracy. Negative
    eigenvalues are rounding errors of 0.
    """
    rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float(torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0).sqrt().sum())


def covariance_factor(covariance: Tensor) -> Tensor:
    """F [D, rank] with F Fᵀ the covariance [D, D] in float64, its columns of decreasing size.

    The Cholesky factor where the covariance has full rank to rounding, the pivoted Cholesky factor
    otherwise: its columns end where what remains is below D times the rounding error of the largest
    variance. At D = 2048 an eigendecomposition takes 12 times as long as the first and 2 to 8 times
    as long as the second.
    """
    # Largest variance first: the columns of F then decrease, for the accuracy of `_nuclear_norm`.
    order = covariance.diagonal().argsort(descending=True, stable=True)
    triangle, failed = torch.linalg.cholesky_ex(covariance[order][:, order])
    # Below this, a remaining variance cannot be told from 0.
    tolerance = len(order) * torch.finfo(covariance.dtype).eps * float(covariance.diagonal().max())
    if bool(failed) or float(triangle.diagonal().min()) ** 2 <= tolerance:
        return _pivoted_factor(covariance, tolerance)
    factor = torch.empty_like(triangle)
    factor[order] = triangle
    return factor


def _pivoted_factor(covariance: Tensor, tolerance: float) -> Tensor:
    """Pivoted Cholesky factor (Higham 1990), left-looking in blocks between right-looking updates.

    Every step takes the largest remaining variance as its pivot. Within a block only the block's
    own columns are applied to the pivot's; the remainder is updated once per block.
    """
    dimension = len(covariance)
    factor, remainder = torch.zeros_like(covariance), covariance.clone()
    used = torch.zeros(dimension, dtype=torch.bool)
    for start in range(0, dimension, _BLOCK):
        stop = min(start + _BLOCK, dimension)
        variances = remainder.diagonal().masked_fill(used, 0)
        for k in range(start, stop):
            pivot = int(variances.argmax())
            if float(variances[pivot]) <= tolerance:
                return factor[:, :k]
            column = remainder[:, pivot] - factor[:, start:k] @ factor[pivot, start:k]
            column /= variances[pivot].sqrt()
            factor[:, k] = column
            used[pivot] = True
            variances = (variances - column.square()).masked_fill(used, 0)
        block = factor[:, start:stop]
        remainder -= block @ block.T
    return factor


def frechet_estimate(features: Tensor, reference: FeatureMoments) -> Estimate:
    """Fréchet distance with its standard error by the infinitesimal jackknife (Jaeckel 1972).

    The distance's derivative with respect to the weight of image x is its influence::

        2 (m - m_r)·(x - m) + N / (N - 1) (q(x) - mean of q),  q(x) = |x - m|² - (x - m)ᵀ T (x - m)

    with T the optimal transport map between the two Gaussians, T A T = B. The standard error is
    the root of the sum of squared influences, over N. Far from the reference it is that of any
    smooth function of means. For a perfect generator the first derivative vanishes in truth but
    not in the sample, and the error is too large, by up to √2: it errs on the careful side. The
    reference is taken as given, as every published distance takes it: what other reference images
    would change is not in the error.

    At D = 2048 it costs one symmetric eigenproblem with vectors and two products of [N, D] with
    [D, D]: about 24 s for 10,000 images on one thread, and at the peak seven times the memory of
    the features in float64.

    Features that are not finite [N, D] with N >= 2, and moments of another dimension or of fewer
    than 2 images, raise InputError.
    """
    projected, count = Projected.of(features, reference), len(features)
    moments = FeatureMoments.of(features, extractor=reference.extractor)
    influence = projected.influence(torch.arange(count))
    error = float(influence.square().sum().sqrt()) / count
    return Estimate(frechet_distance(moments, reference), error)


@dataclass(frozen=True, eq=False)
class Projected:
    """Features [N, D] relative to the reference's mean, and their products [N, rank] with F.

    F is a factor of the reference's covariance, B = F Fᵀ. The singular values of F_aᵀ F are those
    of the deviations of x F over √(n - 1), for any set of n rows, so no set needs a covariance
    [D, D] or a factor of its own.
    """

    features: Tensor
    products: Tensor
    reference_trace: float

    @classmethod
    def of(cls, features: Tensor, reference: FeatureMoments) -> "Projected":
        """Features [N, D] seen from a reference; refuses what `frechet_estimate` refuses."""
        features = checked_features(features, "generated features", least=2)
        if features.shape[1] != reference.dimension:
            raise InputError(
                f"generated features have {features.shape[1]} dimensions, the reference "
                f"{reference.dimension}; compute both with {reference.extractor}"
            )
        features = features - reference.mean
        products = features @ covariance_factor(reference.covariance)
        return cls(features, products, float(reference.covariance.trace()))

    def distance(self, rows: Tensor) -> float:
        """Fréchet distance to the reference of the rows with these indices, [n] with n >= 2.

        Eigenvalues of a matrix that is not graded: the rounding error may reach 1e-6 of the traces,
        against standard errors of 1e-3.
        """
        chosen = self.features[rows]
        mean = chosen.mean(dim=0)
        trace = float((chosen - mean).square().sum()) / (len(rows) - 1)
        overlap = _nuclear_norm(self._deviations(rows))
        return max(0.0, float(mean.square().sum()) + trace + self.reference_trace - 2 * overlap)

    def influence(self, rows: Tensor) -> Tensor:
        """Derivative [n] of `distance` by the weight of each row, as in `frechet_estimate`."""
        chosen = self.features[rows]
        mean = chosen.mean(dim=0)
        deviations = chosen - mean
        squared = deviations.square().sum(dim=1)
        transported = self._transported(rows)
        spread = (squared - squared.mean()) - (transported - transported.mean())
        return 2 * deviations @ mean + spread * len(rows) / (len(rows) - 1)

    def _deviations(self, rows: Tensor) -> Tensor:
        chosen = self.products[rows]
        return (chosen - chosen.mean(dim=0)) / math.sqrt(len(rows) - 1)

    def _transported(self, rows: Tensor) -> Tensor:
        """(x - m)ᵀ T (x - m) of each row, with T = F (Fᵀ A F)^-½ Fᵀ on the span of the rows."""
        deviations = self._deviations(rows)
        wide = len(deviations) < deviations.shape[1]
        gram = deviations @ deviations.T if wide else deviations.T @ deviations
        values, vectors = torch.linalg.eigh(gram)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1:].clamp(min=0)
        roots, vectors = values[kept].sqrt(), vectors[:, kept]
        if wide:
            quadratic: Tensor = vectors.square() @ roots
        else:
            quadratic = (deviations @ vectors).square() @ (1 / roots)
        return quadratic * (len(rows) - 1)
