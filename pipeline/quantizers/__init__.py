"""Quantizers, one file each; the name in params.yaml is the name of the file. The contracts stand here.

latents (B, D, H, W) → vectors (N, D) → quantize → vectors (N, D), codes, losses → latents (B, D, H, W)

A quantizer with one codebook is a `CodebookQuantizer`: it says which code is nearest and what its losses are. Any other
is a `Quantizer` and writes `quantize` and `decode` itself.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from pipeline.core import registry
from pipeline.core.errors import NonFiniteError, UserError

Losses = dict[str, Float[Tensor, ""]]
"""Name → weighted scalar; their sum is the quantizer's loss."""

Decay = Annotated[float, Field(ge=0, lt=1)]
"""The setting of a moving average: the share of the old value that stays at every step."""


@dataclass(frozen=True)
class Quantized:
    """What a quantizer gives back.

    Attributes:
        z: quantized latents (B, D, H, W), with the gradient that the latents are to get.
        codes: integers (B, H, W), or (B, H, W, D) for a lattice; `decode` turns them back into z. A quantizer that
            cuts a latent vector into g pieces gives (B, H, W·g).
        losses: name → weighted scalar.
    """

    z: Float[Tensor, "b d h w"]
    codes: Int[Tensor, "b h columns ..."]
    losses: Losses


