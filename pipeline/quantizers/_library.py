"""What the adapters around `vector-quantize-pytorch` share (https://github.com/lucidrains/vector-quantize-pytorch).

Two of its ways must not reach a measurement. Its loss in evaluation is a buffer that training has marked as requiring
grad: here evaluation has no loss. Its codebooks also move under `torch.no_grad` in train mode: here they are frozen
wherever gradients are off. And evaluation gives the codes' own points, not a straight-through sum that rounds.
"""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.quantizers import Losses, Quantizer


class Library(Quantizer):
    """A quantizer whose work a module of the library does, `inner`."""

    inner: Any

    @abc.abstractmethod
    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Quantized latents (1, N, C), codes (1, N) and, in training, losses by name."""

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        z, codes, losses = self.call(latents[None])
        codes = codes[0].long()
        if not self.training:
            return self.decode(codes), codes, {}
        return z[0], codes, {name: loss.reshape(()) for name, loss in losses.items()}


class LibraryEMA(Library):
    """A moving-average codebook (K, D); `inner` is the library's `VectorQuantize`."""

    @property
    def parameter_count(self) -> int:
        """Codebook and sums, 2·K·D, counted as for `vq_ema`."""
        return 2 * self.inner.codebook.numel()

    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        frozen = not (self.training and torch.is_grad_enabled())
        z, codes, loss = self.inner(latents, freeze_codebook=frozen)
        return z, codes, {"commitment_loss": loss}

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return F.embedding(codes, self.inner.codebook)
