"""Vector quantization with a codebook learned by gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from pipeline.quantizers import CodebookQuantizer, Losses, search


class VQ(CodebookQuantizer):
    """A codebook (K, D) whose nearest code replaces each latent vector.

    van den Oord et al. 2017, equations 1-3, https://arxiv.org/abs/1711.00937, in the form of LL-VQ-VAE, equation 2:
    the codes start uniform in ±1/K, and both loss terms are means over all components.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss.
    """

    title = "VQ-VAE"
    meaning = "a codebook of K vectors, learned by gradient"
    colour = "#D55E00"

    def __init__(self, dim: int, *, num_codes: PositiveInt = 512, beta: NonNegativeFloat = 0.25) -> None:
        super().__init__(dim, num_codes)
        self.beta = beta
        self.codebook = nn.Parameter(torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes))

    def nearest(self, v: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        codes = search.nearest(v.detach(), self.codebook.detach())
        return F.embedding(codes, self.codebook), codes

    def losses(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> Losses:
        return {
            "codebook_loss": F.mse_loss(points, v.detach()),
            "commitment_loss": self.beta * F.mse_loss(v, points.detach()),
        }

    def learned(self, start: Mapping[str, Tensor], ramp: float) -> dict[str, float]:
        """Codes that lie in the box they started in: no component beyond the largest that any code started with."""
        box = start["codebook"].abs().max()
        return {"codes_in_initial_box": int((self.codebook.detach().cpu().abs() <= box.cpu()).all(1).sum())}
