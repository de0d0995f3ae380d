"""A data set of a few small images and rows that train on it within a second, without a plan."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core import files
from pipeline.core.paths import Paths

COUNTS = {"train": 40, "val": 10, "test": 12}
MEASURING: dict[str, Any] = {
    "batch_size": 64,
    "max_images": None,
    "pictures": 2,
    "moving_batches": 3,
    "counting_memory": 10,
}
STARTED = {"first_count": 1.0, "store_smoothed": False}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "vq": {"name": "vq", "num_codes": 16},
    "vq_ema": {"name": "vq_ema", "num_codes": 16},
    "lattice": {"name": "lattice", "num_codes": 16},
    "lattice_dense": {"name": "lattice", "gamma": -1.0, "init": "unit"},
    "lattice_ramp": {"name": "lattice", "num_codes": 16, "learning": "ramp"},
    "lattice_frozen": {"name": "lattice", "num_codes": 16, "learning": "frozen"},
    "kd": {"name": "kd", "num_codes": 64, "code_dim": 2, "start": "latents", **STARTED},
    "adaptive": {"name": "adaptive", "sizes": [2, 4, 8], "capacity": 16, "start": "latents", **STARTED},
    "gumbel": {"name": "gumbel", "num_codes": 16},
    "fsq": {"name": "fsq", "levels": [3, 3]},
}
"""Variant → the settings of its quantizer."""
TRAIN: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 8,
    "lr": 1e-3,
    "lr_decay": 1.0,
    "backprop_at_zero_lr": True,
    "max_images": None,
    "flip": False,
    "device": "cpu",
    "threads": 1,
    "precision": "float32",
    "compile": False,
}


def prepare(root: Path, channels: int = 3, labels: bool = False) -> Paths:
    """Noise of 8×8 pixels as the prepared data set `photos`, with its digests."""
    paths = Paths(root)
    folder = paths.prepared("photos")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        np.save(folder / f"{split}.npy", rng.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8))
        if labels:
            np.save(folder / f"{split}_labels.npy", np.arange(count) % 2)
    digests = {path.name: files.digest(path) for path in folder.iterdir()}
    files.write_yaml(folder / "about.yaml", {"offset": 0.5 if channels == 1 else 0.0, "sha256": digests})
    return paths


def settings(variant: str, seeds: tuple[int, ...] = (0,), **train: Any) -> dict[str, Any]:
    """Settings of the row photos-<variant>, as the plan writes them; `train` changes that section."""
    return {
        "dataset": "photos",
        "variant": variant,
        "seeds": list(seeds),
        "model": {"dim": 4, "hidden": [8], "residual_blocks": 1, "latent_activation": True, "output_activation": True},
        "quantizer": copy.deepcopy(QUANTIZERS[variant]),
        "train": {**TRAIN, **train},
    }
