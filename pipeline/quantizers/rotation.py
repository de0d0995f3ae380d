"""Vector quantization whose gradient is rotated from the code to the latent."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.quantizers import Decay
from pipeline.quantizers._library import LibraryEMA


class Rotation(LibraryEMA):
    """A moving-average codebook (K, D) with the rotation trick: the gradient keeps its angle to the latent.

    Fifty et al. 2024, https://arxiv.org/abs/2410.06424, as in vector-quantize-pytorch. With D = 1 there is nothing to
    rotate, and the gradient passes straight through. K = 512 codes are up to 9 bits a latent.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss.
        decay: of the moving averages, per training step.
        epsilon: of the smoothing of the counts.
    """

    title = "VQ, rotation trick"
    meaning = "the gradient is rotated from the code to the latent instead of copied"
    colour = "#882255"

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        beta: NonNegativeFloat = 0.25,
        decay: Decay = 0.99,
        epsilon: PositiveFloat = 1e-5,
    ) -> None:
        super().__init__(dim, num_codes, beta, decay, epsilon, rotation_trick=dim > 1)
