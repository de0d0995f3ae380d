"""What quantization costs a model at a batch: in the latents, and in the gradient that training follows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pipeline.metrics import Measure
from pipeline.quantizers import Quantizer


def quantization_costs(
    encoder: Callable[[Tensor], Tensor],
    quantizer: Quantizer,
    decoder: Callable[[Tensor], Tensor],
    images: Float[Tensor, "b c h w"],
) -> tuple[float, float]:
    """`quantization_loss` and `gradient_gap` on these images, for a model in evaluation mode, which stays as it is."""
    with torch.no_grad():
        latents = encoder(images)
        quantized = quantizer(latents)
        unquantized = quantizer.unquantized(latents, quantized.codes)
    gap = gradient_gap(gradient_at(quantized.z, decoder, images), gradient_at(unquantized, decoder, images))
    return quantization_loss(unquantized, quantized.z), gap


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


@torch.enable_grad()
def gradient_at(
    latents: Float[Tensor, "b d h w"], decoder: Callable[[Tensor], Tensor], images: Float[Tensor, "b c height width"]
) -> Float[Tensor, "b d h w"]:
    """The gradient of the reconstruction loss with respect to the decoder's input, also where the caller has none."""
    latents = latents.detach().requires_grad_()
    return torch.autograd.grad(F.mse_loss(decoder(latents), images), latents)[0]


MEASURES = [
    Measure("quantization_loss", "quantization loss", lambda m: m.quantization_loss, better="lower", split="test"),
    Measure("gradient_gap", "gradient gap", lambda m: m.gradient_gap, decimals=3, better="lower", split="test"),
]
