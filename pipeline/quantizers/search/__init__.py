"""The nearest code, exactly, without ever holding the matrix of N×K distances.

bisection   one component: sort the codes, bisect                                       (any device)
tree        2 to 8 components: a k-d tree in float64, near-ties decided again           (CPU, many vectors and codes)
products    otherwise: products in float32, near-ties decided again in float64          (any device)

All three give the code with the smallest sum of squared differences; the smallest index wins a tie.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.core.errors import NonFiniteError
from pipeline.quantizers.search import bisection, products, tree

SAFE_EXPONENT = 30  # values between 2⁻³⁰ and 2³⁰ have squares and sums of squares in float32's range


def nearest(vectors: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    """The index of the code nearest to each vector, the smallest one where several are equally near.

    Nearest as the sum of squared differences in float64 decides, whatever the inputs' floating type, autocast or the
    matmul precision in force. No gradient flows. Besides the inputs it holds less than 64 MB at N·D = 12,544·128 and
    K·D = 65,536.

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

    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        x, c = _in_range(vectors.detach(), codebook.detach())
        if len(x) == 0 or len(c) == 1:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if x.shape[1] == 1:
            return bisection.nearest(x[:, 0].contiguous(), c[:, 0].contiguous())
        if x.device.type == "cpu" and tree.worth_it(x, c):
            return tree.nearest(x, c)
        return products.nearest(x, c)


def _in_range(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 or float64, scaled by a power of two where squares would leave float32's range."""
    dtype = torch.promote_types(torch.promote_types(vectors.dtype, codebook.dtype), torch.float32)
    x, c = vectors.to(dtype), codebook.to(dtype)
    ends = [end for tensor in (x, c) if tensor.numel() for end in torch.aminmax(tensor)]
    peak = float(torch.stack(ends).abs().max())
    if not math.isfinite(peak):
        raise NonFiniteError("vectors or codes hold NaN or infinity")
    exponent = math.frexp(peak)[1]
    if abs(exponent) > SAFE_EXPONENT:
        # In two steps, since 2¹⁰²³ is the largest power a float64 holds; exact but for numbers 2⁻¹⁰⁰⁰ times the peak.
        halves = (2.0 ** (-exponent // 2), 2.0 ** (-exponent - -exponent // 2))
        x, c = (tensor.double() * halves[0] * halves[1] for tensor in (x, c))
    return x, c
