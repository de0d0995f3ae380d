"""The nearest code, exactly, without ever holding the matrix of N×K distances.

    D = 1         sort the codes, bisect                                     (any device)
    D = 2 … 8     a k-d tree in float64, near-ties decided again             (CPU, many vectors and codes)
    otherwise     products in float32, a chunk at a time, near-ties decided again in float64   (any device)

The usual formula |x|² + |c|² - 2x·c in float32 subtracts large numbers to find a small one and picks a wrong code
where codes lie close together. Here it only nominates: every code that its rounding error could hide is measured again
as the sum of squared differences in float64, and the smallest index wins a tie.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.core.errors import NonFiniteError

CHUNK_CPU = 2**19  # scores held at once: 2 MiB, about what a core's cache holds
ROWS = 32  # of vectors at least, since every chunk reads all codes: 8 MiB of scores for 65,536 codes
CHUNK_GPU = 2**22  # 16 MiB, so that each kernel has enough to do
PAIRS = 2**19  # numbers held at once in float64 while deciding near-ties: 4 MiB
CROWDED = 16  # candidates per vector from which on it pays to look for identical codes
TREE_DIMENSIONS = 4  # in which codes may spread: above it a k-d tree visits most of its leaves
TREE_COMPONENTS = 8  # that a code may have for a tree
TREE_WORTH = 2**20  # scores below which building a tree costs more than it saves
TREE_WORTH_CODES = 2**12  # likewise, where the number of components alone does not make it worth it
TREE_MARGIN = 1e-12  # relative; a k-d tree rounds once per cell on the way down, by 1e-16
EQUALS_WORTH = 2**25  # scores below which looking for identical codes costs more than it saves
SAFE_EXPONENT = 30  # values between 2⁻³⁰ and 2³⁰ have squares and sums of squares in float32's range


def nearest(vectors: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    """The index of the code nearest to each vector, the smallest one where several are equally near.

    Nearest as the sum of squared differences in float64 decides, whatever the inputs' floating type, autocast,
    `torch.compile` or the matmul precision in force. No gradient flows. Besides the inputs it holds less than 64 MB at
    N·D = 12,544·128 and K·D = 65,536.

    Args:
        vectors: (N, D), finite; N may be 0.
        codebook: (K, D), finite, on the same device; K at least 1.

    Returns:
        (N,) int64, on the inputs' device.

    Raises:
        ValueError: shapes that do not fit, or an empty codebook.
        NonFiniteError: a value is NaN or infinite.
    """
    if vectors.ndim != 2 or codebook.ndim != 2 or vectors.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"vectors must be (N, D) and codes (K, D), but they are {tuple(vectors.shape)} and {tuple(codebook.shape)}"
        )
    if codebook.shape[0] == 0 or codebook.shape[1] == 0:
        raise ValueError(f"the codebook is empty: {tuple(codebook.shape)}")
    search = _opaque if torch.compiler.is_compiling() else _nearest  # the first call of `_opaque` loads the compiler
    return search(vectors.detach(), codebook.detach())


def _nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        x, c = _in_range(vectors, codebook)
        if len(x) == 0 or len(c) == 1:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if x.shape[1] == 1:
            return _by_bisection(x[:, 0].contiguous(), c[:, 0].contiguous())
        if x.device.type == "cpu" and _worth_a_tree(x, c):
            return _by_tree(x, c)
        return _by_products(x, c)


@torch.library.custom_op("pipeline::nearest", mutates_args=(), schema="(Tensor vectors, Tensor codebook) -> Tensor")
def _opaque(vectors: Tensor, codebook: Tensor) -> Tensor:
    """One operation to `torch.compile`, which would else be free to reorder its sums."""
    return _nearest(vectors, codebook)


@_opaque.register_fake
def _(vectors: Tensor, codebook: Tensor) -> Tensor:
    return vectors.new_empty(vectors.shape[0], dtype=torch.int64)


def _in_range(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 or float64, scaled by a power of two where squares would leave float32's range."""
    dtype = torch.promote_types(torch.promote_types(vectors.dtype, codebook.dtype), torch.float32)
    x, c = vectors.to(dtype), codebook.to(dtype)
    ends = [torch.stack(torch.aminmax(tensor)) for tensor in (x, c) if tensor.numel()]
    peak = float(torch.cat(ends).abs().max())
    if not np.isfinite(peak):
        raise NonFiniteError("vectors or codes hold NaN or infinity")
    exponent = int(np.frexp(peak)[1])
    if abs(exponent) > SAFE_EXPONENT:
        # In two steps, since 2¹⁰²³ is the largest power a float64 holds; exact but for numbers 2⁻¹⁰⁰⁰ times the peak.
        halves = (2.0 ** (-exponent // 2), 2.0 ** (-exponent - -exponent // 2))
        x, c = (tensor.double() * halves[0] * halves[1] for tensor in (x, c))
    return x, c


def _by_bisection(x: Float[Tensor, " n"], c: Float[Tensor, " k"]) -> Int[Tensor, " n"]:
    """D = 1: the code on the left and the one on the right of each number, compared without rounding."""
    codes, order = _sorted(c)
    right = torch.searchsorted(codes, x).clamp(max=len(c) - 1)
    left = (right - 1).clamp(min=0)
    left, right = torch.searchsorted(codes, codes[torch.stack([left, right])])  # the first of codes equal to it
    low, high, twice = codes[left].double(), codes[right].double(), 2 * x.double()
    # x - low < high - x  ⇔  2x < low + high = total + rest, where rest is the sum's rounding error (Knuth's two-sum).
    total = low + high
    back = total - low
    rest = (low - (total - back)) + (high - back)
    side = torch.where(twice == total, -rest, twice - total)
    on_left, on_right = order[left], order[right]
    decided = torch.where(side < 0, on_left, on_right)
    return torch.where(side == 0, torch.minimum(on_left, on_right), decided)


def _sorted(c: Float[Tensor, " k"]) -> tuple[Tensor, Tensor]:
    """The numbers in rising order and where each came from; of equal ones the smallest index comes first.

    On a CPU a number and its index make one integer: numpy sorts those many times faster than torch sorts stably.
    """
    if c.device.type != "cpu" or c.dtype != torch.float32:
        return c.sort(stable=True)
    bits = (c + 0.0).view(torch.int32)  # −0 is 0; as integers, negative numbers come in falling order
    rising = bits ^ (bits >> 31).bitwise_and_(2**31 - 1)
    keys = torch.arange(len(c)).add_(rising.long().bitwise_left_shift_(32)).numpy()
    order = torch.from_numpy(np.sort(keys)).bitwise_and_(2**32 - 1)
    return c[order], order


def _worth_a_tree(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"]) -> bool:
    """Few dimensions, many vectors and codes. With C the codes' covariance, they spread in about (tr C)²/tr C²."""
    (k, d), n = c.shape, len(x)
    if d > TREE_COMPONENTS or n * k < TREE_WORTH:
        return False
    if d <= TREE_DIMENSIONS:
        return True
    if k < TREE_WORTH_CODES:
        return False
    centred = c.double() - c.double().mean(0)
    covariance = centred.t() @ centred
    return bool(covariance.trace().square() <= TREE_DIMENSIONS * covariance.square().sum())


def _by_tree(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], crowded: bool = False) -> Int[Tensor, " n"]:
    """D = 2 … 8 on the CPU: two nearest codes by a k-d tree; where they are as near, all that are as near.

    Asking for the second nearest is what makes it exact: a code that the tree's rounding could have hidden is as near
    as the first, so that the second it did find is as near, too.
    """
    from scipy.spatial import cKDTree  # here, since few searches need it and it takes a while

    points, workers = c.double().numpy(), torch.get_num_threads()
    # Cells halved in the middle: quicker to build than at the median, and to search where codes crowd together.
    tree = cKDTree(points, leafsize=32, compact_nodes=False, balanced_tree=False)
    distance, found = tree.query(x.double().numpy(), k=2, workers=workers)
    index = torch.from_numpy(found[:, 0].astype(np.int64))
    tied = torch.from_numpy(np.flatnonzero(distance[:, 1] <= distance[:, 0] * (1 + TREE_MARGIN)))
    if len(tied) == 0:
        return index
    if crowded or len(tied) * len(c) < EQUALS_WORTH:
        index[tied] = _by_products(x[tied], c)
        return index
    keep = _first_of_equals(c)
    if len(keep) == 1:
        return keep.expand(len(x))
    index[tied] = keep[_by_tree(x[tied], c[keep], crowded=True)] if len(keep) < len(c) else _by_products(x[tied], c)
    return index


def _by_products(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], crowded: bool = False) -> Int[Tensor, " n"]:
    """Any D: nominate by -x·c + |c|²/2 a chunk at a time, decide between the nominated in float64."""
    size = min(len(x), max(ROWS, (CHUNK_CPU if x.device.type == "cpu" else CHUNK_GPU) // len(c)))
    nominate = _Nominate(x, c, size)
    index = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        index[part], tied, row, code = nominate(x[part])
        if len(tied) == 0:
            continue
        if len(code) > CROWDED * len(x[part]) and not crowded:
            keep = _first_of_equals(c)
            if len(keep) < len(c):
                return keep[_by_products(x, c[keep], crowded=True)]
            crowded = True
        index[start + tied] = _decide(x[part][tied], c, row, code)
    return index


class _Nominate:
    """The codes that could be nearest, by products whose rounding error is bounded.

    With x and c taken relative to a common centre, the score s = |c|²/2 - x·c orders the codes as the distance does.
    Computed in a floating type of unit roundoff u, it is off by at most (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1, rounding of the centring and of |c|²/2 included)
        e ≤ γ(|c|²/2 + |x||c|) ≤ γ/2·((1 + a)|c|² + |x|²/a)   for any a > 0,   γ = (D + 8)u.
    The bound splits into a part of the code, taken off |c|²/2 beforehand, and a part of the vector; a, the typical
    ratio of norms, keeps it small. A dead code far away widens its own bound and no other's.
    """

    def __init__(self, x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], size: int) -> None:
        exact = _full_precision(x.device.type)
        self.dtype = torch.float32 if exact else torch.float64
        gamma = 1.01 * (x.shape[1] + 8) * torch.finfo(self.dtype).eps / 2
        sample = x[:: max(1, len(x) // 256)]
        self.centre = sample.mean(0)
        centred = (c - self.centre).double()
        squares = centred.square().sum(1)
        norm = (sample - self.centre).double().square().sum(1).median().sqrt()
        ratio = ((norm / squares.median().sqrt()).nan_to_num(1.0)).clamp(2.0**-20, 0.1 / gamma)
        self.slack = (gamma / ratio).to(self.dtype)
        self._tile(centred.to(self.dtype), squares, gamma * (1 + ratio))
        # One buffer for all chunks: fresh memory for each would cost more than the products.
        self.scores = x.new_empty((size, self.groups * self.width), dtype=self.dtype)

    def _tile(self, centred: Tensor, squares: Tensor, share: Tensor) -> None:
        """Lay the codes out in about √K/2 groups, so that finding the smallest score reads the scores once."""
        self.k = len(centred)
        self.groups = max(1, 1 << ((self.k.bit_length() - 1) // 2) >> 1)
        self.width = -(-self.k // self.groups)
        padding = self.groups * self.width - self.k
        self.codes = torch.nn.functional.pad(centred, (0, 0, 0, padding)).t()
        bias = torch.nn.functional.pad(squares * (1 - share) / 2, (0, padding), value=torch.inf)
        self.bias, self.doubt = bias.to(self.dtype), (squares * share).to(self.dtype)

    def __call__(self, x: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For a chunk: an index per vector, the vectors it is not sure for, and pairs (which of those, code)."""
        x = (x - self.centre).to(self.dtype)
        scores = torch.addmm(self.bias, x, self.codes, alpha=-1, out=self.scores[: len(x)])
        tiles = scores.view(len(x), self.groups, self.width)
        group_best = tiles.amin(1)
        best, column = group_best.min(1, keepdim=True)
        inside = tiles.gather(2, column.unsqueeze(1).expand(-1, self.groups, -1)).squeeze(2)
        index = (inside.argmin(1, keepdim=True) * self.width + column).squeeze(1)
        wide = self.doubt[index] + self.slack * torch.linalg.vector_norm(x, dim=1).square()
        limit = best + wide.unsqueeze(1) + 2.0**-100  # what underflow of products can hide
        rivals = (group_best <= limit).sum(1) + (inside <= limit).sum(1)
        tied = (rivals > 2).nonzero().squeeze(1)
        row, code = (scores[tied] <= limit[tied]).nonzero().unbind(1)
        return index, tied, row, code


def _decide(
    x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], row: Int[Tensor, " p"], code: Int[Tensor, " p"]
) -> Tensor:
    """For each vector the nearest of its candidates, given as pairs, by squared differences in float64."""
    size = max(1, PAIRS // x.shape[1])
    distance = torch.cat(
        [
            (x[r].double() - c[k].double()).square().sum(1)
            for r, k in zip(row.split(size), code.split(size), strict=True)
        ]
    )
    least = distance.new_full((len(x),), torch.inf).scatter_reduce(0, row, distance, "amin")
    tied = torch.where(distance == least[row], code, len(c))
    return code.new_full((len(x),), len(c)).scatter_reduce(0, row, tied, "amin")


def _first_of_equals(c: Float[Tensor, "k d"]) -> Int[Tensor, " u"]:
    """The indices of the distinct codes, each where it comes first, in rising order."""
    distinct, which = torch.unique(c, dim=0, return_inverse=True)
    index = torch.arange(len(c), device=c.device)
    return index.new_full((len(distinct),), len(c)).scatter_reduce(0, which, index, "amin").sort().values


@functools.cache
def _probe(device: str) -> tuple[Tensor, Tensor]:
    one = torch.ones(64, 64, device=device)
    return one * (1 + 2.0**-20), one


def _full_precision(device: str) -> bool:
    """Whether products of float32 are exact to float32 just now: TF32 and bfloat16 products are a global setting.

    Asked by multiplying, since the setting has an old and a new interface that refuse to be mixed; and on a GPU, which
    may round large products alone, by what the new one says.
    """
    if device == "cuda":
        told = (torch.backends.cuda.matmul.fp32_precision, torch.backends.fp32_precision)  # type: ignore[attr-defined]
        if "tf32" in told:
            return False
    fine, one = _probe(device)
    return bool((fine @ one)[0, 0] > 64)
