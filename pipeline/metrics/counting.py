"""Counting distinct codes in one pass, exactly and in bounded memory.

A code is an index (N,) or a vector of integers (N, D). Vectors are reduced to 128-bit fingerprints on their device;
see `Fingerprint` for how seldom two of them share one. LL-VQ-VAE calls the count of a dense lattice infeasible
(section 4.3.1); sorted fingerprints make it one of the cheaper parts of an evaluation.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

INDEX_LIMIT = 2**22  # indices below it are counted in a plain array
PARTITIONS = 256
BLOCK = 2**18  # numbers hashed at once, so that they stay in a core's cache
RECORD = np.dtype([("high", np.uint64), ("low", np.uint64), ("count", np.int64)])
SEED = 20231009


class Fingerprint:
    """Two 64-bit multilinear hashes, a + Σ aᵢ·xᵢ modulo 2⁶⁴, with multipliers drawn from all 64-bit numbers.

    Two vectors that differ in some component by d share one hash with probability 2^(v - 64), where 2^v is the largest
    power of two dividing all their differences (the equation a·d ≡ 0 modulo 2⁶⁴ has 2^v solutions a), and both with
    its square. Components between -R and R have v ≤ log2(2R). So among n vectors the probability that any two distinct
    ones are counted as one is at most n²/2 · 2^(2·log2(2R) - 128): for 10⁷ vectors with |xᵢ| < 2¹⁰ below 10⁻¹⁸,
    for 4.6·10⁹ below 10⁻¹². It is over the choice of multipliers, which no data set has seen.
    """

    def __init__(self, dim: int) -> None:
        self.multipliers = np.random.default_rng([SEED, dim]).integers(-(2**63), 2**63 - 1, (2, 1 + dim), endpoint=True)
        self._on: dict[torch.device, Tensor] = {}

    def __call__(self, codes: Int[Tensor, "n d"]) -> Int64[Tensor, "n 2"]:
        """The fingerprints, on the codes' device."""
        if codes.device not in self._on:
            self._on[codes.device] = torch.from_numpy(self.multipliers).to(codes.device)
        start, factors = self._on[codes.device][:, 0], self._on[codes.device][:, 1:]
        rows = max(1, BLOCK // codes.shape[1]) if codes.device.type == "cpu" else max(1, 2**24 // codes.shape[1])
        parts = []
        for part in codes.split(rows):
            wide = part.to(torch.int64)
            parts.append(torch.stack([(wide * factor).sum(1) for factor in factors], 1) + start)
        return torch.cat(parts) if parts else start.new_empty((0, 2))


def collision_bound(vectors: int, largest: int) -> float:
    """An upper bound of the probability that a count of `vectors` vectors with components up to ±`largest` is too low.

    See `Fingerprint`. 1 says nothing.
    """
    return min(1.0, math.ldexp(float(vectors) ** 2 / 2, 2 * math.ceil(math.log2(2 * max(largest, 1))) - 128))


class Counter:
    """Counts distinct codes and how often each occurs. Every batch must have the same number of dimensions.

    Indices below 2²² are counted in an array. Vectors are kept as fingerprints, 24 bytes for each distinct one; when
    they outgrow `memory`, they move to 256 temporary files, split by fingerprint so that each can be counted alone.

    Args:
        memory: bytes that fingerprints may take in memory, about; at least 1 MB.
        folder: where temporary files go; by default the system's place for them.
    """

    def __init__(self, *, memory: int = 2**30, folder: Path | None = None) -> None:
        if memory < 10**6:
            raise ValueError(f"memory is {memory} bytes, but a counter needs at least 1,000,000")
        self.total = 0
        self._limit = memory // (4 * RECORD.itemsize)  # sorting takes three more copies
        self._folder = folder
        self._shape: tuple[int, ...] | None = None
        self._array = np.zeros(0, np.int64)
        self._fingerprint: Fingerprint | None = None
        self._fresh: list[np.ndarray] = []
        self._waiting = 0
        self._table = np.empty(0, RECORD)
        self._files: _Files | None = None
        self._result: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, codes: Int[Tensor, "n ..."]) -> None:
        """Count a batch: (N,) or (N, D) integers, on any device.

        Raises:
            ValueError: not integers, not (N,) or (N, D), or another D than before.
        """
        if codes.is_floating_point() or codes.ndim not in (1, 2):
            raise ValueError(f"codes must be integers (N,) or (N, D), but they are {codes.dtype} {tuple(codes.shape)}")
        if self._shape is not None and codes.shape[1:] != self._shape:
            raise ValueError(f"codes have the shape {tuple(codes.shape)}, but those before had (N, *{self._shape})")
        self._shape = tuple(codes.shape[1:])
        self._result = None
        self.total += len(codes)
        if len(codes) == 0:
            return
        if codes.ndim == 1 and self._fingerprint is None and _small(codes):
            self._count_indices(codes)
        else:
            self._count_vectors(codes.view(len(codes), -1))

    def _count_indices(self, codes: Int[Tensor, " n"]) -> None:
        more = torch.bincount(codes, minlength=len(self._array)).cpu().numpy()
        more[: len(self._array)] += self._array
        self._array = more

    def _count_vectors(self, codes: Int[Tensor, "n d"]) -> None:
        if self._fingerprint is None:
            self._fingerprint = Fingerprint(codes.shape[1])
            self._move_indices()
        fresh = self._fingerprint(codes).cpu().numpy().view(np.uint64)
        for start in range(0, len(fresh), self._limit):
            piece = fresh[start : start + self._limit]
            self._fresh.append(piece)
            self._waiting += len(piece)
            if self._waiting >= self._limit:
                self._merge()

    def _move_indices(self) -> None:
        """Indices that fitted the array so far join one that does not."""
        assert self._fingerprint is not None
        used = np.flatnonzero(self._array)
        high, low = self._fingerprint(torch.from_numpy(used)[:, None]).numpy().view(np.uint64).T
        self._table = _collapse(high, low, self._array[used])
        self._array = np.zeros(0, np.int64)

    def _merge(self) -> None:
        """Fresh fingerprints into the table; the table to the files when it is full."""
        if self._fresh:
            fresh = np.concatenate(self._fresh)
            added = _collapse(fresh[:, 0], fresh[:, 1], None)
            self._fresh, self._waiting = [], 0
            self._table = _collapse_tables([self._table, added])
        if len(self._table) >= self._limit:
            self._files = self._files or _Files(self._folder)
            self._files.append(self._table)
            self._table = np.empty(0, RECORD)

    def _histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """How often codes occur, falling, and how many codes occur that often."""
        if self._result is None:
            self._merge()
            tables = [self._array[self._array > 0], self._table["count"]]
            if self._files is not None:
                self._files.append(self._table)
                self._table = np.empty(0, RECORD)
                tables = [_collapse_tables([part])["count"] for part in self._files.parts()]
            pairs = [np.unique(counts, return_counts=True) for counts in tables]
            often, how_many = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
            values, which = np.unique(often, return_inverse=True)
            sums = np.zeros(len(values), np.int64)
            np.add.at(sums, which, how_many)
            self._result = values[::-1], sums[::-1]
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


