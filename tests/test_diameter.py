"""The largest distance of a set. Oracle: every pair, by scipy; and bounds when there is no time."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from cascore.data.diameter import image_diameter
from cascore.errors import InputError

GENERATOR = np.random.default_rng(37)


def images(count, kind, size=6):
    shape = (count, 3, size, size)
    if kind == "noise":  # all at about one distance from the mean: nothing can be left out
        pixels = GENERATOR.integers(0, 256, shape)
    elif kind == "extremes":  # black and white alone: many ties
        pixels = 255 * GENERATOR.integers(0, 2, shape)
    else:  # a few far out among many near the middle
        scale = GENERATOR.exponential(12, (count, 1, 1, 1))
        pixels = 128 + scale * GENERATOR.standard_normal(shape)
    return torch.from_numpy(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["noise", "extremes", "few far out"])
@pytest.mark.parametrize("count", [2, 3, 513, 1500])
def test_it_is_that_of_all_pairs(kind, count):
    drawn, seen = images(count, kind), []
    distances = squareform(pdist(drawn.reshape(count, -1).double().numpy() / 255))
    result = image_diameter(drawn, progress=seen.append)
    assert result.exact
    assert sum(seen) == count
    # The square is a whole number; its root and the division round once each.
    assert math.isclose(result.low, distances.max(), rel_tol=1e-14)
    assert math.isclose(distances[result.pair], result.low, rel_tol=1e-14)


def test_images_near_the_mean_are_left_out():
    result = image_diameter(images(4000, "few far out"))
    assert result.exact
    assert result.compared < 4000**2 / 4


@pytest.mark.parametrize("kind", ["noise", "extremes", "few far out"])
@pytest.mark.parametrize("work", [0.0, 1e7, 5e7, 1e8])
def test_out_of_time_the_interval_still_holds_the_largest_distance(kind, work):
    drawn = images(1500, kind)
    distances = pdist(drawn.reshape(1500, -1).double().numpy() / 255)
    result = image_diameter(drawn, largest_work=work)
    assert result.low <= distances.max() * (1 + 1e-12)
    assert result.high >= distances.max() * (1 - 1e-12)
    # One block of pairs more than the budget, at most.
    assert result.compared * 108 <= work + 512**2 * 108
    if kind == "noise":
        assert not result.exact


def at_distance(radius, count):
    """Whole-numbered vectors [count, 400] of about that length, in directions of their own."""
    z = GENERATOR.standard_normal((count, 400))
    return np.rint(radius * z / np.linalg.norm(z, axis=1, keepdims=True))


def as_images(vectors):
    return torch.from_numpy((128 + np.asarray(vectors)).astype(np.uint8))


def along(axis, length):
    vector = np.zeros((1, 400))
    vector[0, axis] = length
    return vector


def far_apart_in_the_order():
    """The furthest two are first and last: 202 apart, with 602 between that are at most 200."""
    filler = at_distance(99.2, 500)
    lengths = np.linalg.norm(filler, axis=1)
    filler = filler[(lengths > 98.3) & (lengths < 99.9)][:300]
    assert len(filler) == 300
    opposite = [along(0, 104), along(0, -98), along(1, 100), along(1, -100)]
    return as_images(np.concatenate([*opposite, filler, -filler]))


def furthest_among_those_behind():
    """The 512 furthest out are 145 apart, the next 512 hold opposite ones, then come nearer ones.

    So while the first are compared with the last, the bound of what is left is that of the second.
    """
    second = at_distance(99, 256)
    first, last = at_distance(102, 512), at_distance(60, 300)
    return as_images(np.concatenate([first, second, -second, last]))


def test_a_furthest_pair_far_down_the_order_is_found():
    result = image_diameter(far_apart_in_the_order())
    assert result.exact
    assert result.pair == (0, 1)
    assert math.isclose(result.low * 255, 202, rel_tol=1e-14)


@pytest.mark.parametrize("make", [far_apart_in_the_order, furthest_among_those_behind])
@pytest.mark.parametrize("blocks", [0, 1, 1.5, 2, 3])
def test_the_bound_covers_what_was_left_out_anywhere(make, blocks):
    drawn = make()
    largest = pdist(drawn.double().numpy() / 255).max()
    result = image_diameter(drawn, largest_work=blocks * 512**2 * 400)
    assert result.low <= largest * (1 + 1e-12)
    assert result.high >= largest * (1 - 1e-12)


def test_floats_and_single_images_are_refused_and_equal_ones_are_at_no_distance():
    for wrong in (torch.zeros(4, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.uint8)):
        with pytest.raises(InputError, match="at least 2 uint8 images"):
            image_diameter(wrong)
    result = image_diameter(torch.full((700, 1, 4, 4), 9, dtype=torch.uint8))
    assert (result.low, result.exact) == (0.0, True)


def test_blocks_of_large_images_hold_few_of_them(monkeypatch):
    """As of pictures of 256 x 256, where 512 would take 0.8 GB: the answer is the same."""
    drawn = images(300, "few far out")
    whole = image_diameter(drawn)
    for images_of_a_block in (17, 1):
        monkeypatch.setattr("cascore.data.diameter._NUMBERS", 108 * images_of_a_block)
        result = image_diameter(drawn)
        assert (result.low, result.high) == (whole.low, whole.high)
        assert result.compared < whole.compared  # small blocks end sooner


PEAK = """
import re, torch
from pathlib import Path
from cascore.data.diameter import image_diameter

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

images = torch.randint(0, 256, (20_000, 3072), dtype=torch.uint8)
before = peak()
image_diameter(images, largest_work=0)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="its peak is told by Linux alone")
def test_memory_does_not_grow_with_the_number_of_images():
    """Each block of float64 once stayed, 0.5 GB of 20,000 images in a process that was new."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) < 200_000  # kB, of which five blocks are 63,000
