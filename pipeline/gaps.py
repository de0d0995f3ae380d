"""What quantization costs a model at a batch: in the latents, and in the gradient that training follows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pipeline import measures
from pipeline.autoencoder import Autoencoder


def gap(model: Autoencoder, images: Float[Tensor, "b c h w"]) -> dict[str, float]:
    """What quantization costs on these images, with the model frozen and in evaluation mode.

    Returns:
        `quantization_loss` and `gradient_gap`; see `measures`.
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
        "quantization_loss": measures.quantization_loss(unquantized, quantized.z),
        "gradient_gap": measures.gradient_gap(at[0], at[1]),
    }
