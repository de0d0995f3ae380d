"""A codebook chosen from by Gumbel-Softmax."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.core import ranks
from pipeline.quantizers import Losses, Quantizer


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

    title = "Gumbel-Softmax VQ"
    meaning = "a codebook from which codes are drawn by straight-through Gumbel-Softmax"
    colour = "#000000"

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        divergence: NonNegativeFloat = 5e-4,
        temperature_start: PositiveFloat = 1.0,
        temperature_end: PositiveFloat = 0.1,
    ) -> None:
        super().__init__(dim, num_codes)
        self.divergence = divergence
        self.temperatures = (temperature_start, temperature_end)
        self.temperature = temperature_start
        self.to_logits = nn.Linear(dim, num_codes)
        self.codebook = nn.Parameter(torch.randn(num_codes, dim) / math.sqrt(dim))

    def anneal(self, progress: float) -> None:
        start, end = self.temperatures
        self.temperature = start * (end / start) ** progress

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        logits = self.to_logits(latents).float().clamp(-1e4, 1e4)  # beyond that a softmax is a maximum anyway
        if self.training:
            z, codes, kl = Draw.apply(logits, self.codebook, gumbel_noise(logits), self.temperature)
            return z, codes, {"divergence_loss": self.divergence * kl}
        codes = logits.argmax(1)
        return self.decode(codes), codes, {}

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return F.embedding(codes, self.codebook)

    def statistics(self) -> dict[str, float]:
        return {"temperature": self.temperature}


def gumbel_noise(like: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """−log(−log u) for uniform u: torch's own exponential numbers take several times as long on a CPU."""
    return ranks.own(torch.rand_like(ranks.whole(like))).log_().neg_().log_().neg_()


class Draw(torch.autograd.Function):
    """The code that logits and noise choose, as by straight-through Gumbel-Softmax, and the divergence, at once.

    Forward, weights of exactly 0 and 1 make the sum over all codes a lookup. Backward, with w = softmax((l + g)/τ),
    p = softmax(l) and the point's gradient e: ∂/∂lₖ = wₖ(e·cₖ − Σⱼ wⱼ e·cⱼ)/τ + pₖ(log pₖ − Σⱼ pⱼ log pⱼ)/N.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, codebook: Tensor, noise: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        scores = noise.add_(logits).div_(temperature)
        codes = scores.max(1).indices
        weights, chances = scores.log_softmax(1).exp_(), logits.log_softmax(1)
        shares = chances.exp()
        entropy = -(shares * chances).sum(1, keepdim=True)
        ctx.temperature = temperature
        ctx.save_for_backward(codebook, codes, weights, shares, chances, entropy)
        ctx.mark_non_differentiable(codes)
        return F.embedding(codes, codebook), codes, math.log(len(codebook)) - entropy.mean()

    @staticmethod
    def backward(ctx: Any, passed: Tensor, _: Any, divergence: Tensor) -> tuple[Any, ...]:
        codebook, codes, weights, shares, chances, entropy = ctx.saved_tensors
        passed = passed.to(codebook)
        pull = passed @ codebook.t()
        pull.sub_((weights * pull).sum(1, keepdim=True)).mul_(weights).div_(ctx.temperature)
        pull.add_((chances + entropy).mul_(shares).mul_(divergence / len(codes)))
        return pull, torch.zeros_like(codebook).index_add_(0, codes, passed), None, None
