"""The peak memory of a batch of CelebA's size at [65536, 1], each in a process of its own.

python -m pipeline.benchmark.parts.memory quantizer|step <images> <device>    prints MB before and at the peak
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import torch

from pipeline import quantizers
from pipeline.benchmark import clock
from pipeline.benchmark.parts.quantizers import EMA
from pipeline.benchmark.scale import Scale
from pipeline.core import cli, devices
from pipeline.train.loop import Training

CODES, SIDE, CHANNELS = 65536, 148, 64
KD: dict[str, Any] = {"num_codes": CODES, "code_dim": 1, "beta": 0.25, "projection": "linear", "start": "normal", **EMA}


def main() -> None:
    what, images = sys.argv[1], int(sys.argv[2])
    device = devices.choose(sys.argv[3])
    call = {"quantizer": quantizer_call, "step": step_call}[what](images, device)
    before = clock.peak_memory(device)
    call()
    clock.synchronize(device)
    print(json.dumps([before, clock.peak_memory(device)]))


def quantizer_call(images: int, device: torch.device) -> clock.Call:
    """One call of the quantizer, forward and backward."""
    from pipeline.benchmark.parts.quantizers import call_of

    z = torch.randn(images, CHANNELS, SIDE // 2, SIDE // 2, device=device)
    latents = z.contiguous(memory_format=torch.channels_last).requires_grad_()
    return call_of(quantizers.find("kd")(CHANNELS, **KD).to(device), latents)


def step_call(images: int, device: torch.device) -> clock.Call:
    """One step of a whole training."""
    from pipeline.benchmark.parts.training import MODEL, TRAIN

    settings = {
        "dataset": "none",
        "model": {**MODEL, "hidden": [64]},
        "quantizer": {"name": "kd", **KD},
        "train": {**TRAIN, "batch_size": images},
    }
    training = Training("memory", settings, 0, (3, SIDE, SIDE), device)
    batch = torch.rand(images, 3, SIDE, SIDE, device=device).contiguous(memory_format=torch.channels_last)
    return lambda: training.step(batch)


def measure(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """MB of 10⁶ bytes at the peak of the process, and what the textbook's distances and one-hot codes would take."""
    vectors = scale.celeba * (SIDE // 2) ** 2
    for what in ("quantizer", "step"):
        command = [sys.executable, "-m", "pipeline.benchmark.parts.memory", what, str(scale.celeba), str(device)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, peak = json.loads(done.stdout)
        textbook = 2 * 4e-6 * vectors * CODES
        setting = {"what": what, "images": scale.celeba, "K": CODES, "D": 1, "vectors": vectors}
        yield {**setting, "before_mb": before, "peak_mb": peak, "textbook_mb": textbook}
        cli.log.info("memory of one %s: %s MB, the textbook's matrices %.0f MB", what, peak, textbook)


if __name__ == "__main__":
    cli.run(main)
