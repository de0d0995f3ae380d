"""Several codebooks, of which each image or position chooses one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.core import ranks
from pipeline.core.errors import UserError
from pipeline.quantizers import Decay, Losses, Quantizer, straight_through, to_latents, to_vectors
from pipeline.quantizers.kd import KD

SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]


class Adaptive(Quantizer):
    """Codebooks [N, D] of one capacity N·D; attention scores them for a data point and Gumbel-Softmax picks one.

    Balance of the number of embeddings and their dimensions, https://arxiv.org/abs/2407.04939; where that is silent,
    it follows Dynamic Vector Quantization, https://arxiv.org/abs/2202.01334: one learned key per codebook, the latent
    as the query. A code is the index in all codebooks laid end to end, so that it names its codebook, too.

    Training draws a codebook by straight-through Gumbel-Softmax (Jang et al. 2017) at a temperature that falls
    geometrically; evaluation takes the most likely one without noise. With several heads the logits are the
    logarithm of the heads' mean attention; with one these are the scores themselves, but for a constant.

    Args:
        dim: C, the components of a latent vector.
        capacity: W = N·D, the same for every codebook.
        sizes: N of every codebook, each a divisor of W.
        heads: attention heads, of C // heads components each.
        choice_per: an `image` or each `position` chooses.
        scores: `attention`; `bias`: a learned number per codebook, whatever the latent; `random`: no choice is learned.
        sampling: `gumbel`, or `soft`: training mixes all codebooks by their probabilities.
        temperature_start, temperature_end: of the Gumbel-Softmax, at the first and the last step of the training.
        start, beta, decay, epsilon, first_count, store_smoothed: of the codebooks; see `KD` and `VQEMA`. Only codes
            that were really chosen move.

    Raises:
        UserError: a size does not divide the capacity.
    """

    title = "adaptive"
    meaning = "several codebooks of one capacity; attention picks one for each image"
    colour = "#CC79A7"

    offsets: Tensor
    chosen: Tensor

    def __init__(
        self,
        dim: int,
        *,
        capacity: PositiveInt = 65536,
        sizes: Annotated[list[PositiveInt], Field(min_length=1)] = SIZES,
        heads: PositiveInt = 4,
        choice_per: Literal["image", "position"] = "image",
        scores: Literal["attention", "bias", "random"] = "attention",
        sampling: Literal["gumbel", "soft"] = "gumbel",
        temperature_start: PositiveFloat = 1.0,
        temperature_end: PositiveFloat = 0.1,
        beta: NonNegativeFloat = 0.25,
        decay: Decay = 0.99,
        epsilon: PositiveFloat = 1e-5,
        first_count: NonNegativeFloat = 0.0,
        store_smoothed: bool = True,
        start: Literal["normal", "latents"] = "normal",
    ) -> None:
        for size in sizes:
            if capacity % size:
                raise UserError(f"sizes holds {size}, which does not divide the capacity {capacity}.")
        super().__init__(dim, num_codes=sum(sizes))
        self.choice_per, self.sampling, self.beta = choice_per, sampling, beta
        self.temperatures = (temperature_start, temperature_end)
        self.temperature = temperature_start
        self.codebooks = nn.ModuleList(
            KD(
                dim,
                num_codes=size,
                code_dim=capacity // size,
                start=start,
                beta=beta,
                decay=decay,
                epsilon=epsilon,
                first_count=first_count,
                store_smoothed=store_smoothed,
            )
            for size in sizes
        )
        self.scores = _SCORES[scores](dim, len(sizes), heads)
        self.register_buffer("offsets", torch.tensor([0, *sizes]).cumsum(0), persistent=False)
        self.register_buffer("chosen", torch.zeros(len(sizes), dtype=torch.int64), persistent=False)

    @property
    def parameter_count(self) -> int:
        """All codebooks, sums and projections, and what scores them."""
        scoring = sum(parameter.numel() for parameter in self.scores.parameters())
        return sum(book.parameter_count for book in self._each()) + scoring

    def _each(self) -> list[KD]:
        return list(self.codebooks)  # type: ignore[arg-type]

    def anneal(self, progress: float) -> None:
        start, end = self.temperatures
        self.temperature = start * (end / start) ** progress

    def quantize(
        self, latents: Float[Tensor, "n c"], images: int
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        weights, choice = self.choose(latents, images)
        if self.training:
            return self._train(latents, weights, choice)
        return self._evaluate(latents, choice)

    def choose(self, latents: Float[Tensor, "n c"], images: int) -> tuple[Float[Tensor, "n m"], Int[Tensor, " n"]]:
        """For each latent vector the weights of the codebooks, and the chosen one."""
        per_image = self.choice_per == "image"
        queries = latents.view(images, -1, self.dim).mean(1) if per_image else latents
        logits = self.scores(queries)
        if self.training and self.sampling == "gumbel":
            weights = ranks.own(F.gumbel_softmax(ranks.whole(logits), tau=self.temperature, hard=True))
        else:
            weights = logits.softmax(1)
        if per_image:
            weights = weights.repeat_interleave(len(latents) // images, 0, output_size=len(latents))
        return weights, weights.detach().argmax(1)

    def _train(
        self, latents: Float[Tensor, "n c"], weights: Float[Tensor, "n m"], choice: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        """All codebooks quantize everything, since the gradient of a choice is what the others would have given.

        Σₘ wₘ(Wₘpₘ + bₘ) is one product of all codebooks' points end to end, each times its weight, with all Wₘ.
        """
        books = self._each()
        dims = [book.code_dim for book in books]
        widths, total = torch.tensor(dims, device=latents.device), sum(dims)
        before, after = [book.before for book in books], [book.after for book in books]
        v = F.linear(latents, _joined(before, "weight", 0), _joined(before, "bias", 0))
        points, codes = zip(*map(KD.nearest, books, v.detach().split(dims, 1)), strict=True)
        passed = straight_through(v, torch.cat(points, 1))
        weight_of_each = weights.repeat_interleave(widths, 1, output_size=total)
        biases = torch.stack([layer.bias for layer in after])  # type: ignore[misc]
        mixed = torch.addmm(weights @ biases, passed * weight_of_each, _joined(after, "weight", 1).t())
        share = F.one_hot(choice, len(books)) if self.sampling == "gumbel" else weights.detach()
        share_of_each = (share / widths).repeat_interleave(widths, 1, output_size=total)
        commitment = ((v - passed.detach()).square() * share_of_each).sum() / len(v)
        chosen = ranks.total_(torch.zeros_like(self.chosen).index_add_(0, choice, torch.ones_like(choice)))
        self.chosen += chosen
        uses = chosen.tolist()  # by all processes, so that all call `update` or none
        for number, (book, vectors) in enumerate(zip(books, v.detach().split(dims, 1), strict=True)):
            if uses[number]:
                rows = (choice == number).nonzero().squeeze(1)
                book.update(vectors[rows], codes[number][rows])
        code = (torch.stack(codes, 1) + self.offsets[:-1]).gather(1, choice[:, None]).squeeze(1)
        return mixed, code, {"commitment_loss": self.beta * commitment}

    def _evaluate(
        self, latents: Float[Tensor, "n c"], choice: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n c"], Int[Tensor, " n"], Losses]:
        """Only the chosen codebook quantizes."""
        codes = torch.zeros_like(choice)
        for number, book in enumerate(self._each()):
            rows = (choice == number).nonzero().squeeze(1)
            codes[rows] = self.offsets[number] + book.nearest(book.project_in(latents[rows]))[1]
        return self.decode(codes), codes, {}

    def codebook_of(self, codes: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        return torch.bucketize(codes, self.offsets[1:], right=True)

    def decode(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        flat = codes.reshape(-1)
        choice = self.codebook_of(flat)
        z = self._each()[0].codebook.new_zeros(len(flat), self.dim)
        for number, book in enumerate(self._each()):
            rows = (choice == number).nonzero().squeeze(1)
            z = z.index_copy(0, rows, book.decode(flat[rows] - self.offsets[number]))
        return z.view(*codes.shape, self.dim)

    def unquantized(self, latents: Float[Tensor, "b d h w"], codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Through the projections of the codebook that was chosen for each position."""
        vectors, choice = to_vectors(latents), self.codebook_of(codes).reshape(-1, 1)
        z = torch.zeros_like(vectors)
        for number, book in enumerate(self._each()):
            z = z + (choice == number) * book.project_out(book.project_in(vectors))
        return to_latents(z, latents)

    @property
    def codebook_names(self) -> list[str]:
        """NxD of every codebook."""
        return [f"{book.num_codes}x{book.code_dim}" for book in self._each()]

    def statistics(self) -> dict[str, float]:
        """What training chose since the last call: each codebook's share, the mean log2 N; and the temperature."""
        shares = self.chosen.double() / self.chosen.sum().clamp(min=1)
        size = (shares * (self.offsets[1:] - self.offsets[:-1]).log2()).sum().item()
        self.chosen.zero_()
        named = {f"chosen_{name}": share for name, share in zip(self.codebook_names, shares.tolist(), strict=True)}
        return {**named, "selected_log2_codes": size, "temperature": self.temperature}


