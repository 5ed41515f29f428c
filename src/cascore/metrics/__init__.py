"""How good samples are: distances between features, their errors, classes reached, neighbours."""

from cascore.metrics.class_scores import InceptionScore, inception_score
from cascore.metrics.classifier import Classifier, load_classifier, read_classifier
from cascore.metrics.extract import extract_features, feature_moments, save_features
from cascore.metrics.extractors import extractor_names, load_extractor
from cascore.metrics.extrapolation import (
    FrechetExtrapolation,
    FrechetPoint,
    frechet_extrapolated,
)
from cascore.metrics.features import Pixels
from cascore.metrics.floor import Floor, at_floor, real_floor
from cascore.metrics.frechet import frechet_distance
from cascore.metrics.frechet_errors import FrechetEstimate, frechet_bootstrap, frechet_estimate
from cascore.metrics.inception import Inception, load_inception
from cascore.metrics.inception_file import download_inception
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
)
from cascore.metrics.neighbours import (
    Memorisation,
    Neighbours,
    memorisation_ratio,
    nearest_neighbours,
)
from cascore.metrics.random_network import RandomConvolution, random_convolution
from cascore.metrics.user_module import ModuleExtractor, module_extractor

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
    "Inception",
    "InceptionScore",
    "KernelDistance",
    "Memorisation",
    "ModeCoverage",
    "ModuleExtractor",
    "Neighbours",
    "Pixels",
    "PrecisionRecall",
    "RandomConvolution",
    "SubsetKernelDistance",
    "at_floor",
    "density_coverage",
    "download_inception",
    "extract_features",
    "extractor_names",
    "feature_moments",
    "frechet_bootstrap",
    "frechet_distance",
    "frechet_estimate",
    "frechet_extrapolated",
    "inception_score",
    "kernel_distance",
    "load_classifier",
    "load_extractor",
    "load_inception",
    "memorisation_ratio",
    "mode_coverage",
    "module_extractor",
    "nearest_neighbours",
    "precision_recall",
    "published_kl",
    "random_convolution",
    "read_classifier",
    "real_floor",
    "save_features",
    "stacked_labels",
    "subset_kernel_distance",
]
