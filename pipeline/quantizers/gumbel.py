"""A codebook chosen from by Gumbel-Softmax."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.quantizers import Quantizer


class Gumbel(Quantizer):
    """A linear layer gives a logit for each of K codes; one is drawn by straight-through Gumbel-Softmax.

    Jang et al. 2017, https://arxiv.org/abs/1611.01144, section 2.2; as the bottleneck of an autoencoder: Ramesh et al.
    2021, https://arxiv.org/abs/2102.12092, section 2.1. There is no distance: evaluation takes the largest logit.
    K = 512 codes are up to 9 bits a latent.

    Args:
        dim: D.
        num_codes: K.
        divergence: weight of KL(codes' distribution ‖ uniform), per latent vector.
        temperature_start, temperature_end: falls geometrically from the first to the last step of the training.
    """

    straight = False

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt,
        divergence: NonNegativeFloat,
        temperature_start: PositiveFloat,
        temperature_end: PositiveFloat,
    ) -> None:
        super().__init__(dim)
        self.num_codes = num_codes
        self.divergence = divergence
        self.temperatures = (temperature_start, temperature_end)
        self.to_logits = nn.Linear(dim, num_codes)
        self.codebook = nn.Parameter(torch.randn(num_codes, dim) / math.sqrt(dim))

    @property
    def temperature(self) -> float:
        start, end = self.temperatures
        return start * (end / start) ** self.progress

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], dict[str, Float[Tensor, ""]]]:
        logits = self.to_logits(latents).clamp(-1e4, 1e4)  # beyond that a softmax is a maximum anyway
        chances = logits.log_softmax(1)
        kl = (chances.exp() * (chances + math.log(len(self.codebook)))).sum(1).mean()
        losses = {"divergence_loss": self.divergence * kl}
        if not self.training:
            codes = logits.argmax(1)
            return self.decode(codes), codes, losses
        weights = F.gumbel_softmax(logits, tau=self.temperature, hard=True)
        return weights @ self.codebook, weights.detach().argmax(1), losses

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return F.embedding(codes, self.codebook)

    def statistics(self) -> dict[str, float]:
        return {"temperature": self.temperature}

    def nearest(self, v: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        codes = self.to_logits(v).argmax(1)
        return self.decode(codes), codes

    def losses(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, ""]]:
        return {}
