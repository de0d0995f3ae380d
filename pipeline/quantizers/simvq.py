"""Vector quantization with a frozen random codebook seen through one learned linear layer."""

from __future__ import annotations

from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from pipeline.quantizers._library import Library


class SimVQ(Library):
    """Codes W·cₖ, where cₖ are fixed normal vectors and W (D, D) is learned, so that every step moves all codes.

    Zhu et al. 2024, https://arxiv.org/abs/2411.02038, as in vector-quantize-pytorch, with a straight-through gradient.
    K = 512 codes are up to 9 bits a latent.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss; the codes' own loss has weight 1.
    """

    title = "SimVQ"
    meaning = "a fixed random codebook seen through one learned linear layer"
    colour = "#999933"

    def __init__(self, dim: int, *, num_codes: PositiveInt = 512, beta: NonNegativeFloat = 0.25) -> None:
        super().__init__(dim, num_codes)
        import vector_quantize_pytorch  # seconds to import: not for a plan

        self.inner = vector_quantize_pytorch.SimVQ(
            dim, num_codes, rotation_trick=False, input_to_quantize_commit_loss_weight=beta
        )

    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        z, codes, loss = self.inner(latents)
        return z, codes, {"codebook_and_commitment_loss": loss}

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        return self.inner.indices_to_codes(codes)
