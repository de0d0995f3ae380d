"""Counting distinct codes in one pass, exactly and in bounded memory.

A code is an index (N,) or a vector of integers (N, D). Either is reduced to a 128-bit fingerprint on its device; see
`fingerprints` for how seldom two codes share one. LL-VQ-VAE calls the count of a dense lattice infeasible (section
4.3.1); sorted fingerprints make it one of the cheaper parts of an evaluation.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, Int64, UInt64
from torch import Tensor

from pipeline.core import ranks

BLOCK = 2**18  # numbers hashed at once, so that they stay in a core's cache
Table = UInt64[np.ndarray, "3 _"]
"""Fingerprints, their high and low halves, and how often each occurred."""

SEED = 20231009


@functools.cache
def multipliers(dim: int) -> Int64[Tensor, "2 n"]:
    """For each of two hashes its a and its aᵢ, n = 1 + `dim` in all, drawn from all 64-bit numbers."""
    drawn = np.random.default_rng([SEED, dim]).integers(-(2**63), 2**63 - 1, (2, 1 + dim), endpoint=True)
    return torch.from_numpy(drawn)


def fingerprints(codes: Int[Tensor, "n d"]) -> Int64[Tensor, "n 2"]:
    """Two 64-bit multilinear hashes, a + Σ aᵢ·xᵢ modulo 2⁶⁴, on the codes' device.

    Two vectors that differ in some component by d share one hash with probability 2^(v - 64), where 2^v is the largest
    power of two dividing all their differences (the equation a·d ≡ 0 modulo 2⁶⁴ has 2^v solutions a), and both with
    its square. Components between -R and R have v ≤ log2(2R). So among n vectors the probability that any two distinct
    ones are counted as one is at most n²/2 · 2^(2·log2(2R) - 128): for 10⁷ vectors with |xᵢ| < 2¹⁰ below 10⁻¹⁸,
    for 4.6·10⁹ below 10⁻¹². It is over the choice of multipliers, which no data set has seen. Two indices never share
    both: the multiplier of one of their hashes is odd.
    """
    start, *factors = multipliers(codes.shape[1]).to(codes.device).split([1, codes.shape[1]], 1)
    hashes = []
    for part in codes.split(max(1, BLOCK // codes.shape[1])):
        wide = part.to(torch.int64)
        hashes.append(torch.stack([(wide * factor).sum(1) for factor in factors[0]], 1))
    return torch.cat(hashes) + start.T


def collision_bound(vectors: int, largest: int) -> float:
    """An upper bound of the probability that a count of `vectors` vectors with components up to ±`largest` is too low.

    See `fingerprints`. 1 says nothing.
    """
    return min(1.0, math.ldexp(float(vectors) ** 2 / 2, 2 * math.ceil(math.log2(2 * max(largest, 1))) - 128))


class Counter:
    """Counts distinct codes and how often each occurs. Every batch must have the same number of dimensions.

    A fingerprint and its count take 24 bytes. Sorted tables of distinct ones that outgrow `memory` move to temporary
    files, in the system's place for them, and are merged from there piece by piece.

    Args:
        memory: bytes that fingerprints may take in memory, about, besides those of one batch.
    """

    def __init__(self, *, memory: int = 2**30) -> None:
        self.total = 0
        self._limit = memory // (4 * 24)  # sorting takes three more copies
        self._tables: list[Table] = []
        self._waiting = 0  # columns in `_tables`
        self._on_disk: list[Table] = []
        self._result: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, codes: Int[Tensor, "n ..."]) -> None:
        """Count a batch: (N,) or (N, D) integers, on any device.

        Raises:
            ValueError: not integers, or not (N,) or (N, D).
        """
        if codes.is_floating_point() or codes.ndim not in (1, 2):
            raise ValueError(f"codes must be integers (N,) or (N, D), but they are {codes.dtype} {tuple(codes.shape)}")
        self._result = None
        self.total += len(codes)
        vectors, times = codes, torch.ones((), dtype=torch.int64)
        if codes.ndim == 1:  # few of them differ
            values, times = codes.unique(return_counts=True)
            vectors = values[:, None]
        halves, times = fingerprints(vectors).cpu(), times.cpu().expand(len(vectors))
        self._tables.append(torch.stack([*halves.unbind(1), times]).numpy().view(np.uint64))
        self._waiting += len(vectors)
        if self._waiting >= self._limit:
            self._make_room()

    def share(self) -> None:
        """Of all that the processes that train together counted, keep one part of the codes: each keeps another."""
        if ranks.count() > 1:
            self._make_room()
            cut = _cut([*self._tables, *self._on_disk], ranks.count())
            received = [ranks.everyones(tables) for tables in cut]
            self._tables, self._on_disk = list(itertools.chain(*received[ranks.index()])), []

    def _make_room(self) -> None:
        """Make one table of all in memory; it moves to a file, which goes with this object, if it is still large."""
        table = _merged(self._tables)
        if table.shape[1] > self._limit // 2:
            with tempfile.TemporaryFile() as file:
                table.tofile(file)
                self._on_disk.append(np.memmap(file, np.uint64, "r", shape=table.shape))
            table = table[:, :0].copy()
        self._tables, self._waiting = [table], table.shape[1]

    def _histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """How often codes occur, falling, and how many codes occur that often."""
        if self._result is None:
            self._make_room()
            tables = [*self._tables, *self._on_disk]
            pieces = 1 + sum(table.shape[1] for table in self._on_disk) // self._limit
            how_many: collections.Counter[int] = collections.Counter()
            for piece in _cut(tables, pieces):
                merged = piece[0] if len(piece) == 1 else _merged(piece)
                values, sums = np.unique(merged[2], return_counts=True)
                how_many.update(dict(zip(values.tolist(), sums.tolist(), strict=True)))
            falling = np.array(sorted(how_many.items(), reverse=True), np.int64).reshape(-1, 2)
            self._result = falling[:, 0], falling[:, 1]
        return self._result

    @property
    def distinct(self) -> int:
        """How many distinct codes there were."""
        return int(self._histogram()[1].sum())

    def counts(self, most: int | None = None) -> Int64[np.ndarray, " m"]:
        """How often each code occurred, most used first; `most` keeps that many at most."""
        values, how_many = self._histogram()
        if most is not None:
            before = np.cumsum(how_many) - how_many
            how_many = np.clip(most - before, 0, how_many)
        return np.repeat(values, how_many)

    def entropy_bits(self) -> float:
        """Shannon entropy of the codes' frequencies, -Σ p·log2 p, in bits per code; 0 where nothing was counted."""
        values, how_many = self._histogram()
        share = values / max(self.total, 1)
        return float(-(how_many * share * np.log2(share)).sum()) + 0.0  # no -0.0

    def perplexity(self) -> float:
        """2 to the entropy: how many equally used codes would carry as much."""
        return 2 ** self.entropy_bits()


