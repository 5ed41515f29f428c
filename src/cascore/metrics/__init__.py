"""How good samples are: distances between features, their errors, classes reached, neighbours."""

from cascore.measurement import ExtractorIdentity, Floor
from cascore.metrics.class_scores import inception_score
from cascore.metrics.extractors import extractor_names, load_extractor
from cascore.metrics.extractors.classifier import Classifier, load_classifier
from cascore.metrics.extractors.inception import Inception, download_inception, load_inception
from cascore.metrics.extractors.random_network import random_convolution
from cascore.metrics.extractors.user_module import module_extractor
from cascore.metrics.extrapolation import frechet_extrapolated
from cascore.metrics.features import FeatureExtractor, extract_features
from cascore.metrics.floor import real_floor
from cascore.metrics.frechet import (
    FeatureMoments,
    feature_moments,
    frechet_distance,
    frechet_estimate,
)
from cascore.metrics.kernel import kernel_distance
from cascore.metrics.manifold import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from cascore.metrics.modes import ModeCoverage, mode_coverage, published_kl, stacked_labels
from cascore.metrics.neighbours import memorisation_ratio, nearest_neighbours

__all__ = [
    "Classifier",
    "DensityCoverage",
    "ExtractorIdentity",
    "FeatureExtractor",
    "FeatureMoments",
    "Floor",
    "Inception",
    "ModeCoverage",
    "PrecisionRecall",
    "density_coverage",
    "download_inception",
    "extract_features",
    "extractor_names",
    "feature_moments",
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
    "real_floor",
    "stacked_labels",
]
