"""Finite scalar quantization: a few numbers, each rounded to one of a few levels."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pipeline.quantizers import to_latents, to_vectors
from pipeline.quantizers._library import Library

LEVELS = [8, 8, 8]


class FSQ(Library):
    """A linear layer to len(levels) numbers, each bounded by tanh and rounded to one of its levels, and a layer back.

    Mentzer et al. 2023, https://arxiv.org/abs/2309.15505, as in vector-quantize-pytorch. No loss, nothing to collapse.
    Levels 8, 8, 8 are 512 codes: up to 9 bits a latent.

    Args:
        dim: D of the latents.
        levels: how many values each of the numbers takes; their product is K.
    """

    title = "FSQ"
    meaning = "a few numbers per latent, each rounded to one of a few levels"
    colour = "#E69F00"

    def __init__(
        self, dim: int, *, levels: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1)] = LEVELS
    ) -> None:
        super().__init__(dim, math.prod(levels), "FSQ", levels=levels)

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The bounded numbers before rounding, on the scale of the points (the paper's section 3.1), projected back."""
        levels = self.inner._levels
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(self.inner.project_in(to_vectors(latents)) + torch.atanh(offset / half)) * half - offset
        return to_latents(self.inner.project_out(bounded / (levels // 2)), latents)
