"""The nearest code: against brute force in float64, against exact fractions, and where the usual formula goes wrong."""

import inspect
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.core import devices
from pipeline.quantizers.search import bisection, nearest, products, tree

GRID = [(512, 128), (1024, 64), (2048, 32), (4096, 16), (8192, 8), (16384, 4), (32768, 2), (65536, 1)]


def brute(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Squared differences in float64; torch.argmin gives the first of equals."""
    rows = [((v.double() - codebook.double()) ** 2).sum(1).argmin() for v in vectors]
    return torch.stack(rows)


def usual(vectors: Tensor, codebook: Tensor) -> Tensor:
    return ((vectors**2).sum(1, keepdim=True) + (codebook**2).sum(1) - 2 * vectors @ codebook.t()).argmin(1)


def codes_of(kind: str, k: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(k + d)
    normal = torch.randn(k, d, generator=generator)
    uniform = (2 * torch.rand(k, d, generator=generator) - 1) / k
    clustered = normal[: k // 64].repeat(64, 1) + uniform
    duplicated = normal[torch.randint(k // 32, (k,), generator=generator)]
    far = normal + 100.0
    flat = normal * 2.0 ** -torch.arange(d)
    kinds = {"normal": normal, "box": uniform, "clustered": clustered, "duplicated": duplicated, "far": far}
    return {**kinds, "flat": flat}[kind]


@pytest.mark.parametrize("kind", ["normal", "box", "clustered", "duplicated", "far", "flat"])
@pytest.mark.parametrize(("k", "d"), GRID)
def test_agrees_with_brute_force_on_every_pair(k: int, d: int, kind: str) -> None:
    codebook = codes_of(kind, k, d)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(100, d, generator=generator) + (100.0 if kind == "far" else 0.0)
    on_codes = codebook[torch.randint(k, (30,), generator=generator)]
    midway = (codebook[:10] + codebook[10:20]) / 2
    vectors = torch.cat([vectors, on_codes, midway])
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))


def test_the_usual_formula_is_wrong_where_this_is_right() -> None:
    codebook = codes_of("normal", 65536, 1)
    vectors = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    assert (usual(vectors, codebook) != brute(vectors, codebook)).any()
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))


def exactly(vectors: Tensor, codebook: Tensor) -> list[int]:
    def squared(v: list[float], c: list[float]) -> Fraction:
        return sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(v, c, strict=True)), Fraction(0))

    codes = codebook.tolist()
    return [min(range(len(codes)), key=lambda k: squared(v, codes[k])) for v in vectors.tolist()]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 20), st.integers(-12, 12), st.integers(0, 2**31))
def test_ties_on_a_grid_go_to_the_smallest_index(d: int, k: int, n: int, exponent: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codebook = torch.randint(-2, 3, (k, d), generator=generator) * 2.0**exponent
    vectors = torch.randint(-5, 6, (n, d), generator=generator) * 2.0 ** (exponent - 1)
    expected = exactly(vectors, codebook)
    assert nearest(vectors, codebook).tolist() == expected
    if n:
        assert products.nearest(vectors, codebook).tolist() == expected
    if n and k > 1:
        assert tree.nearest(vectors, codebook).tolist() == expected
        assert tree.nearest(vectors, codebook, crowded=True).tolist() == expected
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tree, "EQUALS_WORTH", 0)
            assert tree.nearest(vectors, codebook).tolist() == expected


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=12), st.lists(numbers, min_size=1, max_size=12))
def test_one_dimension_is_exact_over_all_of_float32(codes: list[float], values: list[float]) -> None:
    codebook, vectors = torch.tensor(codes).unsqueeze(1), torch.tensor(values).unsqueeze(1)
    assert nearest(vectors, codebook).tolist() == exactly(vectors, codebook)


def test_sorting_puts_the_smallest_index_of_equals_first() -> None:
    values = torch.tensor([2.0, -0.0, 1e-45, 0.0, -1e-45, -3e38, 3e38, 2.0, -1.0, 0.0, -1.0])
    found, order = bisection.in_order(values)
    assert order.tolist() == [5, 8, 10, 4, 1, 3, 9, 2, 0, 7, 6]
    assert torch.equal(found, values[order])
    many = torch.randn(5000, generator=torch.Generator().manual_seed(0)).mul_(100).round_().div_(100)
    expected = many.sort(stable=True)
    assert all(torch.equal(*pair) for pair in zip(bisection.in_order(many), expected, strict=True))


def test_a_tree_where_codes_spread_in_few_dimensions() -> None:
    vectors = torch.randn(128, 8)
    assert tree.worth_it(vectors, codes_of("flat", 8192, 8))
    assert tree.worth_it(vectors, torch.full((8192, 8), 0.3))
    assert not tree.worth_it(vectors, codes_of("normal", 8192, 8))
    assert not tree.worth_it(vectors[:100], codes_of("flat", 8192, 8))
    assert not tree.worth_it(vectors.repeat(8, 1), codes_of("flat", 2048, 8))
    assert tree.worth_it(vectors[:, :4], codes_of("normal", 8192, 4))
    assert not tree.worth_it(vectors.repeat(1, 2), codes_of("flat", 8192, 16))


@pytest.mark.parametrize("d", [1, 3, 16])
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-12, 1e12, 1e30, 3e37])
def test_huge_and_tiny_values(d: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    codebook, vectors = torch.randn(60, d, generator=generator), torch.randn(40, d, generator=generator)
    vectors, codebook = vectors * scale, codebook * scale
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))


def test_float64_beyond_the_range_of_its_squares() -> None:
    codebook = torch.tensor([[-1e200, 0.0], [1e200, 1e200], [0.0, 2e199]], dtype=torch.float64)
    assert nearest(torch.tensor([[9e199, 9e199], [1e198, 1e199]], dtype=torch.float64), codebook).tolist() == [1, 2]


def test_a_dead_code_far_away_makes_nothing_uncertain() -> None:
    codebook = codes_of("normal", 512, 16)
    codebook[7] = 1e6
    vectors = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    nominate = products.Nominator(vectors, codebook, len(vectors), torch.float32)
    index, tied, _ = nominate(vectors)
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))
    assert len(tied) < 20
    assert (index != 7).all()


def crowd(kind: str, n: int, k: int, d: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Vectors and codes as training leaves them, where the codes lie far closer together than the vectors are wide."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def chosen(rows: Tensor, count: int) -> Tensor:
        return rows[torch.randint(len(rows), (count,), generator=generator)]

    box = (2 * torch.rand(k, d, generator=generator) - 1) / 512
    live = torch.where(torch.arange(k)[:, None] % 25 == 0, normal(k, d), box)
    background = 3 * normal(1, d) + 1e-3 * normal(n, d)
    return {
        "dead box": (chosen(torch.cat([background, normal(n, d)]), n), live),
        "in the box": (box.mean(0) + 1e-3 * normal(n, d), live),
        "far from the box": (40 * normal(1, d) + 1e-3 * normal(n, d), live),
        "half dead": (background, torch.where(torch.arange(k)[:, None] % 2 == 0, 30 * normal(k, d), box)),
        "tight clusters": (normal(n, d), chosen(normal(4, d), k) + 1e-6 * normal(k, d)),
        "a unit apart in the last place": (
            normal(n, d),
            normal(1, d) * (1 + 2.0**-23 * chosen(torch.arange(5.0), k)[:, None]),
        ),
        "duplicated codes": (normal(n, d), chosen(normal(5, d), k)),
        "equal vectors": (chosen(background[:2], n), live),
        "huge offset": (1e4 + normal(n, d), 1e4 + normal(k, d)),
        "codes far away": (normal(n, d), torch.where(torch.arange(k)[:, None] % 25 == 0, 1.0, 1e5) * normal(k, d)),
    }[kind]


CROWDS = [
    "dead box",
    "in the box",
    "far from the box",
    "half dead",
    "tight clusters",
    "a unit apart in the last place",
    "duplicated codes",
    "equal vectors",
    "huge offset",
    "codes far away",
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(CROWDS),
    st.sampled_from([(40, 2), (100, 5), (300, 16), (513, 64), (60, 130)]),
    st.integers(-60, 20),
    st.integers(0, 2**31),
)
def test_crowded_codes_agree_with_brute_force(kind: str, shape: tuple[int, int], exponent: int, seed: int) -> None:
    vectors, codebook = crowd(kind, 50, *shape, torch.Generator().manual_seed(seed))
    vectors, codebook = vectors * 2.0**exponent, codebook * 2.0**exponent
    expected = brute(vectors, codebook)
    assert torch.equal(nearest(vectors, codebook), expected)
    assert torch.equal(products.nearest(vectors, codebook), expected)


@pytest.mark.parametrize("kind", ["dead box", "in the box", "far from the box", "equal vectors", "codes far away"])
def test_next_to_dead_codes_float32_decides_for_all_but_a_few(kind: str) -> None:
    """Centred on the vectors instead, each has hundreds of candidates."""
    vectors, codebook = crowd(kind, 2000, 512, 64, torch.Generator().manual_seed(0))
    nominate = products.Nominator(vectors, codebook, len(vectors), torch.float32)
    _, tied, limit = nominate(vectors)
    assert len(tied) < 200
    assert len(tied) == 0 or nominate.candidates(tied, limit).sum(1).max() <= 4


@pytest.mark.parametrize("kind", [kind for kind in CROWDS if kind != "duplicated codes"])
def test_what_float32_leaves_open_products_in_float64_decide(kind: str) -> None:
    """So that no vector is compared with many codes one by one, whatever the data."""
    vectors, codebook = crowd(kind, 500, 512, 64, torch.Generator().manual_seed(0))
    nominate = products.Nominator(vectors, codebook[products.first_of_equals(codebook)], len(vectors), torch.float64)
    assert len(nominate(vectors)[1]) == 0


@pytest.mark.parametrize("kind", ["half dead", "tight clusters", "duplicated codes"])
def test_few_pairs_are_compared_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, decide = [], products.decide

    def counted(x: Tensor, c: Tensor, row: Tensor, code: Tensor) -> Tensor:
        pairs.append(len(row))
        return decide(x, c, row, code)

    monkeypatch.setattr(products, "decide", counted)
    vectors, codebook = crowd(kind, 2000, 512, 64, torch.Generator().manual_seed(0))
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))
    assert sum(pairs) <= len(vectors) * products.FEW * 2


@pytest.mark.parametrize("d", [1, 2, 8])
def test_many_vectors_and_codes_that_are_all_the_same(d: int) -> None:
    """The k-d tree and the products both meet nothing but ties."""
    same = torch.full((2048, d), 0.3)
    assert nearest(torch.randn(1024, d), same).tolist() == [0] * 1024
    pair = torch.where(torch.arange(2048).unsqueeze(1) < 5, same, -same)
    vectors = torch.full((1024, d), -1.0)
    assert nearest(vectors, pair).tolist() == [5] * 1024


@pytest.mark.parametrize("d", [1, 2, 32])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_taken_at_their_value(d: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    codebook = torch.randn(300, d, generator=generator).to(dtype)
    vectors = torch.randn(50, d, generator=generator).to(dtype)
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))
    assert torch.equal(nearest(vectors.float(), codebook), brute(vectors.float(), codebook))


def test_float64_differences_below_float32_count() -> None:
    codebook = torch.tensor([[1.0, 1.0], [1.0 + 1e-12, 1.0]], dtype=torch.float64)
    assert nearest(torch.tensor([[1.1, 1.0], [0.9, 1.0]], dtype=torch.float64), codebook).tolist() == [1, 0]


def test_autocast_and_matmul_precision_change_nothing() -> None:
    codebook = codes_of("box", 2048, 32)
    vectors = torch.randn(300, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = brute(vectors.detach(), codebook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest(vectors, codebook), expected)
    assert torch.equal(nearest(vectors, codebook.requires_grad_()), expected)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert torch.equal(nearest(vectors, codebook), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_of_reduced_precision_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_factors", lambda device: (torch.ones(64, 64), torch.ones(64, 64)))
    vectors, codebook = torch.randn(50, 16), torch.randn(64, 16)
    assert torch.equal(nearest(vectors, codebook), brute(vectors, codebook))


def test_strided_inputs_empty_inputs_one_code() -> None:
    wide = torch.randn(16, 40)
    codebook = torch.randn(8, 64)
    assert torch.equal(nearest(wide.t(), codebook[:, ::4]), brute(wide.t(), codebook[:, ::4]))
    assert nearest(torch.empty(0, 3), torch.randn(5, 3)).shape == (0,)
    result = nearest(torch.randn(7, 3), torch.randn(1, 3))
    assert result.dtype == torch.int64
    assert result.tolist() == [0] * 7


def test_inputs_are_left_as_they_are() -> None:
    vectors, codebook = torch.randn(20, 6), torch.randn(30, 6)
    before = vectors.clone(), codebook.clone()
    nearest(vectors, codebook)
    assert torch.equal(vectors, before[0])
    assert torch.equal(codebook, before[1])


class Largest(TorchDispatchMode):
    """Remembers the most bytes any one operation gave back."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return result


@pytest.mark.parametrize("kind", ["normal", "duplicated"])
@pytest.mark.parametrize(("k", "d"), [(512, 128), (8192, 8), (65536, 1)])
def test_the_matrix_of_distances_is_never_held(k: int, d: int, kind: str) -> None:
    vectors, codebook = torch.randn(3000, d), codes_of(kind, k, d)
    largest = Largest()
    with largest:
        inspect.unwrap(nearest)(vectors, codebook)
    assert 0 < largest.bytes < 3000 * k * 4 / 1.4
    assert largest.bytes <= 8 * 2**20


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(5, 2\)"):
        inspect.unwrap(nearest)(torch.zeros(4, 3), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="empty"):
        nearest(torch.zeros(4, 3), torch.zeros(0, 3))
    for bad in (float("nan"), float("inf"), -float("inf")):
        vectors = torch.zeros(4, 3)
        vectors[2, 1] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            nearest(vectors, torch.zeros(5, 3))
        with pytest.raises(ValueError, match="NaN or infinity"):
            nearest(torch.zeros(5, 3), vectors)


def test_tf32_on_a_gpu_is_known_without_multiplying() -> None:
    devices.set_precision("tf32")
    try:
        assert not products._full_precision("cuda")
    finally:
        devices.set_precision("float32")
