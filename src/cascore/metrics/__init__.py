"""How good samples are: features, moments, Fréchet distance and its floor, modes, neighbours."""

from cascore.metrics.classifier import Classifier, load_classifier, read_classifier
from cascore.metrics.extract import extract_features, feature_moments, save_features
from cascore.metrics.extractors import extractor_names, load_extractor
from cascore.metrics.features import Pixels
from cascore.metrics.floor import Floor, at_floor, real_floor
from cascore.metrics.frechet import frechet_distance
from cascore.metrics.inception import Inception, load_inception
from cascore.metrics.inception_file import download_inception
from cascore.metrics.modes import ModeCoverage, mode_coverage
from cascore.metrics.moments import ExtractorIdentity, FeatureExtractor, FeatureMoments
from cascore.metrics.neighbours import Neighbours, memorisation_ratio, nearest_neighbours
from cascore.metrics.random_network import RandomConvolution, random_convolution
from cascore.metrics.user_module import ModuleExtractor, module_extractor

__all__ = [
    "Classifier",
    "ExtractorIdentity",
    "FeatureExtractor",
    "FeatureMoments",
    "Floor",
    "Inception",
    "ModeCoverage",
    "ModuleExtractor",
    "Neighbours",
    "Pixels",
    "RandomConvolution",
    "at_floor",
    "download_inception",
    "extract_features",
    "extractor_names",
    "feature_moments",
    "frechet_distance",
    "load_classifier",
    "load_extractor",
    "load_inception",
    "memorisation_ratio",
    "mode_coverage",
    "module_extractor",
    "nearest_neighbours",
    "random_convolution",
    "read_classifier",
    "real_floor",
    "save_features",
]
