"""Any number of components: products nominate codes, a chunk of vectors at a time; differences in float64 decide.

The usual formula |x|² + |c|² - 2x·c in float32 subtracts large numbers to find a small one and picks a wrong code
where codes lie close together. Here it only nominates: every code that its rounding error could hide is a candidate.

    products in float32          few candidates: decided by the sum of squared differences in float64
    └ many candidates            products in float64, which tell apart all but codes that are equally near
      └ equally near             decided by the sum of squared differences in float64

So the cost is at most that of the products in both types, whatever the data, but for vectors that are equally near to
many different codes.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK_CPU = 2**19  # scores held at once: 2 MiB, about what a core's cache holds
CHUNK_GPU = 2**22  # 16 MiB, so that each kernel has enough to do
ROWS = 32  # of vectors at least, since every chunk reads all codes: 8 MiB of scores for 65,536 codes
PAIRS = 2**19  # numbers held at once in float64 while deciding near-ties: 4 MiB
NARROWEST = 32  # of groups of codes; below it PyTorch works out their minimum without vector instructions
SAMPLE = 16  # vectors whose codes give the centre
FEW = 16  # of K codes, up to K / FEW candidates of a vector are decided in less time than K products in float64 take


def nearest(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    """The nearest code, by products in float32 where they are exact to float32 just now."""
    return _nearest(x, c, torch.float32 if _full_precision(x.device.type) else torch.float64, distinct=False)


def _nearest(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], dtype: torch.dtype, distinct: bool) -> Int[Tensor, " n"]:
    """Nominate by |c|²/2 - x·c, a chunk of vectors at a time, and decide between the nominated.

    Args:
        dtype: of the products.
        distinct: the codes are known to differ; there is no use in looking for identical ones.
    """
    size = min(len(x), max(ROWS, (CHUNK_CPU if x.device.type == "cpu" else CHUNK_GPU) // len(c)))
    nominate = Nominator(x, c, size, dtype)
    index = torch.empty(len(x), dtype=torch.int64, device=x.device)
    few = max(FEW, len(c) // FEW)
    unsure = []
    for start in range(0, len(x), size):
        index[start : start + size], tied, limit = nominate(x[start : start + size])
        if len(tied) == 0:
            continue
        rivals = nominate.candidates(tied, limit)
        many = rivals.sum(1) > few
        if many.any():
            keep = None if distinct else first_of_equals(c)
            if keep is not None and len(keep) < len(c):
                return keep[_nearest(x, c[keep], dtype, distinct=True)]
            distinct = True
            if dtype == torch.float32:
                unsure.append(start + tied[many])
                tied, rivals = tied[~many], rivals[~many]
        index[start + tied] = decide(x[start + tied], c, *rivals.nonzero().unbind(1))
    if unsure:
        rest = torch.cat(unsure)
        index[rest] = _nearest(x[rest], c, torch.float64, distinct)
    return index


class Nominator:
    """The codes that could be nearest, by products whose rounding error is bounded.

    With x and c taken relative to a common centre, the score s = |c|²/2 - x·c orders the codes as the distance does.
    Computed in a floating type of unit roundoff u, it is off by at most (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1, rounding of the centring and of |c|²/2 included)
        e = γ(|c|²/2 + |x||c|),   γ = (D + 8)u.
    The products work out s - e, the least that s can be, by one component more: |x| times γ|c|. The code with the
    smallest one has s below (s - e) + 2e, and no code whose s - e lies above that is nearest. Differences in float64,
    which are to have the last word, round by δ|x - c|² ≤ δ(|x| + |c|)², δ being γ in float64: so much is added.

    The centre is where the codes in use are, so that e is small for those, however far away the vectors or other codes
    lie: a code far away has a larger e, and no other has.

    Args:
        size: the most vectors of a chunk.
        dtype: of the products.
    """

    def __init__(self, x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], size: int, dtype: torch.dtype) -> None:
        self.k, d = c.shape
        self.gamma, self.delta = (1.01 * (d + 8) * torch.finfo(each).eps / 2 for each in (dtype, torch.float64))
        self.underflow = torch.finfo(dtype).tiny * 2**20  # what products below the type's range can hide
        # Codes in about √K/2 groups, so that finding the smallest score reads the scores once.
        self.groups = max(1, min(1 << (self.k.bit_length() // 2) >> 1, self.k // NARROWEST))
        self.width = -(-self.k // self.groups)
        codes = c.new_zeros((self.groups * self.width, d + 1), dtype=dtype)
        self.wide = torch.promote_types(c.dtype, dtype)
        self.centre = centre_of(x[:: -(-len(x) // SAMPLE)], c).to(self.wide)
        torch.sub(c.to(self.wide), self.centre, out=codes[: self.k, :d])
        norm = torch.linalg.vector_norm(codes[:, :d], dim=1, dtype=torch.float64)
        bias = norm.square().mul_((1 - self.gamma) / 2)
        bias[self.k :] = torch.inf
        self.bias, self.norm = bias.to(dtype), norm.to(dtype)
        torch.mul(self.norm, self.gamma, out=codes[:, d])
        self.codes = codes.t()
        # One buffer for all chunks: fresh memory for each would cost more than the products.
        self.scores = codes.new_empty((size, len(codes)))
        self.vectors = codes.new_empty((size, d + 1))

    def __call__(self, x: Float[Tensor, "n d"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " t"], Float[Tensor, " n"]]:
        """For a chunk: an index per vector, the vectors it is not sure for, and the most that a candidate may score."""
        n, d = x.shape
        vectors = self.vectors[:n]
        torch.sub(x.to(self.wide), self.centre, out=vectors[:, :d])
        norm = torch.linalg.vector_norm(vectors[:, :d], dim=1, out=vectors[:, d])
        scores = torch.addmm(self.bias, vectors, self.codes, alpha=-1, out=self.scores[:n])
        tiles = scores.view(n, self.groups, self.width)
        group_best = tiles.amin(1)
        best, column = group_best.min(1, keepdim=True)
        inside = tiles.gather(2, column.unsqueeze(1).expand(-1, self.groups, -1)).squeeze(2)
        row = inside.argmin(1, keepdim=True)
        index = torch.add(column, row, alpha=self.width).squeeze(1)
        found = self.norm[index]
        limit = torch.addcmul(best.squeeze(1) + self.underflow, found, found.add(norm, alpha=2), value=self.gamma)
        limit.addcmul_(reach := found + norm, reach, value=self.delta)
        group_best.scatter_(1, column, torch.inf)
        inside.scatter_(1, row, torch.inf)
        tied = (torch.minimum(group_best.amin(1), inside.amin(1)) <= limit).nonzero().squeeze(1)
        return index, tied, limit

    def candidates(self, tied: Int[Tensor, " t"], limit: Float[Tensor, " n"]) -> Bool[Tensor, "t k"]:
        """Which codes could be nearest to some vectors of the chunk that was nominated for last."""
        return self.scores[tied, : self.k] <= limit[tied, None]


def centre_of(x: Float[Tensor, "s d"], c: Float[Tensor, "k d"]) -> Float[Tensor, " d"]:
    """Componentwise median of the codes of some vectors, roughly: cost depends on it, and no result does.

    Dead codes in a box far from all vectors, or codes a hundred thousand times as far away as any vector, are both
    what training gives.
    """
    rough = torch.addmm(c.square().sum(1), x, c.t(), alpha=-2)
    return c[rough.argmin(1)].median(0).values


def decide(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], row: Int[Tensor, " p"], code: Int[Tensor, " p"]) -> Tensor:
    """For each vector the nearest of its candidates, given as pairs, by squared differences in float64."""
    size = max(1, PAIRS // x.shape[1])
    distance = torch.cat(
        [
            x.index_select(0, r).double().sub_(c.index_select(0, k).double()).square_().sum(1)
            for r, k in zip(row.split(size), code.split(size), strict=True)
        ]
    )
    least = distance.new_full((len(x),), torch.inf).scatter_reduce(0, row, distance, "amin")
    tied = torch.where(distance == least[row], code, len(c))
    return code.new_full((len(x),), len(c)).scatter_reduce(0, row, tied, "amin")


def first_of_equals(c: Float[Tensor, "k d"]) -> Int[Tensor, " u"]:
    """The indices of the distinct codes, each where it comes first, in rising order."""
    distinct, which = torch.unique(c, dim=0, return_inverse=True)
    index = torch.arange(len(c), device=c.device)
    return index.new_full((len(distinct),), len(c)).scatter_reduce(0, which, index, "amin").sort().values


@functools.cache
def _factors(device: str) -> tuple[Tensor, Tensor]:
    """Matrices whose product has 64·(1 + 2⁻²⁰) everywhere, and 64 where float32 is cut short before multiplying."""
    one = torch.ones(64, 64, device=device)
    return one * (1 + 2.0**-20), one


def _full_precision(device: str) -> bool:
    """Whether products of float32 are exact to float32 just now: TF32 and bfloat16 products are a global setting.

    Asked by multiplying, since the setting has an old and a new interface that refuse to be mixed; and on a GPU, which
    may round large products alone, by what the new one says.
    """
    if device == "cuda":
        settings = (torch.backends.cuda.matmul.fp32_precision, torch.backends.fp32_precision)  # type: ignore[attr-defined]
        if "tf32" in settings:
            return False
    slightly_more, one = _factors(device)
    return (slightly_more @ one)[0, 0].item() > 64
