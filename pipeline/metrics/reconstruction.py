"""How well images come back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def squared_error(images: Float[Tensor, "b c h w"], reconstructions: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean squared error of each image over its pixels and channels, in float64."""
    return (images.double() - reconstructions.double()).square().flatten(1).mean(1)


def psnr(error: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB of images whose values span 1, from their mean squared errors."""
    return -10 * torch.log10(error)
