"""Counting distinct codes, against `torch.unique`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.benchmark.compare import OURS, Contestant, compare
from pipeline.benchmark.machine import Work
from pipeline.benchmark.scale import Scale
from pipeline.metrics import counting


def measure(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """Indices of a codebook, and vectors of a lattice, of which about half are distinct."""
    count = scale.vectors_counted
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(512, (count,), generator=generator)
    rows = torch.randint(-3, 4, (count // 2 + 1, 64), generator=generator, dtype=torch.int32)
    vectors = rows[torch.randint(len(rows), (count,), generator=generator)]
    for codes, kind in ((indices.to(device), "indices"), (vectors.to(device), "vectors of 64")):
        made = {
            OURS: Contestant(partial(partial, ours, codes)),
            "torch.unique": Contestant(partial(partial, unique, codes)),
        }
        work = Work(codes.numel() * codes.element_size())
        result = compare("distinct", {"codes": kind, "count": count}, made, work, scale, device)
        yield {**result, "per_second": count / result["ours"]["median"], "unit": "codes"}


def ours(codes: Tensor) -> int:
    counter = counting.Counter()
    for start in range(0, len(codes), 2**16):
        counter.add(codes[start : start + 2**16])
    return counter.distinct


def unique(codes: Tensor) -> int:
    return len(codes.unique(dim=0))
