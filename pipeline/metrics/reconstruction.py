"""How well images come back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.metrics import Measure


def squared_error(images: Float[Tensor, "b c h w"], reconstructions: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean squared error of each image over its pixels and channels, in float64."""
    return (images.double() - reconstructions.double()).square().flatten(1).mean(1)


def psnr(error: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB of images whose values span 1, from their mean squared errors."""
    return -10 * torch.log10(error)


MEASURES = [
    Measure(
        "val_mse",
        "MSE on validation",
        lambda m: m.errors["val"].mean().item(),
        better="lower",
        split="val",
        published="mse",
    ),
    Measure(
        "test_mse",
        "MSE on test",
        lambda m: m.errors["test"].mean().item(),
        better="lower",
        split="test",
        published="mse",
    ),
    Measure(
        "test_psnr",
        "PSNR",
        lambda m: psnr(m.errors["test"]).mean().item(),
        unit="dB",
        decimals=2,
        better="higher",
        split="test",
    ),
]