class Quantizer(nn.Module, abc.ABC):
    """Maps every latent vector to a point of a discrete set.

    A subclass states how tables and figures present it, and takes its settings as keyword-only arguments, whose types
    params.yaml is checked against.

    Args:
        dim: D, the number of components of a latent vector.
        num_codes: K, the number of codes; for a lattice the number it aims at.
    """

    title: ClassVar[str]
    """Its name in tables and figures."""

    meaning: ClassVar[str]
    """What it is, in one line."""

    colour: ClassVar[str]
    """Its colour in figures, as #RRGGBB."""

    def __init__(self, dim: int, num_codes: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_codes = num_codes

    @abc.abstractmethod
    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, "m ..."], Losses]:
        """Quantize latent vectors; in training, also move what is not learned by gradient.

        Args:
            latents: the vectors of `images` images, image by image.

        Returns:
            The quantized vectors with the gradient that the latents are to get, their codes, and the losses, which
            may be left out in evaluation.
        """

    @abc.abstractmethod
    def decode(self, codes: Int[Tensor, ...]) -> Float[Tensor, ...]:
        """The quantized latents (..., D) that belong to codes as `forward` gives them."""

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h ..."]) -> Float[Tensor, "b d h w"]:
        """What the decoder would get without quantization: the latents, unless the quantizer projects them.

        Args:
            codes: what `forward` gave for these latents.
        """
        return latents

    def codebook_size(self) -> int | None:
        """How many codes exist, so that those never used can be counted as dead; None where there is no end of them."""
        return self.num_codes

    @property
    def codebook_names(self) -> list[str]:
        """The codebooks among which this quantizer chooses; empty where there is no choice."""
        return []

    def codebook_of(self, codes: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """For each code the position of its codebook in `codebook_names`; 0 where there is no choice."""
        return torch.zeros_like(codes)

    @property
    def parameter_count(self) -> int:
        """Learned numbers of this quantizer, as the papers count them."""
        return sum(parameter.numel() for parameter in self.parameters())

    def anneal(self, progress: float) -> None:
        """Set what changes in the course of the training; called before every step.

        Args:
            progress: the share of all steps that is done, from 0 to 1.
        """

    def trace(self) -> dict[str, Float[Tensor, ""]]:
        """Numbers worth recording some times within an epoch, left on the device so that it need not be waited for."""
        return {}

    def statistics(self) -> dict[str, float]:
        """Numbers worth recording after every epoch; by default those of `trace`."""
        return {name: value.item() for name, value in self.trace().items()}

    def learned(self, start: Mapping[str, Tensor], ramp: float) -> dict[str, float]:
        """How far training has brought this quantizer, for the report's audit.

        Args:
            start: its `state_dict` as it was built.
            ramp: the learning rate summed over all steps: how far Adam moves a number whose gradient keeps its sign.
        """
        return {}

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantized:
        """Quantize latents (B, D, H, W).

        Raises:
            ValueError: D is not the quantizer's.
            NonFiniteError: a latent is NaN or infinite. On a GPU in training nobody looks, since the host would have to
                wait for the device at every step.
        """
        batch, dim, height, _ = latents.shape
        if dim != self.dim:
            raise ValueError(f"latents have {dim} components, but the quantizer was made for {self.dim}")
        vectors = to_vectors(latents)
        if (vectors.device.type == "cpu" or not self.training) and not all_finite(vectors):
            raise NonFiniteError("latents hold NaN or infinity")
        z, codes, losses = self.quantize(vectors, batch)
        return Quantized(to_latents(z, latents), codes.view(batch, height, -1, *codes.shape[1:]), losses)


class CodebookQuantizer(Quantizer):
    """A quantizer with one codebook (K, D'): a parameter or a buffer of the subclass, called `codebook`.

    latents (N, D) → project_in → v (M, D') → nearest → points (M, D') → straight_through → project_out → (N, D)
    """

    codebook: Tensor

    @abc.abstractmethod
    def nearest(self, v: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "m d"], Int[Tensor, " m"]]:
        """For every vector the point that stands for it, and its code. Points carry no gradient to `v`."""

    @abc.abstractmethod
    def losses(self, v: Float[Tensor, "m d"], points: Float[Tensor, "m d"]) -> Losses:
        """The weighted loss terms by name."""

    def update(self, v: Float[Tensor, "m d"], codes: Int[Tensor, " m"]) -> None:
        """Move what is not learned by gradient; called at every training step, after the losses, with `v` detached."""

    def project_in(self, latents: Float[Tensor, "n c"]) -> Float[Tensor, "m d"]:
        """What is quantized: by default the latent vectors themselves."""
        return latents

    def project_out(self, points: Float[Tensor, "m d"]) -> Float[Tensor, "n c"]:
        """The way back from points to latent vectors."""
        return points

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " m"], Losses]:
        v = self.project_in(latents)
        points, codes = self.nearest(v)
        losses = self.losses(v, points)
        if self.training:
            with torch.no_grad():
                self.update(v.detach(), codes)
        return self.project_out(straight_through(v, points)), codes, losses

    def decode(self, codes: Int[Tensor, ...]) -> Float[Tensor, ...]:
        points = F.embedding(codes.reshape(-1), self.codebook)
        return self.project_out(points).reshape(*codes.shape[:-1], -1, self.dim)

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h ..."]) -> Float[Tensor, "b d h w"]:
        return to_latents(self.project_out(self.project_in(to_vectors(latents))), latents)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, v: Tensor, points: Tensor) -> Tensor:
        return points.view_as(points)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(v: Float[Tensor, "n d"], points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The points, whose gradient goes to `v` unchanged (van den Oord et al. 2017, section 3.2).

    The usual sum v + (points - v) rounds; this gives the points themselves, so that equal codes are equal vectors.
    """
    return _StraightThrough.apply(v, points.detach())


def to_vectors(latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "n d"]:
    """Latent vectors, image by image and row by row; not copied where the latents are channels-last."""
    return latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])


def to_latents(vectors: Float[Tensor, "n d"], like: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """The way back from `to_vectors`, to the shape of `like`."""
    batch, dim, height, width = like.shape
    return vectors.reshape(batch, height, width, dim).permute(0, 3, 1, 2)


def all_finite(values: Float[Tensor, ...]) -> bool:
    """Whether no value is NaN or infinite: both show in the smallest or the largest, found without further memory."""
    return values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values.detach()))).all())


def names() -> list[str]:
    """The names that may be written in params.yaml."""
    return registry.names(sys.modules[__name__])


def find(name: str) -> type[Quantizer]:
    """The class of the quantizer called `name`.

    Raises:
        UserError: there is no such quantizer, or it does not state its title, meaning and colour.
    """
    cls = registry.find(sys.modules[__name__], Quantizer, name)  # type: ignore[type-abstract]
    for stated in ("title", "meaning", "colour"):
        if not isinstance(getattr(cls, stated, None), str):
            raise UserError(f'the quantizer {name} states no {stated}; {cls.__name__} needs a line `{stated} = "…"`.')
    return cls
