"""Exact search, at every [K, D] of one capacity and on trained codebooks: time, memory, wrong codes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.benchmark import clock
from pipeline.benchmark.compare import OURS, Contestant, compare, left_out
from pipeline.benchmark.opponents import nearest_by_matrix
from pipeline.benchmark.parts.quantizers import EMA, peer, search_work
from pipeline.benchmark.parts.training import MODEL, TRAIN
from pipeline.benchmark.scale import Scale
from pipeline.core import cli, files
from pipeline.core.paths import Paths
from pipeline.datasets.io.batches import Images
from pipeline.datasets.photos import Photos
from pipeline.quantizers import CodebookQuantizer, search, to_vectors
from pipeline.train.loop import Training

AT = 12544
"""Vectors at which the memory of ours is looked at: a batch of 64 Fashion-MNIST images."""
BRUTE = 2**22
"""Differences held at once in float64 while every distance is worked out."""
STEPS = (1, 10, 100)
"""Training steps after which latents and codebook are searched: first all codes lie together, later most are dead."""
SEED = 1
"""With it, vectors and codes of MNIST lie far apart after ten steps, and the vectors close together."""
TRAINED: tuple[tuple[str, list[int], int, dict[str, Any]], ...] = (
    ("photos", [16, 32], 8, {"name": "vq", "num_codes": 512}),
    ("photos", [16, 32], 8, {"name": "kd", "num_codes": 4096, "code_dim": 16, "start": "latents", **EMA}),
    ("mnist", [64], 64, {"name": "vq", "num_codes": 512}),
)
"""Data set, widths of the encoder, batch size, quantizer."""


def measure(scale: Scale, device: torch.device, paths: Paths = Paths()) -> Iterator[dict[str, Any]]:
    """One comparison per pair, then per trained state; `wrong` says how many vectors each contestant gets wrong.

    The photos are cut anew, which takes seconds; MNIST is left out where it has not been prepared.
    """
    for codes, dim in scale.grid:
        yield pair(codes, dim, scale, device)
    with tempfile.TemporaryDirectory() as folder:
        prepared = {"photos": cut_photos(Path(folder)), "mnist": paths.prepared("mnist")}
        for dataset, hidden, batch, quantizer in TRAINED:
            setting = {"dataset": dataset, "quantizer": quantizer["name"]}
            if not prepared[dataset].is_dir():
                yield left_out("trained", setting, f"needs {prepared[dataset]}")
                continue
            for steps, vectors, codebook in states(prepared[dataset], hidden, batch, quantizer, scale, device):
                yield contest("trained", {**setting, "steps": steps}, vectors, codebook, vectors, scale, device)


def pair(codes: int, dim: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    """Vectors and codes from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    vectors, codebook, many = (
        torch.randn(n, dim, generator=generator).to(device)
        for n in (scale.vectors, codes, AT if scale.vectors > 1000 else scale.vectors)
    )
    return contest("search", {}, vectors, codebook, many, scale, device)


def cut_photos(folder: Path) -> Path:
    """A small data set of photos, prepared inside `folder`."""
    photos = Photos(train=STEPS[-1] * 8, val=256, test=64)
    raw, prepared = folder / "raw", folder / "prepared"
    for empty in (raw, prepared):
        empty.mkdir()
    photos.download(raw, None)
    photos.prepare(raw, prepared)
    files.write_yaml(prepared / "about.yaml", {"offset": photos.offset})
    return prepared


def states(
    prepared: Path, hidden: list[int], batch: int, quantizer: dict[str, Any], scale: Scale, device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Train, and after some of the steps give their number, the latents of images not seen, and the codebook."""
    train, val = Images(prepared, "train", device), Images(prepared, "val", device)
    settings = {"dataset": prepared.name, "model": {**MODEL, "hidden": hidden}, "quantizer": quantizer}
    training = Training("benchmark", {**settings, "train": {**TRAIN, "batch_size": batch}}, SEED, train.shape, device)
    assert isinstance(training.model.quantizer, CodebookQuantizer)
    last = STEPS[-1] if scale.vectors > 1000 else STEPS[0]
    for step, images in zip(range(1, last + 1), train.shuffled(batch, training.order, flip=False), strict=False):
        training.model.train()
        training.step(images)
        if step in STEPS:
            training.model.eval()
            with torch.no_grad():
                vectors = training.model.quantizer.project_in(to_vectors(training.model.encode(val.batch(slice(256)))))
            yield step, vectors[: scale.vectors].contiguous(), training.model.quantizer.codebook.detach().clone()


def contest(
    group: str,
    setting: dict[str, Any],
    vectors: Tensor,
    codebook: Tensor,
    many: Tensor,
    scale: Scale,
    device: torch.device,
) -> dict[str, Any]:
    """Ours, the full matrix and vector-quantize-pytorch in turn.

    Args:
        many: vectors at which the memory of ours is looked at.
    """
    (count, dim), codes = vectors.shape, len(codebook)
    matrix = 4 * count * codes
    calls = {
        OURS: partial(search.nearest, vectors, codebook),
        "full matrix": partial(nearest_by_matrix, vectors, codebook),
        "vector-quantize-pytorch": partial(by_peer, vectors, codebook, {}),
    }
    needs = {"full matrix": 3.0 * matrix, "vector-quantize-pytorch": 4.0 * matrix}
    made = {name: Contestant(partial(_same, call), needs.get(name, 0.0)) for name, call in calls.items()}
    setting = {**setting, "K": codes, "D": dim, "vectors": count}
    result = compare(group, setting, made, search_work(count, codes, dim), scale, device, memory=True)
    right = brute_force(vectors, codebook)
    wrong = {name: int((calls[name]() != right).sum()) for name in (OURS, *result["opponents"])}
    extra = clock.extra_memory(partial(search.nearest, many, codebook), device)
    cli.log.info("wrong of %d: %s; ours holds %s MB at %d vectors", count, wrong, extra, len(many))
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