def _joined(layers: list[nn.Module], name: str, dim: int) -> Tensor:
    """The weights or biases of several linear layers end to end, which makes them one."""
    return torch.cat([getattr(layer, name) for layer in layers], dim)


class Attention(nn.Module):
    """Multi-head attention of queries over one learned key per codebook: the logarithm of the heads' mean weights."""

    def __init__(self, dim: int, codebooks: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, max(1, dim // heads)
        self.keys = nn.Parameter(torch.randn(codebooks, dim))
        self.to_query = nn.Linear(dim, heads * self.width)
        self.to_key = nn.Linear(dim, heads * self.width)

    def forward(self, queries: Float[Tensor, "b c"]) -> Float[Tensor, "b m"]:
        query = self.to_query(queries).view(len(queries), self.heads, self.width)
        key = self.to_key(self.keys).view(len(self.keys), self.heads, self.width)
        scores = torch.einsum("bhw,mhw->bhm", query, key) / math.sqrt(self.width)
        # In logarithms throughout: softmax weights as logits would drown in the Gumbel noise.
        return scores.log_softmax(2).logsumexp(1) - math.log(self.heads)


class Bias(nn.Module):
    """A learned number per codebook."""

    def __init__(self, dim: int, codebooks: int, heads: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(codebooks))

    def forward(self, queries: Float[Tensor, "b c"]) -> Float[Tensor, "b m"]:
        return self.logits.expand(len(queries), -1)


class Random(nn.Module):
    """Any codebook with equal probability; in evaluation the same draw every time."""

    def __init__(self, dim: int, codebooks: int, heads: int) -> None:
        super().__init__()
        self.codebooks = codebooks

    def forward(self, queries: Float[Tensor, "b c"]) -> Float[Tensor, "b m"]:
        generator = None if self.training else torch.Generator().manual_seed(0)
        draw = ranks.own(torch.randint(self.codebooks, (len(ranks.whole(queries)),), generator=generator))
        draw = draw.to(queries.device)
        return (F.one_hot(draw, self.codebooks) * 1e4).to(queries)


_SCORES = {"attention": Attention, "bias": Bias, "random": Random}