def _cut(tables: Sequence[Table], pieces: int) -> list[tuple[Table, ...]]:
    """All sorted tables in pieces, so that a fingerprint is in one piece of each."""
    bounds = np.array([2**64 * piece // pieces for piece in range(1, pieces)], np.uint64)
    return list(zip(*(np.split(table, np.searchsorted(table[0], bounds), axis=1) for table in tables), strict=True))


def _merged(tables: Sequence[Table]) -> Table:
    """One sorted table of the distinct fingerprints in all tables, each with the sum of its counts."""
    high, low, count = np.concatenate([np.empty((3, 0), np.uint64), *tables], 1)
    order = np.argsort(high)
    high, low = high[order], low[order]
    if ((high[1:] == high[:-1]) & (low[1:] < low[:-1])).any():  # columns that share only the high half: out of order
        again = np.lexsort((low, high))
        order, high, low = order[again], high[again], low[again]
    first = np.flatnonzero(np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(high)])
    return np.stack([high[first], low[first], np.add.reduceat(count[order], first)])


class Codes(Counter):
    """The codes of one or several splits: how often each occurs, and what values the components of vectors take.

    Args:
        memory: bytes that counting may take; see `Counter`.
        by_dimension: count the values of every component of vectors by themselves as well.
    """

    def __init__(self, memory: int, by_dimension: bool = False) -> None:
        super().__init__(memory=memory)
        self.dimensions: list[Counter] = []
        """A counter for each component of vectors, if asked for."""
        self.seconds = 0.0
        """What exact counting took."""
        self._by_dimension = by_dimension
        self._range: tuple[Tensor, Tensor] | None = None

    def add(self, codes: Int[Tensor, "n ..."]) -> None:
        """Count a batch: (N,) or (N, D) integers, on any device."""
        if codes.is_cuda:
            torch.cuda.synchronize(codes.device)  # what made the codes is not counting
        start = time.perf_counter()
        super().add(codes)  # waits for the device
        self.seconds += time.perf_counter() - start
        if codes.ndim == 1:
            return
        if self._by_dimension:
            self.dimensions = self.dimensions or [Counter() for _ in range(codes.shape[1])]
            for counter, values in zip(self.dimensions, codes.unbind(1), strict=True):
                counter.add(values)
        low, high = self._range or (codes[0], codes[0])
        self._range = torch.minimum(low, codes.amin(0)), torch.maximum(high, codes.amax(0))

    @property
    def distinct(self) -> int:
        """How many distinct codes there were."""
        start = time.perf_counter()
        distinct = super().distinct  # merges what has not been merged yet
        self.seconds += time.perf_counter() - start
        return distinct

    @property
    def active_dimensions(self) -> int | None:
        """Components of vectors that take more than one value; None for indices."""
        return None if self._range is None else int((self._range[0] != self._range[1]).sum())

    @property
    def largest(self) -> int | None:
        """The largest absolute component of vectors; None for indices."""
        return None if self._range is None else int(torch.stack(self._range).abs().max())
