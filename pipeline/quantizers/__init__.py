"""Quantizers, one file each; the name in params.yaml is the name of the file.

latents (B, D, H, W) → flatten → v (N, D) → nearest → points (N, D), codes → straight-through → z (B, D, H, W)

class MyQuantizer(Quantizer):
    def __init__(self, dim: int, *, num_codes: PositiveInt) -> None: ...  # keyword-only arguments are the settings
    def nearest(self, v): ...            # (N, D) → points (N, D), codes (N, ...)
    def losses(self, v, points): ...     # name → weighted scalar
    def decode(self, codes): ...         # codes (..., ...) → what the decoder gets, (..., D)

What lies around a codebook, such as a projection, goes into `enter` and `leave`; another gradient than the straight one
into `passing`; and a quantizer that is not of this form at all overrides `quantize`.
"""

from __future__ import annotations

import abc
import sys
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.core import registry
from pipeline.core.errors import NonFiniteError


@dataclass(frozen=True)
class Quantized:
    """What a quantizer gives back.

    Attributes:
        z: quantized latents (B, D, H, W); the gradient passes straight through to the latents.
        codes: integers, (B, H, W), or (B, H, W, D) for a lattice; `decode` turns them back into z. A quantizer that
            cuts a latent vector into g pieces gives (B, H, W·g).
        losses: name → weighted scalar; their sum is the quantizer's loss.
    """

    z: Float[Tensor, "b d h w"]
    codes: Int[Tensor, "b h columns ..."]
    losses: dict[str, Float[Tensor, ""]]


class StraightThrough(torch.autograd.Function):
    """Forward the points, backward the gradient unchanged to the latents (van den Oord et al. 2017, section 3.2).

    The usual sum v + (points - v) rounds; this gives the points themselves, so that equal codes are equal vectors.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, v: Tensor, points: Tensor) -> Tensor:
        return points.view_as(points)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class Quantizer(nn.Module, abc.ABC):
    """Maps every latent vector to a point of a discrete set.

    Args:
        dim: D, the number of components of a latent vector.
    """

    num_codes: int | None = None
    """K: the size of the codebook, or for a lattice the number of points it aims at; None where there is none."""

    finite: bool = True
    """Whether there are exactly K codes, so that those never used can be counted as dead."""

    straight: bool = True
    """Whether the gradient reaches the latents as if nothing had been quantized: as through `unquantized`."""

    losses_show: bool = False
    """Whether a latent that is NaN or infinite makes a loss so too; then looking at the losses is enough."""

    fuses: bool = False
    """Whether `torch.compile` can make few passes over memory of the whole quantizer, or else finds it in its way."""

    progress: float = 0.0
    """The share of the training that is done, from 0 to 1; training keeps it up to date for what is annealed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abc.abstractmethod
    def nearest(self, v: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Int[Tensor, "n ..."]]:
        """The point for every vector and its code. Points carry gradients to what is learned, never to `v`."""

    @abc.abstractmethod
    def losses(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, ""]]:
        """The weighted loss terms by name."""

    @abc.abstractmethod
    def decode(self, codes: Int[Tensor, ...]) -> Float[Tensor, ...]:
        """The quantized latents (..., D) that belong to codes as `forward` gives them."""

    def enter(self, v: Float[Tensor, "n c"]) -> Float[Tensor, "m d"]:
        """What is quantized for each latent vector: by default the vector itself."""
        return v

    def leave(self, points: Float[Tensor, "m d"]) -> Float[Tensor, "n c"]:
        """The way back from points to latent vectors."""
        return points

    def passing(self, v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The points, with the gradient that the vectors get."""
        return StraightThrough.apply(v, points.detach())

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, "m ..."], dict[str, Float[Tensor, ""]]]:
        """Quantized vectors with their gradient, codes and losses, for the latents of `images` images, one by one."""
        v = self.enter(latents)
        points, codes = self.nearest(v)
        losses = self.losses(v, points)
        if self.training:
            self.update(v.detach(), codes)
        return self.leave(self.passing(v, points)), codes, losses

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h ..."]) -> Float[Tensor, "b d h w"]:
        """What the decoder would get if the latents passed through without being quantized.

        Args:
            codes: what `forward` gave for these latents.
        """
        batch, dim, height, width = latents.shape
        passed = self.leave(self.enter(latents.permute(0, 2, 3, 1).reshape(-1, dim)))
        return passed.view(batch, height, width, dim).permute(0, 3, 1, 2)

    @torch.no_grad()
    def update(self, v: Float[Tensor, "n d"], codes: Int[Tensor, "n ..."]) -> None:
        """Move what is not learned by gradient; called once per training step, after the losses."""

    def statistics(self) -> dict[str, float]:
        """Numbers worth recording after every epoch, by name."""
        return {}

    def trace(self) -> dict[str, Float[Tensor, ""]]:
        """Numbers worth recording some times within an epoch, left on the device so that it need not be waited for."""
        return {}

    @property
    def parameter_count(self) -> int:
        """Learned numbers of this quantizer, as the papers count them."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantized:
        """Quantize latents (B, D, H, W).

        Raises:
            ValueError: D is not the quantizer's.
            NonFiniteError: a latent is NaN or infinite. On a GPU in training, where the check would stall the
                device, and where it is compiled, the loss shows it instead.
        """
        batch, dim, height, width = latents.shape
        if dim != self.dim:
            raise ValueError(f"latents have {dim} components, but the quantizer was made for {self.dim}")
        v = latents.permute(0, 2, 3, 1).reshape(-1, dim)  # (N, D); no copy where latents are channels-last
        # compiled, it would break the graph in two; training then looks at the loss
        watched = (v.device.type == "cpu" or not self.training) and not torch.compiler.is_compiling()
        if watched and not self.losses_show and not finite(v):
            raise NonFiniteError("latents hold NaN or infinity")
        z, codes, losses = self.quantize(v, batch)
        if watched and self.losses_show and not finite(torch.stack(list(losses.values()))) and not finite(v):
            raise NonFiniteError("latents hold NaN or infinity")
        z = z.view(batch, height, width, dim).permute(0, 3, 1, 2)
        return Quantized(z, codes.view(batch, height, -1, *codes.shape[1:]), losses)


def finite(values: Float[Tensor, ...]) -> bool:
    """Whether no value is NaN or infinite: both show in the smallest or the largest, found without further memory."""
    return values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values.detach()))).all())


def names() -> list[str]:
    return registry.names(sys.modules[__name__])


def find(name: str) -> type[Quantizer]:
    """The class of the quantizer called `name`.

    Raises:
        UserError: there is no such quantizer.
    """
    return registry.find(sys.modules[__name__], Quantizer, name)  # type: ignore[type-abstract]
