"""Vector quantization with a moving-average codebook whose dead codes are replaced."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.quantizers import Decay
from pipeline.quantizers._library import LibraryEMA


class VQEMARevive(LibraryEMA):
    """A moving-average codebook (K, D); a code that is seldom used becomes a latent of the batch.

    van den Oord et al. 2017, appendix A.1; replacement as in Zeghidour et al. 2021, https://arxiv.org/abs/2107.03312,
    section III-C, and vector-quantize-pytorch. K = 512 codes are up to 9 bits a latent.

    Args:
        dim: D.
        num_codes: K.
        beta: weight of the commitment loss.
        decay: of the moving averages, per training step.
        epsilon: of the smoothing of the counts.
        revive_below: a code is replaced when the moving average of its uses per step falls below this.
    """

    title = "VQ-VAE (EMA), revived"
    meaning = "moving averages; codes that are seldom used are replaced by latents of the batch"
    colour = "#44AA99"

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        beta: NonNegativeFloat = 0.25,
        decay: Decay = 0.99,
        epsilon: PositiveFloat = 1e-5,
        revive_below: PositiveFloat = 1.0,
    ) -> None:
        options = {"rotation_trick": False, "threshold_ema_dead_code": revive_below}
        super().__init__(dim, num_codes, beta, decay, epsilon, **options)
