"""What tests of metrics draw their features and images from, and the tools that they check."""

import importlib.util
import sys
from pathlib import Path

import torch

from cascore.metrics import ExtractorIdentity, FeatureMoments

MADE_BY = ExtractorIdentity(name="test", digest="0" * 64)


def normal(count, dimension, *, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimension, generator=generator, dtype=torch.float64)


def observed(features):
    return FeatureMoments.of(features, extractor=MADE_BY)


def uint8(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator).to(torch.uint8)


def tool(name):
    """The module tools/NAME.py."""
    path = Path(__file__).parents[1] / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks its module up there
    spec.loader.exec_module(module)
    return module
