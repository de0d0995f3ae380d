"""What this machine can do at most, measured, and the floor that sets for a piece of work."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.benchmark import clock

LARGEST = 2**28
"""Bytes of the largest array that is copied: far above any cache."""


@dataclass(frozen=True)
class Work:
    """What cannot be left out: bytes that have to be read or written, and operations (a multiply-add counts two)."""

    bytes: float
    operations: float = 0.0
    once: float = 0.0

    def times(self, count: int) -> Work:
        """The work for so many: all but the bytes that are needed `once`."""
        return Work(self.bytes * count + self.once, self.operations * count)


@functools.cache
def bandwidth(device: torch.device, size: int = LARGEST) -> float:
    """Bytes per second, read and written, of copying an array of `size` bytes; the fastest of several copies.

    Small arrays stay in a cache, which is faster: a floor is taken at the size of its work.
    """
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    times = clock.in_turn({"copy": lambda: target.copy_(source)}, 20, 2.0, device)["copy"]
    return 2 * size / min(times)


SIDES = {"cpu": (256, 512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Of the matrices that are multiplied: which of them is fastest depends on the machine's caches."""


@functools.cache
def arithmetic(device: torch.device) -> float:
    """Operations per second of a float32 matrix product, with the threads and precision in force; the fastest."""
    return max(_products(device, side) for side in SIDES["cuda" if device.type == "cuda" else "cpu"])


def _products(device: torch.device, side: int) -> float:
    """Operations per second for matrices of one size."""
    matrix = torch.ones(side, side, device=device)
    out = torch.empty_like(matrix)
    times = clock.in_turn({"product": lambda: torch.mm(matrix, matrix, out=out)}, 100, 1.0, device)["product"]
    return 2 * side**3 / min(times)


def floor(work: Work, device: torch.device) -> float:
    """Seconds that the work takes at least: at full bandwidth or full arithmetic, whichever is longer."""
    size = min(LARGEST, max(2**14, 2 ** round(work.bytes).bit_length()))
    return max(work.bytes / bandwidth(device, size), work.operations / arithmetic(device))


def describe(device: torch.device) -> dict[str, Any]:
    return {
        "bandwidth_gb_per_s": bandwidth(device) / 1e9,
        "arithmetic_gflop_per_s": arithmetic(device) / 1e9,
    }
