"""Keyed noise: published vectors of Philox, its law, and that a draw depends on its key alone."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy import stats

from cascore.errors import InputError
from cascore.noise import KeyedNoise, Purpose, as_source, philox

MANY = 200_000
# P(|r| sqrt(n) > 5) = 6e-7 for independent samples; the seeds are fixed, so this is no lottery.
SIGMAS = 5


def draw(seed, *, index=0, step=0, purpose=Purpose.CHAIN, size=MANY):
    noise = KeyedNoise(seed, indices=[index])
    return noise.normal((1, size), purpose=purpose, step=step)[0]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_philox_gives_the_published_vectors_of_random123(counter, key, expected):
    words = [torch.tensor([int(w, 16) for w in text.split()]) for text in (counter, key)]
    assert [f"{word:08x}" for word in torch.stack(philox(*words)).tolist()] == expected.split()


def scalar_philox(counter, key):
    """The reference algorithm on Python integers, one block at a time."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 % 2**32, p0 >> 32 ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def test_vectorised_philox_equals_the_scalar_algorithm_and_broadcasts_the_key():
    words = np.random.default_rng(0).integers(0, 2**32, size=(6, 3, 5))
    counter, key = torch.from_numpy(words[:4]), torch.from_numpy(words[4:, :, :1])
    together = torch.stack(philox(counter, key))
    for i, j in itertools.product(range(3), range(5)):
        expected = scalar_philox(counter[:, i, j].tolist(), key[:, i, 0].tolist())
        assert together[:, i, j].tolist() == expected


def test_the_layout_of_a_draw_is_seed_block_index_step_purpose():
    """Seeds are in published results: the numbers behind them may not change."""
    seed, index, step = 0x0123456789ABCDEF, 11, 13
    noise = KeyedNoise([seed], indices=[index], step=4)
    drawn = noise.normal((1, 10), purpose=Purpose.CORRUPTION, step=step - 4)[0]
    key = (seed & 0xFFFFFFFF, seed >> 32)
    expected = []
    for block in range(3):
        words = scalar_philox((block, index, step, 4), key)
        for radial, angular in zip(words[:2], words[2:], strict=True):
            radius = math.sqrt(-2 * math.log((radial + 1) / 2**32))
            angle = 2 * math.pi * angular / 2**32
            expected += [radius * math.cos(angle), radius * math.sin(angle)]
    # float32 rounds the angle to 2.4e-7 and the radius to 3e-7; sizes go up to 6.7.
    np.testing.assert_allclose(drawn.numpy(), expected[:10], atol=5e-6)
    integer = noise.integers(1, high=1000, purpose=Purpose.LEVEL, step=0)
    word = scalar_philox((0, index, 4, 3), key)[0]
    assert integer.tolist() == [word * 1000 >> 32]


def test_purposes_are_frozen():
    assert {p.name: p.value for p in Purpose} == {
        "INITIAL": 0, "CHAIN": 1, "ORDER": 2, "LEVEL": 3, "CORRUPTION": 4, "FLIP": 5, "DATA": 6,
        "DROPOUT": 7, "LABEL": 8, "HELD_OUT": 9, "PROBE": 10,
        "DEQUANTISATION": 11, "SHIFT": 12, "SHARD": 13,
    }  # fmt: skip


@pytest.mark.parametrize("seed", [0, 12345])
def test_numbers_are_standard_normal(seed):
    """200,000 numbers of one key, and one number of each of 200,000 keys."""
    across = KeyedNoise(seed, indices=range(MANY)).normal((MANY, 1), purpose=Purpose.INITIAL)
    for z in (draw(seed), across[:, 0]):
        z = z.double().numpy()
        assert abs(z.mean()) < SIGMAS / math.sqrt(MANY)
        assert abs(z.var() - 1) < SIGMAS * math.sqrt(2 / MANY)
        assert abs((z**3).mean()) < SIGMAS * math.sqrt(15 / MANY)
        assert abs((z**4).mean() - 3) < SIGMAS * math.sqrt(96 / MANY)
        assert stats.kstest(z, "norm").pvalue > 1e-4
        assert 4 < np.abs(z).max() < 6.7  # P(max of 200,000 below 4) = 3e-6


def test_largest_and_smallest_words_stay_finite(monkeypatch):
    for word, largest in ((0, 6.6604), (0xFFFFFFFF, 0.0)):
        monkeypatch.setattr("cascore.noise.philox", lambda c, _, w=word: torch.full_like(c, w))
        z = KeyedNoise([1]).normal((1, 4), purpose=Purpose.CHAIN)
        assert float(z.abs().max()) == pytest.approx(largest, abs=1e-3)


