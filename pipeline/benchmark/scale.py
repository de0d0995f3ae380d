"""How much the benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: how often each contestant's turn comes, at most.
        seconds: after which a comparison begins no further round; every comparison has three at least.
        vectors: N of a quantizer's batch, a multiple of 49.
        codes: K, for the curve of time against K at D = 64.
        grid: [K, D] of the second paper, K·D = 65,536.
        images: (C, H, W), widths and batch sizes of the training steps.
        longest: seconds of a training step's floor, above which it is left out.
        epoch: images of the epoch that is measured.
        vectors_counted: vectors whose distinct ones are counted.
        celeba: images in the batch whose memory is measured.
    """

    rounds: int
    seconds: float
    vectors: int
    codes: tuple[int, ...]
    grid: tuple[tuple[int, int], ...]
    images: tuple[tuple[tuple[int, int, int], tuple[int, ...], tuple[int, ...]], ...]
    longest: float
    epoch: int
    vectors_counted: int
    celeba: int


SIZES = (
    ((1, 28, 28), (64,), (32, 64, 256)),
    ((3, 32, 32), (64,), (32, 64, 256)),
    ((3, 64, 64), (64,), (32, 64, 256)),
    ((3, 148, 148), (64,), (8, 32, 64, 256)),
    ((3, 1024, 1024), (16, 32), (1, 32, 64, 256)),
)
CODES = (64, 256, 1024, 4096, 16384, 65536)
GRID = tuple((2**power, 2 ** (16 - power)) for power in range(9, 17))
QUICK = Scale(3, 0.0, 98, (64, 256), ((512, 128), (65536, 1)), (((1, 8, 8), (4,), (8,)),), 1.0, 32, 500, 1)


def scale(device: torch.device, quick: bool) -> Scale:
    """A GPU takes batches in full; a CPU those that it can train on."""
    if quick:
        return QUICK
    if device.type == "cuda":
        return Scale(100, 20.0, 12544, CODES, GRID, SIZES, 60.0, 60000, 2_000_000, 64)
    return Scale(100, 3.0, 3136, CODES, GRID, SIZES, 1.5, 512, 100_000, 64)
