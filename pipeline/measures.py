"""One formula each."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def squared_error(images: Float[Tensor, "b c h w"], reconstructions: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean squared error of each image over its pixels and channels, in float64."""
    return (images.double() - reconstructions.double()).square().flatten(1).mean(1)


def psnr(error: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB of images whose values span 1, from their mean squared errors."""
    return -10 * torch.log10(error)


def utilization(in_use: int, num_codes: int) -> float:
    """Codes in use as a share of K. A lattice has no bound at K: its share can exceed 1."""
    return in_use / num_codes


def bits_per_pixel(bits_per_latent: float, latents: int, pixels: int) -> float:
    """Bits spent on an image of `pixels` positions (of any number of channels) that is coded as `latents` codes."""
    return bits_per_latent * latents / pixels


def quantization_loss(unquantized: Float[Tensor, "b c h w"], quantized: Float[Tensor, "b c h w"]) -> float:
    """Mean squared difference between what the decoder gets and what it would get without quantization."""
    return (unquantized.double() - quantized.double()).square().mean().item()


def gradient_gap(at_quantized: Float[Tensor, "b c h w"], at_unquantized: Float[Tensor, "b c h w"]) -> float:
    """How far the straight-through gradient is from the true one: ‖g(z_q) - g(z)‖ / ‖g(z)‖.

    g is the gradient of the reconstruction loss with respect to the decoder's input, z_q the quantized latents and z
    the unquantized. After Balance of the number of embeddings and their dimensions, https://arxiv.org/abs/2407.04939,
    whose exact definition is not known here. 0 where both vanish.
    """
    gap = (at_quantized.double() - at_unquantized.double()).norm().item()
    true = at_unquantized.double().norm().item()
    return gap / true if true else math.inf if gap else 0.0
