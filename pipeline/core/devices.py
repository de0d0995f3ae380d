"""The device and the arithmetic that a stage computes with."""

from __future__ import annotations

import resource
import sys

import torch

from pipeline.core import ranks
from pipeline.core.errors import UserError


def choose(wanted: str) -> torch.device:
    """`auto` takes a GPU where there is one, and `cuda` the first one; of several processes each takes its own.

    Raises:
        UserError: a GPU was asked for that is not there, or one for several processes.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.count() > 1 and wanted.startswith("cuda:"):
        raise UserError(f"train.device is {wanted}, but {ranks.count()} processes train this row; give auto or cuda.")
    if ranks.count() > 1 and wanted == "cuda":
        wanted = f"cuda:{ranks.local()}"
    chosen = torch.device(wanted)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"train.device is {wanted}, but {torch.cuda.device_count()} GPUs are here; auto takes what there is."
        )
    return chosen


def set_up(device: torch.device, precision: str) -> None:
    """How this process trains: at this precision, and on a CPU so that the same command gives the same numbers."""
    set_precision(precision)
    torch.use_deterministic_algorithms(device.type == "cpu")
    # would write NaN into all memory before its use, to show what is read without being written: one pass more over all
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def set_precision(precision: str) -> None:
    """float32 means float32 on a GPU too, whose convolutions otherwise round to tf32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def peak_memory(device: torch.device) -> float:
    """MB of 10⁶ bytes: the most that was allocated on the GPU, or that this process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