NEIGHBOURS = {
    "seed": lambda: (draw(7), draw(8)),
    "index": lambda: (draw(7), draw(7, index=1)),
    "step": lambda: (draw(7), draw(7, step=1)),
    "purpose": lambda: (draw(7), draw(7, purpose=Purpose.ORDER)),
    "high word of the seed": lambda: (draw(7), draw(7 + 2**32)),
    "seed and index": lambda: (draw(0, index=1), draw(1)),
    "index and step": lambda: (draw(7, index=1), draw(7, step=1)),
    "step and purpose": lambda: (draw(7, step=2), draw(7, step=1, purpose=Purpose.ORDER)),
    "zero": lambda: (draw(0), draw(2**32)),
    "the next number": lambda: (draw(7)[:-1], draw(7)[1:]),
    "the number after the next": lambda: (draw(7)[:-2], draw(7)[2:]),
    "the next block": lambda: (draw(7)[:-4], draw(7)[4:]),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbouring_keys_are_independent(name):
    """Correlation of the numbers and of their squares, within 5 standard errors of 0."""
    a, b = (z.double().numpy() for z in NEIGHBOURS[name]())
    assert abs(np.corrcoef(a, b)[0, 1]) < SIGMAS / math.sqrt(len(a))
    assert abs(np.corrcoef(a**2, b**2)[0, 1]) < SIGMAS / math.sqrt(len(a))


def test_every_bit_of_the_seed_counts():
    seeds = [0, 2**64 - 1, *(2**bit for bit in range(64))]
    firsts = KeyedNoise(seeds).normal((66, 4), purpose=Purpose.INITIAL)
    assert len(firsts.unique(dim=0)) == 66


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 8, 8), (3, 7, 5), (2, 2)])
def test_an_image_does_not_depend_on_its_batch(shape):
    seeds = [3, 2**40 + 1, 5, 0, 2**64 - 1, 6, 7, 8, 9, 10, 11, 12, 13]
    whole = KeyedNoise(seeds).normal((13, *shape), purpose=Purpose.CHAIN, step=2)
    for size in (1, 2, 3, 5, 12):
        for start in range(0, 13, size):
            part = seeds[start : start + size]
            z = KeyedNoise(part).normal((len(part), *shape), purpose=Purpose.CHAIN, step=2)
            assert torch.equal(z, whole[start : start + size])
    backwards = KeyedNoise(seeds[::-1]).normal((13, *shape), purpose=Purpose.CHAIN, step=2)
    assert torch.equal(backwards, whole.flip(0))


def test_a_large_batch_on_several_threads_has_the_numbers_of_each_image_alone():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        whole = KeyedNoise(range(64)).normal((64, 3, 33, 31), purpose=Purpose.CHAIN)
    finally:
        torch.set_num_threads(threads)
    for i in (0, 1, 31, 62, 63):
        alone = KeyedNoise([i]).normal((1, 3, 33, 31), purpose=Purpose.CHAIN)
        assert torch.equal(alone[0], whole[i])


def test_steps_add_up_and_drawing_or_at_leaves_the_original_alone():
    noise = KeyedNoise([1, 2], step=3)
    later = noise.at(5)

    def z(source, step):
        return source.normal((2, 6), purpose=Purpose.CHAIN, step=step)

    assert torch.equal(z(noise, 4), z(later, 2))
    assert torch.equal(z(noise, 4), z(KeyedNoise([1, 2]), 7))
    assert not torch.equal(z(noise, 4), z(later, 4))


@pytest.mark.parametrize("high", [1, 2, 3, 232, 1000])
def test_integers_are_uniform(high):
    """Chi-square over 100,000 keys; and every value, 0 and high - 1 included, is reached."""
    drawn = KeyedNoise(3, indices=range(100_000)).integers(
        100_000, high=high, purpose=Purpose.LEVEL
    )
    assert drawn.dtype == torch.int64
    counts = torch.bincount(drawn, minlength=high)
    assert len(counts) == high
    assert int(counts.min()) > 0
    if high > 1:
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def spread(indices, *, seed=3, step=0):
    noise = KeyedNoise(seed, indices=indices, step=step)
    return noise.spread(len(indices), purpose=Purpose.LEVEL)


