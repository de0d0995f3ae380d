"""Small rows of every quantizer; as a script, trains them by the processes that torchrun starts.

Arguments: the project's folder; and, to train one row alone, what is to happen to process 1 at its second step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import tiny
import torch

from pipeline import quantizers
from pipeline.core import cli, ranks, registry
from pipeline.core.paths import Paths
from pipeline.train.__main__ import train_row
from pipeline.train.loop import Training

SMALL: dict[str, Any] = {"num_codes": 16, "code_dim": 2, "capacity": 16, "sizes": [2, 4, 8], "levels": [3, 3]}
MORE: dict[str, dict[str, Any]] = {
    "kd_start": {"name": "kd", "start": "latents", "num_codes": 256, "first_count": 1.0, "store_smoothed": False},
    "adaptive_start": {"name": "adaptive", "start": "latents", "first_count": 1.0, "choice_per": "position"},
    "adaptive_soft": {"name": "adaptive", "sampling": "soft", "scores": "bias"},
    "adaptive_random": {"name": "adaptive", "scores": "random"},
    "lattice_dense": {"name": "lattice", "gamma": -1.0, "init": "unit"},
    "resumed": {"name": "kd", "start": "latents", "num_codes": 256, "first_count": 1.0},
    "vq_ema_revive_all": {"name": "vq_ema_revive", "num_codes": 256, "revive_below": 100.0, "decay": 0.5},
}
CASES = {name: {"name": name} for name in quantizers.names()} | MORE
TRAIN = {"batch_size": 9, "max_images": 37, "epochs": 2, "flip": True}
"""The last batch has one image, which two processes cannot split; the others, of 9, they split unequally."""


def settings(case: str, **train: Any) -> dict[str, Any]:
    given = CASES[case]
    known = registry.settings_of(quantizers.find(given["name"])).model_fields
    quantizer = {key: value for key, value in SMALL.items() if key in known} | given
    return {**tiny.settings("vq", **{**TRAIN, **train}), "variant": case, "quantizer": quantizer}


def train_all(paths: Paths) -> None:
    for case in CASES:
        train_row(f"photos-{case}", settings(case), paths)


def fail(fault: str) -> None:
    """Let process 1 fail at its second step."""
    step, steps = Training.step, iter(range(10))

    def failing(self: Training, images: torch.Tensor) -> dict[str, torch.Tensor]:
        if ranks.index() == 1 and next(steps) == 1:
            if fault == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            self.model.decoder[-2].bias.data.fill_(float("nan"))
        return step(self, images)

    Training.step = failing  # type: ignore[method-assign]


def main() -> None:
    root, *fault = sys.argv[1:]
    with ranks.together():
        if fault:
            fail(*fault)
            train_row("photos-vq", settings("vq"), Paths(Path(root)))
        else:
            train_all(Paths(Path(root)))


if __name__ == "__main__":
    cli.run(main)
