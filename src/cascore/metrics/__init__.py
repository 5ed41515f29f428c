"""How good samples are: distances between features, their errors, classes reached, neighbours."""

from cascore.metrics.class_scores import InceptionScore, inception_score
from cascore.metrics.classifier import Classifier, load_extractor, read_extractor
from cascore.metrics.extrapolation import (
    FrechetExtrapolation,
    FrechetPoint,
    frechet_extrapolated,
)
from cascore.metrics.floor import Floor, at_floor, real_floor
from cascore.metrics.frechet import frechet_distance
from cascore.metrics.frechet_errors import FrechetEstimate, frechet_bootstrap, frechet_estimate
from cascore.metrics.kernel import (
    KernelDistance,
    SubsetKernelDistance,
    kernel_distance,
    subset_kernel_distance,
)
from cascore.metrics.manifold import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from cascore.metrics.modes import ModeCoverage, mode_coverage, published_kl, stacked_labels
from cascore.metrics.moments import (
    ExtractorIdentity,
    FeatureExtractor,
    FeatureMoments,
    feature_moments,
)
from cascore.metrics.neighbours import (
    Memorisation,
    Neighbours,
    memorisation_ratio,
    nearest_neighbours,
)

__all__ = [
    "Classifier",
    "DensityCoverage",
    "ExtractorIdentity",
    "FeatureExtractor",
    "FeatureMoments",
    "Floor",
    "FrechetEstimate",
    "FrechetExtrapolation",
    "FrechetPoint",
    "InceptionScore",
    "KernelDistance",
    "Memorisation",
    "ModeCoverage",
    "Neighbours",
    "PrecisionRecall",
    "SubsetKernelDistance",
    "at_floor",
    "density_coverage",
    "feature_moments",
    "frechet_bootstrap",
    "frechet_distance",
    "frechet_estimate",
    "frechet_extrapolated",
    "inception_score",
    "kernel_distance",
    "load_extractor",
    "memorisation_ratio",
    "mode_coverage",
    "nearest_neighbours",
    "precision_recall",
    "published_kl",
    "read_extractor",
    "real_floor",
    "stacked_labels",
    "subset_kernel_distance",
]
