"""Learnable lattice vector quantization."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.quantizers import Quantizer

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

    finite = False
    losses_show = True
    fuses = True

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

    def quantize(
        self, latents: Float[Tensor, "n d"], images: int
    ) -> tuple[Float[Tensor, "n d"], Int[Tensor, "n d"], dict[str, Float[Tensor, ""]]]:
        """What `Quantizer.quantize` makes of `nearest` and `losses`, in fewer passes over memory.

        A compiler gets the plain formulas, which it joins to fewer passes still.
        """
        if torch.compiler.is_compiling():
            return super().quantize(latents, images)
        learned = self.learning == "learned"
        points, codes, *losses = OnePass.apply(latents, self.spacing, learned, self.beta, self.gamma)
        return points, codes, dict(zip(("codebook_loss", "commitment_loss", "size_loss"), losses, strict=True))

    def decode(self, codes: Int[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
        return self.spacing * codes

    def statistics(self) -> dict[str, float]:
        """Mean, smallest and largest absolute spacing."""
        size = self.spacing.detach().abs()
        return {"spacing_mean": size.mean().item(), "spacing_min": size.min().item(), "spacing_max": size.max().item()}

    def trace(self) -> dict[str, Float[Tensor, ""]]:
        """Mean, smallest and largest absolute spacing."""
        size = self.spacing.detach().abs()
        return {"spacing": size.mean(), "spacing_least": size.min(), "spacing_most": size.max()}


class OnePass(torch.autograd.Function):
    """Points, codes and losses at once, and their gradients by hand.

    With n numbers in v, k = round(v / b) and d = b∘k - v, both squared errors are Σd²/n. The codebook loss moves b
    alone: its gradient is 2/n · Σ d∘k over the vectors, which is summed up where d and k are at hand. The commitment
    loss moves v alone: -2β/n · d, onto which the gradient of the points passes straight. On a CPU it works on a few
    rows at a time, which a core's cache holds: in fresh memory for every step, fetching pages takes longer than
    computing. Where all fit at once, d is kept for the way back.
    """

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, spacing: Tensor, learned: bool, beta: float, gamma: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # no zeros in memory for the codes, which have no gradient
        dtype = torch.promote_types(v.dtype, spacing.dtype)
        points, codes = v.new_empty(v.shape, dtype=dtype), v.new_empty(v.shape, dtype=torch.int32)
        k, d = (v.new_empty((min(_rows(v), len(v)), v.shape[1]), dtype=dtype) for _ in range(2))
        inverse, learned = 1 / spacing, learned and ctx.needs_input_grad[1]
        errors, slope = [], torch.zeros_like(spacing) if learned else None
        for part, point, code in zip(*(x.split(_rows(v)) for x in (v, points, codes)), strict=True):
            steps, off = k[: len(part)], d[: len(part)]
            code.copy_(torch.mul(part, inverse, out=steps).round_())
            torch.sub(torch.mul(steps, spacing, out=point), part, out=off)
            errors.append(torch.dot(off.view(-1), off.view(-1)))
            if slope is not None:
                slope += steps.mul_(off).sum(0)
        ctx.mark_non_differentiable(codes)
        ctx.constants = 2 / v.numel(), beta, gamma
        ctx.save_for_backward(spacing, slope, *([v, points] if len(errors) > 1 else [d]))
        mean = (torch.stack(errors).sum(dtype=torch.float64) / v.numel()).to(dtype)
        return points, codes, mean, beta * mean, -gamma * spacing.abs().sum()

    @staticmethod
    def backward(ctx: Any, passed: Any, _: Any, codebook: Any, commitment: Any, size: Any) -> tuple[Any, ...]:
        spacing, slope, *kept = ctx.saved_tensors
        twice, beta, gamma = ctx.constants
        moved, turned = None, []
        if ctx.needs_input_grad[0]:
            passed = torch.zeros_like(kept[-1]) if passed is None else passed
            moved = _descend(passed, kept, twice * (passed.new_zeros(()) if commitment is None else beta * commitment))
        if slope is not None and codebook is not None:
            turned.append(twice * codebook * slope)
        if ctx.needs_input_grad[1] and size is not None:
            turned.append(-gamma * size * spacing.sgn())
        return moved, sum(turned) if turned else None, None, None, None


def _descend(passed: Tensor, kept: list[Tensor], share: Tensor) -> Tensor:
    """passed - share∘d, where kept is either d alone or v and the points, of which d is the difference."""
    if len(kept) == 1:
        return torch.addcmul(passed, kept[0], -share)
    v, points = kept
    moved = torch.empty_like(points)
    d = points.new_empty((min(_rows(v), len(v)), v.shape[1]))
    for part, point, straight, out in zip(*(x.split(_rows(v)) for x in (v, points, passed, moved)), strict=True):
        torch.addcmul(straight, torch.sub(part, point, out=d[: len(part)]), share, out=out)
    return moved


def _rows(v: Tensor) -> int:
    """How many rows at a time: as many as SIZE numbers on a CPU, all on a GPU."""
    return max(1, SIZE // v.shape[1]) if v.device.type == "cpu" else max(1, len(v))


def initial_range(num_codes: int, dim: int) -> float:
    """r = 1/(K^(1/D) - 1), the spacing at which [0, 1]ᴰ holds K points; LL-VQ-VAE, equation 6 and appendix A.1.

    K = 1 asks for one point and so for a spacing without bound; 2 is the least K that the equation knows.
    """
    return 1 / (max(num_codes, 2) ** (1 / dim) - 1)
