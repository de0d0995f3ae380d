"""One component: sort the codes, bisect, and compare the codes on both sides of a number without rounding."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def nearest(x: Float[Tensor, " n"], c: Float[Tensor, " k"]) -> Int[Tensor, " n"]:
    """The code on the left and the one on the right of each number, compared without rounding."""
    codes, order = in_order(c)
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


def in_order(c: Float[Tensor, " k"]) -> tuple[Tensor, Tensor]:
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
