"""Keyed random numbers: Philox-4x32-10 of Salmon et al. (SC 2011), vectorised over a batch.

A draw is a function of (seed, purpose, step, index) and of nothing else. There is no position in a
stream, so a picture does not depend on the batch it was computed in, and a training step draws the
same numbers wherever it is resumed and on however many processes it is split.
"""

import math
import operator
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from cascore.errors import InputError

Device = torch.device | str

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, as 32-bit fractions
_ROUNDS = 10
_FEISTEL_ROUNDS = 6  # four are random to who sees few places (Luby & Rackoff 1988); all are seen


class Purpose(IntEnum):
    """What a draw is for. Two purposes never share numbers; the values are part of every seed."""

    INITIAL = 0
    CHAIN = 1
    ORDER = 2
    LEVEL = 3
    CORRUPTION = 4
    FLIP = 5
    DATA = 6
    DROPOUT = 7
    LABEL = 8
    HELD_OUT = 9
    PROBE = 10
    DEQUANTISATION = 11
    SHIFT = 12
    SHARD = 13


@dataclass(frozen=True)
class _GeneratorNoise:
    """A `torch.Generator` as a source: one stream, so the order of calls decides the numbers."""

    generator: torch.Generator

    def normal(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: Device = "cpu",
        **key: int,
    ) -> Tensor:
        del key  # a stream knows neither purpose nor step
        z = torch.randn(tuple(shape), generator=self.generator, device=self.generator.device)
        return z.to(device=device, dtype=dtype)

    def integers(self, count: int, *, high: int, device: Device = "cpu", **key: int) -> Tensor:
        del key
        home = self.generator.device
        return torch.randint(high, (count,), generator=self.generator, device=home).to(device)

    def spread(self, count: int, *, device: Device = "cpu", **key: int) -> Tensor:
        del key
        home = self.generator.device
        first = torch.randint(2**32, (1,), generator=self.generator, device=home).to(device)
        return _spread(first, torch.arange(count, device=device))


