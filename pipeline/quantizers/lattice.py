"""Learnable lattice vector quantization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.quantizers import Losses, Quantizer

SIZE = 2**17  # numbers worked on at once on a CPU: 512 KiB


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

    title = "LL-VQ-VAE"
    meaning = "a lattice with one learned spacing per dimension; γ > 0 drives it sparse, γ < 0 dense"
    colour = "#0072B2"

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
        super().__init__(dim, num_codes)
        self.beta = beta
        self.gamma = gamma
        self.learning = learning
        reach = initial_range(num_codes, dim) if init == "spaced" else 1.0 if init == "unit" else float(init)
        self.spacing = nn.Parameter(torch.empty(dim).uniform_(-reach, reach), requires_grad=learning != "frozen")

    def quantize(
        self, latents: Float[Tensor, "n d"], images: int
    ) -> tuple[Float[Tensor, "n d"], Int[Tensor, "n d"], Losses]:
        codes = torch.empty_like(latents, dtype=torch.int32)
        points, *losses = OnePass.apply(latents, self.spacing, codes, self.learning == "learned", self.beta, self.gamma)
        return points, codes, dict(zip(("codebook_loss", "commitment_loss", "size_loss"), losses, strict=True))

    def decode(self, codes: Int[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
        return self.spacing * codes

    def codebook_size(self) -> None:
        """A lattice has no end."""

    def trace(self) -> dict[str, Float[Tensor, ""]]:
        """Mean, smallest and largest absolute spacing."""
        size = self.spacing.detach().abs()
        return {"spacing_mean": size.mean(), "spacing_min": size.min(), "spacing_max": size.max()}

    def learned(self, start: Mapping[str, Tensor], ramp: float) -> dict[str, float]:
        """Under γ > 0, the largest distance of a spacing from where the size loss alone would have taken it.

        Adam moves a spacing by the learning rate per step, away from 0, where nothing but the size loss pulls.
        """
        if self.learning == "frozen" or self.gamma <= 0:
            return {}
        begun = start["spacing"].cpu()
        expected = begun + begun.sign() * ramp
        return {"spacing_off_ramp": float((self.spacing.detach().cpu() - expected).abs().max())}


class OnePass(torch.autograd.Function):
    """Points, codes (written into `codes`) and losses at once, and their gradients by hand.

    With n numbers in v, k = round(v / b) and d = b∘k - v, both squared errors are Σd²/n. The codebook loss moves b
    alone: its gradient is 2/n · Σ d∘k over the vectors, which is summed up where d and k are at hand. The commitment
    loss moves v alone: -2β/n · d, onto which the gradient of the points passes straight. By autograd a batch of CelebA
    takes half as much memory again. On a CPU it works on a few rows at a time, which a core's cache holds.
    """

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, spacing: Tensor, codes: Tensor, learned: bool, beta: float, gamma: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(v.dtype, spacing.dtype)
        points = torch.empty_like(v, dtype=dtype)
        k_rows, d_rows = (v.new_empty((min(_rows(v), len(v)), v.shape[1]), dtype=dtype) for _ in range(2))
        inverse, learned = 1 / spacing, learned and ctx.needs_input_grad[1]
        errors, slope = [], torch.zeros_like(spacing)
        for some_v, some_points, some_codes in zip(*(x.split(_rows(v)) for x in (v, points, codes)), strict=True):
            k, d = k_rows[: len(some_v)], d_rows[: len(some_v)]
            some_codes.copy_(torch.mul(some_v, inverse, out=k).round_())
            torch.sub(torch.mul(k, spacing, out=some_points), some_v, out=d)
            errors.append(torch.dot(d.view(-1), d.view(-1)))
            if learned:
                slope += k.mul_(d).sum(0)
        ctx.constants = 2 / v.numel(), beta, gamma
        ctx.save_for_backward(v, points, spacing, slope)
        mean = (torch.stack(errors).sum(dtype=torch.float64) / v.numel()).to(dtype)
        return points, mean, beta * mean, -gamma * spacing.abs().sum()

    @staticmethod
    def backward(
        ctx: Any, to_points: Tensor, to_codebook_loss: Tensor, to_commitment_loss: Tensor, to_size_loss: Tensor
    ) -> tuple[Any, ...]:
        v, points, spacing, slope = ctx.saved_tensors
        two_over_n, beta, gamma = ctx.constants
        to_v = v - points
        torch.addcmul(to_points, to_v, two_over_n * (beta * to_commitment_loss), out=to_v)
        to_spacing = two_over_n * to_codebook_loss * slope - gamma * to_size_loss * spacing.sgn()
        return to_v, to_spacing, None, None, None, None


def _rows(v: Tensor) -> int:
    """How many rows at a time: as many as SIZE numbers on a CPU, all on a GPU."""
    return max(1, SIZE // v.shape[1]) if v.device.type == "cpu" else max(1, len(v))


def initial_range(num_codes: int, dim: int) -> float:
    """r = 1/(K^(1/D) - 1), the spacing at which [0, 1]ᴰ holds K points; LL-VQ-VAE, equation 6 and appendix A.1.

    K = 1 asks for one point and so for a spacing without bound; 2 is the least K that the equation knows.
    """
    return 1 / (max(num_codes, 2) ** (1 / dim) - 1)