def test_shares_are_those_of_the_golden_ratio_from_a_uniform_start():
    """Against 50 digits: a product of words errs by 2^-33 an index, the share by 2^-24."""
    indices = [0, 1, 2, 31, 1000, 99_999]
    starts = torch.stack([spread(indices, step=step) for step in range(3000)])
    assert starts.dtype == torch.float32
    assert stats.kstest(starts[:, 0], "uniform").pvalue > 1e-4
    with localcontext(prec=50):
        golden = (Decimal(5).sqrt() - 1) / 2
        onward = [float(index * golden % 1) for index in indices]
    off = (starts[:100].double() - starts[:100, :1] - torch.tensor(onward)).remainder(1)
    bound = torch.tensor(indices).double() * 2.0**-33 + 2.0**-23
    assert bool((torch.minimum(off, 1 - off) <= bound).all())


@pytest.mark.parametrize("count", [1, 2, 5, 32, 128, 1000])
@pytest.mark.parametrize("first", [0, 7, 64])
def test_a_run_of_shares_leaves_no_large_gap(count, first):
    """The largest gap of n such points is below 2 / n (Sos 1958), on a circle; of n drawn ones it
    is log(n) / n or so."""
    shares = spread(range(first, first + count), step=count).double().sort().values
    assert 0 < float(shares[0]) <= float(shares[-1]) < 1
    gaps = torch.cat([shares, shares[:1] + 1]).diff()
    assert float(gaps.max()) < 2 / count


def test_shares_of_other_seeds_steps_and_purposes_are_others():
    noise = KeyedNoise(range(2000))
    one, other = (noise.spread(2000, purpose=p) for p in (Purpose.LEVEL, Purpose.SHIFT))
    for shares in (one, other):
        assert stats.kstest(shares, "uniform").pvalue > 1e-4
    later = noise.at(1).spread(2000, purpose=Purpose.LEVEL)
    for drawn in (other, later, one.roll(1)):
        assert abs(stats.spearmanr(one, drawn).statistic) < 4 / 2000**0.5
    assert torch.equal(spread([4, 9]), spread(range(10))[[4, 9]])


def test_the_ends_of_every_range_are_allowed():
    drawn = KeyedNoise(3, indices=range(1000)).integers(1000, high=2**31, purpose=Purpose.ORDER)
    assert int(drawn.min()) >= 0
    assert 2**31 * 0.98 < int(drawn.max()) < 2**31
    ends = KeyedNoise([0, 2**64 - 1], indices=[0, 2**32 - 1], step=2**32 - 1)
    assert bool(ends.normal((2, 1), purpose=Purpose.DATA).isfinite().all())
    shares = ends.spread(2, purpose=Purpose.DATA)
    assert 0 < float(shares.min()) <= float(shares.max()) < 1


def permuted(count, indices=None, *, seed=5, step=2):
    indices = range(count) if indices is None else indices
    return KeyedNoise(seed, indices=indices, step=step).permuted(count, purpose=Purpose.ORDER)


def test_a_keyed_permutation_takes_every_place_to_another():
    for count in (*range(1, 131), 997, 1024, 1025, 65_537):
        assert torch.equal(permuted(count).sort().values, torch.arange(count))


