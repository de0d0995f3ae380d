"""Exact search at every [K, D] of one capacity: time, memory, and how many vectors each contestant gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.benchmark import clock
from pipeline.benchmark.compare import OURS, Contestant, compare
from pipeline.benchmark.opponents import nearest_by_matrix
from pipeline.benchmark.parts.quantizers import peer, search_work
from pipeline.benchmark.scale import Scale
from pipeline.core import cli
from pipeline.quantizers import search

AT = 12544
"""Vectors at which the memory of ours is looked at: a batch of 64 Fashion-MNIST images."""
BRUTE = 2**22
"""Differences held at once in float64 while every distance is worked out."""


def measure(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """One comparison per pair; `wrong` says how many of the vectors each contestant gets wrong."""
    for codes, dim in scale.grid:
        yield pair(codes, dim, scale, device)


def pair(codes: int, dim: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    """Vectors and codes from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    vectors, codebook = (torch.randn(n, dim, generator=generator).to(device) for n in (scale.vectors, codes))
    matrix = 4 * scale.vectors * codes
    calls = {
        OURS: partial(search.nearest, vectors, codebook),
        "full matrix": partial(nearest_by_matrix, vectors, codebook),
        "vector-quantize-pytorch": partial(by_peer, vectors, codebook, {}),
    }
    needs = {"full matrix": 3.0 * matrix, "vector-quantize-pytorch": 4.0 * matrix}
    made = {name: Contestant(partial(_same, call), needs.get(name, 0.0)) for name, call in calls.items()}
    setting = {"K": codes, "D": dim, "vectors": scale.vectors}
    result = compare("search", setting, made, search_work(scale.vectors, codes, dim), scale, device, memory=True)
    right = brute_force(vectors, codebook)
    wrong = {name: int((calls[name]() != right).sum()) for name in (OURS, *result["opponents"])}
    many = torch.randn(AT if scale.vectors > 1000 else scale.vectors, dim, generator=generator).to(device)
    extra = clock.extra_memory(partial(search.nearest, many, codebook), device)
    cli.log.info("wrong of %d: %s; ours holds %s MB at %d vectors", scale.vectors, wrong, extra, len(many))
    return {**result, "wrong": wrong, "extra_mb": extra, "extra_vectors": len(many)}


def _same(call: clock.Call) -> clock.Call:
    return call


def by_peer(vectors: Tensor, codebook: Tensor, kept: dict[str, Any]) -> Tensor:
    """What vector-quantize-pytorch finds; its module is made in the first call and then kept."""
    if not kept:
        kept["module"] = peer(codebook.shape[1], len(codebook), averaged=True).to(vectors.device).eval()
        kept["module"].accept_image_fmap = False
        kept["module"]._codebook.embed.data.copy_(codebook[None])
    with torch.no_grad():
        return kept["module"](vectors[None])[1][0]


def brute_force(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Every squared distance in float64, the smallest index among equals."""
    wide = codebook.double()
    nearest_codes = []
    for part in vectors.double().split(max(1, BRUTE // codebook.numel())):
        nearest_codes.append((part[:, None] - wide).square().sum(2).argmin(1))
    return torch.cat(nearest_codes)
