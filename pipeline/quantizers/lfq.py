"""Lookup-free quantization: the signs of a few numbers."""

from __future__ import annotations

from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from pipeline.core import ranks
from pipeline.core.errors import UserError
from pipeline.quantizers import to_latents, to_vectors
from pipeline.quantizers._library import Library


class LFQ(Library):
    """A linear layer to log2 K numbers, of which only the signs are kept, and a layer back.

    Yu et al. 2023, https://arxiv.org/abs/2310.05737, section 3.1, as in vector-quantize-pytorch: a loss makes each
    choice certain and all codes equally used. K = 512 codes are up to 9 bits a latent.

    By default the numbers are first scaled to length 1 (binary spherical quantization, Zhao et al. 2024,
    https://arxiv.org/abs/2406.07548, section 3, an option of the library). On `photos` the library's defaults left 4
    codes in use after 512 steps of 16 patches: nothing but the commitment sets the scale of the numbers, and a few
    hundredths from 0 the entropy loss, whose softmax multiplies distances by 100, has no gradient left. After as many
    steps a softer softmax (1) alone left 42 codes at a validation error of 0.018, with a larger weight (0.5) 487 at
    0.020; the sphere alone 512 at 0.015, and with the defaults here 484 at 0.0075; a weight of 0.003 gave 20 at 0.0063
    (one seed each).

    Args:
        dim: D of the latents.
        num_codes: K, a power of 2.
        beta: weight of the commitment loss.
        entropy_weight: of the entropy loss.
        inverse_temperature: multiplies the distances in the entropy loss's softmax over the codes.
        spherical: scale the numbers to length 1; codes are ±1/√(log2 K) instead of ±1.

    Raises:
        UserError: K is not a power of 2.
    """

    title = "LFQ"
    meaning = "a few numbers per latent, each reduced to its sign"
    colour = "#56B4E9"
    loss_name = "entropy_and_commitment_loss"

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        beta: NonNegativeFloat = 0.25,
        entropy_weight: NonNegativeFloat = 0.01,
        inverse_temperature: PositiveFloat = 10.0,
        spherical: bool = True,
    ) -> None:
        if num_codes < 2 or num_codes & (num_codes - 1):
            raise UserError(f"num_codes is {num_codes}, but should be a power of 2, from 2 on.")
        weights = {"entropy_loss_weight": entropy_weight, "commitment_loss_weight": beta}
        super().__init__(dim, num_codes, "LFQ", codebook_size=num_codes, spherical=spherical, **weights)
        self.inverse_temperature = inverse_temperature
        from vector_quantize_pytorch import lookup_free_quantization

        lookup_free_quantization.maybe_distributed_mean = ranks.mean

    def call(self, latents: Float[Tensor, "1 n c"]) -> tuple[Tensor, ...]:
        return self.inner(latents, inv_temperature=self.inverse_temperature)

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The numbers before their signs are taken, projected back."""
        numbers = self.inner.maybe_l2norm(self.inner.project_in(to_vectors(latents)))
        return to_latents(self.inner.project_out(numbers), latents)
