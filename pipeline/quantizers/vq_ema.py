"""Vector quantization with a codebook that follows a moving average of the latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from pipeline.core import ranks
from pipeline.quantizers import CodebookQuantizer, Decay, Losses, search


class VQEMA(CodebookQuantizer):
    """A codebook (K, D) that is the exponential moving average of the latents it quantizes.

    van den Oord et al. 2017, appendix A.1, https://arxiv.org/abs/1711.00937. As published with LL-VQ-VAE, counts start
    at 0 beside sums drawn from N(0, 1), and the smoothed counts are stored back at every step. `first_count: 1` and
    `store_smoothed: false` start the averages at the codes themselves and smooth for the division alone.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss.
        decay: of the moving averages, per training step.
        epsilon: of the Laplace smoothing of the counts.
        first_count: what every code's count starts at; 0 draws the sums apart from the codes, as published.
        store_smoothed: keep the smoothed counts for the next step, as published.
    """

    title = "VQ-VAE (EMA)"
    meaning = "a codebook of K vectors, each the moving average of the latents it stands for"
    colour = "#009E73"

    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        beta: NonNegativeFloat = 0.25,
        decay: Decay = 0.99,
        epsilon: PositiveFloat = 1e-5,
        first_count: NonNegativeFloat = 0.0,
        store_smoothed: bool = True,
    ) -> None:
        super().__init__(dim, num_codes)
        self.beta = beta
        self.decay = decay
        self.epsilon = epsilon
        self.store_smoothed = store_smoothed
        codebook = torch.randn(num_codes, dim)
        sums = torch.randn(num_codes, dim) if first_count == 0 else first_count * codebook
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.full((num_codes,), float(first_count)))
        self.register_buffer("sums", sums)

    @property
    def parameter_count(self) -> int:
        """Codebook and sums, 2·K·D: the published code holds both as parameters (LL-VQ-VAE, table 2)."""
        return self.codebook.numel() + self.sums.numel()

    def nearest(self, v: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        codes = search.nearest(v.detach(), self.codebook)
        return F.embedding(codes, self.codebook), codes

    def losses(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> Losses:
        return {"commitment_loss": self.beta * F.mse_loss(v, points.detach())}

    def update(self, v: Float[Tensor, "n d"], codes: Int[Tensor, " n"]) -> None:
        # unlike bincount it does not wait for a GPU, and is exact up to 2²⁴ of one code
        used = torch.zeros_like(self.counts).index_add_(0, codes, self.counts.new_ones(len(codes)))
        self.counts.lerp_(ranks.total_(used), 1 - self.decay)
        self.sums.mul_(ranks.once(self.decay)).index_add_(0, codes, v.to(self.sums), alpha=1 - self.decay)
        ranks.total_(self.sums)
        total = self.counts.sum()
        smoothed = (self.counts + self.epsilon) / (total + len(self.counts) * self.epsilon) * total
        if self.store_smoothed:
            self.counts.copy_(smoothed)
        self.codebook.copy_(self.sums / smoothed[:, None])
