"""Learnable lattice vector quantization."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.quantizers import Quantizer


class Lattice(Quantizer):
    """The points {b ∘ k : k ∈ ℤᴰ}, with one learned spacing bᵢ per axis; the code of a point is k.

    LL-VQ-VAE, sections 3.1 and 3.2, equations 3-8, https://arxiv.org/abs/2310.09382. Rounding goes half to even.

    Args:
        dim: D.
        num_codes: K, the number of points aimed at; it sets nothing but the initial range.
        beta: weight of the commitment loss.
        gamma: weight of the size loss -γ·Σ|bᵢ|: positive drives the lattice sparse, negative dense.
        init: bᵢ ~ U(-r, r), where r is 1/(K^(1/D) - 1) for `spaced` (equation 6), 1 for `unit`, or a number.
        learning: `learned`; `ramp`: the size loss alone moves the spacing, so that Adam moves it by ±lr per step;
            `frozen`: the spacing stays at its start. The last two are controls that the paper does not have.
    """

    finite = False

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        beta: NonNegativeFloat = 0.25,
        gamma: FiniteFloat = 1.0,
        init: Literal["spaced", "unit"] | PositiveFloat = "spaced",
        learning: Literal["learned", "ramp", "frozen"] = "learned",
    ) -> None:
        super().__init__(dim)
        self.num_codes = num_codes
        self.beta = beta
        self.gamma = gamma
        self.learning = learning
        reach = initial_range(num_codes, dim) if init == "spaced" else 1.0 if init == "unit" else float(init)
        self.spacing = nn.Parameter(torch.empty(dim).uniform_(-reach, reach), requires_grad=learning != "frozen")

    def nearest(self, v: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Int[Tensor, "n d"]]:
        steps = torch.round(v.detach() * (1 / self.spacing.detach()))
        spacing = self.spacing.detach() if self.learning == "ramp" else self.spacing
        return spacing * steps, steps.to(torch.int32)

    def losses(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, ""]]:
        return {
            "codebook_loss": F.mse_loss(points, v.detach()),
            "commitment_loss": self.beta * F.mse_loss(v, points.detach()),
            "size_loss": -self.gamma * self.spacing.abs().sum(),
        }

    def decode(self, codes: Int[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
        return self.spacing * codes

    def statistics(self) -> dict[str, float]:
        """Mean, smallest and largest absolute spacing."""
        size = self.spacing.detach().abs()
        return {"spacing_mean": size.mean().item(), "spacing_min": size.min().item(), "spacing_max": size.max().item()}


def initial_range(num_codes: int, dim: int) -> float:
    """r = 1/(K^(1/D) - 1), the spacing at which [0, 1]ᴰ holds K points; LL-VQ-VAE, equation 6 and appendix A.1.

    K = 1 asks for one point and so for a spacing without bound; 2 is the least K that the equation knows.
    """
    return 1 / (max(num_codes, 2) ** (1 / dim) - 1)
