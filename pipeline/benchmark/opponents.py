"""What ours is compared with: the formulas as textbooks and users write them, in eager PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.quantizers import Quantized, Quantizer


def nearest_by_matrix(vectors: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    """|x|² + |c|² - 2x·c for all pairs at once, in the vectors' own precision."""
    return ((vectors**2).sum(1, keepdim=True) + (codebook**2).sum(1) - 2 * vectors @ codebook.t()).argmin(1)


class Textbook(Quantizer):
    """A codebook with the matrix of all distances and one-hot codes (van den Oord et al. 2017, as commonly written).

    Args:
        dim: D.
        num_codes: K.
        averaged: moving averages instead of gradients (appendix A.1).
        on_host: the one-hot codes are built on the host, as LL-VQ-VAE's baseline does, and then moved.
    """

    def __init__(self, dim: int, num_codes: int, averaged: bool = False, on_host: bool = False) -> None:
        super().__init__(dim, num_codes)
        self.averaged, self.on_host = averaged, on_host
        start = torch.randn(num_codes, dim) / num_codes
        self.codebook = nn.Parameter(start, requires_grad=not averaged)
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("sums", start.clone())

    counts: Tensor
    sums: Tensor

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantized:
        v = latents.permute(0, 2, 3, 1).contiguous()
        z, codes, losses = self.quantize(v.view(-1, self.dim), len(v))
        z = z.view_as(v).permute(0, 3, 1, 2).contiguous()
        return Quantized(z, codes.view(*v.shape[:3], *codes.shape[1:]), losses)

    def quantize(self, latents: Tensor, images: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        c = self.codebook
        codes = nearest_by_matrix(latents, c)
        where = "cpu" if self.on_host else codes.device
        one_hot = torch.zeros(len(codes), len(c), device=where).scatter_(1, codes[:, None].to(where), 1).to(c.device)
        points = one_hot @ c
        losses = {"commitment_loss": 0.25 * F.mse_loss(points.detach(), latents)}
        if self.averaged:
            self._average(latents.detach(), one_hot)
        else:
            losses["codebook_loss"] = F.mse_loss(points, latents.detach())
        return latents + (points - latents).detach(), codes, losses

    @torch.no_grad()
    def _average(self, flat: Float[Tensor, "n d"], one_hot: Float[Tensor, "n k"]) -> None:
        self.counts.mul_(0.99).add_(one_hot.sum(0), alpha=0.01)
        total = self.counts.sum()
        smoothed = (self.counts + 1e-5) / (total + len(self.counts) * 1e-5) * total
        self.sums.mul_(0.99).add_(one_hot.t() @ flat, alpha=0.01)
        self.codebook.data = self.sums / smoothed[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook)


class TextbookLattice(Textbook):
    """LL-VQ-VAE's equations 3-8, each written as one line."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1)
        self.spacing = nn.Parameter(torch.empty(dim).uniform_(-9.76, 9.76))

    def quantize(self, latents: Tensor, images: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        steps = torch.round(latents / self.spacing.detach())
        points = steps * self.spacing
        losses = {
            "codebook_loss": F.mse_loss(points, latents.detach()),
            "commitment_loss": 0.25 * F.mse_loss(points.detach(), latents),
            "size_loss": -self.spacing.abs().sum(),
        }
        return latents + (points - latents).detach(), steps.to(torch.int32), losses


class TextbookAdaptive(Textbook):
    """Several textbook codebooks of one capacity behind linear layers, mixed by Gumbel-Softmax weights per image."""

    def __init__(self, dim: int, capacity: int, sizes: list[int]) -> None:
        super().__init__(dim, 1)
        self.books = nn.ModuleList(Textbook(capacity // size, size, averaged=True) for size in sizes)
        self.project_in = nn.ModuleList(nn.Conv2d(dim, capacity // size, 1) for size in sizes)
        self.project_out = nn.ModuleList(nn.Conv2d(capacity // size, dim, 1) for size in sizes)
        self.scores = nn.Linear(dim, len(sizes))

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantized:
        weights = F.gumbel_softmax(self.scores(latents.mean((2, 3))), hard=True)
        outputs = [book(project(latents)) for book, project in zip(self.books, self.project_in, strict=True)]
        points = [project(output.z) for project, output in zip(self.project_out, outputs, strict=True)]
        z = (torch.stack(points, 1) * weights[:, :, None, None, None]).sum(1)
        losses = torch.stack([output.losses["commitment_loss"] for output in outputs])
        return Quantized(z, outputs[0].codes, {"commitment_loss": (weights.mean(0) * losses).sum()})
