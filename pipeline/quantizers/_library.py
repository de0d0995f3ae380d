"""What the adapters around `vector-quantize-pytorch` share (https://github.com/lucidrains/vector-quantize-pytorch).

Two of its ways must not reach a measurement. Its loss in evaluation is a buffer that training has marked as requiring
grad: here evaluation has no loss. Its codebooks also move under `torch.no_grad` in train mode: here they are frozen
wherever gradients are off. And evaluation gives the codes' own points, not a straight-through sum that rounds.

Its own work with several processes is replaced, too: each would draw other latents in place of unused codes than one
process does, and LFQ divides the codes' probabilities by the number of processes without adding them up.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.core import ranks
from pipeline.quantizers import Losses, Quantizer


class Library(Quantizer):
    """A quantizer whose work a module of the library does, `inner`.

    Args:
        dim: D.
        num_codes: K.
        module: the library's class.
        options: what it is made with, besides D.
    """

    loss_name: ClassVar[str]
    """What the library's loss is called; FSQ has none."""

    def __init__(self, dim: int, num_codes: int, module: str, **options: Any) -> None:
        super().__init__(dim, num_codes)
        import vector_quantize_pytorch  # seconds to import: not for a plan

        self.inner: Any = getattr(vector_quantize_pytorch, module)(dim=dim, **options)

    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, ...]:
        """Quantized latents (1, N, C), codes (1, N) and, if there is one, the loss."""
        return self.inner(latents)

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        z, codes, *loss = self.call(latents[None])
        codes = codes[0].long()
        if not self.training:
            return self.decode(codes), codes, {}
        return z[0], codes, {self.loss_name: loss[0].reshape(())} if loss else {}

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return self.inner.indices_to_codes(codes.reshape(1, -1)).view(*codes.shape, self.dim)


class LibraryEMA(Library):
    """A moving-average codebook (K, D); `inner` is the library's `VectorQuantize`.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss.
        decay: of the moving averages, per training step.
        epsilon: of the smoothing of the counts.
        options: of the library.
    """

    loss_name = "commitment_loss"

    def __init__(self, dim: int, num_codes: int, beta: float, decay: float, epsilon: float, **options: Any) -> None:
        options |= {"codebook_size": num_codes, "commitment_weight": beta, "decay": decay, "eps": epsilon}
        super().__init__(dim, num_codes, "VectorQuantize", sync_codebook=False, **options)
        self.inner._codebook.all_reduce_fn = ranks.total_
        self.inner._codebook.replace = MethodType(_replace, self.inner._codebook)

    @property
    def parameter_count(self) -> int:
        """Codebook and sums, 2·K·D, counted as for `vq_ema`."""
        return 2 * self.inner.codebook.numel()

    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, ...]:
        return self.inner(latents, freeze_codebook=not (self.training and torch.is_grad_enabled()))

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return F.embedding(codes, self.inner.codebook)


def _replace(codebook: Any, latents: Float[Tensor, "1 n d"], *arguments: Any, **options: Any) -> None:
    """The library's own replacement of unused codes, by latents of the whole batch."""
    type(codebook).replace(codebook, ranks.gather(latents[0])[None], *arguments, **options)
