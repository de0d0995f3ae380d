"""Vector quantization with a frozen random codebook seen through one learned linear layer."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveInt

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
    loss_name = "codebook_and_commitment_loss"

    def __init__(self, dim: int, *, num_codes: PositiveInt = 512, beta: NonNegativeFloat = 0.25) -> None:
        options = {"rotation_trick": False, "input_to_quantize_commit_loss_weight": beta}
        super().__init__(dim, num_codes, "SimVQ", codebook_size=num_codes, **options)
