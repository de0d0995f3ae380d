"""One quantizer call, forward and backward: time against K, and at every [K, D] of one capacity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import quantizers
from pipeline.benchmark.compare import OURS, Contestant, compare
from pipeline.benchmark.machine import Work
from pipeline.benchmark.opponents import Textbook, TextbookAdaptive, TextbookLattice
from pipeline.benchmark.scale import Scale
from pipeline.quantizers import Quantizer

CHANNELS = 64
EMA: dict[str, Any] = {"decay": 0.99, "epsilon": 1e-5, "first_count": 1.0, "store_smoothed": False}


def measure(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """All comparisons of quantizers, one by one."""
    for codes in scale.codes:
        yield lattice(codes, CHANNELS, scale, device)
        yield codebook("vq", codes, CHANNELS, scale, device)
        yield codebook("vq_ema", codes, CHANNELS, scale, device)
    for codes, dim in scale.grid:
        if dim != CHANNELS:
            yield codebook("vq_ema", codes, dim, scale, device)
    for codes, dim in scale.grid:
        if dim != CHANNELS:
            yield lattice(codes, dim, scale, device)
    yield adaptive([codes for codes, _ in scale.grid], scale, device)


def call_of(module: nn.Module, latents: Tensor) -> Callable[[], None]:
    """Forward and backward of a quantizer, with a gradient that comes from a decoder."""
    upstream = torch.randn_like(latents)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def call() -> None:
        for leaf in (latents, *parameters):
            leaf.grad = None
        out = module(latents)
        z, loss = (out.z, torch.stack(list(out.losses.values())).sum()) if hasattr(out, "z") else (out[0], out[2].sum())
        torch.autograd.backward([z, loss], [upstream, torch.ones_like(loss)])

    return call


def latents_of(vectors: int, dim: int, device: torch.device) -> Tensor:
    """A batch (B, D, 7, 7), the components of a vector apart in memory, as a network gives it unless told otherwise."""
    torch.manual_seed(0)
    return torch.randn(vectors // 49, dim, 7, 7, device=device)


def contestant(make: Callable[[], nn.Module], latents: Tensor, needs: float = 0.0) -> Contestant:
    """Each gets the latents, and the gradient, as the network before and after it has them: ours channels-last."""

    def call() -> Callable[[], None]:
        module = make().to(latents.device).train()
        last = type(module).__module__.startswith(quantizers.__name__)
        layout = torch.channels_last if last else torch.contiguous_format
        return call_of(module, latents.clone(memory_format=layout).requires_grad_())

    return Contestant(call, needs)


def ours(name: str, dim: int, **settings: Any) -> Quantizer:
    return quantizers.find(name)(dim, **settings)


def lattice(codes: int, dim: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    """Whatever K is, which only sets how its spacings begin."""
    latents = latents_of(scale.vectors, dim, device)
    made = {
        OURS: contestant(lambda: ours("lattice", dim, num_codes=codes), latents),
        "textbook": contestant(lambda: TextbookLattice(dim), latents),
    }
    setting = {"quantizer": "lattice", "K": codes, "D": dim, "vectors": scale.vectors}
    return compare("quantizer", setting, made, lattice_work(latents), scale, device, memory=True)


def lattice_work(latents: Tensor) -> Work:
    """Forward reads v and writes z and codes; backward reads v and a gradient and writes one."""
    return Work(24 * latents.numel(), 0)


def codebook(name: str, codes: int, dim: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    """A codebook by gradient or moving averages, against the textbook's and vector-quantize-pytorch's."""
    latents = latents_of(scale.vectors, dim, device)
    averaged, matrix = name == "vq_ema", 4 * scale.vectors * codes
    settings: dict[str, Any] = EMA if averaged else {}
    made = {
        OURS: contestant(lambda: ours(name, dim, num_codes=codes, **settings), latents),
        "textbook": contestant(lambda: Textbook(dim, codes, averaged), latents, 3.5 * matrix),
    }
    if device.type != "cpu":
        on_host = contestant(lambda: Textbook(dim, codes, averaged, on_host=True), latents, 3.5 * matrix)
        made["textbook, one-hot on the host"] = on_host
    made["vector-quantize-pytorch"] = contestant(lambda: peer(dim, codes, averaged), latents, 4 * matrix)
    setting = {"quantizer": name, "K": codes, "D": dim, "vectors": scale.vectors}
    work = search_work(scale.vectors, codes, dim)
    return compare("quantizer", setting, made, work, scale, device, memory=True)


def peer(dim: int, codes: int, averaged: bool) -> nn.Module:
    from vector_quantize_pytorch import VectorQuantize  # slow to import

    learned: dict[str, Any] = {} if averaged else {"learnable_codebook": True, "ema_update": False}
    options: dict[str, Any] = {"decay": 0.99, "commitment_weight": 0.25, "accept_image_fmap": True, **learned}
    return VectorQuantize(dim, codes, **options)


def search_work(vectors: int, codes: int, dim: int) -> Work:
    """What a search and its backward pass cannot leave out.

    Bytes: v and the codebook read, z and codes written; v, z and a gradient read and one written. Operations: a product
    of all pairs; up to D = 4, where a tree needs less, a descent through it.
    """
    count = 4.0 * vectors * dim
    operations = 2.0 * vectors * dim * (codes if dim > 4 else math.log2(codes))
    return Work(6 * count + 4.0 * codes * dim + 8.0 * vectors, operations)


def adaptive(sizes: list[int], scale: Scale, device: torch.device) -> dict[str, Any]:
    """All codebooks of one capacity, of which each image chooses one."""
    capacity, latents = 65536, latents_of(scale.vectors, CHANNELS, device)
    options: dict[str, Any] = {
        "capacity": capacity,
        "sizes": sizes,
        "heads": 4,
        "choice_per": "image",
        "scores": "attention",
    }
    options |= {
        "start": "normal",
        "sampling": "gumbel",
        "temperature_start": 1.0,
        "temperature_end": 0.1,
        "beta": 0.25,
        **EMA,
    }
    made = {
        OURS: contestant(lambda: ours("adaptive", CHANNELS, **options), latents),
        "textbook": contestant(
            lambda: TextbookAdaptive(CHANNELS, capacity, sizes), latents, 4.0 * scale.vectors * (sum(sizes) + 2 * 65536)
        ),
    }
    parts = [search_work(scale.vectors, size, capacity // size) for size in sizes]
    work = Work(sum(part.bytes for part in parts), sum(part.operations for part in parts))
    setting = {"quantizer": "adaptive", "K": sum(sizes), "D": CHANNELS, "vectors": scale.vectors}
    return compare("quantizer", setting, made, work, scale, device, memory=True)
