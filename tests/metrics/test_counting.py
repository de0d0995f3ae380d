"""Counting distinct codes: by hand, against plain Python, and through temporary files."""

import inspect
import math
import tempfile
from collections import Counter as PlainCounter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.metrics.counting import Codes, Counter, _merged, collision_bound, fingerprints, multipliers


def count(batches: list[Tensor], **options: object) -> Counter:
    counter = Counter(**options)
    for batch in batches:
        counter.add(batch)
    return counter


def expected(batches: list[Tensor]) -> list[int]:
    plain = PlainCounter(tuple(row) if isinstance(row, list) else row for batch in batches for row in batch.tolist())
    return sorted(plain.values(), reverse=True)


def test_indices_by_hand() -> None:
    counter = count([torch.tensor([0, 1, 1, 7]), torch.tensor([1, 7, 0, 1])])
    assert counter.distinct == 3
    assert counter.counts().tolist() == [4, 2, 2]
    assert counter.counts(2).tolist() == [4, 2]
    assert counter.entropy_bits() == pytest.approx(1.5)
    assert counter.perplexity() == pytest.approx(2**1.5)
    assert counter.total == 8


def test_nothing_counted_and_one_code() -> None:
    counter = Counter()
    assert (counter.distinct, counter.entropy_bits(), counter.counts().tolist()) == (0, 0.0, [])
    counter.add(torch.empty(0, 3, dtype=torch.int32))
    assert counter.distinct == 0
    counter.add(torch.ones(5, 3, dtype=torch.int32))
    assert (counter.distinct, counter.entropy_bits(), counter.perplexity()) == (1, 0.0, 1.0)
    assert math.copysign(1, counter.entropy_bits()) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([torch.int8, torch.int32, torch.int64]),
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.integers(0, 4),
    st.integers(1, 40),
    st.integers(0, 2**31),
)
def test_agrees_with_plain_counting(dtype: torch.dtype, sizes: list[int], d: int, reach: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (d,) if d else ()
    batches = [torch.randint(-reach, reach, (n, *shape), generator=generator).to(dtype) for n in sizes]
    counter = count(batches)
    assert counter.counts().tolist() == expected(batches)
    assert counter.distinct == len(expected(batches))


def test_counting_goes_on_after_an_answer() -> None:
    counter = count([torch.tensor([[1, 2], [3, 4]])])
    assert counter.distinct == 2
    counter.add(torch.tensor([[3, 4], [5, 6]]))
    assert counter.counts().tolist() == [2, 1, 1]


def test_indices_of_any_size_by_hand() -> None:
    batches = [torch.tensor([0, 5, 5]), torch.tensor([5, -1, 2**40]), torch.tensor([0, 3])]
    assert count(batches).counts().tolist() == [3, 2, 1, 1, 1]


def test_memory_is_bounded_by_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    pool = torch.randint(-50, 50, (40_000, 8), generator=generator, dtype=torch.int32)
    batches = [pool[torch.randint(40_000, (12_000,), generator=generator)] for _ in range(8)]
    small = count(batches, memory=10**6)
    assert sum(table.shape[1] for table in small._tables) <= 10**6 // (4 * 24)
    assert len(small._on_disk) > 3
    large = count(batches)
    assert large._on_disk == []
    assert small.counts().tolist() == large.counts().tolist() == expected(batches)
    assert small.entropy_bits() == pytest.approx(large.entropy_bits(), rel=1e-12)
    small.add(batches[0])
    assert small.counts().sum() == 108_000
    assert small.counts().tolist() == expected([*batches, batches[0]])
    assert not any(tmp_path.iterdir())  # files without a name, which go with the process if need be


def test_a_shared_half_of_a_fingerprint_is_no_collision() -> None:
    table = np.array([[3, 1, 3, 3, 1, 3], [9, 4, 2, 9, 4, 2], [1, 2, 4, 8, 16, 32]], np.uint64)
    assert _merged([table]).tolist() == [[1, 3, 3], [4, 2, 9], [18, 36, 9]]
    assert _merged([table[:, :2], table[:, 2:]]).tolist() == [[1, 3, 3], [4, 2, 9], [18, 36, 9]]


def test_entropy_against_float64() -> None:
    codes = torch.randint(0, 30, (5000,), generator=torch.Generator().manual_seed(1)) ** 2
    share = np.unique(codes.numpy(), return_counts=True)[1] / 5000
    assert count([codes]).entropy_bits() == pytest.approx(-(share * np.log2(share)).sum(), rel=1e-12)


def test_fingerprints_are_the_multilinear_hash() -> None:
    """Recomputed with Python's unbounded integers."""
    codes = torch.tensor([[1, -2, 3], [2**31 - 1, -(2**31), 0]], dtype=torch.int32)
    for row, found in zip(codes.tolist(), fingerprints(codes).tolist(), strict=True):
        for factors, value in zip(multipliers(3).tolist(), found, strict=True):
            full = factors[0] + sum(a * x for a, x in zip(factors[1:], row, strict=True))
            assert value % 2**64 == full % 2**64


def test_fingerprints_of_close_vectors_differ() -> None:
    grid = torch.cartesian_prod(*[torch.arange(-4, 4)] * 5)
    hashes = fingerprints(grid)
    for half in hashes.T:
        assert len(half.unique()) == len(grid)
    different = (hashes[1:, 0] ^ hashes[:-1, 0]).numpy().view(np.uint64)
    assert 24 < np.bitwise_count(different).mean() < 40


def test_indices_never_share_a_fingerprint() -> None:
    """x ↦ a·x modulo 2⁶⁴ is one to one where a is odd."""
    assert (multipliers(1)[:, 1] % 2 == 1).any()


def test_collision_bound() -> None:
    assert collision_bound(10**7, 2**10 - 1) < 1e-18
    assert collision_bound(4_587_520_000, 2**10 - 1) < 1e-12
    assert collision_bound(10**7, 2**62) == 1.0
    assert collision_bound(2, 1) == pytest.approx(2 * 2.0**-126)


def test_codes_know_their_dimensions() -> None:
    codes = Codes(10**6, by_dimension=True)
    for batch in ([[1, 0], [1, -5]], [[1, 2], [1, 2]]):
        codes.add(torch.tensor(batch, dtype=torch.int32))
    assert (codes.distinct, codes.active_dimensions, codes.largest) == (3, 1, 5)
    assert [counter.distinct for counter in codes.dimensions] == [1, 3]
    assert codes.seconds > 0
    indices = Codes(10**6, by_dimension=True)
    indices.add(torch.tensor([3, 3, 4]))
    assert (indices.distinct, indices.dimensions, indices.active_dimensions, indices.largest) == (2, [], None, None)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"integers.*float32"):
        inspect.unwrap(Counter.add)(Counter(), torch.zeros(3, 2))