class KeyedNoise:
    """Numbers that are a function of (seed, purpose, step, index), one key per sample.

    Args:
        seeds: one seed for all samples, or one per sample; integers of 64 bits, 0 <= seed < 2^64.
        indices: int64 [N], which sample of its seed each row is (default: 0 for every row when
            there is one seed per sample). A training batch has one seed and the indices of its
            rows in the global batch; a batch of pictures has one seed per picture.
        step: added to the step of every draw.
    """

    def __init__(
        self,
        seeds: int | Sequence[int],
        *,
        indices: Sequence[int] | Tensor | None = None,
        step: int = 0,
    ) -> None:
        if isinstance(seeds, int):
            if indices is None:
                raise InputError(
                    "one seed for a batch needs indices= to tell its samples apart;"
                    " give one seed per sample, or indices=range(N)"
                )
            seeds = [seeds]
        seeds = [operator.index(seed) for seed in seeds]
        for seed in seeds:
            if not 0 <= seed < 2**64:
                raise InputError(f"a seed must be an integer from 0 to 2^64 - 1, not {seed}")
        rows = [0] * len(seeds) if indices is None else indices
        self._index = torch.as_tensor(rows, dtype=torch.int64).reshape(-1).cpu()
        if len(seeds) not in (1, self.count):
            raise InputError(f"{len(seeds)} seeds for {self.count} indices: give one seed each")
        if self.count and not 0 <= int(self._index.min()) <= int(self._index.max()) <= _WORD:
            raise InputError("a sample's index must be from 0 to 2^32 - 1")
        words = [[seed & _WORD for seed in seeds], [seed >> 32 for seed in seeds]]
        self._key = torch.tensor(words, dtype=torch.int64).expand(2, self.count)
        self._step = step
        self._copies: dict[torch.device, tuple[Tensor, Tensor]] = {}  # shared with `at`

    @property
    def count(self) -> int:
        """How many samples the source draws for."""
        return len(self._index)

    def at(self, step: int) -> "KeyedNoise":
        """The same keys at another step: what a training step hands to `corrupt`."""
        other = copy(self)
        other._step = step
        return other

    def normal(
        self,
        shape: Sequence[int],
        *,
        purpose: Purpose,
        step: int = 0,
        dtype: torch.dtype = torch.float32,
        device: Device = "cpu",
    ) -> Tensor:
        """N(0, 1) by Box and Muller, drawn in float32 from 32-bit integers; at most 6.7 in size."""
        size = math.prod(shape[1:])
        blocks = -(-size // 4)
        words = self._words(shape[0], blocks=blocks, purpose=purpose, step=step, device=device)
        z = torch.empty(shape[0], blocks, 2, 2, device=device)
        for pair in range(2):
            radius = words[pair].add_(1).float().mul_(2.0**-32).log_().mul_(-2).sqrt_()
            angle = words[pair + 2].float().mul_(2 * math.pi / 2**32)
            torch.mul(radius, angle.cos(), out=z[:, :, pair, 0])
            torch.mul(radius, angle.sin_(), out=z[:, :, pair, 1])
        return z.flatten(1)[:, :size].reshape(tuple(shape)).to(dtype)

    def integers(
        self, count: int, *, high: int, purpose: Purpose, step: int = 0, device: Device = "cpu"
    ) -> Tensor:
        """Uniform integers below `high` <= 2^31 by multiply and shift; bias below high / 2^32."""
        if not 1 <= high <= 2**31:
            raise InputError(f"high must be from 1 to 2^31, not {high}")
        words = self._words(count, blocks=1, purpose=purpose, step=step, device=device)
        return words[0][:, 0] * high >> 32

    def spread(
        self, count: int, *, purpose: Purpose, step: int = 0, device: Device = "cpu"
    ) -> Tensor:
        """Shares in (0, 1), float32 [N], each uniform, and those of one seed evenly spread.

        Sample i of a seed has u + i / golden ratio, modulo 1, of a u that is keyed by seed, purpose
        and step alone: Kronecker's sequence, with a random shift (Cranley & Patterson 1976). Of any
        run of its samples, however a batch is cut, no part of (0, 1) gets many too few or too many.
        """
        self._require(count)
        index = self._on(torch.device(device))[0]
        first = torch.zeros_like(index)[:, None]
        words = self._of_counter(0, first, purpose=purpose, step=step)
        return _spread(words[0][:, 0], index)

    def permuted(self, count: int, *, purpose: Purpose, step: int = 0) -> Tensor:
        """Where a permutation of 0, ..., count - 1 takes the indices, int64 [N], in O(N).

        The permutation is a function of seed, purpose and step: the generalised Feistel network of
        Black & Rogaway (CT-RSA 2002) on a rectangle of places, with Philox as its rounds. What it
        takes beyond `count` it takes further until that lies below. For many places: of few, some
        permutations are likelier than others, and to sort drawn keys is as fast.
        """
        if self.count and not int(self._index.max()) < count:
            raise InputError(f"of {count} places there is none {int(self._index.max())}")
        width = math.isqrt(max(count - 1, 0)) + 1
        sides = (width, -(-count // width))

        def onward(place: Tensor) -> Tensor:
            column, row = place % width, place // width
            for number in range(_FEISTEL_ROUNDS):
                words = self._of_counter(number, row[:, None], purpose=purpose, step=step)
                side = sides[number % 2]
                column, row = row, (column + (words[0][:, 0] * side >> 32)) % side
            return row * width + column

        place = onward(self._index)
        while bool((outside := place >= count).any()):
            place = torch.where(outside, onward(place), place)
        return place

    def _require(self, count: int) -> None:
        if count != self.count:
            raise InputError(f"this noise was keyed for {self.count} samples, not for {count}")

    def _words(
        self, count: int, *, blocks: int, purpose: Purpose, step: int, device: Device
    ) -> tuple[Tensor, ...]:
        self._require(count)
        block = torch.arange(blocks, device=device)
        index = self._on(block.device)[0][:, None].expand(count, blocks)
        return self._of_counter(block, index, purpose=purpose, step=step)

    def _of_counter(
        self, block: int | Tensor, index: Tensor, *, purpose: Purpose, step: int
    ) -> tuple[Tensor, ...]:
        """Four words, each int64 [N, blocks], of the counter (block, index, step, purpose)."""
        step += self._step
        if not 0 <= step <= _WORD:
            raise InputError(f"a step must be from 0 to 2^32 - 1, not {step}")
        counter = torch.empty(4, *index.shape, dtype=torch.int64, device=index.device)
        counter[0], counter[1], counter[2], counter[3] = block, index, step, int(purpose)
        return philox(counter, self._on(index.device)[1][:, :, None])

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Indices and keys on a device, to which they go once: a GPU would wait for each copy."""
        if device not in self._copies:
            self._copies[device] = self._index.to(device), self._key.to(device)
        return self._copies[device]


Noise = torch.Generator | KeyedNoise
"""Where samplers and losses get their random numbers."""


def as_source(noise: Noise | None, count: int) -> KeyedNoise | _GeneratorNoise:
    """A source for `count` samples from what the caller gave; None is seeds 0, ..., count - 1."""
    if noise is None:
        return KeyedNoise(range(count))
    if not isinstance(noise, torch.Generator) and not hasattr(noise, "normal"):
        raise InputError(
            f"noise is a KeyedNoise or a torch.Generator, not {noise!r:.60}: of seeds,"
            " KeyedNoise(seeds) is one"
        )
    return _GeneratorNoise(noise) if isinstance(noise, torch.Generator) else noise


def _spread(first: Tensor, index: Tensor) -> Tensor:
    """Shares first + index / golden ratio, modulo 1, of 32-bit words: odd multiples of 2^-24."""
    word = (first + index * _WEYL[0]).bitwise_and_(_WORD)
    return (word >> 8 | 1).float() / 2**24


def philox(counter: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox-4x32-10: four random 32-bit words for each 128-bit counter and 64-bit key.

    The counter is int64 [4, ...], each entry a 32-bit word, the least significant first; so are the
    words, each int64 [...]. The key is int64 [2, ...], broadcast against the counter.
    """
    a, b, c, d, product, other = torch.cat([counter, counter[:2]])  # the last two to be written
    low, high = key
    for _ in range(_ROUNDS):
        # Products wrap modulo 2^64, which leaves their 64 bits right in two's complement. The upper
        # half of b and d is never looked at, so one mask for each of the others does.
        torch.mul(c, _MULTIPLIERS[1], out=product)
        torch.mul(a, _MULTIPLIERS[0], out=other)
        torch.bitwise_right_shift(product, 32, out=c).bitwise_xor_(b).bitwise_xor_(low)
        torch.bitwise_right_shift(other, 32, out=a).bitwise_xor_(d).bitwise_xor_(high)
        a, b, c, d, product, other = c, product, a, other, b, d
        a.bitwise_and_(_WORD)
        c.bitwise_and_(_WORD)
        low, high = low + _WEYL[0], high + _WEYL[1]
    return a, b.bitwise_and_(_WORD), c, d.bitwise_and_(_WORD)
