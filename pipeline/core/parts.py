"""The error of a decoder's reconstructions, worked out for a part of the batch at a time.

A decoder keeps what every layer gave until the gradient comes back through it. Images have nothing to do with each
other there, so that the gradient of a part can be had at once, and what its layers gave be freed before the next part.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LARGE = 2**22
"""Numbers of latents decoded at once; decoding so many holds about five times as many at a common width."""


def squared_error(
    decoder: nn.Module, z: Float[Tensor, "b d h w"], images: Float[Tensor, "b c height width"], at_once: int
) -> Float[Tensor, ""]:
    """The mean of (decoder(z) - images)² over all numbers, with its gradients to `z` and to the decoder's weights.

    It is `F.mse_loss(decoder(z), images)` but for rounding, and differentiable once.

    Args:
        at_once: images that are decoded at a time.
    """
    return _Parts.apply(z, images, decoder, at_once, *decoder.parameters())


def at_once(z: Float[Tensor, "b d h w"]) -> int:
    """How many images of the batch make up at most `LARGE` numbers of latents; at least one."""
    return max(1, LARGE // max(1, z[0].numel()))


class _Parts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, images: Tensor, decoder: nn.Module, at_once: int, *weights: Tensor) -> Tensor:
        moved, turned = torch.empty_like(z), [torch.zeros_like(weight) for weight in weights]
        total = torch.zeros((), dtype=torch.float64, device=z.device)
        for part, wanted, out in zip(*(x.split(at_once) for x in (z, images, moved)), strict=True):
            with torch.enable_grad():
                leaf = part.detach().requires_grad_()
                error = F.mse_loss(decoder(leaf), wanted, reduction="sum") / images.numel()
            to_z, *to_weights = torch.autograd.grad(error, [leaf, *weights])
            out.copy_(to_z)
            for kept, more in zip(turned, to_weights, strict=True):
                kept += more
            total += error.detach()
        ctx.save_for_backward(moved, *turned)
        return total.to(error.dtype)

    @staticmethod
    def backward(ctx: Any, share: Tensor) -> tuple[Any, ...]:
        moved, *turned = ctx.saved_tensors
        return moved.mul_(share), None, None, None, *(kept.mul_(share) for kept in turned)
