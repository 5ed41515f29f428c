import math

import numpy as np
import pytest
import torch

from cascore.errors import InputError
from cascore.metrics import memorisation_ratio, nearest_neighbours


def uniform(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [1, 3, 7, 1024])
@pytest.mark.parametrize("k", [1, 4, 20])
def test_brute_force(k, chunk):
    queries, references = uniform(8, 1, 3, 3, seed=0), uniform(20, 1, 3, 3, seed=1)
    result = nearest_neighbours(queries, references, k=k, chunk=chunk)
    q, r = queries.double().numpy(), references.double().numpy()
    distances = np.sqrt(((q[:, None] - r[None]) ** 2).sum(axis=(2, 3, 4)))
    order = distances.argsort(axis=1)[:, :k]
    np.testing.assert_array_equal(result.index, order)
    np.testing.assert_allclose(
        result.distance, np.take_along_axis(distances, order, axis=1), rtol=1e-14
    )


def test_a_copy_has_distance_zero():
    references = uniform(50, 784, seed=2)
    result = nearest_neighbours(references[10:13], references)
    assert result.index[:, 0].tolist() == [10, 11, 12]
    assert result.distance[:, 0].tolist() == [0, 0, 0]


def test_float32_would_confuse_these():
    # Squares near 1e8 leave float32 a spacing of 8; the neighbours differ by 0.04 in squares.
    queries = torch.full((1, 2), 1e4)
    references = torch.tensor([[1e4 + 0.25, 1e4], [1e4, 1e4 - 0.125], [1e4 + 0.5, 1e4]])
    result = nearest_neighbours(queries, references, k=3)
    assert result.index.tolist() == [[1, 0, 2]]
    assert result.distance.tolist() == [[0.125, 0.25, 0.5]]


def test_no_query_is_no_neighbour():
    result = nearest_neighbours(torch.empty(0, 4), uniform(3, 4, seed=3), k=2)
    assert result.distance.shape == result.index.shape == (0, 2)


def test_inputs_without_neighbours():
    good = uniform(3, 4, seed=4)
    broken = good.clone()
    broken[1, 1] = float("nan")
    with pytest.raises(InputError, match=r"references are torch.uint8.*to_float"):
        nearest_neighbours(good, torch.zeros(3, 4, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"queries are a list.*mixed sizes"):
        nearest_neighbours([torch.zeros(3, 4), torch.zeros(3, 5)], good)
    with pytest.raises(InputError, match="queries: 1 of 3 rows hold NaN"):
        nearest_neighbours(broken, good)
    with pytest.raises(InputError, match="differ after the first"):
        nearest_neighbours(good, uniform(3, 5, seed=4))
    for k in (0, 4):
        with pytest.raises(InputError, match=f"k is {k}; expected 1 to 3"):
            nearest_neighbours(good, good, k=k)
    with pytest.raises(InputError, match="chunk is 0"):
        nearest_neighbours(good, good, chunk=0)


def test_memorisation_ratio_by_hand():
    samples = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    train = samples + torch.tensor([[0.1], [0.2], [0.2], [0.1]])
    held_out = samples + torch.tensor([[0.3], [0.4], [0.2], [0.1]])
    # Medians of four: (0.1, 0.1, 0.2, 0.2) is 0.15, (0.1, 0.2, 0.3, 0.4) is 0.25.
    result = memorisation_ratio(samples, train, held_out, seed=0)
    assert result.mean == pytest.approx(0.15 / 0.25, rel=1e-5)


def test_memorisation_ratio_tells_copying_from_generalising():
    train, held_out, fresh = (uniform(n, 16, seed=5 + n) for n in (800, 200, 400))
    noise = uniform(200, 16, seed=5) * 0.01
    generalises = memorisation_ratio(fresh, train, held_out, seed=0).mean
    # The medians of 400 nearest distances, whose spread is about 10 %, agree to a per cent or two.
    assert generalises == pytest.approx(1, abs=0.05)
    # With all 800 training images the nearest is nearer by chance: sizes must be made equal.
    distances = [
        nearest_neighbours(fresh, images).distance.median() for images in (train, held_out)
    ]
    assert float(distances[0] / distances[1]) < 0.95
    copies = train[:200] + noise
    result = memorisation_ratio(copies, train[:200], held_out, seed=0)
    assert result.mean < 0.1
    assert result.error < 0.01


def test_memorisation_ratio_depends_on_the_seed_alone():
    train, held_out, samples = (uniform(n, 3, seed=n) for n in (90, 30, 20))
    result = [memorisation_ratio(samples, train, held_out, seed=seed) for seed in (1, 1, 2)]
    assert result[0] == result[1]
    assert result[0].mean != result[2].mean


def test_the_error_of_the_memorisation_ratio_is_its_spread_over_new_samples():
    train, held_out = uniform(200, 8, seed=8), uniform(200, 8, seed=9)
    result = [
        memorisation_ratio(uniform(300, 8, seed=10 + s), train, held_out, seed=s)
        for s in range(100)
    ]
    spread = float(torch.tensor([item.mean for item in result]).std())
    errors = torch.tensor([item.error for item in result])
    # 100 draws know the spread to 7 %; the bootstrap of a median overstates a little.
    assert float(errors.square().mean().sqrt()) == pytest.approx(spread, rel=0.25)


def test_one_sample_has_a_ratio_and_nothing_to_resample():
    result = memorisation_ratio(
        uniform(1, 3, seed=1), *(uniform(9, 3, seed=s) for s in (2, 3)), seed=0
    )
    assert result.mean > 0
    assert result.error == math.inf


def test_memorisation_ratio_without_a_ratio():
    images = uniform(5, 4, seed=6)
    result = memorisation_ratio(images, uniform(5, 4, seed=7), images, seed=0)
    assert result.mean == result.error == math.inf
    with pytest.raises(InputError, match="repeats is 1"):
        memorisation_ratio(images, images, images, repeats=1, seed=0)
    for name, sets in {
        "samples": (images[:0], images, images),
        "train": (images, images[:0], images),
        "held_out": (images, images, images[:0]),
    }.items():
        with pytest.raises(InputError, match=f"{name} holds no image"):
            memorisation_ratio(*sets, seed=0)
