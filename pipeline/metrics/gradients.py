"""What quantization costs a model at a batch: in the latents, and in the gradient that training follows."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pipeline.autoencoder import Autoencoder


def gap(model: Autoencoder, images: Float[Tensor, "b c h w"]) -> dict[str, float]:
    """What quantization costs on these images, with the model frozen and in evaluation mode.

    Returns:
        `quantization_loss` and `gradient_gap`; see below.
    """
    model.eval()
    with torch.no_grad():
        latents = model.encoder(images)
        quantized = model.quantizer(latents)
        unquantized = model.quantizer.unquantized(latents, quantized.codes)
    ends = [end.detach().requires_grad_() for end in (quantized.z, unquantized)]
    with torch.enable_grad():  # also where the caller measures without gradients
        at = [torch.autograd.grad(F.mse_loss(model.decoder(end), images), end)[0] for end in ends]
    return {
        "quantization_loss": quantization_loss(unquantized, quantized.z),
        "gradient_gap": gradient_gap(at[0], at[1]),
    }


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
