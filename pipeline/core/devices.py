"""The device and the arithmetic that a stage computes with."""

from __future__ import annotations

import torch

from pipeline.core.errors import UserError


def choose(wanted: str) -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        UserError: a GPU was asked for that is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(wanted)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"train.device is {wanted}, but {torch.cuda.device_count()} GPUs are here; auto takes what there is."
        )
    return chosen


def set_precision(precision: str) -> None:
    """float32 means float32 on a GPU too, whose convolutions otherwise round to tf32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
