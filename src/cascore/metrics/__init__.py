"""How good samples are: features, moments, Fréchet distance and its floor, modes, neighbours."""

from cascore.metrics.classifier import Classifier, load_extractor, read_extractor
from cascore.metrics.floor import Floor, at_floor, real_floor
from cascore.metrics.frechet import frechet_distance
from cascore.metrics.modes import ModeCoverage, mode_coverage
from cascore.metrics.moments import (
    ExtractorIdentity,
    FeatureExtractor,
    FeatureMoments,
    feature_moments,
)
from cascore.metrics.neighbours import Neighbours, memorisation_ratio, nearest_neighbours

__all__ = [
    "Classifier",
    "ExtractorIdentity",
    "FeatureExtractor",
    "FeatureMoments",
    "Floor",
    "ModeCoverage",
    "Neighbours",
    "at_floor",
    "feature_moments",
    "frechet_distance",
    "load_extractor",
    "memorisation_ratio",
    "mode_coverage",
    "nearest_neighbours",
    "read_extractor",
    "real_floor",
]
