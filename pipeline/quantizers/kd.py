"""A moving-average codebook of any [N, D], behind a projection from the latents and back."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.core import ranks
from pipeline.core.errors import UserError
from pipeline.quantizers import Decay
from pipeline.quantizers.vq_ema import VQEMA


class KD(VQEMA):
    """A codebook [N, D] for latents of C components, so that N·D can be held fixed while the latents stay as they are.

    Balance of the number of embeddings and their dimensions, https://arxiv.org/abs/2407.04939. How the paper brings
    codebooks of different D to one network is not known here; `linear` keeps the number of codes per image, `regroup`
    the number of components quantized.

    Args:
        dim: C.
        num_codes: N.
        code_dim: D.
        projection: `linear`: a learned linear layer C → D before the codebook and D → C after it; `regroup`: each
            latent vector is cut into C/D pieces, each of which gets a code.
        start: codes begin as `normal` numbers, as in `VQEMA`, or as `latents` of the first training batch, drawn at
            random, and where there are fewer latents than codes, between two of them: then no code begins far from
            the latents, whatever D and the scale of the projection.
        beta, decay, epsilon, first_count, store_smoothed: see `VQEMA`.

    Raises:
        UserError: pieces of D do not make up C.
    """

    title = "EMA [N, D]"
    meaning = "a codebook of N vectors of D components, moving averages, behind a projection"
    colour = "#009E73"

    started: Tensor

    def __init__(
        self,
        dim: int,
        *,
        num_codes: PositiveInt = 512,
        code_dim: PositiveInt = 64,
        projection: Literal["linear", "regroup"] = "linear",
        start: Literal["normal", "latents"] = "normal",
        beta: NonNegativeFloat = 0.25,
        decay: Decay = 0.99,
        epsilon: PositiveFloat = 1e-5,
        first_count: NonNegativeFloat = 0.0,
        store_smoothed: bool = True,
    ) -> None:
        if projection == "regroup" and dim % code_dim:
            raise UserError(
                f"code_dim is {code_dim}, but regroup cuts latent vectors of {dim} components into equal pieces."
            )
        super().__init__(
            code_dim,
            num_codes=num_codes,
            beta=beta,
            decay=decay,
            epsilon=epsilon,
            first_count=first_count,
            store_smoothed=store_smoothed,
        )
        self.dim = dim
        self.code_dim = code_dim
        self.register_buffer("started", torch.tensor(start == "normal"))
        self._looked = False
        linear = projection == "linear"
        self.before: nn.Module = nn.Linear(dim, code_dim) if linear else nn.Identity()
        self.after: nn.Module = nn.Linear(code_dim, dim) if linear else nn.Identity()

    @property
    def parameter_count(self) -> int:
        """Codebook and sums, 2·N·D, and the projection."""
        return super().parameter_count + sum(parameter.numel() for parameter in self.parameters())

    def project_in(self, latents: Float[Tensor, "n c"]) -> Float[Tensor, "m d"]:
        return self.before(latents).reshape(-1, self.code_dim)

    def project_out(self, points: Float[Tensor, "m d"]) -> Float[Tensor, "n c"]:
        return self.after(points).reshape(-1, self.dim)

    def nearest(self, v: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "m d"], Int[Tensor, " m"]]:
        if self.training and not self._looked:
            self._looked = True  # looking at `started` again at every step would stall a GPU
            if not self.started:
                self._start(ranks.gather(v.detach()))
        return super().nearest(v)

    @torch.no_grad()
    def _start(self, v: Float[Tensor, "m d"]) -> None:
        """Put the codes on vectors of this batch; those beyond its size, between two of them, so that all differ."""
        more = max(0, len(self.codebook) - len(v))
        first, second = torch.randint(len(v), (2, more), device=v.device)
        share = torch.rand(more, 1, device=v.device, dtype=v.dtype)
        between = torch.lerp(v[first], v[second], share)
        own = v[torch.randperm(len(v), device=v.device)[: len(self.codebook)]]
        self.codebook.copy_(torch.cat([own, between]))
        self.sums.copy_(self.codebook * self.counts[:, None])
        self.started.fill_(True)