@pytest.mark.parametrize("count", [7, 1000, 2**20 + 11, 2**32])
def test_a_keyed_permutation_is_the_literal_feistel_network(count):
    """Black & Rogaway's FE, and walking on while it leads out, in Python's integers."""
    a = next(a for a in range(2**17) if a * a >= count)
    b = next(b for b in range(count // a, count) if a * b >= count)
    places = [*range(min(count, 6)), count // 3, count - 1]
    expected = []
    for place in places:
        while True:
            left, right = place % a, place // a
            for number in range(6):
                modulus = b if number % 2 else a
                word = scalar_philox((number, right, 9, int(Purpose.ORDER)), (123, 1))[0]
                left, right = right, (left + word * modulus // 2**32) % modulus
            place = a * right + left
            if place < count:
                break
        expected.append(place)
    assert permuted(count, places, seed=2**32 + 123, step=9).tolist() == expected


def test_the_place_that_a_key_gives_an_index_is_uniform_and_independent_of_its_neighbours():
    count, keys, cells = 2**20 + 11, 40_000, 8
    pair = [permuted(count, [place] * keys, seed=range(keys)) for place in (777, 778)]
    for places in pair:
        fine = torch.bincount(places * 100 // count, minlength=100)
        assert stats.chisquare(fine.numpy()).pvalue > 1e-4
    first, second = (places * cells // count for places in pair)
    joint = torch.bincount(first * cells + second, minlength=cells**2)
    assert stats.chisquare(joint.numpy()).pvalue > 1e-4
    differences = torch.bincount((pair[0] - pair[1]).remainder(count) * 100 // count)
    assert stats.chisquare(differences.numpy()).pvalue > 1e-4


def test_within_a_permutation_places_know_nothing_of_the_order():
    count, seen = 2**20 + 11, 2**16
    start = torch.arange(seen)
    for first in (0, count // 2, count - seen):
        places = permuted(count, start + first).double()
        lengths = (places[1:] - places[:-1]).abs()
        for one, other in ((start, places), (places[:-1], places[1:]), (start[1:], lengths)):
            r = float(torch.corrcoef(torch.stack([one.double(), other]))[0, 1])
            assert abs(r) * math.sqrt(seen) < SIGMAS
        assert stats.kstest(places / count, "uniform").pvalue > 1e-4


def test_seeds_and_steps_have_permutations_of_their_own():
    """Two random permutations agree in Poisson(1) places, which are more than 12 in 6e-11."""
    count = 2003
    drawn = [permuted(count, seed=seed, step=step) for seed in (0, 2**32) for step in range(30)]
    agreed = [
        int((one == other).sum())
        for number, one in enumerate(drawn)
        for other in [*drawn[:number], torch.arange(count)]
    ]
    assert max(agreed) <= 12
    # 5 standard errors of a mean of Poisson(1), as if all pairs were independent
    assert abs(sum(agreed) / len(agreed) - 1) < SIGMAS / math.sqrt(len(agreed))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_numbers_are_drawn_in_float32_and_cast(dtype):
    noise = KeyedNoise([1, 2])
    single = noise.normal((2, 50), purpose=Purpose.CHAIN)
    other = noise.normal((2, 50), purpose=Purpose.CHAIN, dtype=dtype)
    assert single.dtype == torch.float32
    assert other.dtype == dtype
    assert torch.equal(other, single.to(dtype))


def test_drawing_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    KeyedNoise([1]).normal((1, 5), purpose=Purpose.CHAIN)
    KeyedNoise([1]).integers(1, high=5, purpose=Purpose.LEVEL)
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_is_a_source_of_its_own_stream():
    source = as_source(torch.Generator().manual_seed(5), 2)
    z = source.normal((2, 3), purpose=Purpose.CHAIN, dtype=torch.float64)
    levels = source.integers(6, high=4, purpose=Purpose.LEVEL)
    stream = torch.Generator().manual_seed(5)
    assert torch.equal(z, torch.randn(2, 3, generator=stream).double())
    assert torch.equal(levels, torch.randint(4, (6,), generator=stream))
    shares, start = (
        source.spread(5, purpose=Purpose.LEVEL),
        torch.randint(2**32, (1,), generator=stream),
    )
    expected = (start / 2**32 + torch.arange(5).double() * (5**0.5 - 1) / 2) % 1
    assert torch.allclose(shares.double(), expected, rtol=0, atol=2.0**-23)
    assert as_source(source, 2) is source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyedNoise(3), "indices="),
        (lambda: KeyedNoise([-1]), "-1"),
        (lambda: KeyedNoise([2**64]), str(2**64)),
        (lambda: KeyedNoise([1, 2, 3], indices=[0, 1]), "3 seeds for 2 indices"),
        (lambda: KeyedNoise(1, indices=[-1]), "index"),
        (lambda: KeyedNoise(1, indices=[2**32]), "index"),
        (lambda: KeyedNoise([1, 2]).normal((3, 4), purpose=Purpose.CHAIN), "for 2 samples"),
        (lambda: KeyedNoise([1, 2]).integers(1, high=4, purpose=Purpose.LEVEL), "for 2 samples"),
        (lambda: KeyedNoise([1, 2]).spread(1, purpose=Purpose.LEVEL), "for 2 samples"),
        (lambda: KeyedNoise([1]).integers(1, high=0, purpose=Purpose.LEVEL), "not 0"),
        (lambda: KeyedNoise([1]).integers(1, high=2**31 + 1, purpose=Purpose.LEVEL), "high"),
        (lambda: KeyedNoise([1]).normal((1, 4), purpose=Purpose.CHAIN, step=-1), "-1"),
        (lambda: KeyedNoise([1], step=2**32).normal((1, 4), purpose=Purpose.CHAIN), "step"),
        (lambda: permuted(4, [0, 4]), "of 4 places there is none 4"),
        (lambda: permuted(4, step=2**32), "step"),
    ],
)
def test_misuse_is_an_input_error(make, message):
    with pytest.raises(InputError, match=message):
        make()
