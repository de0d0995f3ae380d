"""Any number of components: products in float32 nominate codes, a chunk at a time; float64 decides between them.

The usual formula |x|² + |c|² - 2x·c in float32 subtracts large numbers to find a small one and picks a wrong code
where codes lie close together. Here it only nominates: every code that its rounding error could hide is measured again
as the sum of squared differences in float64.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_CPU = 2**19  # scores held at once: 2 MiB, about what a core's cache holds
CHUNK_GPU = 2**22  # 16 MiB, so that each kernel has enough to do
ROWS = 32  # of vectors at least, since every chunk reads all codes: 8 MiB of scores for 65,536 codes
PAIRS = 2**19  # numbers held at once in float64 while deciding near-ties: 4 MiB
CROWDED = 16  # candidates per vector from which on it pays to look for identical codes


def nearest(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], crowded: bool = False) -> Int[Tensor, " n"]:
    """Nominate by |c|²/2 - x·c, a chunk of vectors at a time, and decide between the nominated.

    Args:
        crowded: the codes are distinct already; there is no use in looking for identical ones.
    """
    size = min(len(x), max(ROWS, (CHUNK_CPU if x.device.type == "cpu" else CHUNK_GPU) // len(c)))
    nominate = Nominator(x, c, size)
    index = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        index[part], tied, row, code = nominate(x[part])
        if len(tied) == 0:
            continue
        if len(code) > CROWDED * len(x[part]) and not crowded:
            keep = first_of_equals(c)
            if len(keep) < len(c):
                return keep[nearest(x, c[keep], crowded=True)]
            crowded = True
        index[start + tied] = decide(x[part][tied], c, row, code)
    return index


class Nominator:
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


def decide(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], row: Int[Tensor, " p"], code: Int[Tensor, " p"]) -> Tensor:
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
    return bool((slightly_more @ one)[0, 0] > 64)