def _small(codes: Int[Tensor, " n"]) -> bool:
    low, high = torch.aminmax(codes)
    return int(low) >= 0 and int(high) < INDEX_LIMIT


def _collapse(high: np.ndarray, low: np.ndarray, count: np.ndarray | None) -> np.ndarray:
    """A table of the distinct fingerprints (high, low), sorted, and the sum of each one's counts (None: all 1)."""
    order = np.argsort(high)
    high, low = high[order], low[order]
    if ((high[1:] == high[:-1]) & (low[1:] < low[:-1])).any():  # rows that share only the high half are out of order
        again = np.lexsort((low, high))
        order, high, low = order[again], high[again], low[again]
    first = np.flatnonzero(np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(high)])
    table = np.empty(len(first), RECORD)
    table["high"], table["low"] = high[first], low[first]
    if count is None:
        table["count"] = np.diff(np.r_[first, len(high)])
    elif len(first):
        table["count"] = np.add.reduceat(count[order], first)
    return table


def _collapse_tables(tables: list[np.ndarray]) -> np.ndarray:
    filled = [table for table in tables if len(table)]
    if len(filled) == 1 and len(tables) > 1:
        return filled[0]
    records = np.concatenate(tables)
    return _collapse(records["high"], records["low"], records["count"])


class _Files:
    """Tables on disk, split by the top bits of the fingerprint; they go when this object goes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="distinct-", dir=folder)
        self._paths = [Path(self._folder.name) / f"{number:03d}" for number in range(PARTITIONS)]

    def append(self, table: np.ndarray) -> None:
        """Add a sorted table: every partition's share of it is a slice."""
        bounds = np.arange(1, PARTITIONS, dtype=np.uint64) * np.uint64(2**64 // PARTITIONS)
        edges = [0, *np.searchsorted(table["high"], bounds).tolist(), len(table)]
        for path, start, stop in zip(self._paths, edges[:-1], edges[1:], strict=True):
            if stop > start:
                with path.open("ab") as file:
                    table[start:stop].tofile(file)

    def parts(self) -> list[np.ndarray]:
        """The partitions, read when they are touched."""
        return [np.memmap(path, RECORD, "r") for path in self._paths if path.exists()]


class Codes:
    """The codes of one or several splits: how often each occurs, and what values the components of vectors take.

    Args:
        memory: bytes that counting may take; see `Counter`.
        by_dimension: count the values of every component of vectors by themselves as well.
    """

    def __init__(self, memory: int, by_dimension: bool = False) -> None:
        self.counter = Counter(memory=memory)
        self.dimensions: list[Counter] = []
        """A counter for each component of vectors, if asked for."""
        self.seconds = 0.0
        """What exact counting took."""
        self._by_dimension = by_dimension
        self._low: Tensor | None = None
        self._high: Tensor | None = None

    def add(self, codes: Int[Tensor, "n ..."]) -> None:
        """Count a batch: (N,) or (N, D) integers, on any device."""
        if codes.is_cuda:
            torch.cuda.synchronize(codes.device)  # what made the codes is not counting
        start = time.perf_counter()
        self.counter.add(codes)  # waits for the device
        self.seconds += time.perf_counter() - start
        if codes.ndim == 1:
            return
        if self._by_dimension:
            self.dimensions = self.dimensions or [Counter() for _ in range(codes.shape[1])]
            for counter, values in zip(self.dimensions, codes.unbind(1), strict=True):
                counter.add(values)
        low, high = codes.amin(0), codes.amax(0)
        self._low = low if self._low is None else torch.minimum(self._low, low)
        self._high = high if self._high is None else torch.maximum(self._high, high)

    @property
    def distinct(self) -> int:
        """How many distinct codes there were."""
        start = time.perf_counter()
        distinct = self.counter.distinct  # sorts what has not been sorted yet
        self.seconds += time.perf_counter() - start
        return distinct

    @property
    def active_dimensions(self) -> int | None:
        """Components of vectors that take more than one value; None for indices."""
        if self._low is None or self._high is None:
            return None
        return int((self._low != self._high).sum())

    @property
    def largest(self) -> int | None:
        """The largest absolute component of vectors; None for indices."""
        if self._low is None or self._high is None:
            return None
        return int(torch.maximum(self._high.abs(), self._low.abs()).max())
